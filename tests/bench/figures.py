"""Put the figures of the last run of each part into the README: `python -m tests.bench.figures [--folder var/bench]`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench import ingest, peers, scale
from tests.bench.harness import ROOT, table

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
STEADY_COLUMNS = {"name": "steady state", "value": "value"}
TABLES = (
    ("ingest", "results", ingest.COLUMNS),
    ("steady", "results", STEADY_COLUMNS),
    ("scale", "runs", scale.COLUMNS),
    ("scale", "cycles", scale.CYCLE_COLUMNS),
    ("peers", "results", peers.COLUMNS),
)


def markdown(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table, text on the left and numbers on the right."""
    heading, *lines = table(columns, rows)
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heading, rule, *lines))


def section(results: Path) -> str:
    """Return the figures of all parts that were run; a part that was not is left out."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json"))}
    machines = {
        ", ".join(f"{key} {value}" for key, value in part["machine"].items()) for part in found.values()
    }
    tables = [markdown(columns, found[part][key]) for part, key, columns in TABLES if part in found]
    return "\n\n".join((*(f"Machine: {machine}." for machine in sorted(machines)), *tables))


def fill(text: str, figures: str) -> str:
    """Return a document with the figures between its marks; raises ValueError where it has none."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}"


def main() -> None:
    """Rewrite the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "var/bench")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("README.md"))
    flags = parser.parse_args()
    flags.output.write_text(fill(flags.output.read_text(), section(flags.folder / "results")))


if __name__ == "__main__":
    main()
