"""Rows become tallies: per version, all together and per pane of each window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_exporter.layout import Cells, Layout
from ml_exporter.sources.batch import ABSENT, INVALID, NEGATIVE, POSITIVE, Predictions
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.classification import row_brier, row_log_loss
from ml_exporter.stats.scores import ScoreHistogram
from ml_exporter.tally import JUDGED, LATENCY_BOUNDS, Shape, Tally, input_shape
from ml_exporter.windows import oldest_pane

Where = tuple[int, int]
"""A window (its index) and the number of a pane in it."""

_OUT = -(2**62)


@dataclass(frozen=True)
class Judged:
    """n mature predictions with what became of them; codes and NaN as in `sources.batch`."""

    times: IntArray
    scores: FloatArray
    classes: NDArray[np.int8]
    labels: NDArray[np.int8]


@dataclass(frozen=True)
class Counts:
    """Tallies of some rows: `total` of all of them, `panes` of those that are in a window."""

    total: Tally
    panes: Mapping[Where, Tally]


class Groups:
    """Splits rows by the panes they belong to, so that one pass over a column serves all windows.

    Rows of one group share their pane in every window; rows that are in none share a group too.
    `clock` (microseconds) bounds the panes: what has left a window by then is not kept for it.
    """

    def __init__(self, times: IntArray, steps: Sequence[int], clock: int) -> None:
        # Every pane is made of whole ticks, so all that follows need not look at rows.
        tick = int(np.gcd.reduce(np.asarray(steps, np.int64)))
        oldest = min(oldest_pane(clock, step) * (step // tick) for step in steps)
        ticks = np.maximum((times - 1) // tick, oldest - 1)
        # Logs are nearly in time order, so runs of equal ticks are far fewer than rows.
        starts = np.flatnonzero(np.diff(ticks, prepend=oldest - 2))
        found, position = np.unique(ticks[starts], return_inverse=True)
        panes = np.stack([_panes(found // (step // tick), step, clock) for step in steps], axis=1)
        # In the order of time panes only grow, so equal rows of `panes` stand together.
        new = np.diff(panes, axis=0, prepend=panes[:1] - 1).any(axis=1)
        self.keys: IntArray = panes[new]
        lengths = np.diff(np.append(starts, times.size))
        self.of_row: IntArray = np.repeat((np.cumsum(new) - 1)[position], lengths)

    def __len__(self) -> int:
        return len(self.keys)

    def outside(self) -> IntArray:
        """Groups that are in no window, as indices."""
        return np.flatnonzero((self.keys == _OUT).all(axis=1))

    def windows(self) -> Iterator[tuple[int, IntArray, IntArray]]:
        """Give each window (its index) that has panes, these, and where their groups begin and end.

        A pane's groups stand together: those of pane i are from bound i to bound i + 1.
        """
        for window, panes in enumerate(self.keys.T):
            starts = np.flatnonzero(np.diff(panes, prepend=_OUT))
            if starts.size:
                yield window, panes[starts], np.append(starts, len(self))


def _panes(panes: IntArray, step: int, clock: int) -> IntArray:
    return np.where(panes < oldest_pane(clock, step), _OUT, panes)


def count_inputs(
    rows: Predictions, layout: Layout, steps: Sequence[int], clock: int, latency_limit: float | None
) -> tuple[dict[int, Counts], int]:
    """Count predictions as they are read, by version code; also how many of them are in no window.

    `steps` are the windows' pane lengths, `clock` the latest time known, all in microseconds.
    """
    panes = Groups(rows.times, steps, clock)
    versions = np.flatnonzero(np.bincount(rows.versions))
    group, n = panes.of_row, len(panes)
    if versions.size > 1:  # one pass over a column serves all of them too
        position = np.zeros(versions[-1] + 1, np.int64)
        position[versions] = np.arange(versions.size) * n
        group = position[rows.versions] + group
    tables = _traffic(rows, group, versions.size * n, latency_limit)
    tables["cells"] = _cells(rows, layout, group, versions.size * n)
    tables["outside"] = _outside(rows, layout, group, versions.size * n)
    shape, counts, outside = input_shape(layout.size, len(layout.cells)), {}, 0
    for index, code in enumerate(versions.tolist()):
        own = {name: table[index * n : (index + 1) * n] for name, table in tables.items()}
        counts[code] = _merged(own, panes, shape, "rows")
        outside += int(own["rows"][panes.outside()].sum())
    return counts, outside


def count_judged(rows: Judged, steps: Sequence[int], clock: int) -> Counts:
    """Count mature predictions; `clock` is where the quality windows end, in microseconds."""
    groups = Groups(rows.times, steps, clock)
    labelled = rows.labels >= NEGATIVE
    decided = labelled & (rows.classes >= NEGATIVE)
    scored = labelled & (rows.scores >= 0.0) & (rows.scores <= 1.0)
    group, n = groups.of_row, len(groups)
    cells = rows.labels[decided].astype(np.int64) * 2 + rows.classes[decided]
    tables: dict[str, NDArray[Any]] = {
        "mature": _count(group, n),
        "labelled": _count(group[labelled], n),
        "labels": _table(group[labelled], rows.labels[labelled], n, 2),
        "confusion": _table(group[decided], cells, n, 4).reshape(n, 2, 2),
        "scored": _count(group[scored], n),
        "losses": _losses(rows.scores[scored], rows.labels[scored] == POSITIVE, group[scored], n),
    }
    histograms = _histograms(rows.scores[scored], rows.labels[scored] == POSITIVE, group[scored], n)
    return _merged(tables, groups, JUDGED, "mature", histograms)


def _merged(
    tables: Mapping[str, NDArray[Any]],
    groups: Groups,
    shape: Shape,
    counted: str,
    histograms: Sequence[ScoreHistogram] | None = None,
) -> Counts:
    """Sum tables, one row for each group, to tallies; the one named `counted` tells where there are rows."""

    def tally(arrays: Mapping[str, NDArray[Any]], members: slice) -> Tally:
        shaped = {
            name: arrays[name].astype(kind).reshape(size) for name, (size, kind) in shape.arrays.items()
        }
        return Tally(shaped, None if histograms is None else ScoreHistogram.merge(histograms[members]))

    panes: dict[Where, Tally] = {}
    for window, numbers, bounds in groups.windows():
        sums = {name: np.add.reduceat(table, bounds[:-1], axis=0) for name, table in tables.items()}
        for index, (number, ends) in enumerate(zip(numbers, pairwise(bounds), strict=True)):
            if sums[counted][index].any():
                row = {name: table[index] for name, table in sums.items()}
                panes[window, int(number)] = tally(row, slice(*ends))
    return Counts(tally({name: table.sum(axis=0) for name, table in tables.items()}, slice(None)), panes)


def _traffic(
    rows: Predictions, group: IntArray, n: int, latency_limit: float | None
) -> dict[str, NDArray[Any]]:
    # A negative latency would let the sum fall, and a counter must not.
    timed = np.isfinite(rows.latency) & (rows.latency >= 0.0)
    latency, buckets = rows.latency[timed], len(LATENCY_BOUNDS) + 1
    slow = latency > latency_limit if latency_limit is not None else np.zeros(latency.size, np.bool_)
    return {
        "rows": _count(group, n),
        "errors": _count(group[rows.errors], n),
        "slow": _count(group[timed][slow], n),
        "latency": _table(group[timed], np.searchsorted(LATENCY_BOUNDS, latency), n, buckets),
        "latency_sum": np.bincount(group[timed], weights=latency, minlength=n),
    }


def _cells(rows: Predictions, layout: Layout, group: IntArray, n: int) -> IntArray:
    table = np.zeros((n, layout.size), np.int64)
    for name, codes, chosen in _codes(rows, layout):
        cells = layout.cells[name]
        cells.of(table)[...] = _table(group if chosen is None else group[chosen], codes, n, cells.size)
    return table


def _codes(rows: Predictions, layout: Layout) -> Iterator[tuple[str, IntArray, BoolArray | None]]:
    """Give each column's codes, and which rows they are of where not all of them."""
    # Versions may differ in a feature's kind; a column of the other kind is not counted.
    for cells in layout.numeric():
        if cells.name in rows.numbers:
            yield cells.name, numeric_codes(rows, cells), None
    for cells in layout.categorical():
        if cells.name in rows.categories:
            table = layout.category_codes(cells.name, rows.category_values[cells.name])
            yield cells.name, table[rows.categories[cells.name]], None
    # A request that failed has no score and no prediction; that is an error, not a missing value.
    served = None if not rows.errors.any() else ~rows.errors
    if "score" in layout.cells:
        scores = rows.scores if served is None else rows.scores[served]
        yield "score", layout.cells["score"].numeric_codes(scores, np.isnan(scores)), served
    if "prediction" in layout.cells:
        classes = rows.classes if served is None else rows.classes[served]
        yield "prediction", class_codes(layout.cells["prediction"], classes), served


