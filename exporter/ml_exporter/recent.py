"""Quality of what has a label already: a first look, biased by which labels come first."""

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
# Each row is counted once, in the shortest window that holds it. The losses are those of
# `stats.classification`.
_ROWS = (
    "SELECT p.version, CASE {cases} END AS shortest, "
    "l.label, p.class, p.score BETWEEN 0 AND 1 AS scored, "
    "CASE l.label WHEN 1 THEN p.score ELSE 1 - p.score END AS likelihood, "
    "-ln(greatest(least(likelihood, 1 - $epsilon), $epsilon)) AS log, "
    "(1 - likelihood) * (1 - likelihood) AS brier FROM pending p JOIN labels l ON l.id = p.id AND l.model = p.model "
    "AND l.time BETWEEN p.time - $early AND p.time + $maturity "
    "WHERE p.model = $model AND p.time > $oldest AND p.time <= $now"
)
_SUMS = (
    "SELECT version, shortest, count(*) FILTER (label = 0 AND class = 0), count(*) FILTER (label = 0 AND class = 1), "
    "count(*) FILTER (label = 1 AND class = 0), count(*) FILTER (label = 1 AND class = 1), count(*) FILTER (scored), "
    "coalesce(sum(log) FILTER (scored), 0), coalesce(sum(log * log) FILTER (scored), 0), "
    "coalesce(sum(brier) FILTER (scored), 0), coalesce(sum(brier * brier) FILTER (scored), 0) "
    f"FROM ({_ROWS}) GROUP BY ALL ORDER BY ALL"
)


def recent(store: Store, model: int, maturity: int, now: int, starts: Sequence[int]) -> Recent:
    """Count the waiting predictions that have a label.

    Windows go from `starts` (the shortest window's first) to `now`; all in microseconds.
    """
    cases = " ".join(f"WHEN p.time > {start:d} THEN {number}" for number, start in enumerate(starts))
    parameters = {
        "model": model,
        "early": EARLY,
        "maturity": maturity,
        "oldest": starts[-1],
        "now": now,
        "epsilon": _EPSILON,
    }
    found = store.query(_SUMS.format(cases=cases), parameters).fetchall()
    counts: dict[tuple[int, int], Tally] = {}
    for version, shortest, *numbers in found:
        more = _tally(numbers)
        for window in range(shortest, len(starts)):
            before = counts.get((version, window))
            counts[version, window] = more if before is None else before + more
    return counts


def _tally(numbers: Sequence[float]) -> Tally:
    arrays = dict(Tally.zeros(JUDGED).arrays)
    arrays["confusion"] = np.asarray(numbers[:4], np.int64).reshape(2, 2)
    arrays["scored"] = np.asarray(numbers[4:5], np.int64)
    arrays["losses"] = np.asarray(numbers[5:], np.float64)
    return Tally(arrays)
