"""How far the mean of vectors is from that of a reference, and how far it is by chance."""

from __future__ import annotations

from math import sqrt

import numpy as np
from scipy.special import gammainccinv

from ml_exporter.stats.arrays import FloatArray


def centroid_distance(mean: FloatArray, reference: FloatArray, deviation: float) -> float:
    """Euclidean distance of two means, shape (d,), in units of the reference's deviation; 0 and up.

    The deviation is the root of the vectors' mean squared distance from their mean, so without drift the
    distance of n vectors is about 1 / sqrt(n), whatever d is.
    """
    return float(np.linalg.norm(mean - reference)) / deviation


def deviation_of(vectors: FloatArray) -> float:
    """Root of the mean squared distance of n vectors, shape (n, d), from their mean."""
    return sqrt(float(np.square(vectors - vectors.mean(axis=0)).sum()) / len(vectors))


def scaled_floor(vectors: FloatArray, quantile: float = 1e-4) -> float:
    """What the squared distance of a mean times its rows exceeds with this chance, without drift.

    For many rows it is a weighted sum of squared normals, whose weights are the eigenvalues of the
    vectors' covariance; its first three moments are given to a shifted gamma distribution (Pearson's third).
    """
    centred = vectors - vectors.mean(axis=0)
    # The smaller of the two products has the same eigenvalues but for zeros.
    product = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    weights = np.linalg.eigvalsh(product)
    weights = np.maximum(weights, 0.0) / weights.sum()
    second, third = float(np.sum(weights**2)), float(np.sum(weights**3))
    skew = 8.0 * third / (2.0 * second) ** 1.5
    shape = 4.0 / skew**2
    return float(1.0 + sqrt(2.0 * second) * skew / 2.0 * (gammainccinv(shape, quantile) - shape))


def floor_at(scaled: float, n: float, m: float) -> float:
    """The distance that means of n vectors and of m others have by chance."""
    return sqrt(scaled * (n + m) / (n * m))
