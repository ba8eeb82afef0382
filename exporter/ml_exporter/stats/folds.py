"""What an estimate learned on a reference is worth: the reference is left out one tenth at a time.

Quality without labels is a forecast of a value that later turns out on the same rows. It misses for
two reasons: the rows' labels are drawn by chance, and what was learned on the reference is itself
uncertain. The first is known from the learned rates; the second shows when tenths are left out.
"""

import numpy as np
from scipy.special import stdtrit

from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.intervals import CONFIDENCE

FOLDS = 10
MINIMUM_REFERENCE = 500
MAXIMUM_UNSEEN = 0.05

_UPPER_TAIL = (1 + CONFIDENCE) / 2
_TINY = float(np.finfo(np.float64).tiny)  # for 0 / 0, which is 0 here


def chronological_folds(n: int) -> IntArray:
    """Fold of each of n rows that are sorted by time, shape (n,): ten runs of equal length.

    Runs, not every tenth row: rows of one hour share their shocks, and folds that each held some of
    every hour would hide them.
    """
    return np.arange(n, dtype=np.int64) * FOLDS // max(n, 1)


def fold_counts(folds: IntArray, bins: IntArray, b: int, weights: FloatArray | None = None) -> FloatArray:
    """Rows, or their weights, by fold and bin, shape (10, b).

    Raises ValueError where a fold is outside 0 to 9 or a bin outside 0 to b - 1.
    """
    for name, numbers, end in (("folds", folds, FOLDS), ("bins", bins, b)):
        if numbers.min(initial=0) < 0 or numbers.max(initial=0) >= end:
            raise ValueError(f"{name} must be 0 to {end - 1}")
    counted = np.bincount(folds * b + bins, weights, minlength=FOLDS * b)
    return counted.astype(np.float64).reshape(FOLDS, b)


def is_short(reference: IntArray, window: IntArray) -> bool:
    """Whether a reference says too little of a window; rows by bin, both of shape (b,).

    That is, it has fewer than 500 rows, or none in the bins of more than 5 % of the window.
    """
    unseen = window[reference == 0].sum()
    return bool(reference.sum() < MINIMUM_REFERENCE or unseen > MAXIMUM_UNSEEN * window.sum())


def filled(values: FloatArray, known: BoolArray) -> FloatArray:
    """Values by bin, those that are not known taken from between their neighbours, shape (b,).

    At least one must be known, else ValueError.
    """
    if not known.any():
        raise ValueError("no bin has enough rows")
    places = np.flatnonzero(known)
    return np.interp(np.arange(values.size), places, values[places])


def forecast(
    values: FloatArray, variance: FloatArray, third: FloatArray, lowest: FloatArray, highest: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Values and the 95 % bounds of what will turn out, each of shape (k,).

    `values`, shape (11, k): each statistic from the whole reference, then without each fold.
    `variance` and `third` are the second and third central moment of the window's own chance, and
    `lowest` and `highest` the ends of the statistic, all of shape (k,).

    Learned rates follow the reference's noise, which flatters a model; the jackknife takes off most
    of that (Quenouille 1949) and gives the variance of what was learned (Tukey 1958). Student's t
    has the degrees of freedom of Satterthwaite (1946), since only the learned part is uncertain
    itself. The window's own chance is skewed where few rows decide, as with ratios near 1: its third
    moment moves both bounds (Cornish and Fisher 1937).
    """
    centre = values[1:].mean(axis=0)
    # Not 9/10 of the sum: of isotonic fits that is short, by 2 to 5 % in the standard error (simulated).
    learned = np.square(values[1:] - centre).sum(axis=0)
    total = variance + learned
    share = np.maximum(learned / np.maximum(total, _TINY), 1e-6)
    t = stdtrit((FOLDS - 1) / np.square(share), _UPPER_TAIL)
    error = np.sqrt(total)
    skew = np.clip(third / np.maximum(error**3, _TINY), -1.0, 1.0)
    shift = error * skew * (np.square(t) - 1) / 6
    value = np.clip(values[0] + (FOLDS - 1) * (values[0] - centre), lowest, highest)
    lower, upper = value - t * error + shift, value + t * error + shift
    return value, np.clip(lower, lowest, highest), np.clip(upper, lowest, highest)
