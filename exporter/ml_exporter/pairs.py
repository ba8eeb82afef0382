"""Versions compared on the same ids: what a shadow would have answered beside the champion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ml_exporter.judged import Judged
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.sums import RowSums
from ml_exporter.store import Store

Pair: TypeAlias = tuple[int, int]
"""Codes of two versions; sums of a pair are how much better the second is than the first."""

Losses: TypeAlias = Callable[[Judged], Mapping[str, FloatArray]]
"""Losses of judged rows by metric, NaN where a row has none."""

# Where silence means negative, a label may come in time for one of two and too late for the other.
_NEAR = "b.id = a.id AND b.time BETWEEN a.time - $reach AND a.time + $reach AND b.labelled = a.labelled"
_COLUMNS = (
    "a.time, a.id, a.version AS first_version, b.version AS second_version, "
    "a.losses AS first_losses, b.losses AS second_losses"
)
_PAIRS = (
    f"SELECT {_COLUMNS} FROM temp.answered a JOIN temp.answered b ON {_NEAR} AND b.version > a.version "
    f"UNION ALL SELECT {_COLUMNS} FROM temp.answered a JOIN matured b ON {_NEAR} AND b.version <> a.version "
    "AND b.model = $model AND b.losses IS NOT NULL AND b.time BETWEEN $oldest - $reach AND $newest + $reach"
)


@dataclass(frozen=True)
class Answered:
    """n rows that are judged now, of all versions: what pairs are made of, and what is remembered."""

    ids: np.ndarray[Any, np.dtype[np.uint64]]
    times: IntArray
    versions: np.ndarray[Any, Any]
    labelled: BoolArray
    losses: Mapping[str, FloatArray]


def compare(
    store: Store, model: int, rows: Answered, reach: int, pairs: MutableMapping[Pair, dict[str, RowSums]]
) -> None:
    """Add the differences of all pairs that `rows` complete, and remember the rows for later ones.

    Both are judged by a label, or both without one. A pair whose halves matured in different cycles is found when the later one does. Its time stamps
    are at most `reach` microseconds apart, as those of predictions that share a label are, so of what
    has matured only the newest part is looked at, however much is remembered: rows lie in the order of
    their time, and DuckDB skips the groups of rows whose times cannot do.
    """
    if not rows.times.size:
        return
    _put(store, rows)
    span = {"oldest": int(rows.times.min()), "newest": int(rows.times.max())}
    names = list(rows.losses)
    listed = ", ".join(
        f"{side}_losses[{place + 1}] AS {side}_{place}"
        for side in ("first", "second")
        for place in range(len(names))
    )
    found = store.query(
        f"SELECT first_version, second_version, {listed} FROM ({_PAIRS}) ORDER BY time, id, first_version, second_version",
        {"model": model, "reach": reach, **span},
    ).fetchnumpy()
    _add(found, names, pairs)
    store.query(
        "INSERT INTO matured SELECT $model, id, time, version, labelled, losses FROM temp.answered",
        {"model": model},
    )


def _put(store: Store, rows: Answered) -> None:
    losses = {f"l{place}": loss for place, loss in enumerate(rows.losses.values())}
    batch = {
        "id": rows.ids,
        "time": rows.times,
        "version": rows.versions,
        "labelled": rows.labelled,
        **losses,
    }
    store.query(
        "CREATE OR REPLACE TEMP TABLE answered AS SELECT id, time, version, labelled, "
        f"[{', '.join(losses)}] AS losses FROM batch",
        {},
        batch,
    )


def _add(found: Mapping[str, Any], names: list[str], pairs: MutableMapping[Pair, dict[str, RowSums]]) -> None:
    codes = found["first_version"].astype(np.int64) << 16 | found["second_version"]
    for code in np.unique(codes):
        first, second, own = int(code) >> 16, int(code) & 0xFFFF, codes == code
        for place, metric in enumerate(names):
            losses = [np.ma.filled(found[f"{side}_{place}"][own], np.nan) for side in ("first", "second")]
            better = losses[0] - losses[1]
            better = better[np.isfinite(better)]
            for pair, values in (((first, second), better), ((second, first), -better)):
                sums = pairs.setdefault(pair, {})
                sums[metric] = sums.get(metric, RowSums()) + RowSums.of(values)
