"""Rows become tallies: per version, all together and per pane of each window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
        self._steps = steps
        base = (times - 1) // int(np.gcd.reduce(np.asarray(steps, np.int64)))
        # Logs are nearly in time order, so runs of equal panes are far fewer than rows.
        starts = (
            np.flatnonzero(np.concatenate(([True], base[1:] != base[:-1])))
            if times.size
            else np.zeros(0, int)
        )
        panes = np.stack([self._panes(times[starts], step, clock) for step in steps], axis=1)
        self.keys, inverse = np.unique(panes, axis=0, return_inverse=True)
        lengths = np.diff(np.append(starts, times.size))
        self.of_row: IntArray = np.repeat(inverse.reshape(-1), lengths)

    def __len__(self) -> int:
        return len(self.keys)

    def outside(self) -> IntArray:
        """Groups that are in no window, as indices."""
        return np.flatnonzero((self.keys == _OUT).all(axis=1))

    def windows(self) -> Iterator[tuple[Where, IntArray]]:
        """Give each pane and the groups that make it up."""
        for window in range(len(self._steps)):
            for pane in np.unique(self.keys[:, window]):
                if pane != _OUT:
                    yield (window, int(pane)), np.flatnonzero(self.keys[:, window] == pane)

    @staticmethod
    def _panes(times: IntArray, step: int, clock: int) -> IntArray:
        panes = (times - 1) // step
        return np.where(panes < oldest_pane(clock, step), _OUT, panes)


def count_inputs(
    rows: Predictions, layout: Layout, steps: Sequence[int], clock: int, latency_limit: float | None
) -> tuple[Counts, int]:
    """Count predictions as they are read; also how many of them are in no window.

    `steps` are the windows' pane lengths, `clock` the latest time known, all in microseconds.
    """
    groups = Groups(rows.times, steps, clock)
    tables = _traffic(rows, groups, latency_limit)
    tables |= {"cells": _cells(rows, layout, groups), "outside": _outside(rows, layout, groups)}
    outside = int(tables["rows"][groups.outside()].sum())
    return _merged(tables, groups, input_shape(layout.size, len(layout.cells))), outside


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
    return _merged(tables, groups, JUDGED, histograms)


def _merged(
    tables: Mapping[str, NDArray[Any]],
    groups: Groups,
    shape: Shape,
    histograms: Sequence[ScoreHistogram] | None = None,
) -> Counts:
    def tally(members: IntArray | slice) -> Tally:
        arrays = {}
        for name, (size, dtype) in shape.arrays.items():
            arrays[name] = tables[name][members].sum(axis=0).reshape(size).astype(dtype)
        if histograms is None:
            return Tally(arrays)
        chosen = histograms if isinstance(members, slice) else [histograms[index] for index in members]
        return Tally(arrays, ScoreHistogram.merge(chosen))

    return Counts(tally(slice(None)), {where: tally(members) for where, members in groups.windows()})


def _traffic(rows: Predictions, groups: Groups, latency_limit: float | None) -> dict[str, NDArray[Any]]:
    group, n = groups.of_row, len(groups)
    timed = np.isfinite(rows.latency)
    latency, buckets = rows.latency[timed], len(LATENCY_BOUNDS) + 1
    slow = latency > latency_limit if latency_limit is not None else np.zeros(latency.size, np.bool_)
    return {
        "rows": _count(group, n),
        "errors": _count(group[rows.errors], n),
        "slow": _count(group[timed][slow], n),
        "latency": _table(group[timed], np.searchsorted(LATENCY_BOUNDS, latency), n, buckets),
        "latency_sum": np.bincount(group[timed], weights=latency, minlength=n),
    }


def _cells(rows: Predictions, layout: Layout, groups: Groups) -> IntArray:
    table = np.zeros((len(groups), layout.size), np.int64)
    for name, codes, chosen in _codes(rows, layout):
        cells = layout.cells[name]
        group = groups.of_row if chosen is None else groups.of_row[chosen]
        cells.of(table)[...] = _table(group, codes, len(groups), cells.size)
    return table


def _codes(rows: Predictions, layout: Layout) -> Iterator[tuple[str, IntArray, BoolArray | None]]:
    """Give each column's codes, and which rows they are of where not all of them."""
    for name, cells in layout.cells.items():
        if name in rows.numbers:
            yield name, numeric_codes(rows, cells), None
        elif name in rows.categories:
            yield name, layout.category_codes(name, rows.category_values[name])[rows.categories[name]], None
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


def _outside(rows: Predictions, layout: Layout, groups: Groups) -> IntArray:
    table = np.zeros((len(groups), len(layout.cells)), np.int64)
    for cells in layout.numeric():
        values = rows.scores if cells.name == "score" else None
        values = rows.numbers[cells.name].values if cells.name in rows.numbers else values
        if values is not None:
            low, high = layout.limits[cells.name]
            beyond = ((values < low) | (values > high)) & np.isfinite(values)
            if beyond.any():
                table[:, layout.positions[cells.name]] = _count(groups.of_row[beyond], len(groups))[:, 0]
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
