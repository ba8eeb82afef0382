import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ml_exporter.stats.distance import (
    DEFAULT_METHODS,
    METHODS,
    Comparison,
    Method,
    cramers_v,
    distance,
    psi,
    wasserstein,
)
from ml_exporter.stats.result import Unavailable, Value

Counts = NDArray[np.int64]
POSITIONS = np.sort(np.random.default_rng(1).normal(1000.0, 7.0, 12))
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


def pairs(bins: int = 12) -> list[tuple[Counts, Counts]]:
    rng = np.random.default_rng(2)
    found = []
    for rows in (15, 200, 30_000):
        shares = rng.dirichlet(np.full(bins, 0.5), 2)
        found.append((rng.multinomial(rows, shares[0]), rng.multinomial(7 * rows, shares[1])))
    return found


def sides(current: Counts, reference: Counts) -> Comparison:
    return Comparison(current, reference, POSITIONS[: current.shape[-1]], 7.0)


def shifted(amount: float, rows: int = 100_000) -> Counts:
    edges = stats.norm.ppf(np.arange(1, 12) / 12)
    shares = np.diff(stats.norm.cdf(np.concatenate([[-np.inf], edges, [np.inf]]) - amount))
    return np.round(shares * rows).astype(np.int64)


@pytest.mark.parametrize(("current", "reference"), pairs())
def test_psi_is_the_divergence_of_jeffreys_on_smoothed_counts(current: Counts, reference: Counts) -> None:
    p, q = current + 0.5, reference + 0.5
    expected = stats.entropy(p, q) + stats.entropy(q, p)
    assert psi(current, reference) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("current", "reference"), pairs())
def test_wasserstein_is_scipys_in_reference_deviations(current: Counts, reference: Counts) -> None:
    expected = stats.wasserstein_distance(POSITIONS, POSITIONS, current, reference) / 7.0
    assert wasserstein(current, reference, POSITIONS, 7.0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("current", "reference"), pairs())
def test_cramers_v_is_scipys_without_bins_empty_on_both_sides(current: Counts, reference: Counts) -> None:
    table = np.stack([current, reference])
    kept = table[:, table.sum(axis=0) > 0]
    expected = stats.contingency.association(kept, method="cramer", correction=False)
    assert cramers_v(current, reference) == pytest.approx(expected, abs=1e-9)


def test_cramers_v_of_one_shared_bin_is_zero_and_of_disjoint_bins_one() -> None:
    assert cramers_v(np.array([30, 0]), np.array([50, 0])) == 0.0
    assert cramers_v(np.array([30, 0]), np.array([0, 50])) == pytest.approx(1.0)


def test_wasserstein_of_a_plain_shift_is_the_shift() -> None:
    current, reference = np.array([0, 5, 5]), np.array([5, 5, 0])
    assert wasserstein(current, reference, np.array([0.0, 2.0, 4.0]), 4.0) == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan])
def test_wasserstein_refuses_a_reference_without_spread(scale: float) -> None:
    with pytest.raises(ValueError, match="scale must be above 0"):
        wasserstein(np.array([5, 5]), np.array([5, 5]), np.array([0.0, 1.0]), scale)


def test_wasserstein_asks_for_positions() -> None:
    with pytest.raises(ValueError, match="positions"):
        METHODS["wasserstein"].function(Comparison(np.array([5, 5]), np.array([5, 5])))


@every_method
def test_equal_counts_are_no_drift(method: Method) -> None:
    for current, _ in pairs():
        assert method.function(sides(current, current)) == pytest.approx(0.0, abs=1e-12)


@every_method
def test_equal_proportions_are_no_drift(method: Method) -> None:
    counts = shifted(0.0)
    assert method.function(sides(counts, 3 * counts)) == pytest.approx(0.0, abs=1e-9)


def test_half_a_row_a_bin_weighs_more_on_the_smaller_side() -> None:
    small, large = np.array([1, 19]), np.array([100, 1900])
    assert 0.0 < psi(small, large) < 0.01


@every_method
def test_a_growing_shift_grows(method: Method) -> None:
    values = [
        float(method.function(sides(shifted(amount), shifted(0.0)))) for amount in np.arange(0, 5, 0.25)
    ]
    assert np.all(np.diff(values) > 0)


@every_method
def test_both_directions_agree(method: Method) -> None:
    for current, reference in pairs():
        assert method.function(sides(current, reference)) == pytest.approx(
            float(method.function(sides(reference, current)))
        )


@every_method
def test_extreme_counts_stay_finite_and_at_least_zero(method: Method) -> None:
    empty = np.zeros(12, np.int64)
    one, other = empty.copy(), empty.copy()
    one[0], other[-1] = 10, 10**12
    for current, reference in ((one, other), (other, one), (one, one), (other, other)):
        value = float(method.function(sides(current, reference)))
        assert np.isfinite(value)
        assert value >= 0.0


@every_method
def test_merged_parts_give_the_value_of_the_whole(method: Method) -> None:
    rng = np.random.default_rng(6)
    rows = rng.integers(0, 12, 5_000)
    parts = [np.bincount(part, minlength=12) for part in np.array_split(rows, 7)]
    whole = method.function(sides(np.bincount(rows, minlength=12), shifted(0.3)))
    merged = method.function(sides(np.sum(parts, axis=0), shifted(0.3)))
    assert merged == whole


@every_method
def test_many_samples_at_once_give_the_values_one_by_one(method: Method) -> None:
    rng = np.random.default_rng(7)
    samples = rng.multinomial(500, np.full(12, 1 / 12), 20)
    together = method.function(sides(samples, shifted(0.3)))
    alone = [float(method.function(sides(sample, shifted(0.3)))) for sample in samples]
    assert together.shape == (20,)
    assert together == pytest.approx(np.array(alone), abs=1e-12)
    assert method.function(sides(samples, samples[::-1])).shape == (20,)


@every_method
def test_few_rows_give_a_reason_and_enough_a_value(method: Method) -> None:
    enough, few = np.full(12, 1), np.array([9] + [0] * 11)
    assert distance(method, sides(np.zeros(12, np.int64), enough)) == Unavailable("too_few_rows")
    assert distance(method, sides(few, enough)) == Unavailable("too_few_rows")
    assert distance(method, sides(enough, few)) == Unavailable("short_reference")
    found = distance(method, sides(enough, shifted(0.3)))
    assert isinstance(found, Value)
    assert (found.lower, found.upper, found.n) == (None, None, 12)


def test_defaults_are_registered_for_their_kind() -> None:
    assert DEFAULT_METHODS == {"numeric": ("psi", "wasserstein"), "categorical": ("psi", "cramers_v")}
    for kind, names in DEFAULT_METHODS.items():
        assert all(kind in METHODS[name].kinds for name in names)
    assert all(name == method.name for name, method in METHODS.items())
