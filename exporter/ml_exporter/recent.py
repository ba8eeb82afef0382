"""Quality of what has a label already: a first look, biased by which labels come first.

Where many labels wait, a sample is looked at, chosen by the ids' hashes: those whose last k bits are 0.
Each row of it counts for 2^k, so the counts are right on average, and the same state gives the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ml_exporter.labels import EARLY
from ml_exporter.store import Store
from ml_exporter.tally import JUDGED, Tally

Recent: TypeAlias = Mapping[tuple[int, int], Tally]
"""Counts by version code and number of the window, without a histogram of scores."""

_EPSILON = float(np.finfo(np.float64).eps)
_SAMPLE = 1 << 18
"""How many labels are looked at, at most; four times as many take four times as long."""
_FEW = 10
"""A window of a version whose sample has fewer rows is left out: two right ones of two tell nothing."""

_LABELS = "SELECT count(*) FROM labels WHERE model = $model AND time > $oldest - $early AND time <= $now + $maturity"
# Each row is counted once, in the shortest window that holds it, with the label that it would be judged
# with. The losses are those of `stats.classification`.
_ROWS = (
    "SELECT p.version, CASE {cases} END AS shortest, "
    "l.label, p.class, p.score BETWEEN 0 AND 1 AS scored, "
    "CASE l.label WHEN 1 THEN p.score ELSE 1 - p.score END AS likelihood, "
    "-ln(greatest(least(likelihood, 1 - $epsilon), $epsilon)) AS log, "
    "(1 - likelihood) * (1 - likelihood) AS brier FROM pending p JOIN labels l ON l.id = p.id "
    "AND l.time BETWEEN p.time - $early AND p.time + $maturity "
    "WHERE p.model = $model AND p.id & $mask = 0 AND p.time > $oldest AND p.time <= $now AND l.model = $model "
    "AND l.id & $mask = 0 AND l.time > $oldest - $early AND l.time <= $now + $maturity "
    "QUALIFY row_number() OVER (PARTITION BY p.rowid ORDER BY l.time, l.rowid) = 1"
)
_SUMS = (
    "SELECT version, shortest, count(*) FILTER (label = 0 AND class = 0), count(*) FILTER (label = 0 AND class = 1), "
    "count(*) FILTER (label = 1 AND class = 0), count(*) FILTER (label = 1 AND class = 1), count(*) FILTER (scored), "
    "coalesce(sum(log) FILTER (scored), 0), coalesce(sum(log * log) FILTER (scored), 0), "
    "coalesce(sum(brier) FILTER (scored), 0), coalesce(sum(brier * brier) FILTER (scored), 0) "
    f"FROM ({_ROWS}) GROUP BY ALL ORDER BY ALL"
)


def recent(store: Store, model: int, maturity: int, now: int, starts: Sequence[int]) -> Recent:
    """Count the waiting predictions that have a label, or a sample of them, scaled to all.

    Windows go from `starts` (the shortest window's first) to `now`; all in microseconds.
    """
    cases = " ".join(f"WHEN p.time > {start:d} THEN {number}" for number, start in enumerate(starts))
    span = {"model": model, "early": EARLY, "maturity": maturity, "oldest": starts[-1], "now": now}
    (labels,) = store.query(_LABELS, span).fetchall()[0]
    scale = _scale(labels)
    parameters = {**span, "epsilon": _EPSILON, "mask": scale - 1}
    found = store.query(_SUMS.format(cases=cases), parameters).fetchall()
    counts: dict[tuple[int, int], Tally] = {}
    for version, shortest, *numbers in found:
        more = _tally(numbers)
        for window in range(shortest, len(starts)):
            before = counts.get((version, window))
            counts[version, window] = more if before is None else before + more
    return (
        counts
        if scale == 1
        else {key: _scaled(tally, scale) for key, tally in counts.items() if _enough(tally)}
    )


def _scale(labels: int) -> int:
    """Return the smallest power of two that brings the labels down to a sample."""
    return 1 << max(0, (labels - 1) // _SAMPLE).bit_length()


def _enough(tally: Tally) -> bool:
    return max(int(tally["confusion"].sum()), tally.count("scored")) >= _FEW


def _scaled(tally: Tally, scale: int) -> Tally:
    return Tally({name: array * scale for name, array in tally.arrays.items()})


def _tally(numbers: Sequence[float]) -> Tally:
    arrays = dict(Tally.zeros(JUDGED).arrays)
    arrays["confusion"] = np.asarray(numbers[:4], np.int64).reshape(2, 2)
    arrays["scored"] = np.asarray(numbers[4:5], np.int64)
    arrays["losses"] = np.asarray(numbers[5:], np.float64)
    return Tally(arrays)
