"""`make bench`, second part: an exporter that is scraped while a writer appends.

    python -m tests.bench.steady [--rate 20000] [--seconds 60] [--folder var/bench]

Prints the lag of reading, the exporter's CPU share and peak memory, and the time of a scrape of
about 10,000 series (p50, p99), as a table and as JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from tests.bench import records
from tests.bench.harness import ROOT, make_profile, print_results, report

WIDE = 300
"""Columns of a second model, which is idle: it is there for its series."""
_STAMP = b'"ts":"'


class Writer(threading.Thread):
    """Appends records with the time stamps of now, `rate` a second."""

    def __init__(self, lines: list[bytes], log: Path, rate: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self._lines, self._log, self.rate, self._seconds = lines, log, rate, seconds
        self.written = 0

    def run(self) -> None:
        """Write ten batches a second; a late batch is made up for."""
        started = time.monotonic()
        with self._log.open("ab", buffering=0) as log:
            while (elapsed := time.monotonic() - started) < self._seconds:
                due = int(elapsed * self.rate) - self.written
                batch = [self._lines[(self.written + index) % len(self._lines)] for index in range(due)]
                stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
                log.write(b"".join(batch).replace(b"2026-01-01T00:00:00.000Z", stamp))
                self.written += due
                time.sleep(0.1)


def lines_of(log: Path, limit: int) -> list[bytes]:
    """Lines of a log with one and the same time stamp, which the writer replaces at once."""
    found = []
    with log.open("rb") as source:
        for line in source:
            start = line.index(_STAMP) + len(_STAMP)
            found.append(line[:start] + b"2026-01-01T00:00:00.000Z" + line[start + 24 :])
            if len(found) == limit:
                break
    return found


def write_wide(folder: Path) -> None:
    """Write a log of 500 rows with many columns."""
    rng = np.random.default_rng(3)
    now = time.time()
    with (folder / "wide.jsonl").open("w") as log:
        for row in rng.normal(size=(500, WIDE)):
            features = {f"wide_{index:03d}": round(value, 4) for index, value in enumerate(row.tolist())}
            record = {
                "ts": now,
                "version": "1",
                "score": float(rng.random()),
                "label": bool(rng.random() > 0.5),
            }
            log.write(json.dumps(record | {"features": features}) + "\n")


def config(folder: Path) -> Path:
    """Write the configuration of both models."""
    fields = {
        "timestamp": "ts",
        "version": "version",
        "score": "score",
        "label": "label",
        "features": "features",
    }
    live = {
        "name": "live",
        "profile": "profile.json",
        "predictions": {
            "path": "live.jsonl",
            "fields": {**fields, "prediction": "prediction", "latency_seconds": "latency_s"},
        },
        "drift": {"psi": {"max": 0.2}},
        "health": {"missing": {"max": 0.5}},
    }
    wide = {
        "name": "wide",
        "profile": "wide.json",
        "predictions": {"path": "wide.jsonl", "fields": fields},
        "drift": {"psi": {"max": 0.2}},
        "export_bins": [f"wide_{index:03d}" for index in range(WIDE)],
    }
    path = folder / "steady.yml"
    exporter = {"state": "state.duckdb", "evaluation_interval": "5s", "birth_hold": "0s"}
    path.write_text(yaml.safe_dump({"exporter": exporter, "models": [live, wide]}))
    return path


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scrape(port: int) -> tuple[float, str]:
    """Scrape once, as Prometheus does, and return seconds and the page."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics")
    started = time.perf_counter()
    with urllib.request.urlopen(request, timeout=30) as response:
        body = response.read()
    return time.perf_counter() - started, body.decode()


def sample(page: str, start: str) -> float:
    """Return the value of the first series whose line starts so."""
    return next(
        (float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(start)), float("nan")
    )


def watch(port: int, process: psutil.Process, writer: Writer) -> dict[str, Any]:
    """Scrape ten times a second while the writer runs, then wait until all is read."""
    scrapes, lags, peak, page = [], [], 0, ""
    accepted = 'ml_input_rows_total{model="live",outcome="accepted"'
    started, used = time.monotonic(), sum(process.cpu_times()[:2])
    while writer.is_alive():
        seconds, page = scrape(port)
        scrapes.append(seconds)
        # How long ago the newest row that the page counts was written.
        lags.append((writer.written - sample(page, accepted)) / writer.rate)
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.1)
    share = (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - started)
    deadline = time.monotonic() + 60
    while sample(scrape(port)[1], accepted) < writer.written and time.monotonic() < deadline:
        time.sleep(0.2)
    quantiles = statistics.quantiles(scrapes, n=100)
    return {
        "rows": writer.written,
        "rows_read": int(sample(scrape(port)[1], accepted)),
        "lag_p50_s": round(float(np.nanmedian(lags)), 1),
        "lag_max_s": round(float(np.nanmax(lags)), 1),
        "series": sum(not line.startswith("#") for line in page.splitlines()),
        "cpu_share": round(share, 3),
        "peak_mb": round(peak / 1e6),
        "scrape_p50_ms": round(quantiles[49] * 1e3, 1),
        "scrape_p99_ms": round(quantiles[98] * 1e3, 1),
        "scrapes": len(scrapes),
    }


def main() -> None:
    """Set up, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--folder", type=Path, default=ROOT / "var/bench")
    flags = parser.parse_args()
    source, folder = flags.folder / "100000", flags.folder / "steady"
    records.write(source, 100_000)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_wide(folder)
    path = config(folder)
    for model, data in (("live", source / "profile.jsonl"), ("wide", folder / "wide.jsonl")):
        make_profile(path, model, data)
    (folder / "live.jsonl").touch()
    port = free_port()
    command = [sys.executable, "-m", "ml_exporter", "serve", "--config.file", str(path)]
    with subprocess.Popen(
        [*command, "--web.listen-address", f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL
    ) as exporter:
        try:
            time.sleep(5)
            writer = Writer(
                lines_of(source / "nested.jsonl", 50_000), folder / "live.jsonl", flags.rate, flags.seconds
            )
            writer.start()
            result = watch(port, psutil.Process(exporter.pid), writer)
        finally:
            exporter.terminate()
    rows = [{"name": name, "value": value} for name, value in result.items()]
    print_results({"name": f"{flags.rate:,} rows/s for {flags.seconds:g} s", "value": ""}, rows)
    report(flags.folder, "steady", {"rate": flags.rate, "seconds": flags.seconds, "results": rows})


if __name__ == "__main__":
    main()
