"""The programs that the benchmark times, each in a process of its own: `python -m tests.bench.contenders NAME FILE`.

Prints seconds (imports left out) and the peak of resident memory as JSON. `cycle` times evaluations
of a log that is already read.
"""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
from tests.bench.harness import make_profile
from tests.bench.memory import peak_bytes
from tests.bench.records import CATEGORIES, NUMBERS

from ml_exporter import cli
from ml_exporter.config import load
from ml_exporter.engine import Engine, load_layouts
from ml_exporter.snapshot import log_page
from ml_exporter.sources import sql
from ml_exporter.store import Store

CYCLES = 11
"""Evaluations with nothing new to read, of which the median counts."""


class _Devnull(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO())


def exporter(config: Path) -> None:
    """`ml_exporter evaluate`: from bytes on disk to the finished page."""
    with contextlib.redirect_stdout(_Devnull()):
        if cli.main(["evaluate", "--config.file", str(config)]) != 0:
            raise SystemExit("ml_exporter evaluate failed")


def yardstick(log: Path) -> None:
    """DuckDB's read_json of the whole file with the same columns, through Arrow to numbers and codes."""
    connection = duckdb.connect(config={"threads": 2})
    types = {
        "id": "VARCHAR",
        "ts": "VARCHAR",
        "version": "VARCHAR",
        "prediction": "VARCHAR",
        "label": "VARCHAR",
    }
    types |= {"score": "DOUBLE", "latency_s": "DOUBLE"}
    types |= {f"features.{name}": "DOUBLE" for name in NUMBERS} | {
        f"features.{name}": "VARCHAR" for name in CATEGORIES
    }
    # ENUM columns arrive as dictionary codes, which is what a program needs to count.
    coded = ", ".join(f"features.{name}::bench_category AS {name}" for name in CATEGORIES)
    numbers = ", ".join(f"features.{name} AS {name}" for name in NUMBERS)
    values = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
    connection.execute(f"CREATE TYPE bench_category AS ENUM ({', '.join(map(sql.text, values))})")
    table = connection.sql(
        f"SELECT hash(id) AS id, epoch_us(ts::TIMESTAMPTZ) AS ts, score, latency_s, {numbers}, {coded} "
        f"FROM read_json({sql.text(str(log))}, format='newline_delimited', columns={sql.columns(types)}, ignore_errors=true)"
    ).to_arrow_table()
    for name in ("id", "ts", "score", "latency_s", *NUMBERS):
        table[name].to_numpy()
    for name in CATEGORIES:
        table[name].combine_chunks().indices.to_numpy(zero_copy_only=False)


def json_loads(log: Path) -> None:
    """`json.loads` of each line and nothing else."""
    with log.open("rb") as lines:
        for line in lines:
            json.loads(line)


def cycle(config: Path) -> dict[str, float]:
    """One evaluation of `serve`: counts to numbers, the commit and, apart, writing the page."""
    loaded = load(config)
    with tempfile.TemporaryDirectory() as folder:
        once = Engine(loaded, load_layouts(loaded), Store(None)).run_once(None)
        now = max(state.newest or 0 for _, state in once.reports) / 1e6
        # With a state, a live engine reads from the beginning; at the log's own time all windows are full.
        engine = Engine(loaded, load_layouts(loaded), Store(Path(folder) / "state.duckdb"), lambda: now)
        while (snapshot := engine.cycle()).behind:
            pass
        durations = [engine.cycle().duration for _ in range(CYCLES)]
        started = time.perf_counter()
        page = log_page(snapshot, 0.0, loaded.exporter.series_limit)
        written = time.perf_counter() - started
    rows = sum(
        window.rows
        for report, _ in snapshot.reports
        for version in report.versions
        for window in version.windows
    )
    return {
        "evaluation_seconds": statistics.median(durations),
        "page_seconds": written,
        "series": page.exported,
        "dropped": page.dropped,
        "rows_in_windows": rows,
    }


def profile(config: Path) -> None:
    """`ml_exporter profile` of the first model's own log."""
    model = load(config).models[0]
    make_profile(config, model.name, Path(model.predictions.path))


CONTENDERS: dict[str, Callable[[Path], dict[str, float] | None]] = {
    "cycle": cycle,
    "exporter": exporter,
    "profile": profile,
    "yardstick": yardstick,
    "json_loads": json_loads,
}


def main() -> None:
    """Run one contender and print what it took."""
    started = time.perf_counter()
    more = CONTENDERS[sys.argv[1]](Path(sys.argv[2])) or {}
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes(), **more}))


if __name__ == "__main__":
    main()
