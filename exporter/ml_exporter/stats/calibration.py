"""Expected calibration error of binary scores, from additive counts, and how large noise makes it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from scipy.special import gammaincinv, gammaln, xlog1py, xlogy

from ml_exporter.stats.arrays import BoolArray, FloatArray
from ml_exporter.stats.intervals import MINIMUM
from ml_exporter.stats.result import Result, Unavailable, Value

BINS = 15

_NOISE_LEVEL = 0.99
_EXACT_BELOW = 25.0  # variance of a bin's positives; above, they are normal enough
_TERMS = 160  # reaches 15 standard deviations above the mean where the variance is below 25
_LEAST_SKEWNESS = 1e-3  # the gamma distribution is normal then
_ROWS = 0


@dataclass(frozen=True, eq=False, slots=True)
class CalibrationCounts:
    """Rows, sum of scores and positives by bin of the score, shape (15, 3); merges with `+`.

    The bins are uniform and closed above, as in scikit-learn's `calibration_curve`; the first holds 0.
    """

    cells: FloatArray = field(default_factory=lambda: np.zeros((BINS, 3)))

    @classmethod
    def of(cls, scores: FloatArray, positive: BoolArray) -> Self:
        """Counts of n scores in [0, 1] and whether their labels are positive, shapes (n,)."""
        bins = np.searchsorted(np.linspace(0.0, 1.0, BINS + 1)[1:-1], scores)
        weights = (None, scores, positive.astype(np.float64))
        return cls(np.stack([np.bincount(bins, each, BINS).astype(np.float64) for each in weights], axis=1))

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Sum of any number of parts."""
        return cls(sum((part.cells for part in parts), np.zeros((BINS, 3))))

    def __add__(self, other: Self) -> Self:
        return type(self)(self.cells + other.cells)


def expected_calibration_error(counts: CalibrationCounts) -> Result:
    """Mean over rows of the distance between a bin's share of positives and its mean score.

    Naeini, Cooper, Hauskrecht (2015). It has no bounds: noise alone makes it positive, so compare it
    with `calibration_noise`.
    """
    rows, scores, positives = counts.cells.T
    n = int(rows.sum())
    if n < MINIMUM:
        return Unavailable("too_few_rows")
    return Value(float(np.sum(np.abs(positives - scores))) / n, None, None, n)


def calibration_noise(counts: CalibrationCounts, design_effect: float = 1.0) -> float:
    """What the error stays below in 99 % of the samples of a perfectly calibrated model; n at least 1.

    Each bin's positives are then binomial around the sum of its scores, and the quantile is that of a
    shifted gamma distribution with the first three moments of the sum of their distances. The spread
    of scores within a bin is left out, which errs upwards by about a hundredth; where less than one
    positive is expected in all, up to 3 % of samples exceed it, since it falls between two counts.
    Correlated rows make every distance larger by the root of the design effect.
    """
    n, scores, _ = counts.cells[counts.cells[:, _ROWS] > 0].T
    share = np.clip(scores / n, 0.0, 1.0)
    mean, variance, third = (float(part.sum()) for part in _distance_moments(n, np.minimum(share, 1 - share)))
    largest = mean
    if variance > 0:
        shape = 4.0 / max(third / variance**1.5, _LEAST_SKEWNESS) ** 2
        deviations = (float(gammaincinv(shape, _NOISE_LEVEL)) - shape) / math.sqrt(shape)
        largest += deviations * math.sqrt(variance)
    return math.sqrt(design_effect) * largest / float(n.sum())


def _distance_moments(n: FloatArray, share: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean, variance and third central moment of |X - n share|, X binomial; all of shape (k,)."""
    spread = n * share * (1 - share)
    few = spread < _EXACT_BELOW
    first, third = np.sqrt(2 * spread / np.pi), np.sqrt(8 / np.pi) * spread**1.5
    first[few], third[few] = _few_moments(n[few], share[few])
    variance = np.maximum(spread - first**2, 0.0)
    return first, variance, third - 3 * first * spread + 2 * first**3


def _few_moments(n: FloatArray, share: FloatArray) -> tuple[FloatArray, FloatArray]:
    """First and third absolute moment by summing the binomial distribution (share at most one half)."""
    k, size = np.arange(_TERMS), n[:, None]
    p = share[:, None]
    left = np.maximum(size - k, 0.0)
    choices = gammaln(size + 1) - gammaln(k + 1) - gammaln(left + 1)
    chance = np.where(k <= size, np.exp(choices + xlogy(k, p) + xlog1py(left, -p)), 0.0)
    distance = np.abs(k - size * p)
    return np.sum(chance * distance, axis=1), np.sum(chance * distance**3, axis=1)