def numeric_codes(rows: Predictions, cells: Cells) -> IntArray:
    """Codes of a numeric feature."""
    column = rows.numbers[cells.name]
    codes = cells.numeric_codes(column.values, column.missing)
    if column.wrong_type is not None:
        codes[column.wrong_type] = cells.invalid
    return codes


def class_codes(cells: Cells, classes: NDArray[np.int8]) -> IntArray:
    """Codes of a column of classes."""
    codes = classes.astype(np.int64)
    codes[classes == ABSENT] = cells.missing
    codes[classes == INVALID] = cells.invalid
    return codes


def _outside(rows: Predictions, layout: Layout, group: IntArray, n: int) -> IntArray:
    table = np.zeros((n, len(layout.cells)), np.int64)
    for cells in layout.numeric():
        values = rows.scores if cells.name == "score" else None
        values = rows.numbers[cells.name].values if cells.name in rows.numbers else values
        if values is not None:
            low, high = layout.limits[cells.name]
            beyond = (values < low) | (values > high)
            if beyond.any():
                beyond &= np.isfinite(values)
                table[:, layout.positions[cells.name]] = _count(group[beyond], n)[:, 0]
    return table


def _losses(scores: FloatArray, positive: BoolArray, group: IntArray, n: int) -> FloatArray:
    log, brier = row_log_loss(scores, positive), row_brier(scores, positive)
    sums = (np.bincount(group, weights=loss, minlength=n) for loss in (log, log * log, brier, brier * brier))
    return np.stack(list(sums), axis=1)


def _histograms(scores: FloatArray, positive: BoolArray, group: IntArray, n: int) -> list[ScoreHistogram]:
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=n))
    parts = zip(np.split(scores[order], ends[:-1]), np.split(positive[order], ends[:-1]), strict=True)
    return [ScoreHistogram.of(part, labels) for part, labels in parts]


def _count(group: IntArray, n: int) -> IntArray:
    return np.bincount(group, minlength=n).reshape(n, 1)


def _table(group: IntArray, codes: NDArray[Any], n: int, size: int) -> IntArray:
    return np.bincount(group * size + codes, minlength=n * size).reshape(n, size)
