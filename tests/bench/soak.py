"""`make soak`: an hour of an exporter's life, with all that happens to one, and what it leaves behind.

    python -m tests.bench.soak [--minutes 60] [--rate 2000] [--folder var/soak]

A writer appends predictions of 20 features and renames the log every minute; their labels are pushed
over HTTP. The configuration is reloaded every 20 seconds, by signal and by POST in turn, each time
with another team and with or without a second model. The page is scraped every second. In the end
every row must have been counted once, no error may have been logged or counted, memory and open
files must be what they were, and SIGTERM must end it within 5 seconds. Prints a table; exits with 1
where something is wrong.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import yaml
from tests.bench import records
from tests.bench.harness import ROOT, machine, make_profile
from tests.bench.steady import free_port

ROTATE_SECONDS = 60
KEPT = 3
RELOAD_SECONDS = 20
SAMPLE_SECONDS = 5
WARM_MINUTES, OPEN_MINUTES = 30, 2
"""Memory still fills up in a shorter run: windows and waiting rows of 15 minutes, DuckDB's own cache; and threads
open what they need when they have their first work."""
_STAMP = re.compile(rb'("id":")[^"]*(","ts":")[^"]*')


def configure(folder: Path, team: str, visitor: bool) -> Path:
    """Write the configuration: of one model, or of two."""
    fields = {"id": "id", "timestamp": "ts", "version": "version", "score": "score", "features": "features"}
    fields |= {"prediction": "prediction", "latency_seconds": "latency_s"}
    model: dict[str, Any] = {
        "name": "soak",
        "team": team,
        "profile": "profile.json",
        "predictions": {"path": "logs/predictions.jsonl", "fields": fields},
        "labels": {
            "path": "spool/labels.jsonl",
            "push": True,
            "fields": {"id": "id", "timestamp": "ts", "label": "label"},
            "maturity": "1m",
            "wait": "5m",
        },
        "windows": ["1m", "5m", "15m"],
        "alert_window": "5m",
        "quality": {"roc_auc": {"min": 0.6}, "accuracy": {"min": 0.6}},
        "drift": {"psi": {"max": 0.2}},
        "health": {"missing": {"max": 0.5}},
        "segments": [records.CATEGORIES[0]],
    }
    second = {"name": "visitor", "predictions": {"path": "logs/visitor.jsonl", "fields": {"score": "score"}}}
    exporter = {"state": "state.duckdb", "evaluation_interval": "5s", "push": {"spool_limit": "64MiB"}}
    draft, path = folder / "soak.new", folder / "soak.yml"
    draft.write_text(yaml.safe_dump({"exporter": exporter, "models": [model, *[second] * visitor]}))
    draft.replace(path)
    return path


def post(port: int, path: str, body: bytes = b"", method: str = "POST") -> tuple[int, bytes]:
    """Ask once; status 0 where there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error).encode()
    finally:
        connection.close()


@dataclass
class Life:
    """What went on: counts, and what a look at the process showed over time."""

    port: int
    process: psutil.Process
    folder: Path
    done: threading.Event = field(default_factory=threading.Event)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    scrapes: list[float] = field(default_factory=list)
    looks: list[dict[str, float]] = field(default_factory=list)

    def every(self, seconds: float) -> Iterator[int]:
        """Count up, once in so many seconds, to the end."""
        number, due = 0, time.monotonic()
        while not self.done.wait(max(0.0, due - time.monotonic())):
            yield number
            number, due = number + 1, max(due + seconds, time.monotonic())

    def expect(self, what: str, found: object, wanted: object) -> None:
        """Note what is not as it should be."""
        if found != wanted:
            self.problems.append(f"{what}: {found!r}, not {wanted!r}")


def write(life: Life, templates: list[bytes], labels: list[bool | None], rate: int) -> None:
    """Append predictions once a second, and push the labels of those before."""
    log, waiting, begun = life.folder / "logs/predictions.jsonl", b"", time.monotonic()
    for second in life.every(1.0):
        if second % ROTATE_SECONDS == ROTATE_SECONDS - 1:
            rotate(log, life)
        first, now = life.counts["predictions"], datetime.now(UTC).isoformat().replace("+00:00", "Z")
        due = int((time.monotonic() - begun + 1) * rate) - first
        chosen = [(number, number % len(templates)) for number in range(first, first + due)]
        lines = [
            _STAMP.sub(rb"\g<1>%d\g<2>%s" % (number, now.encode()), templates[place], count=1)
            for number, place in chosen
        ]
        with log.open("ab") as file:
            file.write(b"".join(lines))
        life.counts["predictions"] += due
        push(life, waiting)
        known = [(number, labels[place]) for number, place in chosen if labels[place] is not None]
        life.counts["labels"] += len(known)
        waiting = b"".join(
            b'{"id":"%d","ts":"%s","label":%s}\n' % (number, now.encode(), json.dumps(label).encode())
            for number, label in known
        )
    push(life, waiting)


