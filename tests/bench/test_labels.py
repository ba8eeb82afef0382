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
    # Neither looks at what has matured. A machine that is busy makes either some times slower; a look
    # at a million rows takes as long as 20 batches of labels, a plan that multiplies tables far longer.
    assert million["add_labels"] < 4 * none["add_labels"]
    assert million["judge"] < 4 * none["judge"]
    assert million["add_labels"] < million["judge"]
    # Such a look is made once a slice.
    assert million["settle"] < 15 * none["judge"]
    # What waits is counted without looking at the rows: far faster than reading a fraction of them.
    assert million["count"] < million["judge"]
    assert million["file_mb"] * 1e6 < 60 * (PENDING + 1_000_000 + BATCH)
