"""The noise floor of a distance: what it reaches by chance alone, at two sample sizes.

Both sides are drawn from the reference's own proportions. A one in ten thousand quantile would take
millions of plain draws, so draws are made where it lies and weighted back (importance sampling):
methods without positions draw from overdispersed counts, those on positions from shifted ones.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Any, Self, TypeAlias

import numpy as np
from scipy.special import gammaln

from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.distance import METHODS, Comparison, Method

_Draws: TypeAlias = tuple[IntArray, IntArray, FloatArray]

SIZES = (10, 30, 100, 200, 400, 1_000, 10_000, 100_000)
RATIOS = (1, 20, 1_000)

# How much more than multinomial counts the proposals scatter, times the root of the degrees of
# freedom: near the least error at one in ten thousand. More would leave a few draws all the weight.
# Where one side is twenty times as large it adds next to no noise, and only the other is dispersed.
_DISPERSION_OF_BOTH = 3.2
_DISPERSION_OF_ONE = 6.3
_DRAWS_OF_BOTH = 1_500
_DRAWS_OF_ONE = 1_000
_DRAWS_SHIFTED = 500
_SHIFTS = tuple(range(-5, 6))  # of the mean, in its standard errors
_SHIFT_SPREAD = 2.5


@dataclass(frozen=True, slots=True)
class FloorTable:
    """Quantiles of one method on one column without drift, over sample sizes.

    `scaled[i][j]` belongs to a smaller side of `sizes[j]` rows and a larger side of `ratios[i]`
    times as many: the distance to the method's power times its rows, which hardly changes with size.
    """

    method: str
    quantile: float
    sizes: tuple[int, ...]
    ratios: tuple[int, ...]
    scaled: tuple[tuple[float, ...], ...]

    def at(self, n_current: float, n_reference: float) -> float:
        """The floor in the method's unit at these numbers of rows, both above 0.

        Linear in the logarithms of size and ratio, constant beyond the table's ends.
        """
        smaller, larger = sorted((n_current, n_reference))
        row, down = _place(self.ratios, larger / smaller)
        column, along = _place(self.sizes, smaller)
        near, far = (
            line[column] + along * (line[column + 1] - line[column]) for line in self.scaled[row : row + 2]
        )
        scaled = near + down * (far - near)
        method = METHODS[self.method]
        return float((scaled / _rows(method, n_current, n_reference)) ** (1 / method.power))

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


def simulate_floor(
    method: Method,
    reference: IntArray,
    rng: np.random.Generator,
    positions: FloatArray | None = None,
    scale: float = 1.0,
    quantile: float = 1e-4,
) -> FloorTable:
    """Tabulate the floor of a method from the reference's counts, shape (B,).

    `positions` and `scale` as in `Comparison`; `quantile` is the chance of exceeding the floor
    without drift; the same generator state gives the same table.
    """
    column = _Column(method, reference / reference.sum(), reference > 0, positions, scale)
    scaled = tuple(
        tuple(column.quantile(size, ratio * size, quantile, rng) for size in SIZES) for ratio in RATIOS
    )
    return FloorTable(method.name, quantile, SIZES, RATIOS, scaled)


@dataclass(frozen=True, eq=False, slots=True)
class _Column:
    method: Method
    shares: FloatArray
    seen: BoolArray
    positions: FloatArray | None
    scale: float

    def quantile(self, n: int, m: int, chance: float, rng: np.random.Generator) -> float:
        shares = self.shares[self.seen]
        if self.positions is None:
            current, reference, weights = _dispersed_pair(shares, n, m, rng)
        else:
            current, reference, weights = _shifted_pair(shares, self.positions[self.seen], n, m, rng)
        sides = Comparison(self._full(current), self._full(reference), self.positions, self.scale)
        values = self.method.function(sides) ** self.method.power * _rows(self.method, n, m)
        return _weighted_quantile(values, weights, chance)

    def _full(self, counts: IntArray) -> IntArray:
        full = np.zeros((counts.shape[0], self.shares.size), np.int64)
        full[:, self.seen] = counts
        return full


def _rises(grid: tuple[int, ...]) -> bool:
    return len(grid) > 1 and grid[0] > 0 and all(low < high for low, high in pairwise(grid))


def _place(grid: tuple[int, ...], value: float) -> tuple[int, float]:
    """The cell of a rising grid that holds a value, and how far into it, in logarithms, the value lies."""
    cell = min(max(bisect_right(grid, value) - 1, 0), len(grid) - 2)
    share = log(value / grid[cell]) / log(grid[cell + 1] / grid[cell])
    return cell, min(max(share, 0.0), 1.0)


def _rows(method: Method, n: float, m: float) -> float:
    return n + m if method.rows == "total" else n * m / (n + m)


def _dispersed_pair(shares: FloatArray, n: int, m: int, rng: np.random.Generator) -> _Draws:
    """Counts of n and m >= n rows that scatter more than multinomial ones, and their weights."""
    if n == m:
        current, first = _dispersed(shares, n, _DISPERSION_OF_BOTH, _DRAWS_OF_BOTH, rng)
        reference, second = _dispersed(shares, m, _DISPERSION_OF_BOTH, _DRAWS_OF_BOTH, rng)
        return current, reference, np.exp(first + second)
    current, first = _dispersed(shares, n, _DISPERSION_OF_ONE, _DRAWS_OF_ONE, rng)
    return current, rng.multinomial(m, shares, _DRAWS_OF_ONE), np.exp(first)


def _dispersed(
    shares: FloatArray, n: int, dispersion: float, draws: int, rng: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Dirichlet-multinomial counts, shape (draws, B), and their log weights against multinomial ones."""
    excess = min(dispersion / max(shares.size - 1, 1) ** 0.5, 3.0)
    concentration = (n - 1 - excess) / excess
    alpha = concentration * shares
    drawn = rng.standard_gamma(alpha, (draws, shares.size))
    counts = rng.multinomial(n, drawn / drawn.sum(axis=1, keepdims=True))
    proposed = gammaln(concentration) - gammaln(n + concentration)
    proposed = proposed + np.sum(gammaln(counts + alpha) - gammaln(alpha), axis=1)
    return counts, np.asarray(counts @ np.log(shares) - proposed)


