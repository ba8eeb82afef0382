"""Quality of binary classifiers without labels: confidence-based performance estimation (CBPE).

How often a score comes true is learned on the reference. In a window each row then counts as a
positive by that rate, which gives an expected confusion table and expected ranks.

It is right as long as P(positive | score) stays as it was on the reference, however the scores
themselves move (covariate shift). It says nothing of a change of that relation, and is wrong by as
much as the relation moves: concept drift (the same inputs now mean something else) and label shift
(positives became more or less common within the same score). Nothing in the scores shows either;
only labels do. It also fails where the window's scores lie beyond those of the reference, or spread
differently within a bin. Bins should be quantiles of the reference, at most 200, of about 50 rows or
more, with an edge at the decision threshold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import digamma

from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.folds import FOLDS, filled, fold_counts, forecast, is_short
from ml_exporter.stats.intervals import CONSERVATIVE_BELOW, MINIMUM
from ml_exporter.stats.result import Reason, Result, Unavailable, Value

__all__ = ["ESTIMATED_METRICS", "Calibration", "estimate_binary", "fit_calibration"]

_CONFUSION_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "specificity",
    "f1",
    "matthews_corrcoef",
    "actual_positive_rate",
)
ESTIMATED_METRICS = (*_CONFUSION_METRICS, "roc_auc", "average_precision")
_LOWEST: Mapping[str, float] = MappingProxyType({"matthews_corrcoef": -1.0})
_STEP = 1e-3  # rows; the metrics are ratios of rows, so smooth that central differences are exact
_TINY = 1e-9  # rows; below any share of a row, and far from overflow


@dataclass(frozen=True, eq=False, slots=True)
class Calibration:
    """How often the label is positive in each score bin, learned on labelled reference rows.

    Bins rise with the score. `rows`, int64, shape (b,): rows of the reference. `rate`, shape (b,):
    P(positive | bin), never falling. `fold_rates`, shape (10, b): the same without each fold.
    """

    rows: IntArray
    rate: FloatArray
    fold_rates: FloatArray

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, six decimals."""
        return {
            "rows": self.rows.tolist(),
            "rate": np.round(self.rate, 6).tolist(),
            "fold_rates": np.round(self.fold_rates, 6).tolist(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read what `to_json` writes; raises KeyError or ValueError on anything else."""
        rows = np.array(data["rows"], np.int64)
        rate, fold_rates = (np.array(data[key], np.float64) for key in ("rate", "fold_rates"))
        if rows.ndim != 1 or rate.shape != rows.shape or fold_rates.shape != (FOLDS, rows.size):
            raise ValueError(
                f"rows and rate must have one value for each bin, fold_rates {FOLDS} rows of them"
            )
        if rows.min(initial=0) < 0 or not all(np.all((x >= 0) & (x <= 1)) for x in (rate, fold_rates)):
            raise ValueError("rows must not be negative, rates must lie in [0, 1]")
        return cls(rows, rate, fold_rates)


def fit_calibration(bins: IntArray, labels: BoolArray, folds: IntArray, b: int) -> Calibration:
    """Learn P(positive | bin) from n reference rows by isotonic regression; all shapes (n,).

    Bins are 0 to b - 1 and rise with the score; folds are those of `chronological_folds`. Raises
    ValueError on other bins or folds, or where a reference without one of the folds has no rows.

    Scores are never taken as rates unseen, even where they look calibrated: a reference cannot tell
    a calibrated model from one that is off by less than its own noise, and in a larger window that
    much matters. On simulated models with a reference of 5,000 rows and windows of 10,000 (logits
    off by 0.1), recalibrating only where that improves the held-out calibration error let the bounds
    hold precision in 63 % and the positive rate in 44 % of runs; recalibrating always, in 94 and 96 %.
    A calibrated model pays with wider bounds, by no more than what its reference leaves open.
    """
    rows = fold_counts(folds, bins, b)
    positives = fold_counts(folds, bins, b, labels.astype(np.float64))
    all_rows, all_positives = rows.sum(axis=0), positives.sum(axis=0)
    fold_rates = [_isotonic(all_rows - rows[k], all_positives - positives[k]) for k in range(FOLDS)]
    return Calibration(all_rows.astype(np.int64), _isotonic(all_rows, all_positives), np.stack(fold_rates))


def _isotonic(rows: FloatArray, positives: FloatArray) -> FloatArray:
    known = rows > 0
    rates = positives / np.maximum(rows, 1)
    if known.any():
        rates[known] = isotonic_regression(rates[known], weights=rows[known]).x
    return np.clip(filled(rates, known), 0.0, 1.0)


def estimate_binary(
    counts: IntArray, calibration: Calibration, design_effect: float = 1.0
) -> dict[str, Result]:
    """Expected metrics of a window without labels, with 95 % bounds of what the labels will show.

    `counts`, shape (b, 2): rows by score bin and predicted class (negative, positive).
    `design_effect`, 1 and up, multiplies the variance of the window's own rows where they come
    correlated. All of `ESTIMATED_METRICS` are returned. ROC AUC and average precision rank the rows
    by their bin, the rows of one bin in random order. Log loss, Brier score and other row means are
    `expected_loss.estimate_loss`'s. `Unavailable` are: `too_few_rows`, fewer than ten expected in
    the metric's denominator or smaller class; `single_class`, where only one is ever predicted;
    `short_reference`, where the reference has fewer than 500 rows or 20 of a class, or no row in the
    bins of more than 5 % of the window.
    """
    reason = _refused(counts, calibration)
    if reason is not None:
        return {name: Unavailable(reason) for name in ESTIMATED_METRICS}
    table = counts.astype(np.float64)
    rates = np.concatenate([calibration.rate[None], calibration.fold_rates])
    parts = [_confusion_moments(table, rates), *_rank_moments(table.sum(axis=1), rates)]
    values, second, third = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    lowest = np.array([_LOWEST.get(name, 0.0) for name in ESTIMATED_METRICS])
    # D rows that move as one: their sum has D times the variance and D^2 times the third moment.
    found = forecast(values, second * design_effect, third * design_effect**2, lowest, np.ones_like(lowest))
    needed = _needed(table, calibration.rate)
    return {
        name: _result(float(value), float(lower), float(upper), needed[name])
        for name, value, lower, upper in zip(ESTIMATED_METRICS, *found, strict=True)
    }


def _refused(counts: IntArray, calibration: Calibration) -> Reason | None:
    rows = calibration.rows
    if counts.shape != (rows.size, 2):
        raise ValueError(f"counts must have shape ({rows.size}, 2), not {counts.shape}")
    if counts.sum() < MINIMUM:
        return "too_few_rows"
    positives = float(rows @ calibration.rate)
    smaller = min(positives, rows.sum() - positives)
    short = smaller < CONSERVATIVE_BELOW or is_short(rows, counts.sum(axis=1))
    return "short_reference" if short else None


def _needed(table: FloatArray, rate: FloatArray) -> dict[str, tuple[float, float]]:
    """By metric: the expected rows that it is made from, and those of the smaller part it needs."""
    n, (negative, positive) = table.sum(), table.sum(axis=0)
    missed, hits = rate @ table
    positives, negatives = hits + missed, n - hits - missed
    smaller = min(positives, negatives)
    either = positive + missed
    return {
        "accuracy": (n, n),
        "balanced_accuracy": (n, smaller),
        "precision": (positive, positive),
        "recall": (positives, positives),
        "specificity": (negatives, negatives),
        "f1": (either, either),
        "matthews_corrcoef": (n, smaller if min(positive, negative) > 0 else -1.0),
        "actual_positive_rate": (n, n),
        "roc_auc": (n, smaller),
        "average_precision": (n, smaller),
    }


def _result(value: float, lower: float, upper: float, needed: tuple[float, float]) -> Result:
    rows, smaller = needed
    if smaller < MINIMUM:
        return Unavailable("too_few_rows" if smaller >= 0 else "single_class")
    return Value(value, lower, upper, round(rows))


def _confusion_moments(table: FloatArray, rates: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Values (11, k), and variance and third moment (k,), of the metrics of the confusion table.

    Given the predicted class, each cell's positives are binomial, independent of other cells; the
    moments are carried over by the gradient (delta method).
    """
    missed, hits = rates @ table[:, 0], rates @ table[:, 1]
    steps = np.array([[_STEP, 0.0], [-_STEP, 0.0], [0.0, _STEP], [0.0, -_STEP]])
    near = steps + np.array([hits[0], missed[0]])
    points = _confusion_values(
        np.concatenate([hits, near[:, 0]]), np.concatenate([missed, near[:, 1]]), *table.sum(axis=0)
    )
    values, moved = points[: FOLDS + 1], points[FOLDS + 1 :]
    gradient = (moved[::2] - moved[1::2]) / (2 * _STEP)
    second, third = (moment.sum(axis=1) for moment in _binomial_moments(table[:, ::-1].T, rates[0]))
    return values, second @ gradient**2, third @ gradient**3


def _confusion_values(
    hits: FloatArray, missed: FloatArray, predicted_negative: float, predicted_positive: float
) -> FloatArray:
    """The metrics of tables with given true positives and false negatives: (p,) gives (p, k)."""
    spared = predicted_negative - missed
    false = predicted_positive - hits
    n = predicted_negative + predicted_positive
    recall = hits / np.maximum(hits + missed, _TINY)
    specificity = spared / np.maximum(spared + false, _TINY)
    margins = (hits + missed) * (spared + false) * predicted_negative * predicted_positive
    columns = (
        (hits + spared) / n,
        (recall + specificity) / 2,
        hits / max(predicted_positive, _TINY),
        recall,
        specificity,
        2 * hits / np.maximum(predicted_positive + hits + missed, _TINY),
        (hits * spared - false * missed) / np.sqrt(np.maximum(margins, _TINY)),
        (hits + missed) / n,
    )
    return np.stack(columns, axis=-1)


def _rank_moments(rows: FloatArray, rates: FloatArray) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    """Values (11, 1), and variance and third moment (1,), of ROC AUC and of average precision."""
    second, third = _binomial_moments(rows, rates[0])
    return [
        (values[:, None], np.array([second @ gradient**2]), np.array([third @ gradient**3]))
        for values, gradient in (_roc_auc(rows, rates), _average_precision(rows, rates))
    ]


def _binomial_moments(rows: FloatArray, rate: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Second and third central moment of the positives among rows by bin, all of shape (..., b)."""
    second = rows * (rate * (1 - rate))
    return second, second * (1 - 2 * rate)


def _roc_auc(rows: FloatArray, rates: FloatArray) -> tuple[FloatArray, FloatArray]:
    """ROC AUC of the expected positives (11,), and its gradient by the whole reference's ones (b,)."""
    positives = rows * rates
    negatives = rows - positives
    hits, misses = positives.sum(axis=1), negatives.sum(axis=1)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    pairs = np.maximum(hits * misses, _TINY)
    values = np.sum(positives * below, axis=1) / pairs
    above = hits[0] - np.cumsum(positives[0]) + positives[0] / 2
    return values, (below[0] - above - values[0] * (misses[0] - hits[0])) / pairs[0]


def _average_precision(rows: FloatArray, rates: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Average precision of the expected positives (11,), and its gradient as in `_roc_auc` (b,).

    A positive at place j of its bin, H expected positives and R rows being above the bin, has the
    expected precision (H + 1 + r (j - 1)) / (R + j); the sum over j is a difference of digammas.
    The gradient is that of sum P H / R over bins, which differs by less than the bins do.
    """
    rows, rates = rows[::-1], rates[:, ::-1]
    positives = rows * rates
    hits, places = np.cumsum(positives, axis=1), np.cumsum(rows)
    total = np.maximum(hits[:, -1], _TINY)
    first = hits - positives + 1 - rates * (1 + places - rows)
    harmonic = digamma(places + 1) - digamma(places - rows + 1)
    values = np.sum(rates * (positives + first * harmonic), axis=1) / total
    known = np.maximum(places, 1)
    shares = positives[0] / known
    below = shares[::-1].cumsum()[::-1]
    tied = (positives[0] * hits[0] / known).sum() / total[0]
    return values, ((hits[0] / known + below - tied) / total[0])[::-1]
