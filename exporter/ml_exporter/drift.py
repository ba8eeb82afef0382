"""A column's counts against its reference: what the distances of `stats.distance` are given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ml_exporter.profile import CategoricalColumn, NumericColumn
from ml_exporter.stats.arrays import IntArray
from ml_exporter.stats.distance import DEFAULT_METHODS, METHODS, Comparison, Method, distance
from ml_exporter.stats.result import Result, Value

Column = NumericColumn | CategoricalColumn
REFERENCE, MATURE = "training", "mature"
"""What a window is compared with: the profile's rows, or all mature rows of the same window."""


@dataclass(frozen=True)
class Drift:
    """One distance in one window. `noise` is None where it could not be computed or is not known.

    `short_reference` is true where the profile has too few chunks of the window's length, so that
    the noise is that of sampling alone.
    """

    column: str
    method: str
    result: Result
    noise: float | None
    short_reference: bool
    reference: str = REFERENCE


def methods_of(column: Column) -> list[Method]:
    """The methods that are computed for a column."""
    return [METHODS[name] for name in DEFAULT_METHODS[column.kind]]


def reference_cells(column: Column) -> IntArray:
    """The reference's counts as cells: the bins, then `missing`."""
    return np.asarray([*column.counts, column.missing], np.int64)


def coarse(column: Column, cells: IntArray) -> IntArray:
    """Counts by the PSI's bins from cells (shape (..., bins)); `missing` stays last."""
    if isinstance(column, CategoricalColumn):
        return cells
    starts = np.flatnonzero(np.diff([-1, *column.groups]))
    inner = np.add.reduceat(cells[..., : column.size], starts, axis=-1)
    return np.concatenate([inner, cells[..., column.size :]], axis=-1)


def comparison(
    column: Column, method: Method, current: IntArray, reference: IntArray | None = None
) -> Comparison:
    """The two sides of a distance from cells (shape (..., bins)); the profile's own counts by default."""
    other = reference_cells(column) if reference is None else reference
    if method.bins == "coarse":
        return Comparison(coarse(column, current), coarse(column, other))
    assert isinstance(column, NumericColumn)
    positions = np.asarray(column.positions, np.float64)
    size = column.size
    return Comparison(current[..., :size], other[..., :size], positions, column.deviation or 1.0)


def drifts(name: str, column: Column, cells: IntArray, window: str) -> Iterator[Drift]:
    """Every distance of one column in a window, with what it shows without drift."""
    for method in methods_of(column):
        sides = comparison(column, method, cells)
        result = distance(method, sides)
        known = column.noise.get(method.name)
        chunks = known.chunks.get(window) if known else None
        noise = None
        if known and isinstance(result, Value):
            floor = known.table.at(result.n, int(sides.reference.sum()))
            noise = max(floor, chunks or 0.0)
        yield Drift(name, method.name, result, noise, chunks is None)


def selection(name: str, column: Column, counts: IntArray) -> Iterator[Drift]:
    """Labelled rows against all mature ones, counts of shape (2, bins): whether labels are a fair sample."""
    for method in methods_of(column):
        result = distance(method, comparison(column, method, counts[0], counts[1]))
        yield Drift(name, method.name, result, None, False, MATURE)
