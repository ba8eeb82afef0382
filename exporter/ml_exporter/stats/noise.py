"""The noise floor of a distance: what it reaches by chance alone, at two sample sizes.

Both sides are drawn from the reference's own proportions (`proposals.py`); where every bin has many
rows, methods that are chi-squared in the limit are not drawn. What is tabulated is what chance adds: the
distance that equal shares of unequally many rows have anyway (`distance.unmoved`) grows without end with
their ratio and with the number of empty bins, and is known exactly.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import chdtri

from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.distance import METHODS, Comparison, Method, unmoved
from ml_exporter.stats.proposals import Alternative, draw

SIZES = (10, 14, 20, 28, 40, 56, 80, 100, 140, 200, 320, 560, 1_000, 1_700, 3_000, 10_000, 100_000)
TILTED_SIZES = (10, 20, 40, 80, 130, 200, 320, 1_000, 3_000, 10_000, 100_000)
"""Those of steps and spikes."""
SHIFT_SIZES = (10, 50, 400, 20_000)
"""Sums over rows come to their limit sooner."""
TILTED_RATIOS = (1, 20)
"""Twenty stands for all that are larger."""
RATIOS = (1, 20, 1_000)

_FEW_BINS, _PARTS = 5, 4
"""Counts in up to so many bins have so few values that their quantiles leap from one size to the next.

