"""`make bench`, third part: what memory and time depend on, and what they do not.

    python -m tests.bench.scale [--rows 1000000] [--long 10000000] [--small-rows 10000]
                                [--models 1 10 100] [--features 10 100 1000] [--evaluated 100 1000]
                                [--folder var/bench]

Every line is `ml_exporter evaluate` of its logs in a process of its own, once: peaks of memory hardly
vary. The second table times evaluations of `serve` with nothing new to read.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.bench import records, shapes
from tests.bench.harness import ROOT, make_profile, print_results, report, run

Result = dict[str, float | int | str]

MODEL_FEATURES = 20
COLUMNS = {
    "name": "evaluate",
    "rows": "rows",
    "seconds": "s",
    "rows_per_second": "rows/s",
    "peak_mb": "peak MB",
}
CYCLE_COLUMNS = {
    "name": "one evaluation, nothing new to read",
    "evaluation_ms": "evaluation ms",
    "page_ms": "page ms",
    "series": "series",
    "dropped": "over the limit",
    "peak_mb": "peak MB",
}
FORMATS = (
    ("flat JSONL", "flat.jsonl", "jsonl", False),
    ("CSV", "flat.csv", "csv", False),
    ("Parquet", "flat.parquet", "parquet", False),
    ("nested JSONL, 0.1 % bad lines", "bad.jsonl", "jsonl", False),
    ("nested JSONL, labels in a separate log", "unlabelled.jsonl", "jsonl", True),
)


def evaluate(name: str, config: Path, rows: int, command: str = "exporter") -> Result:
    """Time `ml_exporter evaluate`, or another command, once."""
    done = run(command, config)
    return {
        "name": name,
        "rows": rows,
        "seconds": round(done["seconds"], 3),
        "rows_per_second": round(rows / done["seconds"]),
        "peak_mb": round(done["peak_bytes"] / 1e6),
    }


def measure_rows(folder: Path, rows: int, long: int) -> Iterator[Result]:
    """Memory of the nested log at two lengths, and of the other forms at the shorter one."""
    short = folder / str(rows)
    records.write(short, rows)
    make_profile(records.config(short, "nested.jsonl"), "bench", short / "profile.jsonl")
    yield evaluate("nested JSONL", records.config(short, "nested.jsonl"), rows)
    yield evaluate("`profile` of nested JSONL", records.config(short, "nested.jsonl"), rows, "profile")
    if long:
        longer = folder / f"long-{long}"
        records.write_long(longer, long)
        shutil.copy(short / "profile.json", longer)
        config = records.config(longer, "nested.jsonl")
        yield evaluate("nested JSONL, longer", config, long)
        yield evaluate("`profile` of nested JSONL, longer", config, long, "profile")
    for name, log, form, labels in FORMATS:
        yield evaluate(name, records.config(short, log, form, labels), rows)


def measure_models(folder: Path, models: list[int], rows: int) -> Iterator[Result]:
    """Time and memory of so many models with a small log each."""
    for count in models:
        path = shapes.write_models(folder, count, MODEL_FEATURES, rows)
        yield evaluate(f"{count:,} models, {MODEL_FEATURES} features each", path, rows * count)


def measure_features(folder: Path, features: list[int], rows: int) -> Iterator[Result]:
    """Time and memory of one model with so many features."""
    for count in features:
        yield evaluate(f"{count:,} features", shapes.write_features(folder, count, rows), rows)


def measure_cycle(folder: Path, features: int, rows: int) -> Result:
    """One evaluation of a service: 3 windows, nothing new to read."""
    done = run("cycle", shapes.write_features(folder, features, rows))
    return {
        "name": f"{features:,} features, 3 windows",
        "evaluation_ms": round(done["evaluation_seconds"] * 1e3, 1),
        "page_ms": round(done["page_seconds"] * 1e3, 1),
        "series": int(done["series"]),
        "dropped": int(done["dropped"]),
        "rows_in_windows": int(done["rows_in_windows"]),
        "peak_mb": round(done["peak_bytes"] / 1e6),
    }


def measure(flags: argparse.Namespace) -> tuple[list[Result], list[Result]]:
    """Return the lines of both tables."""
    folder, small = flags.folder, flags.small_rows
    runs = [
        *measure_rows(folder, flags.rows, flags.long),
        *measure_models(folder, flags.models, small),
        *measure_features(folder, flags.features, small),
    ]
    return runs, [measure_cycle(folder, features, small) for features in flags.evaluated]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--rows", type=int, default=1_000_000)
    found.add_argument("--long", type=int, default=10_000_000, help="rows of the longer log; 0 leaves it out")
    found.add_argument(
        "--small-rows", type=int, default=10_000, help="rows a model where models or features vary"
    )
    found.add_argument("--models", type=int, nargs="*", default=[1, 10, 100])
    found.add_argument("--features", type=int, nargs="*", default=[10, 100, 1000])
    found.add_argument(
        "--evaluated", type=int, nargs="*", default=[100, 1000], help="features of one evaluation"
    )
    found.add_argument("--folder", type=Path, default=ROOT / "var/bench")
    return found


def main() -> None:
    """Measure, print tables and JSON."""
    flags = parser().parse_args()
    runs, cycles = measure(flags)
    print_results(COLUMNS, runs)
    print()
    print_results(CYCLE_COLUMNS, cycles)
    report(flags.folder, "scale", {"runs": runs, "cycles": cycles})


if __name__ == "__main__":
    main()
