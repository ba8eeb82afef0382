"""How much better a candidate is than the baseline when both answer rows of their own (a canary).

Rows must be assigned to the two at random: what else tells the two groups apart would be read as a
difference of the versions. Positive always means that the candidate is better.
"""

import math

import numpy as np
from scipy.special import stdtrit

from ml_exporter.stats.arrays import FloatArray
from ml_exporter.stats.result import Result, Unavailable, Value
from ml_exporter.stats.sequential import MINIMUM_ROWS, boundary

MINIMUM_OUTCOMES = 25
MINIMUM_BLOCKS = 6

_ENOUGH_HOURS = 24


def unpaired_difference(
    baseline: FloatArray,
    candidate: FloatArray,
    alpha: float = 0.05,
    binary: bool = False,
    tightest_at: float = 5_000,
) -> Result:
    """Mean loss of the baseline minus that of the candidate, with bounds that hold at every look.

    Both arrays (h, 3) hold an hour in each row, the same in both: number of rows, sum of a row's loss,
    sum of its squares, since the candidate's first prediction. Hours are differenced one by one and
    combined with weights n_a n_b / (n_a + n_b), so that a rhythm of the day, or a share of the canary
    that changes, is no difference; hours that only one version has are left out. Bounds: asymptotic
    confidence sequence (Waudby-Smith et al. 2024, theorem 2.2) in the time 1 / (1 / n_a + 1 / n_b) summed
    over hours, narrowest near `tightest_at`. All looks at one difference hold at once with
    1 - `alpha`; who compares several candidates or metrics splits it. In the unit of the loss.

    Too few rows: below `MINIMUM_ROWS` of each version, or with `binary` (losses 0 and 1) below
    `MINIMUM_OUTCOMES` of each outcome of each version.
    """
    shared = (baseline[:, 0] > 0) & (candidate[:, 0] > 0)
    first, second = baseline[shared], candidate[shared]
    evidence = min(_evidence(first, binary), _evidence(second, binary))
    if evidence < (MINIMUM_OUTCOMES if binary else MINIMUM_ROWS):
        return Unavailable("too_few_rows")
    weights = first[:, 0] * second[:, 0] / (first[:, 0] + second[:, 0])
    better = first[:, 1] / first[:, 0] - second[:, 1] / second[:, 0]
    time = float(weights.sum())
    value = float(np.dot(weights, better)) / time
    apart = better - value
    scale = max(_row_scale(first, second, apart), _hour_scale(weights, apart))
    errors = boundary(time, alpha, tightest_at) * math.sqrt(time)
    half = _student(errors, evidence - 1) * math.sqrt(scale) / time
    return Value(value, value - half, value + half, int(first[:, 0].sum() + second[:, 0].sum()))


def _evidence(arm: FloatArray, binary: bool) -> float:
    """Rows of a version, or of its rarer outcome."""
    n, total = float(arm[:, 0].sum()), float(arm[:, 1].sum())
    return min(total, n - total) if binary else n


def _student(errors: float, degrees: float) -> float:
    """Standard errors of Student's t with the tail that `errors` have in the normal (Fisher, Cornish 1960).

    The theorem is one of many rows: from 25 errors their deviation is known to a fifth, and without this
    more runs exclude zero soon after their start (4.6 % instead of 3.9 %, at 2 % errors).
    """
    return errors + (errors**3 + errors) / (4 * degrees)


def _row_scale(first: FloatArray, second: FloatArray, apart: FloatArray) -> float:
    """Variance of the weighted sum of differences, from the rows' deviations within hours.

    The heteroskedasticity-consistent variance (White 1980) of a regression on version and hour. Unlike
    variances within version and hour it takes hours with one row of the candidate; n / (n - 1) makes it
    unbiased in hours of any size.
    """
    n = first[:, 0] + second[:, 0]
    total = np.zeros(n.size)
    for arm, others in ((first, second[:, 0]), (second, first[:, 0])):
        share = others / n
        within = np.maximum(arm[:, 2] - np.square(arm[:, 1]) / arm[:, 0], 0.0)
        total += np.square(share) * (within + arm[:, 0] * np.square(share * apart))
    return float(np.sum(total * n / (n - 1)))


def _hour_scale(weights: FloatArray, apart: FloatArray) -> float:
    """The same variance from hours as wholes: larger where rows of an hour err together in one version.

    Fewer hours say too little of it, so rows of the first day count as independent.
    """
    hours = weights.size
    if hours < _ENOUGH_HOURS:
        return 0.0
    return float(np.sum(np.square(weights * apart))) * hours / (hours - 1)


def block_difference(
    baseline: float,
    candidate: float,
    baseline_without: FloatArray,
    candidate_without: FloatArray,
    n: int,
    alpha: float = 0.05,
) -> Result:
    """Candidate minus baseline of a metric that is no mean of rows (ROC AUC, F1; higher is better).

    `baseline` and `candidate` are the metric of all `n` rows, the arrays (b,) its values without each of b
    blocks of time, the same blocks for both. Bounds: block jackknife (Kuensch 1989) by Student's t with
    b - 1, for one look at a time chosen beforehand; they are not valid at every look. Too few rows: below
    `MINIMUM_BLOCKS`, or where a value without a block is not finite.
    """
    without = candidate_without - baseline_without
    blocks = without.size
    if blocks < MINIMUM_BLOCKS or not np.all(np.isfinite(without)):
        return Unavailable("too_few_rows")
    value = candidate - baseline
    error = math.sqrt((blocks - 1) / blocks * float(np.sum(np.square(without - without.mean()))))
    half = float(stdtrit(blocks - 1, 1 - alpha / 2)) * error
    return Value(value, value - half, value + half, n)
