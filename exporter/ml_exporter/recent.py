"""Quality of what has a label already: a first look, biased by which labels come first.

Where many labels wait, a sample is looked at, chosen by the ids' hashes: those whose last k bits are 0.
Each row of it counts for 2^k, so the counts are right on average, and the same state gives the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ml_exporter.judging import Judging
from ml_exporter.labels import EARLY
from ml_exporter.pending import PendingRows
from ml_exporter.store import Store
from ml_exporter.tally import Tally

Recent: TypeAlias = Mapping[tuple[int, int], Tally]
"""Counts by version code and number of the window, without a histogram."""

_SAMPLE = 1 << 18
"""How many labels are looked at, at most; four times as many take four times as long."""
_FEW = 10
"""A window of a version whose sample has fewer rows is left out: two right ones of two tell nothing."""

_LABELS = "SELECT count(*) FROM labels WHERE model = $model AND time > $oldest - $early AND time <= $now + $maturity"
# Each row comes once, with the label that it would be judged with and the shortest window that holds it.
_ROWS = (
    "SELECT {columns}, shortest, label FROM (SELECT p.*, CASE {cases} END AS shortest, l.label AS label, "
    "row_number() OVER (PARTITION BY p.rowid ORDER BY l.time, l.rowid) AS place FROM pending p "
    "JOIN labels l ON l.id = p.id AND l.time BETWEEN p.time - $early AND p.time + $maturity "
    "WHERE p.model = $model AND p.id & $mask = 0 AND p.time > $oldest AND p.time <= $now AND l.model = $model "
    "AND l.id & $mask = 0 AND l.time > $oldest - $early AND l.time <= $now + $maturity) WHERE place = 1"
)


def recent(
    store: Store,
    model: int,
    rows: PendingRows,
    judging: Mapping[int, Judging],
    maturity: int,
    now: int,
    starts: Sequence[int],
) -> Recent:
    """Count the waiting predictions that have a label, or a sample of them, scaled to all.

    Windows go from `starts` (the shortest window's first) to `now`; all in microseconds. `judging`
    counts the rows of a version, by its code.
    """
    cases = " ".join(f"WHEN p.time > {start:d} THEN {number}" for number, start in enumerate(starts))
    span = {"model": model, "early": EARLY, "maturity": maturity, "oldest": starts[-1], "now": now}
    (labels,) = store.query(_LABELS, span).fetchall()[0]
    scale = _scale(labels)
    statement = _ROWS.format(columns=rows.columns, cases=cases)
    found = store.query(statement, {**span, "mask": scale - 1}).fetchnumpy()
    known = np.asarray(np.ma.filled(found["label"], np.nan), np.float64)
    versions, shortest = np.asarray(found["version"]), np.asarray(found["shortest"])
    counts: dict[tuple[int, int], Tally] = {}
    for version in np.unique(versions).tolist():
        if version not in judging:
            continue
        for window in range(len(starts)):
            chosen = (versions == version) & (shortest <= window)
            if scale == 1 or np.count_nonzero(chosen) >= _FEW:
                judged = rows.judged(found, chosen, known)
                counts[version, window] = judging[version].whole(judged).scaled(scale)
    return counts


def _scale(labels: int) -> int:
    """Return the smallest power of two that brings the labels down to a sample."""
    return 1 << max(0, (labels - 1) // _SAMPLE).bit_length()
