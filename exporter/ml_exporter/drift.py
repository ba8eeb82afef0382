"""A column's counts against its reference: what the distances of `stats.distance` are given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ml_exporter.config_model import Model
from ml_exporter.profile import CategoricalColumn, NumericColumn
from ml_exporter.stats.arrays import IntArray
from ml_exporter.stats.distance import DEFAULT_METHODS, METHODS, Comparison, Method, registered, unmoved
from ml_exporter.stats.noise import FloorTable
from ml_exporter.stats.result import Result, Value

Column = NumericColumn | CategoricalColumn
REFERENCE, PREVIOUS, MATURE = "training", "previous", "mature"
"""What a window is compared with: the profile's rows, the window before it, or all its mature rows."""


@dataclass(frozen=True)
class Drift:
    """One distance in one window. `noise` is None where it could not be computed or is not known.

    `short_reference` is true where the profile has too few chunks of the window's length, so that
    the noise is that of sampling alone. `limit` is None where no alert is wanted.
    """

    column: str
    method: str
    result: Result
    noise: float | None
    short_reference: bool
    reference: str = REFERENCE
    limit: float | None = None


@dataclass(frozen=True)
class Impact:
    """By how much the change of a column's shares moves the loss, if each bin keeps its own."""

    column: str
    reference: str
    value: float


@dataclass(frozen=True)
class Chance:
    """How probable so large a distance is without drift, adjusted for all columns of the window."""

    column: str
    method: str
    reference: str
    value: float


def methods_of(model: Model, name: str, column: Column) -> list[Method]:
    """The methods that are computed for a column, the first of them the one that stands for it.

    Those of the configuration, or the defaults where none of them is for columns of this kind, and
    those with a limit.
    """
    kind = column.kind
    chosen = [method for method in model.drift.methods or () if registered(method, kind)]
    limited = [
        method
        for method in METHODS
        if registered(method, kind) and model.drift_limit(name, method) is not None
    ]
    return [METHODS[method] for method in dict.fromkeys((*(chosen or DEFAULT_METHODS[kind]), *limited))]


def references_of(model: Model) -> tuple[str, ...]:
    """The references of all columns; labels apart, which are not compared with the previous window's."""
    return tuple(name for name in (REFERENCE, PREVIOUS) if name in model.drift.references)


def drifted(drifts: Iterable[Drift], reference: str) -> float | None:
    """Share of columns that exceed limit and noise by the first of their methods that has a limit.

    Of the columns of which this method has a value; None where there are none.
    """
    first: dict[str, Drift] = {}
    for drift in drifts:
        if drift.reference == reference and drift.limit is not None:
            first.setdefault(drift.column, drift)
    found = []
    for drift in first.values():
        if drift.limit is not None and drift.noise is not None and isinstance(drift.result, Value):
            found.append(drift.result.value > max(drift.limit, drift.noise))
    return sum(found) / len(found) if found else None


def reference_cells(column: Column) -> IntArray:
    """The reference's counts as cells: the bins, then `missing`."""
    return np.asarray([*column.counts, column.missing], np.int64)


def association(column: Column) -> float:
    """Variance of the loss between a column's cells: how much of the loss the column tells; 0 if not known."""
    losses = np.asarray([np.nan if loss is None else loss for loss in column.losses])
    known = np.isfinite(losses)
    if not known.any():
        return 0.0
    weights = reference_cells(column)[known]
    mean = np.average(losses[known], weights=weights)
    return float(np.average(np.square(losses[known] - mean), weights=weights))


def coarse_starts(column: Column) -> IntArray:
    """Where the PSI's bins begin among the cells; `missing` is the last."""
    if isinstance(column, CategoricalColumn):
        return np.arange(column.size + 1)
    return np.append(np.flatnonzero(np.diff([-1, *column.groups])), column.size)


def coarse(column: Column, cells: IntArray) -> IntArray:
    """Counts by the PSI's bins from cells (shape (..., bins)); `missing` stays last."""
    return np.asarray(np.add.reduceat(cells, coarse_starts(column), axis=-1))


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


def floor_of(column: Column, table: FloorTable, n: float, m: float) -> float:
    """What sampling makes of a method at n and m rows, in the method's unit; its `table` is that of the column."""
    method = METHODS[table.method]
    own = comparison(column, method, reference_cells(column))
    return table.at(n, m, float(unmoved(method, own.reference, n, m)))
