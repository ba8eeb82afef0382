"""The label join at scale: memory with many waiting predictions, time with many that have matured.

    python -m tests.bench.labels [--pending 50000000] [--folder var/bench]

Fills a state with waiting predictions and measures, in a process of its own, what a cycle costs then:
10,000 labels that come, 10,000 predictions that become mature, the count of what waits, the first look
at quality, and all of that with its commit. Apart from it stands what is done once a slice of time: 10,000
labels leave that have found no prediction. First with a million that wait and 0, 1 and 10 million that
have matured and are remembered, then with 10 and with 50 million that wait. Prints medians in
milliseconds of processor time, memory in MB, as a table and as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
from tests.bench.harness import ROOT, machine, print_results, run_command

from ml_exporter.judging import Judging
from ml_exporter.labels import Rules, Waiting
from ml_exporter.layout import Layout
from ml_exporter.pending import PendingRows
from ml_exporter.recent import recent
from ml_exporter.sources.batch import Labels
from ml_exporter.store import Store
from ml_exporter.tasks.binary import Binary

DAY = 86_400_000_000
NOW = 20_000 * DAY
MATURITY = 7 * DAY
BATCH = 10_000
CYCLES = 7
RULES = Rules(MATURITY, 30 * DAY)
COLUMNS = {
    "name": "state",
    "add_labels": "labels ms",
    "judge": "judge ms",
    "count": "count ms",
    "first_look": "first look ms",
    "cycle": "cycle ms",
    "settle": "settle ms",
    "peak_mb": "peak MB",
    "file_mb": "file MB",
}


def fill(path: Path, pending: int, matured: int, labelled: int = 10) -> None:
    """Write a state: predictions wait evenly over the maturity; older ones have matured.

    One of `labelled` that wait has a label. In each of the oldest slices of time there are as many labels
    as a batch has that belong to none of them: half of ids that have matured, half of nobody's.
    """
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    store = Store(path, "4GB")
    code = store.model_code("m")
    # The id of a prediction is the hash of its number, and numbers go up with time.
    store.connection.execute(
        f"INSERT INTO matured SELECT {code}, hash(i), {NOW - MATURITY} - ({matured} - i) * {25 * DAY // (matured or 1)}, "
        f"0, i % 10 = 0, NULL FROM range({matured}) t(i)"
    )
    step = MATURITY // pending
    store.connection.execute(
        f"INSERT INTO pending SELECT {code}, hash({matured} + i), {NOW - MATURITY} + i * {step}, 0, 0.25, 0, NULL, 0 "
        f"FROM range({pending}) t(i)"
    )
    store.connection.execute(
        f"INSERT INTO labels SELECT {code}, hash({matured} + i * {labelled}), "
        f"{NOW - MATURITY} + i * {labelled} * {step} + 1, 1, false FROM range({pending // labelled}) t(i)"
    )
    strays = CYCLES * BATCH
    store.connection.execute(
        f"INSERT INTO labels SELECT {code}, hash(if(i % 2 = 0, i * {max(1, matured // strays)}, -1 - i)), "
        f"{NOW - RULES.reach} + i * {RULES.slice // BATCH}, 1, false FROM range({strays}) t(i)"
    )
    store.close()


class Clock:
    """Times parts of a cycle by name: the seconds of the processor, so that others who work disturb little."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        started = time.thread_time()
        yield
        self.seconds.setdefault(name, []).append(time.thread_time() - started)


def labels_of(first: int, now: int) -> Labels:
    """Return labels of predictions that have none, from number `first` on."""
    found = duckdb.execute(f"SELECT hash({first} + i * 10 + 1) AS id FROM range({BATCH}) t(i)").fetchnumpy()
    return Labels(found["id"], np.full(BATCH, now), np.zeros(BATCH))


def measure(path: Path, pending: int, matured: int) -> dict[str, float]:
    """Run cycles on a state that `fill` has written; return milliseconds by part, and memory."""
    clock, step = Clock(), MATURITY // pending
    store = Store(path)
    rows = PendingRows(store, store.model_code("m"), details=0, segments=0)
    waiting = Waiting(store, store.model_code("m"), RULES, rows)
    judging = {0: Judging(Binary(scored=True), Layout(None))}
    with store.transaction():
        waiting.judge(NOW, NOW)
    for cycle in range(CYCLES):
        now = NOW + cycle * BATCH * step
        labels = labels_of(matured + pending // 2 + cycle * BATCH * 10, now)
        with clock.part("cycle"), store.transaction():
            with clock.part("add_labels"):
                waiting.add_labels(labels, now)
            with clock.part("judge"):
                waiting.judge(now, NOW)
            with clock.part("count"):
                waiting.pending()
            with clock.part("first_look"):
                recent(store, 0, rows, judging, MATURITY, now, [now - DAY // 24, now - DAY, now - 7 * DAY])
        # Nothing is left to be judged, so this is the settlement alone.
        with store.transaction(), clock.part("settle"):
            waiting.judge(now, NOW + (cycle + 1) * RULES.slice)
    store.close()
    return {
        **{name: statistics.median(seconds) * 1e3 for name, seconds in clock.seconds.items()},
        "peak_mb": peak(),
        "file_mb": path.stat().st_size / 1e6,
    }


def peak() -> float:
    """Return the most memory that this process ever had, in MB; ru_maxrss would tell its parent's as well."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) / 1e3


def case(folder: Path, pending: int, matured: int, labelled: int = 10) -> dict[str, float | str]:
    """Fill and measure one state, the latter in a process of its own."""
    path = folder / "labels.duckdb"
    fill(path, pending, matured, labelled)
    command = [sys.executable, "-m", "tests.bench.labels", "--measure", str(path)]
    found = run_command([*command, "--pending", str(pending), "--matured", str(matured)])
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    return {"name": f"{pending:,} wait, {matured:,} have matured", **found}


def main() -> None:
    """Measure all cases, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pending", type=int, default=50_000_000)
    parser.add_argument("--matured", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ROOT / "var/bench")
    parser.add_argument("--measure", type=Path, help="a state that is there, in this process")
    flags = parser.parse_args()
    if flags.measure:
        print(json.dumps(measure(flags.measure, flags.pending, flags.matured)))
        return
    flags.folder.mkdir(parents=True, exist_ok=True)
    few, many = min(flags.pending, 1_000_000), min(flags.pending, 10_000_000)
    # Of ten million a fifth has a label, of the others a tenth.
    cases = [(few, 0), (few, 1_000_000), (few, 10_000_000), (many, 0, 5), (flags.pending, 0)]
    rows = [case(flags.folder, *numbers) for numbers in cases]
    print_results(COLUMNS, rows)
    print(json.dumps({"machine": machine(), "labels": rows}))


if __name__ == "__main__":
    main()
