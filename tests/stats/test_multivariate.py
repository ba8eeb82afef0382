"""Moments of columns together: against scikit-learn on raw rows, and how often noise is exceeded without drift."""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.decomposition import PCA

from ml_exporter.stats.multivariate import (
    EXPLAINED,
    METHODS,
    SIZES,
    Basis,
    Moments,
    SampleFloor,
    changes,
    correlations,
    largest_chunks,
    normal_scores,
    packed,
    rebuilding_error,
    simulate,
    unpacked,
)

Floats = NDArray[np.float64]


def rows_of(rng: np.random.Generator, n: int, d: int = 6, factors: int = 2) -> Floats:
    """Rows that a few factors drive, with a rare flag, a skewed and a coarse column among them; bounded like codes."""
    loadings = np.random.default_rng(0).normal(size=(factors, d))
    rows = rng.normal(size=(n, factors)) @ loadings + rng.normal(size=(n, d))
    rows[:, 0] = rows[:, 0] > 2.5
    rows[:, 1] = np.minimum(np.exp(rows[:, 1] / 2), 3.0)
    rows[:, 2] = np.digitize(rows[:, 2], [-1.0, 0.5])
    return rows


def moments(rows: Floats) -> Moments:
    return weighted(rows, np.ones(len(rows)))


def weighted(rows: Floats, weights: Floats) -> Moments:
    own = rows * weights[:, None]
    return Moments.of(weights.sum(), np.square(weights).sum(), own.sum(axis=0), own.T @ rows)


def standardized(rows: Floats, reference: Floats) -> Floats:
    return np.asarray((rows - reference.mean(axis=0)) / reference.std(axis=0))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def test_the_rebuilding_error_is_that_of_scikit_learn_on_raw_rows(rng: np.random.Generator) -> None:
    reference, current = rows_of(rng, 2_000), rows_of(rng, 300) * 1.3 + 0.2
    basis = Basis.fit(moments(reference))
    pca = PCA(n_components=EXPLAINED, svd_solver="full").fit(standardized(reference, reference))
    assert len(basis.components) == pca.n_components_ > 1
    for rows in (reference, current):
        scaled = standardized(rows, reference)
        rebuilt = pca.inverse_transform(pca.transform(scaled))
        expected = np.mean(np.sum(np.square(scaled - rebuilt), axis=1))
        assert rebuilding_error(basis, moments(rows)) == pytest.approx(expected, rel=1e-9)


def test_components_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    reference = rows_of(rng, 2_000)
    found = Basis.fit(moments(reference)).components
    expected = PCA(n_components=EXPLAINED, svd_solver="full").fit(standardized(reference, reference))
    np.testing.assert_allclose(np.abs(found), np.abs(expected.components_), rtol=1e-7, atol=1e-9)


def test_changes_are_those_of_the_raw_rows(rng: np.random.Generator) -> None:
    reference, current = rows_of(rng, 2_000), rows_of(rng, 300)[:, ::-1]
    basis = Basis.fit(moments(reference))
    found = changes(basis, moments(current))
    gaps = np.abs(np.corrcoef(current.T) - np.corrcoef(reference.T))[np.triu_indices(6, 1)]
    error, usual = (rebuilding_error(basis, moments(rows)) for rows in (current, reference))
    assert found["correlation_max"] == pytest.approx(gaps.max(), rel=1e-9)
    assert found["correlation_mean"] == pytest.approx(gaps.mean(), rel=1e-9)
    assert found["pca"] == pytest.approx(abs(error / usual - 1), rel=1e-9)


def test_nothing_changes_against_itself(rng: np.random.Generator) -> None:
    own = moments(rows_of(rng, 400))
    assert max(changes(Basis.fit(own), own).values()) == pytest.approx(0.0, abs=1e-12)


def test_weights_stand_for_rows(rng: np.random.Generator) -> None:
    rows = rows_of(rng, 200)
    times = np.repeat([1, 4], 100)
    found, expected = weighted(rows, times.astype(np.float64)), moments(np.repeat(rows, times, axis=0))
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-9, atol=1e-12)
    # Of 500 rows that 200 stand for, 147 are worth as much as they are.
    assert found.n == pytest.approx(500**2 / (100 + 1_600))
    assert weighted(rows, np.full(200, 8.0)).n == pytest.approx(200)


def test_columns_that_do_not_vary_are_not_compared(rng: np.random.Generator) -> None:
    reference = rows_of(rng, 500)
    basis = Basis.fit(moments(reference))
    current = reference.copy()
    current[:, 3] = 1.0
    assert np.isnan(correlations(moments(current))[3]).all()
    assert changes(basis, moments(current))["correlation_max"] == pytest.approx(0.0, abs=1e-12)
    current[:] = 1.0
    found = changes(basis, moments(current))
    assert np.isnan([found["correlation_max"], found["correlation_mean"]]).all()
    assert np.isfinite(found["pca"])


def test_columns_that_repeat_each_other_leave_an_error_to_measure(rng: np.random.Generator) -> None:
    column = rng.normal(size=500)
    basis = Basis.fit(moments(np.stack([column, 3 * column], axis=1)))
    assert len(basis.components) == 1
    apart = np.stack([column, rng.normal(size=500)], axis=1)
    assert 10 < changes(basis, moments(apart))["pca"] < 1_000


