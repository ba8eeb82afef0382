"""Columns together: how far the moments of a window's rows are from those of the reference.

A row is a vector of d codes, one for each column. Its moments (weight, sums and products) add up over
rows. From moments alone follow the correlations of the columns, and the error with which the
reference's principal components rebuild the rows: a quadratic form of a row, whose mean is linear in
the products.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from scipy.special import ndtri

from ml_exporter.stats.arrays import FloatArray, IntArray

METHODS = ("pca", "correlation_max", "correlation_mean")
"""The relative change of the rebuilding error, and the largest and the mean absolute change of a correlation."""
MINIMUM_ROWS = 50
EXPLAINED = 0.65
"""Share of the reference's variance that the components explain at least; what they leave is the error."""
SIZES = (50, 200, 1_000)
"""Sample sizes that noise is drawn at; from the last one on it falls as one over the root of the rows."""
DRAWS = 2_000

_SMALLEST = 0.01
"""Share of the variance that the rebuilding error counts as at least, where nearly nothing is left to it."""
_TAIL = 0.1
_AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False, slots=True)
class Moments:
    """Mean, shape (d,), and covariance, shape (d, d), of rows; `n` is how many independent ones they are worth.

    Leading axes stand for many samples of as many rows.
    """

    n: float
    mean: FloatArray
    covariance: FloatArray

    @classmethod
    def of(cls, weight: float, squares: float, sums: FloatArray, products: FloatArray) -> Moments:
        """Moments of weighted rows from sums over them: of weights, their squares, w x and w x x'.

        Weights that differ make rows worth less (Kish 1965); `weight` must be above 0.
        """
        mean = sums / weight
        covariance = products / weight - mean[..., :, None] * mean[..., None, :]
        return cls(weight * weight / squares, mean, covariance)


@dataclass(frozen=True, eq=False, slots=True)
class Basis:
    """What the reference's rows are like: their moments, and the components that explain them.

    `components`, shape (k, d), are the first eigenvectors of the correlations; no deviation is 0.
    """

    moments: Moments
    components: FloatArray

    @classmethod
    def fit(cls, moments: Moments) -> Basis:
        """Take as few components as explain the share of the variance, and leave at least one out."""
        return cls(moments, _components(correlations(moments)))

    def learned_from(self, rows: Moments) -> Basis:
        """The same columns in the same units, with the components of other rows."""
        deviations = np.sqrt(np.diagonal(self.moments.covariance))
        return Basis(self.moments, _components(rows.covariance / np.outer(deviations, deviations)))


