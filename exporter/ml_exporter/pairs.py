"""Versions compared on the same ids: what a shadow would have answered beside the champion."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, TypeAlias

import duckdb
import numpy as np

from ml_exporter.sources.batch import NEGATIVE, POSITIVE
from ml_exporter.stats.arrays import FloatArray
from ml_exporter.stats.classification import row_brier, row_log_loss
from ml_exporter.stats.sums import RowSums

Pair: TypeAlias = tuple[int, int]
"""Codes of two versions; sums of a pair are how much better the second is than the first."""

_COLUMNS = (
    "a.time, a.id, a.version AS version_a, b.version AS version_b, "
    "a.score AS score_a, b.score AS score_b, a.class AS class_a, b.class AS class_b, "
    "coalesce(a.label, b.label, $silent) AS label"
)
_NEAR = "b.id = a.id AND b.time BETWEEN a.time - $reach AND a.time + $reach"
_PAIRS = (
    f"SELECT * FROM (SELECT {_COLUMNS} FROM temp.ripe a JOIN temp.ripe b ON {_NEAR} AND b.version > a.version "
    f"UNION ALL SELECT {_COLUMNS} FROM temp.ripe a JOIN matured b ON {_NEAR} AND b.version <> a.version "
    "AND b.model = $model AND b.class IS NOT NULL AND b.time BETWEEN $oldest - $reach AND $newest + $reach) "
    f"WHERE label >= {NEGATIVE} ORDER BY time, id, version_a, version_b"
)


def compare(
    connection: duckdb.DuckDBPyConnection,
    model: int,
    silent_label: int,
    reach: int,
    pairs: MutableMapping[Pair, dict[str, RowSums]],
) -> None:
    """Add the differences of all pairs that `ripe` completes: within it, and with what matured before.

    A pair whose halves matured in different cycles is found when the later one does. Its time stamps
    are at most `reach` microseconds apart, as those of predictions that share a label are, so of what
    has matured only the newest part is looked at, however much is remembered: rows lie in the order of
    their time, and DuckDB skips the groups of rows whose times cannot do.
    """
    span = connection.execute("SELECT min(time), max(time) FROM temp.ripe").fetchone()
    assert span is not None
    parameters = {
        "model": model,
        "silent": silent_label,
        "reach": reach,
        "oldest": span[0],
        "newest": span[1],
    }
    rows = connection.execute(_PAIRS, parameters).fetchnumpy()
    codes = rows["version_a"].astype(np.int64) << 16 | rows["version_b"]
    for code in np.unique(codes):
        first, second = int(code) >> 16, int(code) & 0xFFFF
        chosen = {name: np.asarray(column[codes == code]) for name, column in rows.items()}
        for metric, better in _differences(chosen).items():
            for pair, values in (((first, second), better), ((second, first), -better)):
                sums = pairs.setdefault(pair, {})
                sums[metric] = sums.get(metric, RowSums()) + RowSums.of(values)


def _differences(rows: Mapping[str, Any]) -> dict[str, FloatArray]:
    """How much better the second prediction of each pair is; positive means better."""
    positive = rows["label"] == POSITIVE
    decided = (rows["class_a"] >= NEGATIVE) & (rows["class_b"] >= NEGATIVE)
    right = [(rows[name] == rows["label"])[decided].astype(np.float64) for name in ("class_a", "class_b")]
    scored = (np.minimum(rows["score_a"], rows["score_b"]) >= 0.0) & (
        np.maximum(rows["score_a"], rows["score_b"]) <= 1.0
    )
    first, second, truth = rows["score_a"][scored], rows["score_b"][scored], positive[scored]
    return {
        "accuracy": right[1] - right[0],
        "brier_score": row_brier(first, truth) - row_brier(second, truth),
        "log_loss": row_log_loss(first, truth) - row_log_loss(second, truth),
    }
