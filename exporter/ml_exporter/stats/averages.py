"""Averages over classes of precision, recall and F1 from confusion counts, with their bounds.

All three need only the margins of the confusion counts. Every array has the classes on its last
axis, so that a window and all of its leave-one-out counts go through in one pass. 0 / 0 is 0, as
scikit-learn has it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np

from ml_exporter.stats import jackknife
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.intervals import CONSERVATIVE_BELOW, MINIMUM, Interval


@dataclass(frozen=True, slots=True)
class Margins:
    """Rows by class, shapes (..., k): predicted rightly, of the class, predicted as the class."""

    hits: IntArray
    actual: IntArray
    predicted: IntArray

    @classmethod
    def of(cls, confusion: IntArray) -> Self:
        """Margins of confusion counts of shape (..., k, k), actual by predicted."""
        hits = np.diagonal(confusion, axis1=-2, axis2=-1)
        return cls(hits, confusion.sum(axis=-1), confusion.sum(axis=-2))

    def __sub__(self, other: Self) -> Self:
        hits, actual = self.hits - other.hits, self.actual - other.actual
        return type(self)(hits, actual, self.predicted - other.predicted)


def single_rows(confusion: IntArray) -> tuple[Margins, IntArray]:
    """Margins (m, k) of one row from each of the m cells that have rows, and how many there are, (m,)."""
    actual, predicted = np.nonzero(confusion)
    one = np.eye(confusion.shape[-1], dtype=np.int64)
    margins = Margins(one[actual] * one[predicted], one[actual], one[predicted])
    return margins, confusion[actual, predicted]


@dataclass(frozen=True, slots=True)
class Ratios:
    """One ratio per class, shapes (..., k): counts above and below, and the rows it is made from."""

    above: IntArray
    below: IntArray
    rows: IntArray

    @property
    def values(self) -> FloatArray:
        """The ratios."""
        return np.asarray(self.above / np.maximum(self.below, 1))


Kind: TypeAlias = Callable[[Margins], Ratios]


def precision(counts: Margins) -> Ratios:
    """Of the rows predicted as a class, those of that class."""
    return Ratios(counts.hits, counts.predicted, counts.predicted)


def recall(counts: Margins) -> Ratios:
    """Of the rows of a class, those predicted as that class."""
    return Ratios(counts.hits, counts.actual, counts.actual)


def f1(counts: Margins) -> Ratios:
    """Harmonic mean of precision and recall: twice the hits by the rows of and predicted as the class."""
    both = counts.actual + counts.predicted
    return Ratios(2 * counts.hits, both, both - counts.hits)


@dataclass(frozen=True, slots=True)
class Average:
    """An average over classes: what it averages, and whether classes weigh by their rows or all the same.

    Classes that occur neither in the labels nor in the predictions are left out.
    """

    kind: Kind
    by_rows: bool

    def value(self, counts: Margins) -> float:
        """The average of counts of shape (k,) with at least one row."""
        return float(self._of(counts, self._weights(counts)))

    def smallest(self, counts: Margins) -> int:
        """Rows behind the smallest ratio that matters; all rows where classes weigh by their rows."""
        if self.by_rows:
            return int(counts.actual.sum())
        return int(self.kind(counts).rows[self._weights(counts) > 0].min())

    def bounds(
        self, window: Margins, blocks: Margins, rows: tuple[Margins, IntArray], design_effect: float
    ) -> Interval:
        """95 % bounds from counts of a window, (k,), of its blocks with rows, (b, k), and `single_rows`.

        The jackknife over blocks; over rows, with the design effect, where there are too few
        blocks; the wider of both below `CONSERVATIVE_BELOW`. Where classes weigh by their rows,
        ratios of fewer than `MINIMUM` rows are taken as anything from 0 to 1.
        """
        value, effective = self.value(window), self.smallest(window) / design_effect
        found = jackknife.block_bounds(value, self._without(window, blocks))
        if found is None or effective < CONSERVATIVE_BELOW:
            left_out = self._without(window, rows[0])
            other = jackknife.row_bounds(value, left_out, rows[1], design_effect, effective)
            found = jackknife.wider(found or other, other)
        down, up = self._doubt(window)
        return max(found[0] - down, 0.0), min(found[1] + up, 1.0)

    def _without(self, counts: Margins, parts: Margins) -> FloatArray:
        """The average without each of the parts; equal weights stay on the classes of the whole."""
        rest = counts - parts
        return self._of(rest, self._weights(rest if self.by_rows else counts))

    def _of(self, counts: Margins, weights: IntArray) -> FloatArray:
        return _mean(self.kind(counts).values, weights)

    def _weights(self, counts: Margins) -> IntArray:
        occurs = (counts.actual + counts.predicted) > 0
        return counts.actual if self.by_rows else occurs.astype(np.int64)

    def _doubt(self, counts: Margins) -> Interval:
        """How far ratios of too few rows could move the average, down and up."""
        ratios, weights = self.kind(counts), self._weights(counts)
        thin = ratios.rows < MINIMUM
        return float(_mean(thin * ratios.values, weights)), float(_mean(thin * (1 - ratios.values), weights))


def _mean(values: FloatArray, weights: IntArray) -> FloatArray:
    """Weighted mean over the last axis; whole weights, so that a mean of ones is one to the last bit."""
    total = np.maximum(weights.sum(axis=-1), 1)  # one block may have all the rows
    return np.asarray(np.sum(weights * values, axis=-1) / total)