def push(life: Life, body: bytes) -> None:
    """Push labels until they are taken."""
    while body:
        status, answer = post(life.port, "/v1/labels/soak", body)
        life.counts[f"pushes answered with {status}"] += 1
        if status == 202:
            return
        if status != 429:
            life.problems.append(f"push: {answer.decode()}")
            return
        time.sleep(1)


def rotate(log: Path, life: Life) -> None:
    """Rename the log, and those before it."""
    names = [log, *(log.with_name(f"{log.name}.{number}") for number in range(1, KEPT + 1))]
    names[-1].unlink(missing_ok=True)
    for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
        if newer.exists():
            newer.rename(older)
    life.counts["rotations"] += 1


def reload(life: Life) -> None:
    """Change the configuration and load it, by signal and by POST in turn."""
    for number in life.every(RELOAD_SECONDS):
        configure(life.folder, f"team-{number % 5}", visitor=number % 2 == 1)
        if number % 4 < 2:
            life.expect("reload", post(life.port, "/-/reload"), (200, b"reloaded\n"))
        else:
            life.process.send_signal(signal.SIGHUP)
        life.counts["reloads"] += 1


def scrape(life: Life) -> None:
    """Scrape once a second, and look at readiness."""
    for _ in life.every(1.0):
        begun = time.perf_counter()
        status, _ = post(life.port, "/metrics", method="GET")
        life.scrapes.append(time.perf_counter() - begun)
        life.expect("scrape", status, 200)
        life.expect("ready", post(life.port, "/-/ready", method="GET")[0], 200)


def look(life: Life) -> None:
    """Note memory, open files and threads."""
    for _ in life.every(SAMPLE_SECONDS):
        with life.process.oneshot():
            memory, threads = life.process.memory_info().rss, life.process.num_threads()
        size, spool = (sizes(life.folder, pattern) for pattern in ("state.duckdb*", "spool/*"))
        life.looks.append(
            {
                "resident memory, MB": memory / 1e6,
                "open files": life.process.num_fds(),
                "threads": threads,
                "state, MB": size / 1e6,
                "spool, MB": spool / 1e6,
            }
        )


def sizes(folder: Path, pattern: str) -> int:
    """Bytes of files, some of which come and go."""
    found = 0
    for file in folder.glob(pattern):
        with suppress(FileNotFoundError):
            found += file.stat().st_size
    return found


def samples(port: int) -> dict[str, float]:
    """Return the page by series."""
    page = post(port, "/metrics", method="GET")[1].decode()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if not line.startswith("#")
    }


def settle(life: Life) -> dict[str, float]:
    """Wait until all is counted and judged, and return the page."""
    counted = {"predictions": life.counts["predictions"], "labels": life.counts["labels"]}
    deadline = time.monotonic() + 240
    while True:
        page = samples(life.port)
        rows = {
            source: page.get(f'ml_input_rows_total{{model="soak",outcome="accepted",source="{source}"}}')
            for source in counted
        }
        waiting = page.get('ml_labels_pending{model="soak"}')
        if (rows == counted and waiting == 0) or time.monotonic() > deadline:
            life.expect("rows", rows, counted)
            life.expect("predictions that wait", waiting, 0)
            time.sleep(6)  # counters of errors are refreshed every 5 s
            return samples(life.port)
        time.sleep(1)


def judge(life: Life, page: dict[str, float], log: str, minutes: float) -> None:
    """Note everything that is not as it should be."""
    for name, value in page.items():
        refused = name.startswith("ml_input_rows_total") and 'outcome="accepted"' not in name
        if refused or name.startswith(("ml_exporter_errors_total", "ml_exporter_source_truncations_total")):
            life.expect(name, value, 0)
    labels = {name: value for name, value in page.items() if name.startswith("ml_labels_total")}
    matched = labels.get('ml_labels_total{model="soak",outcome="matched"}')
    life.expect("labels that met their prediction", matched, life.counts["labels"])
    complaints = [line for line in log.splitlines() if "level=info" not in line]
    life.expect("complaints in the log", complaints[:3], [])
    second, last = quarters(life.looks, "resident memory, MB")
    if minutes >= WARM_MINUTES and last > 1.1 * second + 5:
        life.problems.append(f"memory: {second:.0f} MB in the second quarter, {last:.0f} MB in the last")
    second, last = quarters(life.looks, "open files")
    if minutes >= OPEN_MINUTES and last > second + 5:
        life.problems.append(f"open files: {second:.0f} in the second quarter, {last:.0f} in the last")


