"""Quality of binary classifiers from additive counts, by scikit-learn's names and definitions."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self, TypeAlias

import numpy as np

from ml_exporter.stats import intervals, ranking
from ml_exporter.stats.arrays import BoolArray, FloatArray
from ml_exporter.stats.intervals import MINIMUM, Interval
from ml_exporter.stats.ranking import roc_auc_error
from ml_exporter.stats.result import Result, Unavailable, Value
from ml_exporter.stats.scores import ScoreHistogram
from ml_exporter.stats.sums import RowSums

__all__ = [
    "BINARY_METRICS",
    "BINARY_RATES",
    "BinaryCounts",
    "BinaryEvidence",
    "BinaryMetric",
    "Gains",
    "RowSums",
    "quality_value",
    "roc_auc_error",
    "row_brier",
    "row_log_loss",
]


def row_log_loss(scores: FloatArray, labels: BoolArray) -> FloatArray:
    """Log loss of each row in nats, shapes (n,); clipped at float64's epsilon as scikit-learn clips."""
    epsilon = np.finfo(np.float64).eps
    likelihood = np.where(labels, scores, 1.0 - scores)
    return np.asarray(-np.log(np.clip(likelihood, epsilon, 1.0 - epsilon)))


def row_brier(scores: FloatArray, labels: BoolArray) -> FloatArray:
    """Squared distance of each score from its label (Brier 1950), shapes (n,)."""
    return np.asarray(np.square(scores - labels))


@dataclass(frozen=True, slots=True)
class BinaryCounts:
    """Confusion counts of labelled rows; merges with `+`."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    @classmethod
    def of(cls, predictions: BoolArray, labels: BoolArray) -> Self:
        """Counts of n predictions and their n labels."""
        tp = int(np.count_nonzero(predictions & labels))
        fp = int(np.count_nonzero(predictions)) - tp
        fn = int(np.count_nonzero(labels)) - tp
        return cls(tp, fp, fn, labels.size - tp - fp - fn)

    def __add__(self, other: Self) -> Self:
        return type(self)(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def n(self) -> int:
        """All rows."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def positives(self) -> int:
        """Rows with a positive label."""
        return self.tp + self.fn

    @property
    def negatives(self) -> int:
        """Rows with a negative label."""
        return self.fp + self.tn