def _shifted_pair(
    shares: FloatArray, positions: FloatArray, n: int, m: int, rng: np.random.Generator
) -> _Draws:
    """Counts of n and m rows whose means exponential tilting has moved apart, and their weights."""
    mean = shares @ positions
    spread = np.sqrt(shares @ np.square(positions - mean)) or 1.0
    standard = (positions - mean) / spread
    root = np.sqrt(n * m / (n + m))
    shifts = np.array(_SHIFTS, np.float64)
    mixture = np.exp(-np.square(shifts / _SHIFT_SPREAD) / 2)
    mixture /= mixture.sum()
    draws = np.diff(np.round(np.cumsum(np.concatenate([[0.0], mixture])) * _DRAWS_SHIFTED).astype(int))
    sides, densities = [], np.zeros((_DRAWS_SHIFTED, shifts.size))
    for rows, tilts in ((n, shifts * root / n), (m, -shifts * root / m)):
        exponents = np.log(shares) + tilts[:, None] * standard
        norms = np.logaddexp.reduce(exponents, axis=1)
        counts = rng.multinomial(rows, np.repeat(np.exp(exponents - norms[:, None]), draws, axis=0))
        densities += (counts @ standard)[:, None] * tilts - rows * norms
        sides.append(counts)
    return sides[0], sides[1], np.exp(-np.logaddexp.reduce(densities + np.log(mixture), axis=1))


def _weighted_quantile(values: FloatArray, weights: FloatArray, chance: float) -> float:
    """The value that weighted draws exceed with this chance; the weights' mean is 1 but for chance."""
    order = np.argsort(values)[::-1]
    exceeding = np.cumsum(weights[order]) / weights.size
    place = np.searchsorted(exceeding, chance)
    return float(values[order[min(int(place), values.size - 1)]])
