"""P-values of distances, for dashboards: no rule looks at them, alarms have noise floors."""

import numpy as np
from scipy.special import chdtrc, kolmogorov

from ml_exporter.stats.arrays import FloatArray, IntArray


def ks_pvalue(distance: FloatArray, n: IntArray, m: IntArray) -> FloatArray:
    """Chance of a Kolmogorov-Smirnov distance of two samples of n and m rows without drift.

    Smirnov's limit (1939) at n m / (n + m) rows; on bins it is too large rather than too small. All
    arguments have the shape of the result, n and m are above 0.
    """
    rows = n.astype(np.float64) * m / (n + m)
    return np.asarray(kolmogorov(np.sqrt(rows) * distance))


def chi_squared_pvalue(current: IntArray, reference: IntArray, cramers_v: FloatArray) -> FloatArray:
    """Chance of Pearson's chi-squared (1900) of the table of side against bin without drift.

    As scipy.stats.chi2_contingency without correction, on bins that are not empty on both sides.
    Counts of shape (..., B), and `cramers_v` of these tables, shape (...), which is the result's.
    """
    total = current.sum(axis=-1) + reference.sum(axis=-1)
    freedom = np.count_nonzero(current + reference, axis=-1) - 1
    found = chdtrc(np.maximum(freedom, 1), np.square(cramers_v) * total)
    return np.asarray(np.where(freedom > 0, found, 1.0))


def adjusted(pvalues: FloatArray) -> FloatArray:
    """Adjust k p-values, shape (k,), for looking at all of them: false discovery rate.

    Benjamini, Hochberg (1995), as scipy.stats.false_discovery_control: a column whose adjusted value
    is below 5 % is one of those of which 5 % at most are expected not to have drifted.
    """
    order = np.argsort(pvalues)[::-1]
    ranks = np.arange(pvalues.size, 0, -1)
    found = np.empty_like(pvalues)
    found[order] = np.minimum.accumulate(np.minimum(pvalues[order] * pvalues.size / ranks, 1.0))
    return found
