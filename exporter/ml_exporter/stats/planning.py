"""What a window of n rows will be able to say, before there is one.

Nothing here has formulas of bounds: expected counts go through the functions that make the bounds.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaln, ndtri, owens_t, polygamma, psi

from ml_exporter.stats import intervals
from ml_exporter.stats.classification import (
    BINARY_METRICS,
    BINARY_RATES,
    BinaryCounts,
    BinaryEvidence,
    row_log_loss,
)
from ml_exporter.stats.intervals import MINIMUM, Interval
from ml_exporter.stats.result import Value
from ml_exporter.stats.scores import ScoreHistogram, score_keys
from ml_exporter.stats.sums import RowSums

Bound: TypeAlias = Literal["min", "max"]
_Planned: TypeAlias = Callable[[float, float, float], Interval]

_FLAT, _SHARP = 1e3, 1e-6  # concentration of scores: all alike, and all at 0 or 1


def half_width(
    metric: str, value: float, n: float, positive_rate: float | None = None, spread: float | None = None
) -> float | None:
    """Half the expected distance between the bounds of a metric that is at `value`, from n rows.

    Divide the rows by the design effect first. `positive_rate` is the share of positive labels; as
    many rows are taken to be predicted positive. Scores are taken to be calibrated and beta distributed
    for log loss and Brier score, normal by class for ROC AUC. `spread` is the standard deviation of a
    row's loss: the absolute error for mean_absolute_error, the squared error for
    root_mean_squared_error. None where the metric is not planned for, too few rows (`MINIMUM`) are
    expected in a class or denominator, or what it needs is not given.
    """
    if metric in _OF_SPREAD:
        bounds = _OF_SPREAD[metric](value, n, spread) if spread is not None and n >= MINIMUM else None
    elif metric in _OF_ROWS:
        bounds = _OF_ROWS[metric](value, n, 1.0) if n >= MINIMUM else None
    else:
        bounds = _of_classes(metric, value, n, positive_rate)
    return None if bounds is None else (bounds[1] - bounds[0]) / 2


def provable(metric: str, target: float, bound: Bound, n: float, positive_rate: float | None = None) -> bool:
    """Whether n rows could ever prove a target violated: some outcome's bounds lie beyond it.

    Outcomes tried are a faultless model, one that is always wrong, one that always and one that never
    predicts the positive class; any other lies between. Of a metric that is not one of a binary
    model's only the number of rows is judged. A missing `positive_rate` counts as one half.
    """
    if metric not in _BINARY:
        return n >= MINIMUM
    for evidence in _extremes(round(n), 0.5 if positive_rate is None else positive_rate):
        result = _BINARY[metric](evidence, 1.0)
        if isinstance(result, Value) and result.lower is not None and result.upper is not None:
            beyond = result.upper < target if bound == "min" else result.lower > target
            if beyond:
                return True
    return False


_BINARY = MappingProxyType({**BINARY_METRICS, **BINARY_RATES})


def _extremes(n: int, positive_rate: float) -> Iterator[BinaryEvidence]:
    positives = round(n * positive_rate)
    negatives = n - positives
    for tp, fp in ((positives, 0), (0, negatives), (positives, negatives), (0, 0)):
        yield _certain(BinaryCounts(tp, fp, positives - tp, negatives - fp))


def _certain(counts: BinaryCounts) -> BinaryEvidence:
    """Evidence of a model whose scores are its predictions, 0 or 1."""
    ends = np.array([0.0, 1.0])
    cells = np.array([[counts.tn, counts.fn], [counts.fp, counts.tp]])
    filled = cells.any(axis=1)
    wrong, right = counts.fp + counts.fn, counts.tp + counts.tn
    most, least = row_log_loss(ends, np.array([True, True])).tolist()
    return BinaryEvidence(
        counts,
        RowSums(counts.n, wrong * most + right * least, wrong * most**2 + right * least**2),
        RowSums(counts.n, wrong, wrong),
        ScoreHistogram(score_keys(ends)[filled], cells[filled]),
    )


def _of_classes(metric: str, value: float, n: float, positive_rate: float | None) -> Interval | None:
    planned = _OF_CLASSES.get(metric)
    if planned is None or positive_rate is None:
        return None
    positives, negatives = n * positive_rate, n * (1 - positive_rate)
    needed = {"specificity": negatives, "log_loss": n, "brier_score": n}
    needed |= dict.fromkeys(("balanced_accuracy", "matthews_corrcoef", "roc_auc"), min(positives, negatives))
    enough = needed.get(metric, positives) >= MINIMUM and min(positives, negatives) > 0
    return planned(value, positives, negatives) if enough else None


def _share(value: float, n: float, _: float) -> Interval:
    return intervals.proportion(value * n, n)


def _specificity(value: float, _: float, negatives: float) -> Interval:
    return intervals.proportion(value * negatives, negatives)


def _balanced_accuracy(value: float, positives: float, negatives: float) -> Interval:
    return intervals.mean_of_two((value * positives, positives), (value * negatives, negatives))


def _f1(value: float, positives: float, _: float) -> Interval:
    errors = (1 - value) * positives
    return intervals.f1(value * positives, errors, errors)


def _matthews_corrcoef(value: float, positives: float, negatives: float) -> Interval:
    """Equally many false positives and false negatives: phi = 1 - errors n / (P N)."""
    errors = min((1 - value) * positives * negatives / (positives + negatives), positives, negatives)
    return intervals.matthews_corrcoef(positives - errors, errors, errors, negatives - errors)


def _roc_auc(value: float, positives: float, negatives: float) -> Interval:
    """Two normal scores of equal spread: both placements' mean square is a bivariate normal probability."""
    depth = float(ndtri(value))
    variance = value - 2 * float(owens_t(depth, 1 / math.sqrt(3))) - value**2
    variances = (variance, variance)
    return intervals.roc_auc(value, variances, positives, negatives)


