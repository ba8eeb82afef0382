"""One class against the rest: counts of probabilities in 64 fixed bins, and ROC AUC from them.

The bins are equal steps of asinh(logit(p) / 2), up to a logit of 30 at both ends: nearly uniform
steps of the logit around one half, ever wider ones towards 0 and 1. Measured on 60,000 rows, the
largest distance from the ROC AUC of the unbinned scores: 0.001 for calibrated scores of frequent
classes, 0.001 where scores saturate, 0.005 for classes of 1 % and less, 0.006 for scores spread
over thirteen decades (uniform bins of p: 0.33; of the logit up to 12: 0.15). Scores that all lie
within 0.01 of one end fall in few bins: off by 0.02, within 1e-4 by 0.1; `roc_auc_error` tells.
"""

import numpy as np

from ml_exporter.stats import intervals, ranking
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.intervals import Interval
from ml_exporter.stats.scores import ScoreHistogram

BINS = 64

_LINEAR_BELOW = 2.0  # steps grow from this logit on
_LARGEST_LOGIT = 30.0
_BINS_A_UNIT = BINS / 2 / np.arcsinh(_LARGEST_LOGIT / _LINEAR_BELOW)


def probability_bins(probabilities: FloatArray) -> IntArray:
    """Bins of probabilities, any shape, from 0 to `BINS` - 1; a higher one never has a lower bin.

    Anything outside [0, 1], not a number among it, raises ValueError.
    """
    if not np.all((probabilities >= 0.0) & (probabilities <= 1.0)):
        raise ValueError("probabilities must lie in [0, 1]")
    with np.errstate(divide="ignore"):  # 0 and 1 lie at minus and plus infinity, beyond the last edges
        logits = np.log(probabilities / (1.0 - probabilities))
    steps = np.floor(BINS / 2 + _BINS_A_UNIT * np.arcsinh(logits / _LINEAR_BELOW))
    return np.asarray(np.clip(steps, 0, BINS - 1), np.int64)


def one_vs_rest(probabilities: FloatArray, labels: IntArray) -> IntArray:
    """Rows by class, bin of that class's probability, and whether they are of the rest or of the class.

    Takes probabilities of shape (n, k) and labels 0 .. k - 1 of shape (n,); gives shape (k, `BINS`, 2).
    """
    classes = np.arange(probabilities.shape[1])
    cells = (classes * BINS + probability_bins(probabilities)) * 2 + (labels[:, None] == classes)
    return np.bincount(cells.ravel(), minlength=classes.size * BINS * 2).reshape(-1, BINS, 2)


def roc_auc(counts: IntArray) -> FloatArray:
    """ROC AUC of each class against the rest, rows of one bin taken as tied.

    Takes counts of shape (..., k, `BINS`, 2) and gives shape (..., k); one half, which says
    nothing, where a class has no rows or the rest has none.
    """
    rest, own = counts[..., 0].astype(np.float64), counts[..., 1].astype(np.float64)
    rest_below = np.cumsum(rest, axis=-1) - rest / 2
    pairs = own.sum(axis=-1) * rest.sum(axis=-1)
    beaten = np.sum(own * rest_below, axis=-1)
    return np.asarray(np.divide(beaten, pairs, out=np.full(pairs.shape, 0.5), where=pairs > 0))


def roc_auc_error(counts: IntArray) -> FloatArray:
    """Largest distance between `roc_auc` and that of the unbinned scores: half of the pairs within bins.

    Takes counts of shape (..., k, `BINS`, 2) and gives shape (..., k); that of a mean over classes
    is the mean of these.
    """
    rest, own = counts[..., 0].astype(np.float64), counts[..., 1].astype(np.float64)
    pairs = own.sum(axis=-1) * rest.sum(axis=-1)
    tied = np.sum(own * rest, axis=-1) / 2
    return np.asarray(np.divide(tied, pairs, out=np.zeros(pairs.shape), where=pairs > 0))


def mean_roc_auc_bounds(counts: IntArray, design_effect: float) -> Interval:
    """Bounds of the mean ROC AUC of k classes from those of each: the means of their ends.

    Takes counts of shape (k, `BINS`, 2) with at least two rows of each class and of its rest. The
    classes share their rows, and how their errors move together is not counted, so they are taken
    as moving fully together: never too narrow (at least 99 % of simulated runs were covered).
    """
    lower, upper = zip(*(_bounds(counts_of_one, design_effect) for counts_of_one in counts), strict=True)
    return float(np.mean(lower)), float(np.mean(upper))


def _bounds(counts: IntArray, design_effect: float) -> Interval:
    histogram = ScoreHistogram(np.arange(BINS, dtype=np.uint32), counts)
    own, rest = histogram.positives / design_effect, histogram.negatives / design_effect
    return intervals.roc_auc(ranking.roc_auc(histogram), ranking.delong_variances(histogram), own, rest)
