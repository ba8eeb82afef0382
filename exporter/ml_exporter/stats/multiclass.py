"""Quality of classifiers with any number of classes from additive counts, by scikit-learn's names.

Classes are positions 0 .. k - 1. Averages over classes take the classes that occur in the labels or
in the predictions. An unweighted average needs `MINIMUM` rows behind each ratio that it averages:
one class too rare for a ratio of its own leaves the whole average without honest bounds, and a
class that is never predicted has no precision (scikit-learn calls it 0 and warns). A weighted
average has bounds as wide as the weight of such classes instead.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from ml_exporter.stats import averages, intervals, jackknife
from ml_exporter.stats.arrays import IntArray
from ml_exporter.stats.averages import Average, Margins
from ml_exporter.stats.intervals import CONSERVATIVE_BELOW, MINIMUM, Interval
from ml_exporter.stats.multiclass_evidence import MulticlassBlocks, MulticlassEvidence
from ml_exporter.stats.one_vs_rest import mean_roc_auc_bounds, roc_auc, roc_auc_error
from ml_exporter.stats.result import Result, Unavailable, Value

__all__ = [
    "CLASS_METRICS",
    "MULTICLASS_METRICS",
    "ROC_AUC_CLASSES",
    "MulticlassBlocks",
    "MulticlassEvidence",
    "MulticlassMetric",
    "class_quality",
    "macro_roc_auc_error",
]

ROC_AUC_CLASSES = 20


MulticlassMetric: TypeAlias = Callable[[MulticlassBlocks, float], Result]


def _accuracy(found: MulticlassBlocks, design_effect: float) -> Result:
    confusion = found.window.confusion
    return _ratio(int(np.trace(confusion)), found.window.n, design_effect)


def _top_k_accuracy(found: MulticlassBlocks, design_effect: float) -> Result:
    return _ratio(*found.window.top, design_effect)


def _balanced_accuracy(found: MulticlassBlocks, design_effect: float) -> Result:
    """Mean recall of the classes that occur in the labels; MOVER of their bounds (Zou, Donner 2008)."""
    confusion = found.window.confusion
    actual = confusion.sum(axis=1)
    lacking = _too_few(actual)
    if lacking:
        return lacking
    pairs = [(int(confusion[c, c]), int(actual[c])) for c in np.flatnonzero(actual)]
    bounds = _mean_of_proportions(pairs, design_effect)
    return _value(float(np.mean([k / n for k, n in pairs])), bounds, found.window.n)


def _mean_of_proportions(pairs: Sequence[tuple[int, int]], design_effect: float) -> Interval:
    values = np.array([k / n for k, n in pairs])
    bounds = np.array([intervals.proportion(k / design_effect, n / design_effect) for k, n in pairs])
    down, up = np.linalg.norm(values[:, None] - bounds, axis=0) / values.size
    return float(values.mean() - down), float(values.mean() + up)


def _macro(kind: averages.Kind) -> MulticlassMetric:
    average = Average(kind, by_rows=False)

    def metric(found: MulticlassBlocks, design_effect: float) -> Result:
        lacking = _too_few(found.window.confusion.sum(axis=1))
        return lacking or _average(average, found, design_effect)

    return metric


def _weighted(kind: averages.Kind) -> MulticlassMetric:
    average = Average(kind, by_rows=True)

    def metric(found: MulticlassBlocks, design_effect: float) -> Result:
        return _average(average, found, design_effect)

    return metric


def _average(average: Average, found: MulticlassBlocks, design_effect: float) -> Result:
    window, blocks = Margins.of(found.window.confusion), Margins.of(found.confusions())
    if found.window.n < MINIMUM or average.smallest(window) < MINIMUM:
        return Unavailable("too_few_rows")
    rows = averages.single_rows(found.window.confusion)
    bounds = average.bounds(window, blocks, rows, design_effect)
    return _value(average.value(window), bounds, found.window.n)


def _log_loss(found: MulticlassBlocks, design_effect: float) -> Result:
    """Log-t, with degrees of freedom from the rows that carry the loss where these are few.

    Their number is Kish's (1965), (sum l)^2 / sum l^2: sharp models have 10 among 200 rows, and
    coverage is then 0.93 instead of 0.91. It also sees a rare class with most of the loss, without
    widening the bounds (by up to 40 %) for one that hardly matters.
    """
    sums = found.window.log_loss
    if sums.n < MINIMUM:
        return Unavailable("too_few_rows")
    carrying = sums.total**2 / sums.squares if sums.squares > 0 else float(sums.n)
    return _value(sums.mean, intervals.positive_mean(sums, design_effect, carrying), sums.n)


def _roc_auc(found: MulticlassBlocks, design_effect: float) -> Result:
    """Mean ROC AUC of each class against the rest, over the classes that occur in the labels."""
    if found.window.classes > ROC_AUC_CLASSES:
        return Unavailable("error")  # not counted for so many classes; no other reason of the list fits
    counts = found.window.one_vs_rest
    actual = counts[:, :, 1].sum(axis=1)
    lacking = _too_few(actual)
    if lacking:
        return lacking
    value = float(roc_auc(counts[actual > 0]).mean())
    return _value(value, _roc_auc_bounds(value, found, design_effect), int(actual.sum()))


def _roc_auc_bounds(value: float, found: MulticlassBlocks, design_effect: float) -> Interval:
    counts = found.window.one_vs_rest
    actual = counts[:, :, 1].sum(axis=1)
    left_out = roc_auc((counts - found.scored())[:, actual > 0]).mean(axis=-1)
    bounds = jackknife.block_bounds(value, left_out)
    if bounds is not None and actual[actual > 0].min() >= CONSERVATIVE_BELOW * design_effect:
        return bounds
    other = mean_roc_auc_bounds(counts[actual > 0], design_effect)
    return jackknife.wider(bounds or other, other)


def macro_roc_auc_error(evidence: MulticlassEvidence) -> float:
    """Largest distance between `roc_auc` of the bins and of the unbinned probabilities; 0 without rows."""
    counts = evidence.one_vs_rest
    known = counts[:, :, 1].sum(axis=1) > 0
    return float(roc_auc_error(counts[known]).mean()) if known.any() else 0.0


def _ratio(k: int, n: int, design_effect: float) -> Result:
    if n < MINIMUM:
        return Unavailable("too_few_rows")
    return _value(k / n, intervals.proportion(k / design_effect, n / design_effect), n)


def _too_few(actual: IntArray) -> Unavailable | None:
    """Why classes of these sizes cannot be averaged with equal weights; classes without rows do not count."""
    sizes = actual[actual > 0]
    if sizes.sum() >= MINIMUM and sizes.size == 1:
        return Unavailable("single_class")
    return Unavailable("too_few_rows") if sizes.size == 0 or sizes.min() < MINIMUM else None


def _value(value: float, bounds: Interval, n: int) -> Value:
    """Bounds of a corrected estimate may leave out the plain one, so they are widened to hold it."""
    return Value(value, min(bounds[0], value), max(bounds[1], value), int(n))


MULTICLASS_METRICS: Mapping[str, MulticlassMetric] = MappingProxyType(
    {
        "accuracy": _accuracy,
        "balanced_accuracy": _balanced_accuracy,
        "precision_macro": _macro(averages.precision),
        "recall_macro": _macro(averages.recall),
        "f1_macro": _macro(averages.f1),
        "precision_weighted": _weighted(averages.precision),
        "recall_weighted": _weighted(averages.recall),
        "f1_weighted": _weighted(averages.f1),
        "log_loss": _log_loss,
        "top_k_accuracy": _top_k_accuracy,
        "roc_auc": _roc_auc,
    }
)

CLASS_METRICS = ("precision", "recall", "f1")


def class_quality(evidence: MulticlassEvidence, design_effect: float) -> dict[tuple[str, int], Result]:
    """Precision, recall and F1 of each class against the rest, by `CLASS_METRICS` and class.

    The bounds are Wilson's; F1 by way of J = TP / (TP + FP + FN) as for two classes.
    """
    counts = Margins.of(evidence.confusion)
    found: dict[tuple[str, int], Result] = {}
    for c, tp in enumerate(counts.hits.tolist()):
        fp, fn = int(counts.predicted[c]) - tp, int(counts.actual[c]) - tp
        found["precision", c] = _ratio(tp, tp + fp, design_effect)
        found["recall", c] = _ratio(tp, tp + fn, design_effect)
        found["f1", c] = _f1(tp, fp, fn, design_effect)
    return found


def _f1(tp: int, fp: int, fn: int, design_effect: float) -> Result:
    n = tp + fp + fn
    if n < MINIMUM:
        return Unavailable("too_few_rows")
    bounds = intervals.f1(tp / design_effect, fp / design_effect, fn / design_effect)
    return _value(2 * tp / (n + tp), bounds, n)
