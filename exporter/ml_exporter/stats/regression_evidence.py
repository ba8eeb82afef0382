"""What the quality of a regression model is computed from: additive counts and sums.

Errors are prediction - label, in the label's unit. Rows with a label or prediction that is not
finite are left out by the caller. Labels enter their own moments less `center`, a number near their
mean (the profile's): squares of plain labels would cancel where the mean is far from 0. Everything
that is added up must share one center; no metric depends on it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np

from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.regression_errors import ErrorHistogram
from ml_exporter.stats.sums import RowSums

LIMIT = 1e72
"""Largest error and centred label that is told from larger ones: fourth powers of it still add up."""


class Count(IntEnum):
    """Positions of the counts. Both ends of an interval belong to it."""

    ROWS = 0
    NONZERO_LABELS = 1
    INTERVALS = 2  # rows with both ends of an interval
    INTERVAL_HITS = 3  # those whose label lies in it


class Sum(IntEnum):
    """Positions of the sums. e is the error and y the label less the center."""

    ERROR = 0  # e
    ABSOLUTE = 1  # |e|
    SQUARE = 2  # e^2
    FOURTH = 3  # e^4
    PERCENTAGE = 4  # |e / label|, a ratio, over labels other than 0
    PERCENTAGE_SQUARE = 5
    LABEL = 6  # y
    LABEL_SQUARE = 7
    LABEL_CUBE = 8
    LABEL_FOURTH = 9
    SQUARE_LABEL = 10  # e^2 y
    SQUARE_LABEL_SQUARE = 11  # e^2 y^2


def row_counts(labels: FloatArray, lower: FloatArray | None, upper: FloatArray | None) -> IntArray:
    """What each row adds to the counts, shape (n, 4) for n labels, its columns contiguous.

    `lower` and `upper` have shape (n,), NaN where a row lacks that end; None where the log has none.
    """
    counts = np.zeros((len(Count), labels.size), np.int64)
    counts[Count.ROWS] = 1
    counts[Count.NONZERO_LABELS] = labels != 0.0
    if lower is not None and upper is not None:
        counts[Count.INTERVALS] = ~(np.isnan(lower) | np.isnan(upper))
        counts[Count.INTERVAL_HITS] = (lower <= labels) & (labels <= upper)
    return counts.T


def row_sums(labels: FloatArray, predictions: FloatArray, center: float) -> FloatArray:
    """What each row adds to the sums, shape (n, 12) for n labels and predictions, its columns contiguous.

    Errors and centred labels beyond `LIMIT` count as that; metrics that they enter are then an error.
    """
    errors, centred = _difference(predictions, labels), _difference(labels, center)
    square, spread = np.square(errors), np.square(centred)
    percentage = _percentages(labels, errors)
    sums = np.empty((len(Sum), labels.size))
    sums[Sum.ERROR], sums[Sum.ABSOLUTE] = errors, np.abs(errors)
    sums[Sum.SQUARE], sums[Sum.FOURTH] = square, square * square
    sums[Sum.PERCENTAGE], sums[Sum.PERCENTAGE_SQUARE] = percentage, percentage * percentage
    sums[Sum.LABEL], sums[Sum.LABEL_SQUARE] = centred, spread
    sums[Sum.LABEL_CUBE], sums[Sum.LABEL_FOURTH] = spread * centred, spread * spread
    sums[Sum.SQUARE_LABEL], sums[Sum.SQUARE_LABEL_SQUARE] = square * centred, square * spread
    return sums.T


def _difference(minuend: FloatArray, subtrahend: FloatArray | float) -> FloatArray:
    with np.errstate(over="ignore"):
        return np.clip(minuend - subtrahend, -LIMIT, LIMIT)


def _percentages(labels: FloatArray, errors: FloatArray) -> FloatArray:
    # scikit-learn divides by its epsilon where a label is closer to 0 than that.
    smallest = np.maximum(np.abs(labels), np.finfo(np.float64).eps)
    return np.where(labels != 0.0, np.abs(errors) / smallest, 0.0)


def absolute_loss(rows: int, sums: FloatArray) -> RowSums:
    """Sums of the absolute error, from the number of rows and `sums` of shape (12,)."""
    return RowSums(rows, float(sums[Sum.ABSOLUTE]), float(sums[Sum.SQUARE]))


def squared_loss(rows: int, sums: FloatArray) -> RowSums:
    """Sums of the squared error, from the number of rows and `sums` of shape (12,)."""
    return RowSums(rows, float(sums[Sum.SQUARE]), float(sums[Sum.FOURTH]))


@dataclass(frozen=True, eq=False, slots=True)
class RegressionEvidence:
    """All that a window's regression metrics are computed from; merges with `+`.

    `counts` has shape (4,), int64, at the positions of `Count`; `sums` shape (12,), float64, at
    those of `Sum`; `errors` holds the sizes of the errors.
    """

    counts: IntArray
    sums: FloatArray
    errors: ErrorHistogram

    @classmethod
    def empty(cls) -> Self:
        """The evidence of no rows."""
        return cls(np.zeros(len(Count), np.int64), np.zeros(len(Sum)), ErrorHistogram.empty())

    @classmethod
    def of(
        cls,
        labels: FloatArray,
        predictions: FloatArray,
        lower: FloatArray | None = None,
        upper: FloatArray | None = None,
        center: float = 0.0,
    ) -> Self:
        """Evidence of n finite labels and predictions, and the ends of their intervals, all (n,)."""
        rows = row_sums(labels, predictions, center)
        return cls(
            np.asarray(row_counts(labels, lower, upper).sum(axis=0)),
            np.asarray(rows.sum(axis=0)),
            ErrorHistogram.of(rows[:, Sum.ABSOLUTE]),
        )

    @classmethod
    def from_arrays(cls, counts: IntArray, sums: FloatArray, errors: ErrorHistogram) -> Self:
        """Evidence from stored arrays; raises ValueError where a shape is not (4,) and (12,)."""
        if counts.shape != (len(Count),) or sums.shape != (len(Sum),):
            raise ValueError(f"regression: counts of shape {counts.shape}, sums of shape {sums.shape}")
        return cls(counts.astype(np.int64), sums.astype(np.float64), errors)

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Sum of any number of parts; the histograms in one pass."""
        every = [cls.empty(), *parts]
        return cls(
            np.sum([part.counts for part in every], axis=0),
            np.sum([part.sums for part in every], axis=0),
            ErrorHistogram.merge(part.errors for part in every),
        )

    def __add__(self, other: Self) -> Self:
        return self.merge((self, other))

    @property
    def n(self) -> int:
        """All rows."""
        return int(self.counts[Count.ROWS])

    @property
    def zero_labels(self) -> int:
        """Rows with a label of 0, which the percentage error skips."""
        return self.n - int(self.counts[Count.NONZERO_LABELS])

    @property
    def errors_fit(self) -> bool:
        """Whether all errors were below `LIMIT`; many errors close to it do not fit either."""
        return bool(self.sums[Sum.SQUARE] < LIMIT**2)

    @property
    def labels_fit(self) -> bool:
        """The same of the labels less the center."""
        return bool(self.sums[Sum.LABEL_SQUARE] < LIMIT**2)

    @property
    def error(self) -> RowSums:
        """Sums of prediction - label."""
        return RowSums(self.n, float(self.sums[Sum.ERROR]), float(self.sums[Sum.SQUARE]))

    @property
    def absolute_error(self) -> RowSums:
        """Sums of the absolute error."""
        return absolute_loss(self.n, self.sums)

    @property
    def squared_error(self) -> RowSums:
        """Sums of the squared error."""
        return squared_loss(self.n, self.sums)

    @property
    def percentage_error(self) -> RowSums:
        """Sums of |error / label|, a ratio, over rows with a label other than 0."""
        sums = self.sums[Sum.PERCENTAGE], self.sums[Sum.PERCENTAGE_SQUARE]
        return RowSums(int(self.counts[Count.NONZERO_LABELS]), float(sums[0]), float(sums[1]))