def _log_loss(value: float, positives: float, negatives: float) -> Interval:
    rate = positives / (positives + negatives)

    def excess(concentration: float) -> float:
        return _log_loss_moments(rate, concentration)[0] - value

    reachable = excess(_SHARP) < 0 < excess(_FLAT)
    squares = _log_loss_moments(rate, brentq(excess, _SHARP, _FLAT))[1] if reachable else 2 * value**2
    return _loss(value, squares, positives, negatives)


def _log_loss_moments(rate: float, concentration: float) -> tuple[float, float]:
    """Mean and mean square of the log loss of calibrated scores, Beta(c rate, c (1 - rate))."""
    whole = concentration + 1
    first = second = 0.0
    for share in (rate, 1 - rate):
        log = float(psi(concentration * share + 1) - psi(whole))
        spread = float(polygamma(1, concentration * share + 1) - polygamma(1, whole))
        first -= share * log
        second += share * (log**2 + spread)
    return first, second


def _brier_score(value: float, positives: float, negatives: float) -> Interval:
    """Calibrated scores: E s(1 - s) = Brier score, E loss^2 = E u - 3 E u^2 with u = s(1 - s)."""
    rate = positives / (positives + negatives)
    share = value / (rate * (1 - rate))
    squares = 2 * value**2  # beyond a constant score the model is miscalibrated; as of an exponential loss
    if 0 < share < 1:
        a, b = (share / (1 - share) * each for each in (rate, 1 - rate))
        squares = value - 3 * math.exp(float(betaln(a + 2, b + 2) - betaln(a, b)))
    lower, upper = _loss(value, squares, positives, negatives)
    return min(lower, 1.0), min(upper, 1.0)


def _loss(value: float, squares: float, positives: float, negatives: float) -> Interval:
    n = positives + negatives
    sums = RowSums(round(n), n * value, n * squares)
    return intervals.positive_mean(sums, 1.0, min(positives, negatives))


def _mean_absolute_error(value: float, n: float, spread: float) -> Interval:
    half = intervals.t_quantile(n - 1) * spread / math.sqrt(n)
    return value - half, value + half


def _root_mean_squared_error(value: float, n: float, spread: float) -> Interval:
    """The logarithm's standard error is half that of the mean square's."""
    factor = math.exp(intervals.t_quantile(n - 1) * spread / math.sqrt(n) / (2 * value**2)) if value else 1.0
    return value / factor, value * factor


_OF_ROWS: Mapping[str, _Planned] = MappingProxyType(
    dict.fromkeys(
        (
            "accuracy",
            "top_k_accuracy",
            "interval_coverage",
            "predicted_positive_rate",
            "actual_positive_rate",
        ),
        _share,
    )
)
_OF_CLASSES: Mapping[str, _Planned] = MappingProxyType(
    {
        "balanced_accuracy": _balanced_accuracy,
        "precision": _share,
        "recall": _share,
        "specificity": _specificity,
        "f1": _f1,
        "matthews_corrcoef": _matthews_corrcoef,
        "roc_auc": _roc_auc,
        "log_loss": _log_loss,
        "brier_score": _brier_score,
    }
)
_OF_SPREAD: Mapping[str, _Planned] = MappingProxyType(
    {"mean_absolute_error": _mean_absolute_error, "root_mean_squared_error": _root_mean_squared_error}
)
