"""Predictions become tallies as they are read: per version, all together and per pane of each window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml_exporter.embeddings import read_as, vector_tallies
from ml_exporter.groups import Counts, Groups, Where, count, merged, table
from ml_exporter.hours import by_hour
from ml_exporter.joint import Sample
from ml_exporter.layout import Cells, Layout
from ml_exporter.profile import NumericColumn
from ml_exporter.sources.batch import ABSENT, INVALID, POSITIVE, ClassArray, Numbers, Predictions
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.tally import COUNTED, LATENCY_BOUNDS, Tally, input_shape


def count_inputs(
    rows: Predictions,
    layout: Layout,
    steps: Sequence[int],
    clock: int,
    latency_limit: float | None,
    kept: Sequence[int] | None = None,
    joint: int | None = None,
    alert: int = 0,
) -> tuple[dict[int, Counts], int]:
    """Count predictions as they are read, by version code; also how many of them are in no window.

    `steps` are the windows' pane lengths, `clock` the latest time known, all in microseconds; `kept` as
    in `Groups`; `joint` is the window in which columns are counted together too,
    `alert` the one in which embeddings are.
    """
    panes = Groups(rows.times, steps, clock, kept)
    versions = np.flatnonzero(np.bincount(rows.versions))
    group, n = panes.of_row, len(panes)
    place = np.zeros(len(rows), np.int64)
    if versions.size > 1:  # one pass over a column serves all of them too
        position = np.zeros(versions[-1] + 1, np.int64)
        position[versions] = np.arange(versions.size)
        place = position[rows.versions]
        group = place * n + group
    sample = None
    if joint is not None and layout.coding is not None:
        sample = Sample(layout.coding, rows, panes.panes(joint), place, versions.size)
    tables = _traffic(rows, group, versions.size * n, latency_limit)
    tables["cells"] = _cells(rows, layout, group, versions.size * n, sample)
    tables["failed"] = _failed(rows, layout, group, versions.size * n)
    tables["estimated"] = _estimated(rows, layout, group, versions.size * n)
    shape = input_shape(layout.size, len(layout.cells), layout.estimated)
    hours = _hours(rows, versions)
    together = _by_version(versions, joint or 0, sample.tallies() if sample is not None else ())
    vectors: Iterable[Placed] = ()
    if layout.embeddings:
        vectors = vector_tallies(rows, layout.embeddings, panes, alert, place, versions.size)
    summed = _by_version(versions, alert, vectors)
    counts, outside = {}, 0
    for index, code in enumerate(versions.tolist()):
        own = {name: table[index * n : (index + 1) * n] for name, table in tables.items()}
        counts[code] = replace(
            merged(own, panes, shape, "rows"), hours=hours[code], joint=together[code], vectors=summed[code]
        )
        outside += int(own["rows"][panes.outside()].sum())
    return counts, outside


Placed: TypeAlias = tuple[int, int, Tally]
"""The place of a version, the number of a pane, and what was counted in it."""


def _by_version(versions: IntArray, window: int, tallies: Iterable[Placed]) -> dict[int, dict[Where, Tally]]:
    found: dict[int, dict[Where, Tally]] = {code: {} for code in versions.tolist()}
    for index, pane, tally in tallies:
        found[int(versions[index])][window, pane] = tally
    return found


def _hours(rows: Predictions, versions: IntArray) -> dict[int, dict[int, FloatArray]]:
    """Rows and predicted positives by hour, for each version."""
    found = {}
    for code in versions.tolist():
        own = slice(None) if versions.size == 1 else rows.versions == code
        times = rows.times[own]
        found[code] = by_hour(times, (np.ones(times.size), rows.classes[own] == POSITIVE))
    return found


def _traffic(
    rows: Predictions, group: IntArray, n: int, latency_limit: float | None
) -> dict[str, NDArray[Any]]:
    # A negative latency would let the sum fall, and a counter must not.
    timed = np.isfinite(rows.latency) & (rows.latency >= 0.0)
    latency, buckets = rows.latency[timed], len(LATENCY_BOUNDS) + 1
    slow = latency > latency_limit if latency_limit is not None else np.zeros(latency.size, np.bool_)
    return {
        "rows": count(group, n),
        "errors": count(group[rows.errors], n),
        "slow": count(group[timed][slow], n),
        "latency": table(group[timed], np.searchsorted(LATENCY_BOUNDS, latency), n, buckets),
        "latency_sum": np.bincount(group[timed], weights=latency, minlength=n),
    }


def _cells(rows: Predictions, layout: Layout, group: IntArray, n: int, sample: Sample | None) -> IntArray:
    found = np.zeros((n, layout.size), np.int64)
    for name, codes, chosen in _codes(rows, layout):
        if sample is not None:
            sample.take(name, codes)
        cells = layout.cells[name]
        cells.of(found)[...] = table(group if chosen is None else group[chosen], codes, n, cells.size)
    return found


def _codes(rows: Predictions, layout: Layout) -> Iterator[tuple[str, IntArray, BoolArray | None]]:
    """Give each column's codes, and which rows they are of where not all of them."""
    # Versions may differ in a feature's kind; a column of the other kind is not counted.
    for cells in layout.numeric():
        if numbers_of(rows, cells) is not None:
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
        yield "prediction", _answer_codes(rows, layout, served), served


