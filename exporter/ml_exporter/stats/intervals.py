"""95 % bounds from additive counts.

Counts are effective ones: rows over the design effect, so they are floats. Below
`CONSERVATIVE_BELOW` in the denominator or smallest class the bounds are wider than 95 % would ask.
"""

import math
from typing import TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaincinv, expit, logit, ndtri, stdtrit

from ml_exporter.stats.arrays import FloatArray
from ml_exporter.stats.sums import RowSums

Interval: TypeAlias = tuple[float, float]

CONFIDENCE = 0.95
MINIMUM = 10
CONSERVATIVE_BELOW = 20
NEWCOMBE_BELOW = 40

_UPPER_TAIL = (1 + CONFIDENCE) / 2
_Z = float(ndtri(_UPPER_TAIL))
_END = 1e-12
_FEWEST = 5  # a class may be empty, and fewer degrees of freedom would say nothing


def normal_quantile() -> float:
    """Two-sided 95 % quantile of the normal distribution."""
    return _Z


def t_quantile(degrees: float) -> float:
    """Two-sided 95 % quantile of Student's t; at least one degree of freedom."""
    return float(stdtrit(max(degrees, 1.0), _UPPER_TAIL))


def wilson(k: float, n: float) -> Interval:
    """Score bounds of a proportion k / n (Wilson 1927)."""
    centre = (k + _Z**2 / 2) / (n + _Z**2)
    half = _Z * np.sqrt(k * (n - k) / n + _Z**2 / 4) / (n + _Z**2)
    return max(float(centre - half), 0.0), min(float(centre + half), 1.0)


def clopper_pearson(k: float, n: float) -> Interval:
    """Bounds of a proportion that never cover less than 95 % (Clopper, Pearson 1934)."""
    lower = 0.0 if k <= 0 else float(betaincinv(k, n - k + 1, 1 - _UPPER_TAIL))
    upper = 1.0 if k >= n else float(betaincinv(k + 1, n - k, _UPPER_TAIL))
    return lower, upper


def proportion(k: float, n: float) -> Interval:
    """Wilson's bounds, or Clopper and Pearson's below `CONSERVATIVE_BELOW`."""
    return clopper_pearson(k, n) if n < CONSERVATIVE_BELOW else wilson(k, n)


def f1(tp: float, fp: float, fn: float) -> Interval:
    """Bounds of F1 = 2J / (1 + J), with J = TP / (TP + FP + FN) a proportion."""
    lower, upper = proportion(tp, tp + fp + fn)
    return 2 * lower / (1 + lower), 2 * upper / (1 + upper)


def matthews_corrcoef(tp: float, fp: float, fn: float, tn: float) -> Interval:
    """Bounds of Matthews' correlation: the delta method on Fisher's z, half a row added to each cell.

    The variance of phi is that of Bishop, Fienberg and Holland (1975, section 11.3). Below
    `CONSERVATIVE_BELOW` in a margin Student's t replaces the normal quantile.
    """
    n = tp + fp + fn + tn + 2.0
    actual, predicted = (tp + fn + 1) / n, (tp + fp + 1) / n
    p, q = actual * (1 - actual), predicted * (1 - predicted)
    phi = ((tp + 0.5) * (tn + 0.5) - (fp + 0.5) * (fn + 0.5)) / (n * n * np.sqrt(p * q))
    skew, skews = (
        (1 - 2 * actual) * (1 - 2 * predicted),
        (1 - 2 * actual) ** 2 / p + (1 - 2 * predicted) ** 2 / q,
    )
    variance = (1 - phi**2 + phi * (1 + phi**2 / 2) * skew / np.sqrt(p * q) - 0.75 * phi**2 * skews) / n
    smallest = min(tp + fn, tn + fp, tp + fp, tn + fn)
    quantile = t_quantile(smallest - 1) if smallest < CONSERVATIVE_BELOW else _Z
    half = quantile * np.sqrt(max(variance, 0.0)) / (1 - phi**2)
    return float(np.tanh(np.arctanh(phi) - half)), float(np.tanh(np.arctanh(phi) + half))


def mean_of_two(first: tuple[float, float], second: tuple[float, float]) -> Interval:
    """Bounds of the mean of two independent proportions, each (k, n): MOVER (Zou, Donner 2008)."""
    estimates = [k / n for k, n in (first, second)]
    bounds = [proportion(k, n) for k, n in (first, second)]
    down = math.hypot(*(estimate - lower for estimate, (lower, _) in zip(estimates, bounds, strict=True)))
    up = math.hypot(*(upper - estimate for estimate, (_, upper) in zip(estimates, bounds, strict=True)))
    centre = sum(estimates) / 2
    return centre - down / 2, centre + up / 2


