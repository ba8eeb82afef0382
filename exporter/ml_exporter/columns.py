"""All columns of a profile, compared at once: arrays of those that have equally many bins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml_exporter.config_model import Model
from ml_exporter.drift import (
    MATURE,
    PREVIOUS,
    REFERENCE,
    Chance,
    Column,
    Drift,
    Impact,
    coarse_starts,
    comparison,
    methods_of,
    reference_cells,
)
from ml_exporter.layout import Cells, Layout
from ml_exporter.limits import drift_limits
from ml_exporter.profile import NumericColumn
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.distance import (
    METHODS,
    MINIMUM_ROWS,
    Bins,
    Comparison,
    Method,
    distance,
    distances,
    unmoved,
)
from ml_exporter.stats.pvalues import adjusted, chi_squared_pvalue, ks_pvalue
from ml_exporter.stats.result import Result, Value

_TESTS = {"numeric": METHODS["ks"], "categorical": METHODS["cramers_v"]}
"""The methods whose p-values are exported."""


@dataclass(frozen=True)
class _Stack:
    """Columns with equally many bins for one method; `bins`, shape (k, B), are theirs in a flat array.

    `reference`, of that shape, are the profile's counts.
    """

    method: Method
    names: Sequence[str]
    bins: IntArray
    reference: IntArray
    positions: FloatArray | None
    scale: FloatArray | float


class Columns:
    """The columns of a model's profile, with what they are compared by.

    Counts are those of a tally, flat: the cells of one column after those of another. `limits` are by
    column and method, those of the layout's own columns if not given.
    """

    def __init__(
        self, layout: Layout, model: Model, limits: Mapping[tuple[str, str], float] | None = None
    ) -> None:
        cells = list(layout.cells.values())
        self._columns = {item.name: item.column for item in cells}
        self.limits = drift_limits(model, self._columns) if limits is None else limits
        self._methods = {name: methods_of(model, name, column) for name, column in self._columns.items()}
        self._offsets = np.asarray([item.offset for item in cells], np.int64)
        self._sizes = np.asarray([item.size for item in cells], np.int64)
        self._valid = _flat(layout, lambda column: np.ones(column.size + 1, np.int64)) > 0
        self._losses = _flat(layout, _centred_losses)
        self._reference = _flat(layout, reference_cells).astype(np.int64)
        self._coarse = np.concatenate(
            [np.zeros(0, np.int64), *(item.offset + coarse_starts(item.column) for item in cells)]
        )
        self._stacks = self._stacked(cells, lambda name, method: method in self._methods[name])
        tested = model.drift.pvalues
        self._tests = self._stacked(
            cells, lambda name, method: tested and method == _TESTS[self._columns[name].kind]
        )

    def drifts(
        self, current: IntArray, window: str, reference: str = REFERENCE, other: IntArray | None = None
    ) -> Iterator[Drift]:
        """Every distance of the columns in a window, with what it shows without drift.

        `other` are the counts that it is compared with, the profile's by default.
        """
        found: dict[tuple[str, str], tuple[Result, int, float]] = {}
        for stack, sides in self._sides(self._stacks, current, other):
            n, m = sides.current.sum(axis=-1), sides.reference.sum(axis=-1)
            still = unmoved(stack.method, stack.reference, n, m)
            results = zip(distances(stack.method, sides), m.tolist(), still.tolist(), strict=True)
            for name, result in zip(stack.names, results, strict=True):
                found[name, stack.method.name] = result
        for name in self._compared(reference):
            for method in self._methods[name]:
                yield self._drift(name, method.name, window, reference, *found[name, method.name])

    def impacts(self, current: IntArray, reference: str, other: IntArray | None = None) -> Iterator[Impact]:
        """By how much each column's change moves the loss, where the profile knows losses.

        The sum over bins of (p - q)(l - mean l), l the reference's mean loss in a bin; as in `drifts`.
        """
        if not self._columns:
            return
        p, enough = self._shares(current)
        q, known = self._shares(self._reference if other is None else other)
        values = np.add.reduceat((p - q) * self._losses, self._offsets)
        places = {name: place for place, name in enumerate(self._columns)}
        for name in self._compared(reference):
            place = places[name]
            if enough[place] and known[place] and self._columns[name].losses:
                yield Impact(name, reference, float(values[place]))

    def chances(self, current: IntArray, reference: str, other: IntArray | None = None) -> Iterator[Chance]:
        """One p-value for each column, adjusted for all of them; as in `drifts`."""
        compared = set(self._compared(reference))
        names: list[tuple[str, str]] = []
        values: list[float] = []
        for stack, sides in self._sides(self._tests, current, other):
            rows = np.minimum(sides.current.sum(axis=-1), sides.reference.sum(axis=-1))
            chosen = (rows >= MINIMUM_ROWS) & [name in compared for name in stack.names]
            names += [(stack.names[place], stack.method.name) for place in np.flatnonzero(chosen).tolist()]
            values += _pvalues(stack.method, sides.current[chosen], sides.reference[chosen]).tolist()
        for (name, method), value in zip(names, adjusted(np.asarray(values)).tolist(), strict=True):
            yield Chance(name, method, reference, value)

    def selection(self, name: str, counts: IntArray) -> Iterator[Drift]:
        """Labelled rows against all mature ones, counts of shape (2, bins): whether labels are a fair sample."""
        column = self._columns[name]
        for method in self._methods[name]:
            result = distance(method, comparison(column, method, counts[0], counts[1]))
            yield Drift(name, method.name, result, None, False, MATURE)

    def _drift(
        self, name: str, method: str, window: str, reference: str, result: Result, m: int, still: float
    ) -> Drift:
        known = self._columns[name].noise.get(method)
        # Only the profile's own chunks tell how a column varies by itself.
        own = reference == REFERENCE
        chunks = known.chunks.get(window) if known and own else None
        noise = None
        if known and isinstance(result, Value):
            noise = max(known.table.at(result.n, m, still), chunks or 0.0)
        limit = self.limits.get((name, method))
        return Drift(name, method, result, noise, own and chunks is None, reference, limit)

    def _compared(self, reference: str) -> list[str]:
        """Columns that are compared: the labels of the previous window are not kept."""
        return [name for name in self._columns if reference != PREVIOUS or name != "label"]

    def _stacked(self, cells: Sequence[Cells], chosen: Callable[[str, Method], bool]) -> list[_Stack]:
        """The chosen columns of each method by their number of bins."""
        starts = np.cumsum([0, *(coarse_starts(item.column).size for item in cells)]).tolist()
        groups: dict[tuple[str, int], list[tuple[Cells, int]]] = {}
        for item, start in zip(cells, starts[:-1], strict=True):
            for method in METHODS.values():
                if item.column.kind in method.kinds and chosen(item.name, method):
                    fine = method.bins == "fine"
                    size = item.column.size if fine else coarse_starts(item.column).size
                    groups.setdefault((method.name, size), []).append((item, item.offset if fine else start))
        own = self._by_bins(self._reference)
        return [
            _stack(METHODS[method], size, own[METHODS[method].bins], *zip(*members, strict=True))
            for (method, size), members in groups.items()
        ]

    def _sides(
        self, stacks: Sequence[_Stack], current: IntArray, other: IntArray | None
    ) -> Iterator[tuple[_Stack, Comparison]]:
        one, two = self._by_bins(current), None if other is None else self._by_bins(other)
        for stack in stacks:
            bins = stack.method.bins
            against = stack.reference if two is None else two[bins][stack.bins]
            yield stack, Comparison(one[bins][stack.bins], against, stack.positions, stack.scale)

    def _by_bins(self, counts: IntArray) -> dict[Bins, IntArray]:
        if not self._columns:
            return {"fine": counts, "coarse": counts}
        return {"fine": counts, "coarse": np.add.reduceat(np.where(self._valid, counts, 0), self._coarse)}

    def _shares(self, counts: IntArray) -> tuple[FloatArray, BoolArray]:
        """Share of each cell in its column, and which columns have rows enough."""
        counted = np.where(self._valid, counts, 0)
        rows = np.add.reduceat(counted, self._offsets)
        return counted / np.repeat(np.maximum(rows, 1), self._sizes), rows >= MINIMUM_ROWS


def _stack(
    method: Method, size: int, reference: IntArray, cells: Sequence[Cells], starts: Sequence[int]
) -> _Stack:
    bins = np.asarray(starts, np.int64)[:, None] + np.arange(size)
    names = [item.name for item in cells]
    columns = [item.column for item in cells if isinstance(item.column, NumericColumn)]
    if method.bins == "coarse":
        return _Stack(method, names, bins, reference[bins], None, 1.0)
    positions = np.asarray([column.positions for column in columns], np.float64)
    scale = np.asarray([column.deviation or 1.0 for column in columns])
    return _Stack(method, names, bins, reference[bins], positions, scale)


def _flat(layout: Layout, values: Callable[[Column], FloatArray | IntArray]) -> FloatArray:
    """Values of all bins and of `missing`, 0 for invalid cells."""
    found = np.zeros(layout.size)
    for cells in layout.cells.values():
        found[cells.offset : cells.offset + cells.bins] = values(cells.column)
    return found


def _centred_losses(column: Column) -> FloatArray:
    """Mean losses of a column's cells less that of all; 0 where none is known."""
    if not column.losses:
        return np.zeros(column.size + 1)
    losses = np.asarray([np.nan if loss is None else loss for loss in column.losses])
    known = np.isfinite(losses)
    if not known.any():
        return np.zeros(column.size + 1)
    mean = np.average(losses[known], weights=reference_cells(column)[known])
    return np.where(known, losses - mean, 0.0)


def _pvalues(method: Method, current: IntArray, reference: IntArray) -> FloatArray:
    values = method.function(Comparison(current, reference))
    if method.name == "ks":
        return ks_pvalue(values, current.sum(axis=-1), reference.sum(axis=-1))
    return chi_squared_pvalue(current, reference, values)