@pytest.mark.parametrize("counts", [[5, 80, 10, 5], [0, 3, 0, 900, 2, 0], [1] * 20, [10]])
def test_normal_scores_are_the_means_of_a_cut_normal(counts: Sequence[int]) -> None:
    found = normal_scores(np.asarray(counts, np.int64))
    shares = (np.asarray(counts) + 0.5) / (sum(counts) + len(counts) / 2)
    edges = stats.norm.ppf(np.append(0.0, np.minimum(np.cumsum(shares), 1.0)))
    expected = [stats.truncnorm.mean(low, high) for low, high in pairwise(edges)]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert (np.diff(found) > 0).all()
    assert shares @ found == pytest.approx(0.0, abs=1e-12)


def test_triangles_come_back(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(3, 9, 5))
    products = rows.transpose(0, 2, 1) @ rows
    assert packed(products).shape == (3, 15)
    np.testing.assert_array_equal(unpacked(packed(products), 5), (products + products.transpose(0, 2, 1)) / 2)


def test_the_largest_chunk_is_compared_with_the_rest_by_what_the_rest_teaches(
    rng: np.random.Generator,
) -> None:
    rows = rows_of(rng, 900)
    rows[400:500, 4] *= -3.0
    parts = np.split(rows, 9)
    sums = [
        {"weight": np.asarray(100.0), "sums": part.sum(axis=0), "products": part.T @ part} for part in parts
    ]
    whole = {name: np.sum([part[name] for part in sums], axis=0) for name in sums[0]}
    basis = Basis.fit(moments(rows))
    found = largest_chunks(basis, whole, {name: np.stack([part[name] for part in sums]) for name in whole})
    rest = moments(np.concatenate([*parts[:4], *parts[5:]]))
    expected = changes(basis.learned_from(rest), moments(parts[4]), rest)
    assert found["pca"] == pytest.approx(float(expected["pca"]), rel=1e-9)
    assert found["pca"] > 1.2 * changes(basis, moments(parts[4]), rest)["pca"]
    gaps = [
        np.abs(np.corrcoef(part.T) - np.corrcoef(np.concatenate([*parts[:i], *parts[i + 1 :]]).T)).max()
        for i, part in enumerate(parts)
    ]
    assert found["correlation_max"] == pytest.approx(max(gaps), rel=1e-9)


def test_floors_fall_with_the_root_of_the_rows_and_know_both_sides() -> None:
    floor = SampleFloor((50, 200, 1_000), (4.0, 3.0, 2.0))
    assert floor.at(10_000, 1e12) == pytest.approx(np.sqrt(2.0 / 10_000), rel=1e-6)
    assert floor.at(100, 1e12) == pytest.approx(np.sqrt(3.5 / 100), rel=1e-6)
    assert floor.at(2_000, 2_000) == pytest.approx(np.sqrt(2.0 / 1_000))
    assert floor.at(50, 1e12) > floor.at(51, 1e12) > floor.at(5_000, 1e12)


@cache
def population() -> tuple[Floats, Basis]:
    rows = rows_of(np.random.default_rng(1), 50_000)
    return rows, Basis.fit(moments(rows))


@cache
def floors(quantile: float, seed: int) -> dict[str, SampleFloor]:
    rows, basis = population()
    return simulate(basis, rows, np.random.default_rng(seed), quantile)


def exceeding(quantile: float, size: int, runs: int, seed: int = 1) -> dict[str, float]:
    """Share of samples without drift that are beyond the floor."""
    rng = np.random.default_rng(seed + 1)
    _, basis = population()
    above = dict.fromkeys(METHODS, 0)
    for _ in range(runs):
        found = changes(basis, moments(rows_of(rng, size)))
        for method in METHODS:
            above[method] += bool(found[method] > floors(quantile, seed)[method].at(size, 50_000))
    return {method: count / runs for method, count in above.items()}


@pytest.mark.parametrize("size", [300, 1_000])
def test_a_one_percent_floor_is_exceeded_in_about_one_percent(size: int) -> None:
    for share in exceeding(0.01, size, 1_500).values():
        assert 0.003 <= share <= 0.02


@pytest.mark.long
@pytest.mark.parametrize("size", [60, 200, 1_000, 3_000])
def test_floors_are_exceeded_as_often_as_they_say(size: int) -> None:
    shares = [exceeding(0.01, size, 10_000, seed) for seed in (1, 3, 5)]
    for method in METHODS:
        assert 0.005 <= np.mean([share[method] for share in shares]) <= 0.015


@pytest.mark.long
@pytest.mark.parametrize("size", [200, 1_000])
def test_the_floor_of_alarms_is_exceeded_at_most_as_often_as_it_says(size: int) -> None:
    for share in exceeding(1e-4, size, 100_000).values():
        assert share <= 2.5e-4


def test_floors_repeat_from_a_seed_and_rise_with_rarity() -> None:
    rows, basis = population()
    again = simulate(basis, rows, np.random.default_rng(1), 0.01)
    assert again == floors(0.01, 1)
    for method in METHODS:
        rare = simulate(basis, rows, np.random.default_rng(1))[method]
        assert rare.sizes == SIZES
        assert all(np.greater(rare.scaled, again[method].scaled))
