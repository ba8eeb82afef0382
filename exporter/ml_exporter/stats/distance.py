"""Distances between the counts of a window and those of the reference.

Counts are integer arrays whose last axis is the bins; leading axes broadcast, so that many samples or
many columns can be compared at once. Every side needs at least one row, except for `psi`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np

from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.proposals import Alternative
from ml_exporter.stats.result import Result, Unavailable, Value

Kind: TypeAlias = Literal["numeric", "categorical"]
Bins: TypeAlias = Literal["coarse", "fine"]
Rows: TypeAlias = Literal["harmonic", "total"]

MINIMUM_ROWS = 10


@dataclass(frozen=True, eq=False, slots=True)
class Comparison:
    """What a distance is computed from.

    `current` and `reference` are counts, shape (..., B). `positions`, shape (..., B), float64, sorted,
    are where the bins lie in the column's unit, and `scale`, a number or shape (...), is the reference's
    standard deviation in that unit; both are only read by methods that need them.
    """

    current: IntArray
    reference: IntArray
    positions: FloatArray | None = None
    scale: FloatArray | float = 1.0


def psi(current: IntArray | FloatArray, reference: IntArray | FloatArray) -> FloatArray:
    """Population stability index with half a row added to every bin of both sides; 0 and up.

    sum (p - q) ln(p / q) with p = (x + 1/2) / (n + B/2): the symmetric divergence of Jeffreys
    (1946), smoothed by his prior. Counts of shape (..., B) give shape (...). Equal shares of unequally
    many rows are not at 0, as half a row is more of fewer.
    """
    p, q = _smoothed(current), _smoothed(reference)
    return np.asarray(np.sum((p - q) * np.log(p / q), axis=-1))


def jensen_shannon(current: IntArray, reference: IntArray) -> FloatArray:
    """Jensen-Shannon distance, the root of the divergence in bits (Endres, Schindelin 2003); 0 to 1.

    As scipy.spatial.distance.jensenshannon with base 2. Counts of shape (..., B) give shape (...).
    """
    p, q = _ratios(current), _ratios(reference)
    middle = (p + q) / 2
    terms = _times_log(p, middle) + _times_log(q, middle)
    return np.asarray(np.sqrt(np.maximum(np.sum(terms, axis=-1), 0.0) / 2))


def hellinger(current: IntArray, reference: IntArray) -> FloatArray:
    """Hellinger distance, sqrt(1/2 sum (sqrt p - sqrt q)^2) (Hellinger 1909); 0 to 1.

    Counts of shape (..., B) give shape (...).
    """
    gap = np.sqrt(_ratios(current)) - np.sqrt(_ratios(reference))
    return np.asarray(np.sqrt(np.minimum(np.sum(np.square(gap), axis=-1) / 2, 1.0)))


def l_infinity(current: IntArray, reference: IntArray) -> FloatArray:
    """Largest change of one bin's share (the Chebyshev distance); 0 to 1.

    Counts of shape (..., B) give shape (...).
    """
    return np.asarray(np.max(np.abs(_ratios(current) - _ratios(reference)), axis=-1))


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


def ks(current: IntArray, reference: IntArray) -> FloatArray:
    """Largest distance of the two distribution functions (Kolmogorov 1933, Smirnov 1939); 0 to 1.

    As scipy.stats.ks_2samp on the bins. On values it is at least this, and at most the larger side's
    share of one bin more. Counts of shape (..., B) give shape (...).
    """
    gap = np.cumsum(_ratios(current) - _ratios(reference), axis=-1)[..., :-1]
    return np.asarray(np.max(np.abs(gap), axis=-1, initial=0.0))


def wasserstein(
    current: IntArray, reference: IntArray, positions: FloatArray, scale: FloatArray | float
) -> FloatArray:
    """Wasserstein-1 distance of two discrete distributions on `positions`, in units of `scale`.

    The area between the two distribution functions, as scipy.stats.wasserstein_distance. On values it
    differs by what rows lie from their bins' positions in the mean, on both sides together. Counts of
    shape (..., B) give shape (...). A scale that is not above 0 raises ValueError.
    """
    gap = np.cumsum(_ratios(current) - _ratios(reference), axis=-1)[..., :-1]
    area = np.sum(np.abs(gap) * np.diff(positions, axis=-1), axis=-1)
    return np.asarray(area / _above_0(scale))


def mean_shift(
    current: IntArray, reference: IntArray, positions: FloatArray, scale: FloatArray | float
) -> FloatArray:
    """Distance of the means of two discrete distributions on `positions`, in units of `scale`; 0 and up.

    On values it differs at most as `wasserstein` does. Counts of shape (..., B) give shape (...). A
    scale that is not above 0 raises ValueError.
    """
    middle = positions[..., positions.shape[-1] // 2, None]  # large positions would cost digits
    gap = np.sum((_ratios(current) - _ratios(reference)) * (positions - middle), axis=-1)
    return np.asarray(np.abs(gap) / _above_0(scale))


@dataclass(frozen=True, slots=True)
class Method:
    """A registered distance.

    `bins` says which counts of a column it wants: the profile's few PSI bins or the fine grid.
    Without drift the distance to the `power` falls as one over the `rows`: the harmonic ones,
    n m / (n + m), or all n + m; with many rows in every bin the product is `chi_squared` times a
    chi-squared variable, where that is not 0. `alternative` is the drift that it finds best. `smoothed`
    is the method on expected counts, where equal shares of unequally many rows are not at 0.
    """

    name: str
    kinds: tuple[Kind, ...]
    unit: str
    bins: Bins
    power: int
    rows: Rows
    function: Callable[[Comparison], FloatArray]
    chi_squared: float = 0.0
    alternative: Alternative = "scatter"
    smoothed: Callable[[FloatArray, FloatArray], FloatArray] | None = None


Counted: TypeAlias = Callable[[IntArray, IntArray], FloatArray]
Placed: TypeAlias = Callable[[IntArray, IntArray, FloatArray, FloatArray | float], FloatArray]


def _counted(function: Counted) -> Callable[[Comparison], FloatArray]:
    return lambda sides: function(sides.current, sides.reference)


def _placed(function: Placed) -> Callable[[Comparison], FloatArray]:
    def compare(sides: Comparison) -> FloatArray:
        if sides.positions is None:
            raise ValueError(f"{function.__name__} needs the positions of the bins")
        return function(sides.current, sides.reference, sides.positions, sides.scale)

    return compare


_NUMERIC: tuple[Kind, ...] = ("numeric",)
_CATEGORICAL: tuple[Kind, ...] = ("categorical",)
_BOTH: tuple[Kind, ...] = ("numeric", "categorical")
_DEVIATIONS = "standard deviations"

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("psi", _BOTH, "nats", "coarse", 1, "harmonic", _counted(psi), 1.0, smoothed=psi),
            Method(
                "wasserstein",
                _NUMERIC,
                _DEVIATIONS,
                "fine",
                2,
                "harmonic",
                _placed(wasserstein),
                alternative="shift",
            ),
            Method("cramers_v", _CATEGORICAL, "ratio", "coarse", 2, "total", _counted(cramers_v), 1.0),
            Method("ks", _NUMERIC, "ratio", "fine", 2, "harmonic", _counted(ks), alternative="steps"),
            Method(
                "jensen_shannon",
                _BOTH,
                "ratio",
                "coarse",
                2,
                "harmonic",
                _counted(jensen_shannon),
                1 / (8 * log(2)),
            ),
            Method("hellinger", _BOTH, "ratio", "coarse", 2, "harmonic", _counted(hellinger), 1 / 8),
            Method(
                "mean_shift",
                _NUMERIC,
                _DEVIATIONS,
                "fine",
                2,
                "harmonic",
                _placed(mean_shift),
                alternative="shift",
            ),
            Method(
                "l_infinity",
                _CATEGORICAL,
                "ratio",
                "coarse",
                2,
                "harmonic",
                _counted(l_infinity),
                alternative="spikes",
            ),
        )
    }
)

DEFAULT_METHODS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {"numeric": ("psi", "wasserstein"), "categorical": ("psi", "cramers_v")}
)


def registered(name: str, kind: Kind) -> Method | None:
    """The method of this name for columns of this kind, None where there is none."""
    method = METHODS.get(name)
    return method if method is not None and kind in method.kinds else None


def unmoved(method: Method, reference: IntArray, n: IntArray | float, m: IntArray | float) -> FloatArray:
    """How far n and m rows, shape (...), are apart without drift and without chance, in the method's unit.

    Both sides have the expected counts of the shares of `reference`, shape (..., B). Where these are all
    in one bin, any n and m rows without drift are so far apart, to the last bit.
    """
    if method.smoothed is None:
        return np.zeros(reference.shape[:-1])
    shares = reference / np.maximum(reference.sum(axis=-1, keepdims=True), 1)
    current, other = (shares * np.asarray(rows, np.float64)[..., None] for rows in (n, m))
    return method.smoothed(current, other)


def distance(method: Method, sides: Comparison) -> Result:
    """One method on one window: counts of shape (B,). The value has no bounds; n is the window's rows."""
    return distances(method, sides)[0]


