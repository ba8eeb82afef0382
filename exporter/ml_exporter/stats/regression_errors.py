"""Quantiles of absolute errors from sparse histograms, with bounds.

The bins are those of a floating-point number: the exponent and eight mantissa bits of |error|, so a
bin is at most 1/256 of its lower edge wide, and an error of 0 has a bin of its own.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from scipy.special import bdtr, bdtrik

from ml_exporter.stats.arrays import FloatArray, KeyArray
from ml_exporter.stats.intervals import CONFIDENCE
from ml_exporter.stats.sparse import SparseCounts

QUANTILE_ERROR = 1 / 513
"""Largest relative error of a quantile: half a bin over its middle, where bins are widest."""

_KEPT_BITS = 8
_DROPPED_BITS = 23 - _KEPT_BITS  # of a float32's mantissa
_KEYS = 1 << (8 + _KEPT_BITS)  # with the exponent; the sign is always 0
_SMALLEST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
_TAIL = (1 - CONFIDENCE) / 2


def error_keys(errors: FloatArray) -> KeyArray:
    """Bin keys of errors by their size, shape (n,); a larger one never has a lower key.

    Sizes below 1e-38 count as that, sizes above 3e38 as that; NaN raises ValueError.
    """
    sizes = np.abs(errors)
    if np.any(np.isnan(sizes)):
        raise ValueError("errors must be numbers")
    kept = np.where(sizes == 0.0, 0.0, np.clip(sizes, _SMALLEST, _LARGEST)).astype(np.float32)
    return np.asarray(kept.view(np.uint32) >> np.uint32(_DROPPED_BITS))


def _edges(keys: KeyArray) -> tuple[FloatArray, FloatArray]:
    """Lower and upper edges of bins, shapes (k,)."""
    lower = (keys << np.uint32(_DROPPED_BITS)).view(np.float32).astype(np.float64)
    steps = (1 << _KEPT_BITS) + (keys & np.uint32((1 << _KEPT_BITS) - 1))
    return lower, lower * (1 + 1 / steps.astype(np.float64))


@dataclass(frozen=True, eq=False, slots=True)
class ErrorHistogram(SparseCounts):
    """Counts of rows by the size of their error."""

    title: ClassVar[str] = "error histogram"
    magic: ClassVar[bytes] = b"ERH1"
    columns: ClassVar[int] = 1
    key_limit: ClassVar[int] = _KEYS

    @classmethod
    def of(cls, errors: FloatArray) -> Self:
        """Histogram of n errors in the label's unit, signed or not; NaN raises ValueError."""
        return cls.of_cells(error_keys(errors).astype(np.int64))

    @property
    def n(self) -> int:
        """All rows."""
        return int(self.counts.sum())

    def quantile(self, share: float) -> float:
        """Quantile by numpy's linear rule, off by at most `QUANTILE_ERROR` of it; wants a row."""
        lower, upper = _edges(self.keys)
        # The harmonic mean of both edges is equally far from them, as a ratio.
        middles = np.where(lower > 0, 2 * lower * upper / np.maximum(lower + upper, _SMALLEST), 0.0)
        position = share * (self.n - 1)
        below = middles[self._bin(math.floor(position))]
        above = middles[self._bin(math.ceil(position))]
        return float(below + (position - math.floor(position)) * (above - below))

    def quantile_bounds(self, share: float, design_effect: float = 1.0) -> tuple[float, float | None]:
        """95 % bounds of a quantile by binomial order statistics, out to the edges of their bins.

        The ranks are those at n / `design_effect` rows, scaled to n. The upper bound is None where
        so few rows may all lie below the quantile; the lower one is then 0 or more.
        """
        effective = max(math.floor(self.n / design_effect), 1)
        first, last = order_ranks(share, effective)
        lower, upper = _edges(self.keys)
        low = math.floor(first * self.n / effective)
        high = math.ceil(last * self.n / effective)
        return (
            float(lower[self._bin(low - 1)]) if low > 0 else 0.0,
            float(upper[self._bin(high - 1)]) if last <= effective else None,
        )

    def _bin(self, rank: int) -> int:
        """Position of the bin that holds the row of a rank, 0 the smallest error."""
        return int(np.searchsorted(np.cumsum(self.counts[:, 0]), rank, side="right"))


def order_ranks(share: float, n: int) -> tuple[int, int]:
    """Ranks, from 1, of the two order statistics of n rows that hold a quantile in 95 % or more.

    They leave at most 2.5 % on either side (David, Nagaraja 2003, section 7.1). A first rank of 0
    or a last one of n + 1 means that no row bounds the quantile on that side.
    """
    return _binomial_quantile(_TAIL, n, share), _binomial_quantile(1 - _TAIL, n, share) + 1


def _binomial_quantile(level: float, n: int, share: float) -> int:
    """Smallest k with P(Bin(n, share) <= k) >= level."""
    k = math.ceil(float(bdtrik(level, n, share)))
    return k - 1 if k > 0 and float(bdtr(k - 1, n, share)) >= level else max(k, 0)