def _answer_codes(rows: Predictions, layout: Layout, served: BoolArray | None) -> IntArray:
    """Codes of the predicted classes or numbers."""
    cells, own = layout.cells["prediction"], slice(None) if served is None else served
    if isinstance(cells.column, NumericColumn):
        return cells.numeric_codes(rows.scores[own], np.isnan(rows.scores[own]))
    return class_codes(layout, cells, rows.classes[own], rows.class_names)


def _estimated(rows: Predictions, layout: Layout, group: IntArray, n: int) -> IntArray:
    """Rows by bin of the answer and predicted class, shape (n, bins, classes)."""
    bins, classes = layout.estimated
    if layout.estimation is None:
        return np.zeros((n, bins, classes), np.int64)
    codes = layout.estimation.numeric_codes(rows.scores, None)
    chosen = ~rows.errors & (codes < bins)
    if classes > 1:
        chosen &= rows.classes >= 0
        codes = codes * classes + rows.classes
    found = table(group[chosen], codes[chosen], n, bins * classes)
    return found.reshape(n, bins, classes)


def numbers_of(rows: Predictions, cells: Cells) -> Numbers | None:
    """The numbers of a numeric feature, None where the block does not have it as one of this kind."""
    assert isinstance(cells.column, NumericColumn)
    own = cells.column.embedding
    name = cells.name if own is None else read_as(cells.name, own)
    return rows.derived(cells.column.source).get(name)


def numeric_codes(rows: Predictions, cells: Cells) -> IntArray:
    """Codes of a numeric feature."""
    column = numbers_of(rows, cells)
    assert column is not None
    codes = cells.numeric_codes(column.values, column.missing)
    if column.wrong_type is not None:
        codes[column.wrong_type] = cells.invalid
    return codes


def class_codes(layout: Layout, cells: Cells, classes: ClassArray, names: Sequence[str]) -> IntArray:
    """Codes of a column of classes, these being codes into `names`."""
    codes = layout.category_codes(cells.name, names)[: len(names) + 1]
    found = codes[np.clip(classes, 0, len(names))]
    found[classes == ABSENT] = cells.missing
    found[classes == INVALID] = cells.invalid
    return found


def _failed(rows: Predictions, layout: Layout, group: IntArray, n: int) -> IntArray:
    """Rows that failed a check which their cells do not tell, shape (n, columns, checks)."""
    found = np.zeros((n, len(layout.cells), len(COUNTED)), np.int64)
    for name, check, failed in chain(_failed_numbers(rows, layout), _failed_texts(rows, layout)):
        found[:, layout.positions[name], COUNTED.index(check)] = count(group[failed], n)[:, 0]
    return found


def _failed_numbers(rows: Predictions, layout: Layout) -> Iterator[tuple[str, str, BoolArray]]:
    for cells in layout.numeric():
        # The predicted number of a regression stands where other models have their score.
        values = rows.scores if cells.name in ("score", "prediction") else None
        numbers = numbers_of(rows, cells)
        values = numbers.values if numbers is not None else values
        if values is None:
            continue
        low, high = layout.limits[cells.name]
        beyond = (values < low) | (values > high)
        if beyond.any():
            yield cells.name, "out_of_range", beyond & np.isfinite(values)
        if isinstance(cells.column, NumericColumn) and cells.column.source == "text":
            yield cells.name, "empty", values == 0.0
        allowed = layout.allowed_numbers(cells.name)
        if allowed is not None:
            yield cells.name, "not_allowed", np.isfinite(values) & ~np.isin(values, allowed)


def _failed_texts(rows: Predictions, layout: Layout) -> Iterator[tuple[str, str, BoolArray]]:
    for cells in layout.categorical():
        allowed = layout.constraint(cells.name).allowed
        if allowed and cells.name in rows.categories:
            # What a decoder does not know is not allowed, since it knows all that is.
            codes = [value not in allowed for value in rows.category_values[cells.name]]
            yield cells.name, "not_allowed", np.asarray([*codes, True, False])[rows.categories[cells.name]]
    for name, differs in rows.differing.items():
        if name in layout.cells and differs.any():
            yield name, "pattern", differs
