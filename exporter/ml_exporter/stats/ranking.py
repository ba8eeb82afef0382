"""ROC AUC and average precision from score histograms, with their sampling variances.

Rows in one bin are taken as tied, as scikit-learn takes equal scores. Every function wants at
least one row of each label.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma

from ml_exporter.stats.arrays import FloatArray
from ml_exporter.stats.scores import ScoreHistogram


@dataclass(frozen=True, slots=True)
class _Ranks:
    """Rows per bin in falling order of score, and the rows ranked at least as high."""

    positives: FloatArray
    negatives: FloatArray
    hits: FloatArray
    rows: FloatArray


def _ranks(scores: ScoreHistogram) -> _Ranks:
    counts = scores.counts[::-1].astype(np.float64)
    negatives, positives = counts[:, 0], counts[:, 1]
    hits = np.cumsum(positives)
    return _Ranks(positives, negatives, hits, hits + np.cumsum(negatives))


def roc_auc(scores: ScoreHistogram) -> float:
    """Area under the ROC curve: the chance that a positive outranks a negative, ties one half."""
    ranks = _ranks(scores)
    beaten = np.sum(ranks.negatives * (ranks.hits - ranks.positives / 2))
    return float(beaten / (ranks.negatives.sum() * ranks.positives.sum()))


def roc_auc_error(scores: ScoreHistogram) -> float:
    """Largest distance between `roc_auc` of the bins and of the unbinned scores: half of sum PN / (PN)."""
    ranks = _ranks(scores)
    tied = np.sum(ranks.positives * ranks.negatives)
    return float(tied / (2 * ranks.positives.sum() * ranks.negatives.sum()))


def delong_variances(scores: ScoreHistogram) -> tuple[float, float]:
    """Variances of the placements of positives and of negatives (DeLong et al. 1988).

    The variance of ROC AUC is the first over the number of positives plus the second over the
    number of negatives. Wants two rows of each label.
    """
    ranks = _ranks(scores)
    total_hits, total_misses = ranks.hits[-1], ranks.rows[-1] - ranks.hits[-1]
    below = total_misses - (ranks.rows - ranks.hits) + ranks.negatives / 2
    above = ranks.hits - ranks.positives / 2
    return (
        _weighted_variance(below / total_misses, ranks.positives),
        _weighted_variance(above / total_hits, ranks.negatives),
    )


def _weighted_variance(values: FloatArray, weights: FloatArray) -> float:
    total = weights.sum()
    mean = np.sum(weights * values) / total
    return float(np.sum(weights * np.square(values - mean)) / (total - 1))


def average_precision(scores: ScoreHistogram) -> float:
    """Sum over thresholds of the rise in recall times the precision there (scikit-learn's definition)."""
    ranks = _ranks(scores)
    return float(np.sum(ranks.positives * ranks.hits / ranks.rows) / ranks.hits[-1])


def average_precision_range(scores: ScoreHistogram) -> tuple[float, float]:
    """Least and greatest average precision that the unbinned scores can have.

    The greatest has each bin's positives tied above its negatives; the least has them below, one by
    one: the sum of (a + r) / (b + r) over r = 1 .. P is then a difference of digamma functions.
    """
    ranks = _ranks(scores)
    greatest = np.sum(ranks.positives * ranks.hits / np.maximum(ranks.rows - ranks.negatives, 1))
    rows_above = ranks.rows - ranks.positives
    misses = ranks.rows - ranks.hits
    least = np.sum(ranks.positives - misses * (digamma(ranks.rows + 1) - digamma(rows_above + 1)))
    return float(least / ranks.hits[-1]), float(greatest / ranks.hits[-1])


def average_precision_without_one(scores: ScoreHistogram) -> tuple[FloatArray, FloatArray]:
    """Average precision with one row left out, by the bin it is left out of.

    Two arrays of shape (k,), in falling order of score: without one positive of the bin, and
    without one negative. Entries of bins that have no such row mean nothing. Wants two positives.
    """
    ranks = _ranks(scores)
    total = ranks.hits[-1]
    full = ranks.positives * ranks.hits / ranks.rows
    others = np.maximum(ranks.rows - 1, 1)  # only a lone first row leaves nothing, and it adds nothing
    above = np.cumsum(full) - full
    fewer_hits = _sum_below(ranks.positives * (ranks.hits - 1) / others)
    own = (ranks.positives - 1) * (ranks.hits - 1) / others
    fewer_rows = ranks.positives * ranks.hits / others
    without_positive = (above + own + fewer_hits) / (total - 1)
    without_negative = (above + fewer_rows + _sum_below(fewer_rows)) / total
    return without_positive, without_negative


def _sum_below(values: FloatArray) -> FloatArray:
    running: FloatArray = np.cumsum(values)
    return np.asarray(running[-1] - running)


def average_precision_variance(scores: ScoreHistogram) -> float:
    """Variance of average precision by the jackknife over rows (Tukey 1958).

    Rows of one bin and label leave the same value behind, so it is exact from the bins.
    """
    weights = scores.counts[::-1, ::-1].T.astype(np.float64)
    left_out = np.stack(average_precision_without_one(scores))
    n = weights.sum()
    centre = np.sum(weights * left_out) / n
    return float((n - 1) / n * np.sum(weights * np.square(left_out - centre)))