@dataclass(frozen=True, slots=True)
class BinaryEvidence:
    """All that a window's binary metrics are computed from; merges with `+`.

    `log_loss` (nats) and `brier` sum over the rows that have a score, as `scores` counts them.
    """

    confusion: BinaryCounts = field(default_factory=BinaryCounts)
    log_loss: RowSums = field(default_factory=RowSums)
    brier: RowSums = field(default_factory=RowSums)
    scores: ScoreHistogram = field(default_factory=ScoreHistogram.empty)

    @classmethod
    def of(cls, scores: FloatArray, predictions: BoolArray, labels: BoolArray) -> Self:
        """Evidence of n rows with scores in [0, 1], predictions and labels, all of shape (n,)."""
        return cls(
            BinaryCounts.of(predictions, labels),
            RowSums.of(row_log_loss(scores, labels)),
            RowSums.of(row_brier(scores, labels)),
            ScoreHistogram.of(scores, labels),
        )

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Sum of any number of parts; the histograms in one pass."""
        every = list(parts)
        return cls(
            sum((part.confusion for part in every), BinaryCounts()),
            sum((part.log_loss for part in every), RowSums()),
            sum((part.brier for part in every), RowSums()),
            ScoreHistogram.merge(part.scores for part in every),
        )

    def __add__(self, other: Self) -> Self:
        return self.merge((self, other))


@dataclass(frozen=True, slots=True)
class Gains:
    """What a row of each confusion cell brings (a cost is negative), in any unit."""

    tp: float
    fp: float
    fn: float
    tn: float


def quality_value(counts: BinaryCounts, gains: Gains, design_effect: float) -> Result:
    """Mean gain of a labelled prediction, in the unit of `gains`, with the bounds of `mean_gain`."""
    if counts.n < MINIMUM:
        return Unavailable("too_few_rows")
    cells = np.array([counts.tp, counts.fp, counts.fn, counts.tn], np.float64)
    each = np.array([gains.tp, gains.fp, gains.fn, gains.tn])
    bounds = intervals.mean_gain(cells / design_effect, each)
    return _value(float(cells @ each) / counts.n, bounds, counts.n)


BinaryMetric: TypeAlias = Callable[[BinaryEvidence, float], Result]


def _accuracy(evidence: BinaryEvidence, design_effect: float) -> Result:
    counts = evidence.confusion
    return _ratio(counts.tp + counts.tn, counts.n, design_effect)


def _precision(evidence: BinaryEvidence, design_effect: float) -> Result:
    counts = evidence.confusion
    return _ratio(counts.tp, counts.tp + counts.fp, design_effect)


def _recall(evidence: BinaryEvidence, design_effect: float) -> Result:
    counts = evidence.confusion
    return _one_class(counts) or _ratio(counts.tp, counts.positives, design_effect)


def _specificity(evidence: BinaryEvidence, design_effect: float) -> Result:
    counts = evidence.confusion
    return _one_class(counts) or _ratio(counts.tn, counts.negatives, design_effect)


def _balanced_accuracy(evidence: BinaryEvidence, design_effect: float) -> Result:
    counts = evidence.confusion
    lacking = _too_few(counts.positives, counts.negatives)
    if lacking:
        return lacking
    recall, specificity = counts.tp / counts.positives, counts.tn / counts.negatives
    bounds = intervals.mean_of_two(
        (counts.tp / design_effect, counts.positives / design_effect),
        (counts.tn / design_effect, counts.negatives / design_effect),
    )
    return _value((recall + specificity) / 2, bounds, counts.n)


def _f1(evidence: BinaryEvidence, design_effect: float) -> Result:
    counts = evidence.confusion
    n = counts.tp + counts.fp + counts.fn
    if n < MINIMUM:
        return Unavailable("too_few_rows")
    bounds = intervals.f1(counts.tp / design_effect, counts.fp / design_effect, counts.fn / design_effect)
    return _value(2 * counts.tp / (n + counts.tp), bounds, n)


def _matthews_corrcoef(evidence: BinaryEvidence, design_effect: float) -> Result:
    counts = evidence.confusion
    lacking = _too_few(counts.positives, counts.negatives)
    if lacking:
        return lacking
    tp, fp, fn, tn = (float(cell) for cell in (counts.tp, counts.fp, counts.fn, counts.tn))
    margins = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    if margins == 0:  # only one class is ever predicted
        return Unavailable("single_class")
    bounds = intervals.matthews_corrcoef(*(cell / design_effect for cell in (tp, fp, fn, tn)))
    return _value((tp * tn - fp * fn) / float(np.sqrt(margins)), bounds, counts.n)


def _roc_auc(evidence: BinaryEvidence, design_effect: float) -> Result:
    scores = evidence.scores
    positives, negatives = scores.positives, scores.negatives
    lacking = _too_few(positives, negatives)
    if lacking:
        return lacking
    value = ranking.roc_auc(scores)
    bounds = intervals.roc_auc(
        value, ranking.delong_variances(scores), positives / design_effect, negatives / design_effect
    )
    return _value(value, bounds, positives + negatives)


def _average_precision(evidence: BinaryEvidence, design_effect: float) -> Result:
    scores = evidence.scores
    lacking = _too_few(scores.positives, scores.negatives)
    if lacking:
        return lacking
    value = ranking.average_precision(scores)
    variance = ranking.average_precision_variance(scores) * design_effect
    bounds = intervals.average_precision(value, variance, scores.positives / design_effect)
    return _value(value, bounds, scores.positives + scores.negatives)


def _log_loss(evidence: BinaryEvidence, design_effect: float) -> Result:
    sums = evidence.log_loss
    if sums.n < MINIMUM:
        return Unavailable("too_few_rows")
    smallest = min(evidence.confusion.positives, evidence.confusion.negatives)
    return _value(sums.mean, intervals.positive_mean(sums, design_effect, smallest), sums.n)


def _brier_score(evidence: BinaryEvidence, design_effect: float) -> Result:
    sums = evidence.brier
    if sums.n < MINIMUM:
        return Unavailable("too_few_rows")
    smallest = min(evidence.confusion.positives, evidence.confusion.negatives)
    lower, upper = intervals.positive_mean(sums, design_effect, smallest)
    return _value(sums.mean, (lower, min(upper, 1.0)), sums.n)


def _predicted_positive_rate(evidence: BinaryEvidence, design_effect: float) -> Result:
    counts = evidence.confusion
    return _ratio(counts.tp + counts.fp, counts.n, design_effect)


def _actual_positive_rate(evidence: BinaryEvidence, design_effect: float) -> Result:
    counts = evidence.confusion
    return _ratio(counts.positives, counts.n, design_effect)


def _ratio(k: int, n: int, design_effect: float) -> Result:
    if n < MINIMUM:
        return Unavailable("too_few_rows")
    return _value(k / n, intervals.proportion(k / design_effect, n / design_effect), n)


def _one_class(counts: BinaryCounts) -> Unavailable | None:
    alone = counts.n >= MINIMUM and 0 in (counts.positives, counts.negatives)
    return Unavailable("single_class") if alone else None


def _too_few(positives: int, negatives: int) -> Unavailable | None:
    if min(positives, negatives) >= MINIMUM:
        return None
    alone = min(positives, negatives) == 0 and max(positives, negatives) >= MINIMUM
    return Unavailable("single_class" if alone else "too_few_rows")


def _value(value: float, bounds: Interval, n: int) -> Value:
    """Bounds of a corrected estimate may leave out the plain one, so they are widened to hold it."""
    return Value(value, min(bounds[0], value), max(bounds[1], value), int(n))


BINARY_METRICS: Mapping[str, BinaryMetric] = MappingProxyType(
    {
        "accuracy": _accuracy,
        "balanced_accuracy": _balanced_accuracy,
        "precision": _precision,
        "recall": _recall,
        "specificity": _specificity,
        "f1": _f1,
        "matthews_corrcoef": _matthews_corrcoef,
        "roc_auc": _roc_auc,
        "average_precision": _average_precision,
        "log_loss": _log_loss,
        "brier_score": _brier_score,
    }
)
"""Metrics of quality by scikit-learn's names: evidence and design effect in, value with bounds out."""

BINARY_RATES: Mapping[str, BinaryMetric] = MappingProxyType(
    {
        "predicted_positive_rate": _predicted_positive_rate,
        "actual_positive_rate": _actual_positive_rate,
    }
)
"""How often positive is predicted, and how often it is right to: no quality, but what explains one."""
