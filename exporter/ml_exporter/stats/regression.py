"""Quality of regression models from additive evidence, by scikit-learn's names and definitions.

Every metric is in the label's unit or its square, but the percentage error, R2 and the interval
coverage, which are ratios. A single error of 1e72 or more makes the means and R2 unavailable: `error`.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from ml_exporter.stats import intervals
from ml_exporter.stats.intervals import CONSERVATIVE_BELOW, MINIMUM, Interval
from ml_exporter.stats.regression_errors import ErrorHistogram
from ml_exporter.stats.regression_evidence import (
    Count,
    RegressionEvidence,
    Sum,
    absolute_loss,
    row_counts,
    row_sums,
    squared_loss,
)
from ml_exporter.stats.result import Result, Unavailable, Value
from ml_exporter.stats.sums import RowSums

__all__ = [
    "REGRESSION_METRICS",
    "Count",
    "ErrorHistogram",
    "RegressionEvidence",
    "RegressionMetric",
    "Sum",
    "absolute_loss",
    "row_counts",
    "row_sums",
    "squared_loss",
]

RegressionMetric: TypeAlias = Callable[[RegressionEvidence, float], Result]
_MeanBounds: TypeAlias = Callable[[RowSums, float], Interval]

_CONSTANT = 1e-12  # a variance that is a smaller share of the labels' square may be rounding alone
_LEAST = 1e-72  # labels in any unit vary more, and a ratio to less could be beyond float64

# Squares and ratios have few large rows that carry most of the sum. While half of the rows are few,
# they give the degrees of freedom: without it 10 normal errors cover .91 instead of .95.
_HEAVY = 0.5


def _mean_absolute_error(evidence: RegressionEvidence, design_effect: float) -> Result:
    return _mean(evidence, evidence.absolute_error, design_effect, _size_of_error)


def _bias(evidence: RegressionEvidence, design_effect: float) -> Result:
    return _mean(evidence, evidence.error, design_effect, intervals.mean)


def _mean_squared_error(evidence: RegressionEvidence, design_effect: float) -> Result:
    return _mean(evidence, evidence.squared_error, design_effect, _skewed)


def _mean_absolute_percentage_error(evidence: RegressionEvidence, design_effect: float) -> Result:
    return _mean(evidence, evidence.percentage_error, design_effect, _skewed)


def _root_mean_squared_error(evidence: RegressionEvidence, design_effect: float) -> Result:
    square = _mean_squared_error(evidence, design_effect)
    if isinstance(square, Unavailable) or square.lower is None or square.upper is None:
        return square
    return Value(math.sqrt(square.value), math.sqrt(square.lower), math.sqrt(square.upper), square.n)


def _r2_score(evidence: RegressionEvidence, design_effect: float) -> Result:
    """Wants two values of the label: with one only, the reason is `single_class`."""
    if evidence.n < MINIMUM:
        return Unavailable("too_few_rows")
    if not (evidence.errors_fit and evidence.labels_fit):
        return Unavailable("error")
    moments = evidence.sums / evidence.n
    variance = float(moments[Sum.LABEL_SQUARE] - moments[Sum.LABEL] ** 2)
    if variance <= max(_CONSTANT * float(moments[Sum.LABEL_SQUARE]), _LEAST):
        return Unavailable("single_class")
    unexplained = float(moments[Sum.SQUARE]) / variance
    if unexplained == 0.0:
        return Value(1.0, 1.0, 1.0, evidence.n)
    return _explained(unexplained, _influence_variance(evidence, variance), evidence.n, design_effect)


def _explained(unexplained: float, influence_variance: float, n: int, design_effect: float) -> Value:
    effective = n / design_effect
    error = math.sqrt(influence_variance / effective)
    factor = math.exp(intervals.t_quantile(_degrees(effective)) * error)
    return _value(1 - unexplained, (1 - unexplained * factor, 1 - unexplained / factor), n)


def _influence_variance(evidence: RegressionEvidence, variance: float) -> float:
    """Variance over rows of the influence function of log(1 - R2), which is e^2 / MSE - d^2 / variance.

    d is the label less the mean label. 1 - R2 is a ratio of two means, so its logarithm has the
    difference of theirs (Hampel 1974).
    """
    moments = evidence.sums / evidence.n
    mean, square = moments[Sum.LABEL], moments[Sum.SQUARE]
    fourth = moments[Sum.LABEL_FOURTH] - 4 * mean * moments[Sum.LABEL_CUBE]
    fourth += 6 * mean**2 * moments[Sum.LABEL_SQUARE] - 3 * mean**4
    both = moments[Sum.SQUARE_LABEL_SQUARE] - 2 * mean * moments[Sum.SQUARE_LABEL] + mean**2 * square
    terms = moments[Sum.FOURTH] / square / square, both / square / variance, fourth / variance / variance
    found = float(terms[0] - 2 * terms[1] + terms[2])
    return max(found, 0.0) * evidence.n / (evidence.n - 1)


def _interval_coverage(evidence: RegressionEvidence, design_effect: float) -> Result:
    hits, rows = int(evidence.counts[Count.INTERVAL_HITS]), int(evidence.counts[Count.INTERVALS])
    if rows < MINIMUM:
        return Unavailable("too_few_rows")
    return _value(hits / rows, intervals.proportion(hits / design_effect, rows / design_effect), rows)


def _quantile(share: float) -> RegressionMetric:
    def metric(evidence: RegressionEvidence, design_effect: float) -> Result:
        errors = evidence.errors
        if errors.n < MINIMUM:
            return Unavailable("too_few_rows")
        lower, upper = errors.quantile_bounds(share, design_effect)
        return Value(errors.quantile(share), lower, upper, errors.n)

    return metric


def _mean(evidence: RegressionEvidence, sums: RowSums, design_effect: float, bounds: _MeanBounds) -> Result:
    if sums.n < MINIMUM:
        return Unavailable("too_few_rows")
    if not evidence.errors_fit:
        return Unavailable("error")
    return _value(sums.mean, bounds(sums, design_effect), sums.n)


def _size_of_error(sums: RowSums, design_effect: float) -> Interval:
    lower, upper = intervals.mean(sums, design_effect)
    return max(lower, 0.0), upper


def _skewed(sums: RowSums, design_effect: float) -> Interval:
    return intervals.positive_mean(sums, design_effect, sums.n * _HEAVY)


def _degrees(effective: float) -> float:
    heavy = effective * _HEAVY
    return (heavy if heavy < CONSERVATIVE_BELOW else effective) - 1


def _value(value: float, bounds: Interval, n: int) -> Value:
    """Rounding must not leave the value out of its bounds."""
    return Value(value, min(bounds[0], value), max(bounds[1], value), n)


REGRESSION_METRICS: Mapping[str, RegressionMetric] = MappingProxyType(
    {
        "mean_absolute_error": _mean_absolute_error,
        "root_mean_squared_error": _root_mean_squared_error,
        "mean_squared_error": _mean_squared_error,
        "median_absolute_error": _quantile(0.5),
        "absolute_error_p90": _quantile(0.9),
        "absolute_error_p95": _quantile(0.95),
        "absolute_error_p99": _quantile(0.99),
        "mean_absolute_percentage_error": _mean_absolute_percentage_error,
        "r2_score": _r2_score,
        "bias": _bias,
        "interval_coverage": _interval_coverage,
    }
)
"""Each takes the evidence and the design effect, at least 1."""