Of these, each size has the largest quantile from its neighbour before to the one after, looked at in
so many parts of each step.
"""
_LIMIT_ROWS = 100
"""Rows to expect in the rarest bin from which on chi-squared holds."""


@dataclass(frozen=True, slots=True)
class FloorTable:
    """Quantiles of one method on one column without drift, over sample sizes.

    `scaled[i][j]` belongs to a smaller side of `sizes[j]` rows and a larger side of `ratios[i]`
    times as many: what chance adds to the distance, to the method's power times its rows, which hardly
    changes with size.
    """

    method: str
    quantile: float
    sizes: tuple[int, ...]
    ratios: tuple[int, ...]
    scaled: tuple[tuple[float, ...], ...]

    def at(self, n_current: float, n_reference: float, still: float) -> float:
        """The floor in the method's unit at these numbers of rows, both above 0.

        `still` is how far apart they are without chance, `distance.unmoved` of the column's reference;
        what is added to it is linear in the logarithms of size and ratio, constant beyond the table's ends.
        """
        smaller, larger = sorted((n_current, n_reference))
        row, down = _place(self.ratios, larger / smaller)
        column, along = _place(self.sizes, smaller)
        near, far = (
            line[column] + along * (line[column + 1] - line[column]) for line in self.scaled[row : row + 2]
        )
        scaled = near + down * (far - near)
        method = METHODS[self.method]
        return still + float((scaled / _rows(method, n_current, n_reference)) ** (1 / method.power))

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, five significant digits."""
        return {
            "method": self.method,
            "quantile": self.quantile,
            "sizes": list(self.sizes),
            "ratios": list(self.ratios),
            "scaled": [[float(f"{value:.5g}") for value in row] for row in self.scaled],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read what `to_json` writes; raises KeyError or ValueError on anything else."""
        scaled = tuple(tuple(float(value) for value in row) for row in data["scaled"])
        sizes, ratios = (tuple(int(value) for value in data[key]) for key in ("sizes", "ratios"))
        if data["method"] not in METHODS:
            raise ValueError(f"unknown method {data['method']!r}")
        if not (_rises(sizes) and _rises(ratios)):
            raise ValueError("sizes and ratios must rise and have two values or more")
        if len(scaled) != len(ratios) or any(len(row) != len(sizes) for row in scaled):
            raise ValueError("scaled must have a row for each ratio and a column for each size")
        return cls(str(data["method"]), float(data["quantile"]), sizes, ratios, scaled)


def simulate_floors(
    methods: Sequence[Method],
    reference: IntArray,
    rng: np.random.Generator,
    positions: FloatArray | None = None,
    scale: float = 1.0,
    quantile: float = 1e-4,
) -> dict[str, FloorTable]:
    """Tabulate the floors of methods from the reference's counts, shape (B,), that all of them look at.

    `positions` and `scale` as in `Comparison`; `quantile` is the chance of exceeding the floor
    without drift; the same generator state gives the same tables. Methods share their draws.
    """
    found: dict[str, FloorTable] = {}
    for alternative in dict.fromkeys(method.alternative for method in methods):
        own = [method for method in methods if method.alternative == alternative]
        found |= _Column(reference, positions, scale, quantile, alternative).floors(own, rng)
    return {method.name: found[method.name] for method in methods}


class _Column:
    """Where the draws of a column come from: its shares, and the bins without rows that stay empty."""

    def __init__(
        self,
        reference: IntArray,
        positions: FloatArray | None,
        scale: float,
        quantile: float,
        alternative: Alternative,
    ) -> None:
        self._reference = reference
        self._seen = reference > 0
        self._bins = reference.size
        self._shares = reference[self._seen] / reference.sum()
        self._positions, self._scale = positions, scale
        self._quantile = quantile
        scatter = alternative == "scatter"
        self._sizes = SIZES if scatter else SHIFT_SIZES if alternative == "shift" else TILTED_SIZES
        self._ratios = RATIOS if scatter else TILTED_RATIOS
        self._parts = _PARTS if scatter and self._shares.size <= _FEW_BINS else 1
        self._alternative = alternative
        places = np.arange(self._bins, dtype=np.float64) if positions is None else positions
        self._places = places[self._seen]

    def floors(self, methods: Sequence[Method], rng: np.random.Generator) -> dict[str, FloorTable]:
        """The tables of methods by name."""
        sizes = _between(self._sizes, self._parts)
        values = np.zeros((len(methods), len(self._ratios), len(sizes)))
        for index, size in enumerate(sizes):
            simulated = []
            for number, method in enumerate(methods):
                if method.chi_squared and size * self._shares.min() >= _LIMIT_ROWS:
                    values[number, :, index] = self._limit(method)
                else:
                    simulated.append((number, method))
            if simulated:
                for number, found in self._simulated(simulated, size, rng):
                    values[number, :, index] = found
        return {
            method.name: FloorTable(
                method.name, self._quantile, self._sizes, self._ratios, tuple(map(tuple, table.tolist()))
            )
            for method, table in zip(methods, _largest_around(values, self._parts), strict=True)
        }

    def _simulated(
        self, methods: Sequence[tuple[int, Method]], size: int, rng: np.random.Generator
    ) -> Iterator[tuple[int, FloatArray]]:
        """Give each numbered method's quantiles by ratio."""
        found = np.zeros((len(methods), len(self._ratios)))
        proposed = draw(self._alternative, self._shares, self._places, size, self._ratios, rng)
        for index, (current, reference, weights) in enumerate(proposed):
            sides = Comparison(self._full(current), self._full(reference), self._positions, self._scale)
            for row, (_, method) in enumerate(methods):
                # Large sides may stand for others that are larger or smaller.
                others = int(reference[0].sum())
                excess = method.function(sides) - unmoved(method, self._reference, size, others)
                values = np.maximum(excess, 0.0) ** method.power * _rows(method, size, others)
                found[row, index] = _weighted_quantile(values, weights, self._quantile)
        yield from zip((number for number, _ in methods), found, strict=True)

    def _limit(self, method: Method) -> float:
        """The quantile where every bin has many rows."""
        freedom = self._shares.size - 1
        return method.chi_squared * float(chdtri(freedom, self._quantile)) if freedom else 0.0

    def _full(self, counts: IntArray) -> IntArray:
        if self._shares.size == self._bins:
            return counts
        full = np.zeros((*counts.shape[:-1], self._bins), np.int64)
        full[..., self._seen] = counts
        return full


def _between(sizes: tuple[int, ...], parts: int) -> tuple[int, ...]:
    """The sizes, and those that part each step from one to the next, evenly in logarithms."""
    places = np.arange((len(sizes) - 1) * parts + 1) / parts
    logs = np.interp(places, np.arange(len(sizes)), np.log(sizes))
    return tuple(np.rint(np.exp(logs)).astype(np.int64).tolist())


def _largest_around(values: FloatArray, parts: int) -> FloatArray:
    """Of values above 0, shape (..., sizes in parts), the largest that lie less than a step from each size."""
    beyond = [(0, 0)] * (values.ndim - 1) + [(parts - 1, parts - 1)]
    around = sliding_window_view(np.pad(values, beyond), 2 * parts - 1, axis=-1)
    return np.asarray(around[..., ::parts, :].max(axis=-1))


def _rises(grid: tuple[int, ...]) -> bool:
    return len(grid) > 1 and grid[0] > 0 and all(low < high for low, high in pairwise(grid))


def _place(grid: tuple[int, ...], value: float) -> tuple[int, float]:
    """The cell of a rising grid that holds a value, and how far into it, in logarithms, the value lies."""
    cell = min(max(bisect_right(grid, value) - 1, 0), len(grid) - 2)
    share = log(value / grid[cell]) / log(grid[cell + 1] / grid[cell])
    return cell, min(max(share, 0.0), 1.0)


def _rows(method: Method, n: float, m: float) -> float:
    return n + m if method.rows == "total" else n * m / (n + m)


def _weighted_quantile(values: FloatArray, weights: FloatArray, chance: float) -> float:
    """The value that weighted draws exceed with this chance; the weights' mean is 1 but for chance.

    Linear between values by the chance to reach each of them, so that it does not leap where there are few.
    """
    # Counts that only change places are as far apart but for the last bits.
    reached, places = np.unique(values.round(9), return_inverse=True)
    chances = np.bincount(places, weights)[::-1].cumsum() / weights.size
    return float(np.interp(chance, chances, reached[::-1]))
