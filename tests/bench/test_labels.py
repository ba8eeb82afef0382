"""The benchmark of the label join in small: it runs, and what it measures stays in proportion."""

from __future__ import annotations

from pathlib import Path

from tests.bench.labels import BATCH, fill, measure

PENDING = 1_000_000


def measured(folder: Path, matured: int) -> dict[str, float]:
    path = folder / f"{matured}.duckdb"
    fill(path, PENDING, matured)
    return measure(path, PENDING, matured)


def test_a_million_that_matured_hardly_slow_the_join(tmp_path: Path) -> None:
    none, million = measured(tmp_path, 0), measured(tmp_path, 1_000_000)
    # A machine that is busy makes either up to some times slower; a plan that multiplies both tables makes
    # it hundreds of times.
    assert million["add_labels"] < 8 * none["add_labels"]
    assert million["judge"] < 8 * none["judge"]
    # What waits is counted without looking at the rows: far faster than reading a fraction of them.
    assert million["count"] < million["judge"]
    assert million["file_mb"] * 1e6 < 60 * (PENDING + 1_000_000 + BATCH)
