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
# The losses are those of `stats.classification`, as sums over the rows that carry a score.
_SUMS = (
    "SELECT p.version, w.number, count(*) FILTER (l.label = 0 AND p.class = 0), "
    "count(*) FILTER (l.label = 0 AND p.class = 1), count(*) FILTER (l.label = 1 AND p.class = 0), "
    "count(*) FILTER (l.label = 1 AND p.class = 1), count(*) FILTER (p.score BETWEEN 0 AND 1), "
    "{losses} FROM pending p JOIN labels l ON l.id = p.id AND l.model = p.model "
    "AND l.time BETWEEN p.time - $early AND p.time + $maturity "
    "JOIN (SELECT unnest($starts) AS start, unnest(range(len($starts))) AS number) w ON p.time > w.start "
    "WHERE p.model = $model AND p.time BETWEEN $oldest AND $now GROUP BY ALL"
)
_LIKELIHOOD = "CASE l.label WHEN 1 THEN p.score ELSE 1 - p.score END"
_LOSSES = (
    f"(-ln(greatest(least({_LIKELIHOOD}, {1 - _EPSILON!r}), {_EPSILON!r})))",
    f"(1 - {_LIKELIHOOD})",
)


def recent(store: Store, model: int, maturity: int, now: int, starts: Sequence[int]) -> Recent:
    """Count the waiting predictions that have a label; windows go from `starts` to `now` (microseconds)."""
    log, distance = _LOSSES
    terms = (log, f"{log} ** 2", f"{distance} ** 2", f"{distance} ** 4")
    losses = ", ".join(f"coalesce(sum({term}) FILTER (p.score BETWEEN 0 AND 1), 0)" for term in terms)
    rows = store.query(
        _SUMS.format(losses=losses),
        {
            "model": model,
            "early": EARLY,
            "maturity": maturity,
            "starts": list(starts),
            "oldest": min(starts),
            "now": now,
        },
    ).fetchall()
    return {(version, window): _tally(numbers) for version, window, *numbers in rows}


def _tally(numbers: Sequence[float]) -> Tally:
    arrays = dict(Tally.zeros(JUDGED).arrays)
    arrays["confusion"] = np.asarray(numbers[:4], np.int64).reshape(2, 2)
    arrays["scored"] = np.asarray(numbers[4:5], np.int64)
    arrays["losses"] = np.asarray(numbers[5:], np.float64)
    return Tally(arrays)