def _components(matrix: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(matrix)
    explained = np.cumsum(values[::-1]) / values.sum()
    k = int(np.searchsorted(explained, EXPLAINED)) + 1
    return np.asarray(vectors.T[::-1][: min(k, values.size - 1)])


def normal_scores(counts: IntArray) -> FloatArray:
    """The mean of a standard normal variable in each of B bins with these counts, half a row added to each.

    So is an ordered column made normal, whatever its unit; the scores rise with the bins. Shape (B,).
    """
    shares = (counts + 0.5) / (counts.sum() + counts.size / 2)
    edges = ndtri(np.minimum(np.cumsum(shares)[:-1], 1.0))
    density = np.concatenate([[0.0], np.exp(-np.square(edges) / 2) / sqrt(2 * np.pi), [0.0]])
    return np.asarray((density[:-1] - density[1:]) / shares)


def correlations(moments: Moments) -> FloatArray:
    """Correlations of d columns, shape (..., d, d); NaN where a column does not vary."""
    variances = np.diagonal(moments.covariance, axis1=-2, axis2=-1)
    deviations = np.sqrt(np.where(variances > 0, variances, np.nan))
    return np.asarray(moments.covariance / (deviations[..., :, None] * deviations[..., None, :]))


def rebuilding_error(basis: Basis, moments: Moments) -> FloatArray:
    """Mean squared distance of rows from what the basis's components make of them, shape (...).

    Rows are standardized by the reference's means and deviations, as PCA on correlations does, so without
    any component the error of the reference is d.
    """
    reference = basis.moments
    deviations = np.sqrt(np.diagonal(reference.covariance))
    rest = np.eye(deviations.size) - basis.components.T @ basis.components
    form = rest / np.outer(deviations, deviations)
    shift = moments.mean - reference.mean
    spread = np.einsum("ij,...ij->...", form, moments.covariance)
    return np.asarray(spread + np.einsum("...i,ij,...j->...", shift, form, shift))


def changes(basis: Basis, current: Moments, other: Moments | None = None) -> dict[str, FloatArray]:
    """Every method's value for rows against others, those of the reference unless said; 0 where they agree.

    Pairs in which a column does not vary are not compared; where none is left the change is NaN.
    """
    other = other or basis.moments
    error, usual = rebuilding_error(basis, current), rebuilding_error(basis, other)
    smallest = _SMALLEST * other.mean.shape[-1]
    pairs = np.triu_indices(other.mean.shape[-1], 1)
    gaps = np.abs(correlations(current) - correlations(other))[..., pairs[0], pairs[1]]
    known = np.isfinite(gaps)
    gaps, compared = np.where(known, gaps, 0.0), known.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        mean = gaps.sum(axis=-1) / compared
    return {
        "pca": np.abs(error - usual) / np.maximum(usual, smallest),
        "correlation_max": np.where(compared > 0, gaps.max(axis=-1, initial=0.0), np.nan),
        "correlation_mean": mean,
    }


@dataclass(frozen=True, slots=True)
class SampleFloor:
    """What a method reaches by chance: `scaled` are squared values times rows, one for each of `sizes`."""

    sizes: tuple[int, ...]
    scaled: tuple[float, ...]

    def at(self, n: float, m: float) -> float:
        """The floor where n rows are compared with m others, linear in the logarithm of the rows between sizes."""
        rows = n * m / (n + m)
        scaled = np.interp(log(rows), np.log(self.sizes), self.scaled)
        return sqrt(float(scaled) / rows)


def simulate(
    basis: Basis, rows: FloatArray, rng: np.random.Generator, quantile: float = 1e-4, draws: int = DRAWS
) -> dict[str, SampleFloor]:
    """Floors of all methods: what samples of the reference's own rows, shape (n, d), show against all of them.

    `quantile` is the chance of exceeding a floor. It lies beyond what is drawn, so the tail above the
    largest tenth of the draws is taken for exponential, which is a little longer than it is.
    """
    found: dict[str, list[float]] = {method: [] for method in METHODS}
    for size in SIZES:
        drawn = [changes(basis, sample) for sample in _samples(rows, size, draws, rng)]
        for method in METHODS:
            values = np.concatenate([part[method] for part in drawn])
            found[method].append(size * _quantile(values[np.isfinite(values)], quantile) ** 2)
    return {method: SampleFloor(SIZES, tuple(scaled)) for method, scaled in found.items()}


def largest_chunks(
    basis: Basis, whole: Mapping[str, FloatArray], chunks: Mapping[str, FloatArray]
) -> dict[str, float]:
    """The largest value of each method over chunks of the reference, each against the rest.

    Components are learned from the rest too: those that have seen a chunk rebuild it better than any other.
    `whole` has the sums `weight`, `sums` and `products` of all of the reference's rows, `chunks` the same
    with an axis more in front.
    """
    largest = dict.fromkeys(METHODS, 0.0)
    for index in range(len(chunks["weight"])):
        own = {name: sums[index] for name, sums in chunks.items()}
        rest = {name: whole[name] - sums for name, sums in own.items()}
        others = _unweighted(rest)
        values = changes(basis.learned_from(others), _unweighted(own), others)
        for method, value in values.items():
            largest[method] = max(largest[method], float(np.nan_to_num(value)))
    return largest


def _unweighted(sums: Mapping[str, FloatArray]) -> Moments:
    weight = float(sums["weight"])
    return Moments.of(weight, weight, sums["sums"], sums["products"])


def _samples(rows: FloatArray, size: int, draws: int, rng: np.random.Generator) -> Iterator[Moments]:
    """Moments of `draws` samples with replacement, some at a time."""
    at_once = max(1, _AT_ONCE // (size * rows.shape[1]))
    for start in range(0, draws, at_once):
        chosen = rows[rng.integers(len(rows), size=(min(at_once, draws - start), size))]
        products = np.matmul(chosen.transpose(0, 2, 1), chosen)
        yield Moments.of(size, size, chosen.sum(axis=1), products)


def _quantile(values: FloatArray, chance: float) -> float:
    """The value that is exceeded with this chance; beyond the largest tenth the tail is exponential."""
    if not values.size:
        return 0.0
    if chance >= _TAIL:
        return float(np.quantile(values, 1 - chance))
    start = float(np.quantile(values, 1 - _TAIL))
    beyond = values[values > start] - start
    return start + (float(beyond.mean()) if beyond.size else 0.0) * log(_TAIL / chance)


def packed(products: FloatArray) -> FloatArray:
    """The upper triangle of symmetric matrices, shape (..., d (d + 1) / 2), row after row."""
    rows, columns = np.triu_indices(products.shape[-1])
    return np.asarray(products[..., rows, columns])


def unpacked(triangle: FloatArray | IntArray, d: int) -> FloatArray:
    """The symmetric matrices whose upper triangles `packed` gives."""
    rows, columns = np.triu_indices(d)
    full = np.zeros((*triangle.shape[:-1], d, d))
    full[..., rows, columns] = triangle
    full[..., columns, rows] = triangle
    return full