def quarters(looks: list[dict[str, float]], what: str) -> tuple[float, float]:
    """The medians of the second and the last quarter of the time."""
    values = [found[what] for found in looks]
    quarter = max(1, len(values) // 4)
    return statistics.median(values[quarter : 2 * quarter] or values), statistics.median(values[-quarter:])


def table(life: Life, minutes: float, rate: int, stopped: float) -> Iterator[str]:
    """Return the lines of the table."""
    yield f"{minutes:g} minutes at {rate:,} rows/s; {machine()['processor']}, {machine()['cores']} cores."
    yield "\n| what | second quarter | last quarter | most |\n| --- | ---: | ---: | ---: |"
    for what in life.looks[0]:
        second, last = quarters(life.looks, what)
        most = max(found[what] for found in life.looks)
        yield f"| {what} | {second:.0f} | {last:.0f} | {most:.0f} |"
    quantiles = statistics.quantiles(life.scrapes, n=100)
    yield "\n| what happened | |\n| --- | ---: |"
    for what, count in {**life.counts, "scrapes": len(life.scrapes)}.items():
        yield f"| {what} | {count:,} |"
    yield f"| scrape, median and 99 % | {quantiles[49] * 1e3:.0f} ms, {quantiles[98] * 1e3:.0f} ms |"
    yield f"| until it had stopped | {stopped:.1f} s |"
    yield f"| errors, lines lost or counted twice | {len(life.problems) or 'none'} |"


def prepare(folder: Path) -> tuple[list[bytes], list[bool | None]]:
    """Make the folder, the profile and the records; return records and their labels."""
    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "records"
    records.write(source, 60_000)
    for name in ("logs", "spool"):
        (folder / name).mkdir()
    (folder / "logs/visitor.jsonl").touch()
    (folder / "logs/predictions.jsonl").touch()
    make_profile(configure(folder, "team", visitor=False), "soak", source / "profile.jsonl")
    lines = (source / "nested.jsonl").read_bytes().splitlines(keepends=True)[:20_000]
    labels = [json.loads(line)["label"] for line in lines]
    return lines, labels


def run(folder: Path, minutes: float, rate: int) -> list[str]:
    """Live through it, print the table, and return what is wrong."""
    templates, labels = prepare(folder)
    port, path = free_port(), folder / "soak.yml"
    flags = ["--web.listen-address", f"127.0.0.1:{port}", "--web.enable-lifecycle"]
    command = [sys.executable, "-m", "ml_exporter", "serve", "--config.file", str(path), *flags]
    with (
        (folder / "exporter.log").open("wb") as log,
        subprocess.Popen(command, stderr=log, cwd=ROOT) as exporter,
    ):
        life = Life(port, psutil.Process(exporter.pid), folder)
        try:
            live(life, templates, labels, minutes, rate)
            page = settle(life)
            begun = time.monotonic()
            exporter.terminate()
            life.expect("exit code", exporter.wait(60), 0)
            stopped = time.monotonic() - begun
            life.expect("stopped within 5 s", stopped < 5, True)
        finally:
            exporter.kill()
    judge(life, page, (folder / "exporter.log").read_text(encoding="utf-8"), minutes)
    print("\n".join(table(life, minutes, rate, stopped)))
    return life.problems


def guarded(life: Life, work: Callable[..., None], *arguments: object) -> None:
    """Do a part of it; that it came to an early end is noted too."""
    try:
        work(life, *arguments)
    except Exception as error:
        life.problems.append(f"{work.__name__}: {error!r}")


def live(life: Life, templates: list[bytes], labels: list[bool | None], minutes: float, rate: int) -> None:
    """Do all of it side by side, for so many minutes."""
    deadline = time.monotonic() + 600
    while post(life.port, "/-/ready", method="GET")[0] != 200:
        if time.monotonic() > deadline or not life.process.is_running():
            raise SystemExit("the exporter did not become ready")
        time.sleep(0.5)
    works = [
        threading.Thread(target=guarded, args=(life, work, *arguments))
        for work, *arguments in ((write, templates, labels, rate), (reload,), (scrape,), (look,))
    ]
    for thread in works:
        thread.start()
    time.sleep(60 * minutes)
    life.done.set()
    for thread in works:
        thread.join()


def main() -> int:
    """Run, print, and tell what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=2_000)
    parser.add_argument("--folder", type=Path, default=ROOT / "var/soak")
    flags = parser.parse_args()
    problems = run(flags.folder.absolute(), flags.minutes, flags.rate)
    for problem, times in Counter(problems).most_common(20):
        print(f"soak: {problem} ({times} times)", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
