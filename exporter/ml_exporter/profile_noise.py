"""What a reference's columns show without drift: floors by sample size, and the reference's own chunks."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ml_exporter.drift import Column, comparison, floor_of, reference_cells
from ml_exporter.profile import Floor, Noise, NumericColumn
from ml_exporter.profile_answers import digits
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.distance import Comparison, Method
from ml_exporter.stats.noise import FloorTable, simulate_floors

MINIMUM_CHUNKS, MINIMUM_CHUNK_ROWS = 10, 50
SEASONAL = 3.0
"""Times the sampling noise that half of the chunks exceed where a column follows the season."""
_STEPS: Mapping[str, int] = MappingProxyType({"scatter": 4, "steps": 32, "spikes": 32})
"""How finely shares are told apart, in steps of a factor e.

Methods that look at all bins alike hardly change with single shares; what a step or a spike reaches
goes with the root of one.
"""
_ROWS = 1_000_000


class Floors:
    """Floors of columns. Columns whose bins have nearly the same shares have the same one.

    That is so of most numeric columns, which are cut at their quantiles; methods that look at the bins'
    positions have a floor for each column.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], FloorTable] = {}

    def of(self, name: str, column: Column, methods: Sequence[Method]) -> dict[str, FloorTable]:
        """The floor of each method; the same column has the same ones, whatever its neighbours are."""
        found: dict[str, FloorTable] = {}
        by_draws: dict[tuple[str, str], list[Method]] = {}
        for method in methods:
            by_draws.setdefault((method.bins, method.alternative), []).append(method)
        for (_, alternative), own in by_draws.items():
            sides = comparison(column, own[0], reference_cells(column))
            if alternative == "shift":
                found |= _simulated(own, sides.reference, name, sides)
            else:
                found |= self._shared(own, _rounded(sides.reference, alternative))
        return found

    def _shared(self, methods: Sequence[Method], reference: IntArray) -> dict[str, FloorTable]:
        counts = tuple(reference.tolist())
        new = [method for method in methods if (method.name, counts) not in self._known]
        for name, table in _simulated(new, reference, repr(counts)).items():
            self._known[name, counts] = table
        return {method.name: self._known[method.name, counts] for method in methods}


def _simulated(
    methods: Sequence[Method], reference: IntArray, seed: str, sides: Comparison | None = None
) -> dict[str, FloorTable]:
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    if sides is None:
        return simulate_floors(methods, reference, rng)
    return simulate_floors(methods, reference, rng, sides.positions, float(sides.scale))


def _rounded(reference: IntArray, alternative: str) -> IntArray:
    """Counts with nearly the same shares, by size unless their order matters."""
    steps = _STEPS[alternative]
    shares = np.maximum(reference, 1) / max(int(reference.sum()), 1)
    rounded = np.exp(np.rint(np.log(shares) * steps) / steps)
    counts = np.where(reference > 0, np.maximum(np.rint(rounded * _ROWS), 1), 0).astype(np.int64)
    return counts if alternative == "steps" else np.sort(counts)[::-1]


def noise_of(
    name: str,
    column: Column,
    methods: Sequence[Method],
    chunks: Mapping[str, IntArray],
    floors: Floors,
) -> dict[str, Noise]:
    """What each method shows on a column without drift.

    `chunks` are by window the rows of each chunk by cell, of chunks with rows enough.
    """
    tables = floors.of(name, column, methods)
    found = {}
    for method in methods:
        table = tables[method.name]
        spread = {
            window: known
            for window, counts in chunks.items()
            if (known := _spread(column, method, counts, table))
        }
        data = table.to_json()
        floor = Floor(
            quantile=data["quantile"], sizes=data["sizes"], ratios=data["ratios"], scaled=data["scaled"]
        )
        found[method.name] = Noise(
            method=method.name,
            floor=floor,
            chunks={window: digits(known.largest) for window, known in spread.items()},
            limits={window: digits(known.largest + known.floor) for window, known in spread.items()},
            seasonal=tuple(
                window for window, known in spread.items() if known.median > SEASONAL * known.floor
            ),
        )
    return found


def worst_shares(column: Column, counts: IntArray) -> dict[str, float]:
    """The largest share of one bin ("constant"), of missing values and of outliers in one of the chunks.

    The latter two only of chunks enough.
    """
    if not len(counts):
        return {}
    values = counts[:, :-1]
    worst = {"constant": digits((values.max(axis=1) / np.maximum(values.sum(axis=1), 1)).max())}
    if len(counts) < MINIMUM_CHUNKS:
        return worst
    shares = counts / counts.sum(axis=1, keepdims=True)
    worst["missing"] = digits(shares[:, -1].max())
    if isinstance(column, NumericColumn) and column.fences is not None:
        worst["outlier"] = digits(shares[:, list(column.outlying)].sum(axis=1).max())
    return worst


@dataclass(frozen=True)
class _Spread:
    """Distances of the reference's chunks, each from the rest, and what sampling makes of one."""

    largest: float
    median: float
    floor: float


def _spread(column: Column, method: Method, counts: IntArray, table: FloorTable) -> _Spread | None:
    """How a method's distances vary over the chunks, None where there are too few."""
    if len(counts) < MINIMUM_CHUNKS:
        return None
    rest = reference_cells(column) - counts
    sides = comparison(column, method, counts, rest)
    rows, others = sides.current.sum(axis=-1), sides.reference.sum(axis=-1)
    filled = (rows > 0) & (others > 0)
    if not filled.any():
        return None
    values: FloatArray = method.function(comparison(column, method, counts[filled], rest[filled]))
    floor = floor_of(column, table, float(np.median(rows[filled])), float(np.median(others[filled])))
    return _Spread(float(np.max(values)), float(np.median(values)), floor)