def distances(method: Method, sides: Comparison) -> list[Result]:
    """One method on k windows or columns: counts of shape (k, B), or (B,) for one of them."""
    current = np.atleast_2d(sides.current)
    reference = np.broadcast_to(sides.reference, current.shape)
    rows, others = current.sum(axis=-1), reference.sum(axis=-1)
    enough = (rows >= MINIMUM_ROWS) & (others >= MINIMUM_ROWS)
    # A row more in the first bin keeps what has none from dividing by 0; nobody reads these values.
    filled, others_filled = (counts + _one_row(counts, ~enough) for counts in (current, reference))
    values = np.atleast_1d(method.function(Comparison(filled, others_filled, sides.positions, sides.scale)))
    return [
        _result(value, n, m)
        for value, n, m in zip(values.tolist(), rows.tolist(), others.tolist(), strict=True)
    ]


def _result(value: float, rows: int, others: int) -> Result:
    if rows < MINIMUM_ROWS:
        return Unavailable("too_few_rows")
    if others < MINIMUM_ROWS:
        return Unavailable("short_reference")
    return Value(value, None, None, rows)


def _one_row(counts: IntArray, chosen: BoolArray) -> IntArray:
    added = np.zeros(counts.shape, np.int64)
    added[:, 0] = chosen
    return added


def _ratios(counts: IntArray) -> FloatArray:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def _smoothed(counts: IntArray | FloatArray) -> FloatArray:
    bins = counts.shape[-1]
    return np.asarray((counts + 0.5) / (counts.sum(axis=-1, keepdims=True) + bins / 2))


def _times_log(p: FloatArray, q: FloatArray) -> FloatArray:
    """Terms p log2(p / q), 0 where p is."""
    ratio = np.divide(p, q, out=np.ones(np.broadcast_shapes(p.shape, q.shape)), where=p > 0)
    return np.asarray(p * np.log2(ratio))


def _above_0(scale: FloatArray | float) -> FloatArray | float:
    if not np.all(np.asarray(scale) > 0):
        raise ValueError("scale must be above 0")
    return scale
