"""Quantiles of absolute errors from sparse histograms, with bounds.

The bins are those of a floating-point number: the exponent and eight mantissa bits of |error|, so a
bin is at most 1/256 of its lower edge wide, and an error of 0 has a bin of its own. Each bin also
knows the mean place of its rows. They are taken as evenly spread around it, as widely as the bin
allows: a smooth distribution is met closely, and errors that are all at a bin's lower edge, as all
whole numbers up to 512, are met exactly.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrik

from ml_exporter.stats.arrays import FloatArray, KeyArray
from ml_exporter.stats.intervals import CONFIDENCE
from ml_exporter.stats.sparse import SparseCounts

QUANTILE_ERROR = 1 / 256
"""Largest relative error of a quantile: the whole of a bin where bins are widest."""

_KEPT_BITS = 8
_DROPPED_BITS = 23 - _KEPT_BITS  # of a float32's mantissa
_PLACES = 1 << _DROPPED_BITS
_SMALLEST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
_TAIL = (1 - CONFIDENCE) / 2


def _codes(errors: FloatArray) -> NDArray[np.uint32]:
    sizes = np.abs(errors)
    if np.any(np.isnan(sizes)):
        raise ValueError("errors must be numbers")
    kept = np.where(sizes == 0.0, 0.0, np.clip(sizes, _SMALLEST, _LARGEST))
    return kept.astype(np.float32).view(np.uint32)


def error_keys(errors: FloatArray) -> KeyArray:
    """Bin keys of errors by their size, shape (n,); a larger one never has a lower key.

    Sizes below 1e-38 count as that, sizes above 3e38 as that; NaN raises ValueError.
    """
    return np.asarray(_codes(errors) >> np.uint32(_DROPPED_BITS))


@dataclass(frozen=True, eq=False, slots=True)
class ErrorHistogram(SparseCounts):
    """Rows by the size of their error in column 0, the sum of their places in the bin in column 1.

    A place is what float32 holds below the key: 0 at the lower edge of the bin to 2^15 - 1.
    """

    title: ClassVar[str] = "error histogram"
    magic: ClassVar[bytes] = b"ERH1"
    columns: ClassVar[int] = 2
    key_limit: ClassVar[int] = 1 << (8 + _KEPT_BITS)  # with the exponent; the sign is always 0

    @classmethod
    def of(cls, errors: FloatArray) -> Self:
        """Histogram of n errors in the label's unit, signed or not; NaN raises ValueError."""
        codes = _codes(errors)
        keys, place = codes >> np.uint32(_DROPPED_BITS), codes & np.uint32(_PLACES - 1)
        return cls.of_weights(keys.astype(np.int64), np.stack([np.ones(keys.size), place]))

    @property
    def n(self) -> int:
        """All rows."""
        return int(self.counts[:, 0].sum())

    def quantile(self, share: float) -> float:
        """Quantile by numpy's linear rule, off by at most `QUANTILE_ERROR` of it; wants a row."""
        position = share * (self.n - 1)
        below, above = self._sizes([math.floor(position), math.ceil(position)])
        return float(below + (position - math.floor(position)) * (above - below))

    def quantile_bounds(self, share: float, design_effect: float = 1.0) -> tuple[float, float | None]:
        """95 % bounds of a quantile by binomial order statistics.

        The ranks are those at n / `design_effect` rows, scaled to n. The upper bound is None where
        so few rows may all lie below the quantile, and the lower one 0 where they may lie above.
        """
        effective = max(math.floor(self.n / design_effect), 1)
        first, last = order_ranks(share, effective)
        ranks = first * self.n // effective - 1, -(-last * self.n // effective) - 1
        lower, upper = self._sizes([max(ranks[0], 0), min(ranks[1], self.n - 1)])
        value = self.quantile(share)  # between two rows, so a bound that is one of them may leave it out
        return (
            min(float(lower), value) if ranks[0] >= 0 else 0.0,
            max(float(upper), value) if last <= effective else None,
        )

    def _sizes(self, ranks: list[int]) -> FloatArray:
        """Sizes of the errors of some ranks, 0 the smallest; off by less than their bins' widths."""
        rows, places = self.counts.astype(np.float64).T
        ends = np.cumsum(self.counts[:, 0])
        bins = np.searchsorted(ends, ranks, side="right")
        depth = (np.asarray(ranks) - ends[bins] + rows[bins] + 0.5) / rows[bins]
        middle = places[bins] / rows[bins] / _PLACES
        place = middle + np.minimum(middle, 1 - middle) * (2 * depth - 1)
        return _size(self.keys[bins], place)


def _size(keys: KeyArray, place: FloatArray) -> FloatArray:
    """Size of an error in its bin, from 0 at the lower edge to 1 at the upper; shapes (k,)."""
    lower = (keys << np.uint32(_DROPPED_BITS)).view(np.float32).astype(np.float64)
    steps = (1 << _KEPT_BITS) + (keys & np.uint32((1 << _KEPT_BITS) - 1))
    return np.asarray(lower * (1 + place / steps))


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
