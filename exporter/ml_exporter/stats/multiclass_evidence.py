"""What the metrics of a classifier with k classes are computed from: additive counts by window and block."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.one_vs_rest import BINS, one_vs_rest
from ml_exporter.stats.sums import RowSums


def row_log_loss(probabilities: FloatArray, labels: IntArray) -> FloatArray:
    """Log loss of n rows in nats, shape (n,), from probabilities (n, k) and labels (n,).

    Clipped at float64's epsilon as scikit-learn clips.
    """
    epsilon = np.finfo(np.float64).eps
    likelihood = probabilities[np.arange(labels.size), labels]
    return np.asarray(-np.log(np.clip(likelihood, epsilon, 1.0 - epsilon)))


def row_hits(probabilities: FloatArray, labels: IntArray, top_k: int) -> BoolArray:
    """Whether the label is among the `top_k` most probable classes, shape (n,).

    Of equal probabilities the later class comes first, as in scikit-learn.
    """
    own = probabilities[np.arange(labels.size), labels][:, None]
    later = np.arange(probabilities.shape[1]) > labels[:, None]
    ahead = (probabilities > own) | ((probabilities == own) & later)
    return np.asarray(np.count_nonzero(ahead, axis=1) < top_k)


def confusion_of(labels: IntArray, predicted: IntArray, classes: int) -> IntArray:
    """Rows by label and predicted class, shape (k, k); raises ValueError on a class outside 0 .. k - 1."""
    both = np.concatenate((labels, predicted))
    if np.any((both < 0) | (both >= classes)):
        raise ValueError(f"classes must lie in 0 .. {classes - 1}")
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True, eq=False, slots=True)
class MulticlassEvidence:
    """All that a window's metrics are computed from; merges with `+`.

    `confusion` has shape (k, k), int64, actual by predicted, and counts every labelled row. The
    others count the rows that have probabilities: sums of their log loss in nats, `top` with the
    hits among the most probable classes and the rows, and `one_vs_rest` of shape (k, 64, 2), int64.
    """

    confusion: IntArray
    log_loss: RowSums
    top: tuple[int, int]
    one_vs_rest: IntArray

    @classmethod
    def empty(cls, classes: int) -> Self:
        """The evidence of no rows."""
        bins = np.zeros((classes, BINS, 2), np.int64)
        return cls(np.zeros((classes, classes), np.int64), RowSums(), (0, 0), bins)

    @classmethod
    def of(cls, probabilities: FloatArray, predicted: IntArray, labels: IntArray, top_k: int) -> Self:
        """Evidence of n rows: probabilities (n, k), NaN in rows without; predicted and labels (n,).

        Raises ValueError on a class outside 0 .. k - 1 or a probability outside [0, 1].
        """
        confusion = confusion_of(labels, predicted, probabilities.shape[1])
        known = ~np.isnan(probabilities).any(axis=1)
        rows, truth = probabilities[known], labels[known]
        bins = one_vs_rest(rows, truth)
        hits = int(np.count_nonzero(row_hits(rows, truth, top_k)))
        return cls(confusion, RowSums.of(row_log_loss(rows, truth)), (hits, truth.size), bins)

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Sum of one or more parts; raises ValueError on none and on different numbers of classes."""
        every = list(parts)
        if len({part.classes for part in every}) != 1:
            raise ValueError("evidence merges with that of as many classes")
        return cls(
            np.sum([part.confusion for part in every], axis=0),
            sum((part.log_loss for part in every), RowSums()),
            (sum(part.top[0] for part in every), sum(part.top[1] for part in every)),
            np.sum([part.one_vs_rest for part in every], axis=0),
        )

    def __add__(self, other: Self) -> Self:
        return self.merge((self, other))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MulticlassEvidence):
            return NotImplemented
        return (
            (self.log_loss, self.top) == (other.log_loss, other.top)
            and np.array_equal(self.confusion, other.confusion)
            and np.array_equal(self.one_vs_rest, other.one_vs_rest)
        )

    @property
    def classes(self) -> int:
        """Number of classes, k."""
        return int(self.confusion.shape[0])

    @property
    def n(self) -> int:
        """All rows."""
        return int(self.confusion.sum())


@dataclass(frozen=True, slots=True)
class MulticlassBlocks:
    """The evidence of a window and of the blocks of time that it is the sum of, empty ones among them."""

    window: MulticlassEvidence
    blocks: Sequence[MulticlassEvidence]

    @classmethod
    def of(cls, blocks: Iterable[MulticlassEvidence]) -> Self:
        """A window from its blocks, at least one."""
        every = tuple(blocks)
        return cls(MulticlassEvidence.merge(every), every)

    def confusions(self) -> IntArray:
        """Confusion counts of the blocks that have rows, shape (b, k, k)."""
        empty = np.zeros((0, *self.window.confusion.shape), np.int64)
        return np.asarray([part.confusion for part in self.blocks if part.n] or empty)

    def scored(self) -> IntArray:
        """One-vs-rest counts of the blocks that have rows with probabilities, shape (b, k, 64, 2)."""
        empty = np.zeros((0, *self.window.one_vs_rest.shape), np.int64)
        return np.asarray([part.one_vs_rest for part in self.blocks if part.top[1]] or empty)