def mean_gain(cells: FloatArray, gains: FloatArray) -> Interval:
    """Bounds of the mean gain of a row; `cells` (k,) are rows by cell, `gains` (k,) what each brings.

    MOVER over the cells' proportions with their multinomial correlation (Zou, Huang, Zhang 2009), the
    fullest cell's gain as the origin. Student's t holds the truth in 40 % where an error is rare and
    dear (1 % of 50 rows), these bounds in 93 to 98 %.
    """
    n, origin = float(cells.sum()), float(gains[np.argmax(cells)])
    weights, shares = gains - origin, cells / n
    bounds = np.array([proportion(float(k), n) for k in cells])
    down, up = shares - bounds[:, 0], bounds[:, 1] - shares
    odds = np.sqrt(shares / np.where(weights == 0, 1.0, 1.0 - shares))
    centre = float(shares @ weights) + origin
    return (
        centre - _joint(weights * np.where(weights > 0, down, up), odds),
        centre + _joint(weights * np.where(weights > 0, up, down), odds),
    )


def _joint(deviations: FloatArray, odds: FloatArray) -> float:
    """Length of deviations whose correlations are -odds_i odds_j, as those of shares of one whole."""
    squares = float(np.sum(np.square(deviations) * (1 + np.square(odds)))) - float(deviations @ odds) ** 2
    return math.sqrt(max(squares, 0.0))


def roc_auc(auc: float, variances: tuple[float, float], positives: float, negatives: float) -> Interval:
    """Bounds of ROC AUC: DeLong's variance on the logit, or Newcombe's below `NEWCOMBE_BELOW`.

    `variances` are those of the placements of positives and of negatives. Below
    `CONSERVATIVE_BELOW` in the smaller class the wider of both bounds is taken.
    """
    minority = min(positives, negatives)
    degenerate = not 0.0 < auc < 1.0
    if minority >= NEWCOMBE_BELOW and not degenerate:
        return _logit_delong(auc, variances, positives, negatives)
    bounds = newcombe(auc, positives, negatives)
    if minority >= CONSERVATIVE_BELOW or degenerate:
        return bounds
    other = _logit_delong(auc, variances, positives, negatives)
    return min(bounds[0], other[0]), max(bounds[1], other[1])


def _logit_delong(auc: float, variances: tuple[float, float], positives: float, negatives: float) -> Interval:
    variance = variances[0] / positives + variances[1] / negatives
    return on_logit(auc, float(np.sqrt(variance)) / (auc * (1 - auc)), min(positives, negatives) - 1)


def newcombe(auc: float, positives: float, negatives: float) -> Interval:
    """Bounds of ROC AUC by method 5 of Newcombe (2006, Statistics in Medicine 25, 559-573).

    The values whose distance from `auc` is z standard errors, these being those of Hanley and
    McNeil (1982) at that value with both class sizes replaced by their mean.
    """
    shared = max((positives + negatives) / 2 - 1, 0.0)

    def excess(theta: float) -> float:
        spread = 1 + shared * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return float((auc - theta) ** 2 - _Z**2 * theta * (1 - theta) * spread / (positives * negatives))

    # The ends 0 and 1 are roots of their own that say nothing, so the search stops short of them.
    inner = min(max(auc, _END), 1 - _END)
    lower = 0.0 if auc <= 0 else float(brentq(excess, 0.0, inner))
    upper = 1.0 if auc >= 1 else float(brentq(excess, inner, 1.0))
    return lower, upper


def average_precision(value: float, variance: float, positives: float) -> Interval:
    """Bounds of average precision from its variance, on the logit, by Student's t with positives - 1.

    Where every positive outranks every negative the variance is 0: the lower bound is then that of
    a recall of all positives.
    """
    if value >= 1.0:
        return proportion(positives, positives)
    return on_logit(value, math.sqrt(variance) / (value * (1 - value)), positives - 1)


def on_logit(value: float, error: float, degrees: float) -> Interval:
    """Bounds of a ratio inside (0, 1) from the standard error of its logit, by Student's t."""
    half = t_quantile(degrees) * error
    return float(expit(logit(value) - half)), float(expit(logit(value) + half))


def mean(sums: RowSums, design_effect: float = 1.0) -> Interval:
    """Bounds of a mean by Student's t (1908)."""
    effective = sums.n / design_effect
    half = t_quantile(effective - 1) * _standard_error(sums, effective)
    return sums.mean - half, sums.mean + half


def positive_mean(sums: RowSums, design_effect: float = 1.0, smallest: float = math.inf) -> Interval:
    """Bounds of the mean of a positive, skewed quantity: Student's t on the logarithm of the mean.

    The delta method gives the logarithm the standard error se / mean. `smallest` is the size of the
    smallest class: below `CONSERVATIVE_BELOW` it gives the degrees of freedom, since few rows of one
    class then carry most of the loss. A mean of 0 has bounds of 0.
    """
    if sums.mean <= 0:
        return 0.0, 0.0
    effective = sums.n / design_effect
    rare = smallest / design_effect
    degrees = max(rare, _FEWEST) if rare < CONSERVATIVE_BELOW else effective
    factor = math.exp(t_quantile(degrees - 1) * _standard_error(sums, effective) / sums.mean)
    return sums.mean / factor, sums.mean * factor


def _standard_error(sums: RowSums, effective: float) -> float:
    return math.sqrt(sums.variance / effective)
