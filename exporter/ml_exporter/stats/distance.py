"""Distances between the counts of a window and those of the reference.

Counts are integer arrays whose last axis is the bins; leading axes broadcast, so that many samples
can be compared at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np

from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.result import Result, Unavailable, Value

Kind: TypeAlias = Literal["numeric", "categorical"]
Bins: TypeAlias = Literal["coarse", "fine"]
Rows: TypeAlias = Literal["harmonic", "total"]

MINIMUM_ROWS = 10


@dataclass(frozen=True, eq=False, slots=True)
class Comparison:
    """What a distance is computed from.

    `current` and `reference` are counts, shape (..., B). `positions`, shape (B,), float64, sorted,
    are where the bins lie in the column's unit, and `scale` is the reference's standard deviation
    in that unit; both are only read by methods that need them.
    """

    current: IntArray
    reference: IntArray
    positions: FloatArray | None = None
    scale: float = 1.0


def psi(current: IntArray, reference: IntArray) -> FloatArray:
    """Population stability index with half a row added to every bin of both sides; 0 and up.

    sum (p - q) ln(p / q) with p = (x + 1/2) / (n + B/2): the symmetric divergence of Jeffreys
    (1946), smoothed by his prior. Counts of shape (..., B) give shape (...).
    """
    p, q = _smoothed(current), _smoothed(reference)
    return np.asarray(np.sum((p - q) * np.log(p / q), axis=-1))


def wasserstein(current: IntArray, reference: IntArray, positions: FloatArray, scale: float) -> FloatArray:
    """Wasserstein-1 distance of two discrete distributions on `positions`, in units of `scale`.

    The area between the two distribution functions, as scipy.stats.wasserstein_distance. Counts of
    shape (..., B) with at least one row give shape (...). A scale that is not above 0 raises
    ValueError.
    """
    if not scale > 0:
        raise ValueError("scale must be above 0")
    gap = np.cumsum(_ratios(current) - _ratios(reference), axis=-1)[..., :-1]
    return np.asarray(np.abs(gap) @ np.diff(positions) / scale)


def cramers_v(current: IntArray, reference: IntArray) -> FloatArray:
    """Cramér's V (1946) of the table of side against bin, uncorrected; 0 to 1.

    As scipy.stats.contingency.association on the 2 x B table without the bins that are empty on
    both sides. Counts of shape (..., B) with at least one row on each side give shape (...).
    """
    n, m = current.sum(axis=-1), reference.sum(axis=-1)
    both = np.maximum(current + reference, 1)  # a bin empty on both sides adds 0 / 1
    gap = np.square(_ratios(current) - _ratios(reference))
    # With two rows the degrees of the table are one, so V is the root of chi-squared over the rows.
    share = n.astype(np.float64) * m / (n + m)
    return np.asarray(np.sqrt(np.minimum(share * np.sum(gap / both, axis=-1), 1.0)))


@dataclass(frozen=True, slots=True)
class Method:
    """A registered distance.

    `bins` says which counts of a column it wants: the profile's few PSI bins or the fine grid.
    Without drift the distance to the `power` falls as one over the `rows`: the harmonic ones,
    n m / (n + m), or all n + m.
    """

    name: str
    kinds: frozenset[Kind]
    unit: str
    bins: Bins
    power: int
    rows: Rows
    function: Callable[[Comparison], FloatArray]


def _psi(sides: Comparison) -> FloatArray:
    return psi(sides.current, sides.reference)


def _wasserstein(sides: Comparison) -> FloatArray:
    if sides.positions is None:
        raise ValueError("wasserstein needs the positions of the bins")
    return wasserstein(sides.current, sides.reference, sides.positions, sides.scale)


def _cramers_v(sides: Comparison) -> FloatArray:
    return cramers_v(sides.current, sides.reference)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("psi", frozenset({"numeric", "categorical"}), "nats", "coarse", 1, "harmonic", _psi),
            Method(
                "wasserstein",
                frozenset({"numeric"}),
                "standard deviations",
                "fine",
                2,
                "harmonic",
                _wasserstein,
            ),
            Method("cramers_v", frozenset({"categorical"}), "ratio", "coarse", 2, "total", _cramers_v),
        )
    }
)

DEFAULT_METHODS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {"numeric": ("psi", "wasserstein"), "categorical": ("psi", "cramers_v")}
)


def distance(method: Method, sides: Comparison) -> Result:
    """One method on one window: counts of shape (B,). The value has no bounds; n is the window's rows."""
    rows = int(sides.current.sum())
    if rows < MINIMUM_ROWS:
        return Unavailable("too_few_rows")
    if int(sides.reference.sum()) < MINIMUM_ROWS:
        return Unavailable("short_reference")
    return Value(float(method.function(sides)), None, None, rows)


def _ratios(counts: IntArray) -> FloatArray:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def _smoothed(counts: IntArray) -> FloatArray:
    bins = counts.shape[-1]
    return np.asarray((counts + 0.5) / (counts.sum(axis=-1, keepdims=True) + bins / 2))
