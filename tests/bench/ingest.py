"""`make bench`, first part: how fast logs become a page, against a yardstick in the same run.

    python -m tests.bench.ingest [--rows 1000000] [--repeats 3] [--folder var/bench]

Contenders take turns, and the medians are compared, so that a machine that is busy slows all of them.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path

from tests.bench import records
from tests.bench.harness import ROOT, make_profile, print_results, report, run

COLUMNS = {
    "name": "medians",
    "seconds": "s",
    "rows_per_second": "rows/s",
    "of_yardstick": "of yardstick",
    "peak_mb": "peak MB",
}


@dataclass(frozen=True)
class Race:
    """One line of the table: a contender and the file it is given."""

    name: str
    contender: str
    file: Path


def races(folder: Path) -> list[Race]:
    """All contenders, the yardstick first."""
    config = records.config
    return [
        Race("DuckDB's bare read_json (yardstick)", "yardstick", folder / "nested.jsonl"),
        Race("ml_exporter, nested JSONL", "exporter", config(folder, "nested.jsonl")),
        Race(
            "ml_exporter, nested JSONL, no estimates, segments, detectors",
            "exporter",
            config(folder, "nested.jsonl", profile=records.bare_profile(folder)),
        ),
        Race(
            "ml_exporter, nested JSONL, columns together too",
            "exporter",
            config(folder, "nested.jsonl", together=True),
        ),
        Race("ml_exporter, nested JSONL with 0.1 % bad lines", "exporter", config(folder, "bad.jsonl")),
        Race(
            "ml_exporter, labels in a separate log",
            "exporter",
            config(folder, "unlabelled.jsonl", labels=True),
        ),
        Race("ml_exporter, flat JSONL", "exporter", config(folder, "flat.jsonl")),
        Race("ml_exporter, CSV", "exporter", config(folder, "flat.csv", "csv")),
        Race("ml_exporter, Parquet", "exporter", config(folder, "flat.parquet", "parquet")),
        Race("json.loads of each line alone", "json_loads", folder / "nested.jsonl"),
    ]


def measure(folder: Path, rows: int, repeats: int) -> list[dict[str, float | str]]:
    """Take turns and return the medians."""
    entrants = races(folder)
    times: dict[str, list[dict[str, float]]] = {race.name: [] for race in entrants}
    for _ in range(repeats):
        for race in entrants:
            times[race.name].append(run(race.contender, race.file))
    medians = {name: statistics.median(item["seconds"] for item in found) for name, found in times.items()}
    yardstick = medians[entrants[0].name]
    return [
        {
            "name": name,
            "seconds": round(medians[name], 3),
            "rows_per_second": round(rows / medians[name]),
            "of_yardstick": round(yardstick / medians[name], 3),
            "peak_mb": round(max(item["peak_bytes"] for item in found) / 1e6),
        }
        for name, found in times.items()
    ]


def main() -> None:
    """Write the records, race, print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=ROOT / "var/bench")
    flags = parser.parse_args()
    folder = flags.folder / str(flags.rows)
    records.write(folder, flags.rows)
    make_profile(records.config(folder, "nested.jsonl", together=True), "bench", folder / "profile.jsonl")
    results = measure(folder, flags.rows, flags.repeats)
    print_results(COLUMNS, results)
    report(flags.folder, "ingest", {"rows": flags.rows, "repeats": flags.repeats, "results": results})


if __name__ == "__main__":
    main()
