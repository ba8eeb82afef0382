import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import distance as scipy_distance

from ml_exporter.stats.distance import (
    DEFAULT_METHODS,
    METHODS,
    Comparison,
    Method,
    cramers_v,
    distance,
    distances,
    hellinger,
    jensen_shannon,
    ks,
    l_infinity,
    mean_shift,
    psi,
    registered,
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


@pytest.mark.parametrize(("current", "reference"), pairs())
def test_distances_of_shares_are_scipys(current: Counts, reference: Counts) -> None:
    p, q = current / current.sum(), reference / reference.sum()
    expected = scipy_distance.jensenshannon(current, reference, base=2)
    assert jensen_shannon(current, reference) == pytest.approx(expected, abs=1e-9)
    expected = scipy_distance.euclidean(np.sqrt(p), np.sqrt(q)) / np.sqrt(2)
    assert hellinger(current, reference) == pytest.approx(expected, abs=1e-9)
    assert l_infinity(current, reference) == pytest.approx(scipy_distance.chebyshev(p, q), abs=1e-9)


@pytest.mark.parametrize(("current", "reference"), pairs())
def test_ks_and_mean_shift_are_scipys_on_the_bins(current: Counts, reference: Counts) -> None:
    values, others = np.repeat(POSITIONS, current), np.repeat(POSITIONS, reference)
    assert ks(current, reference) == pytest.approx(stats.ks_2samp(values, others).statistic, abs=1e-9)
    expected = abs(stats.tmean(values) - stats.tmean(others)) / 7.0
    assert mean_shift(current, reference, POSITIONS, 7.0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("sample", ["standard_normal", "standard_exponential", "random"])
def test_on_raw_values_distances_differ_by_the_documented_binning_error(sample: str, shift: float) -> None:
    rng = np.random.default_rng(8)
    reference = getattr(rng, sample)(size=20_000)
    current = getattr(rng, sample)(size=3_000) + shift
    edges = np.unique(
        np.concatenate([np.quantile(reference, np.arange(1, 20) / 20), reference.max() + np.arange(3)])
    )
    codes, own = np.searchsorted(edges, current), np.searchsorted(edges, reference)
    size, scale = edges.size + 1, float(reference.std())
    counts, others = np.bincount(codes, minlength=size), np.bincount(own, minlength=size)
    middles = np.concatenate([edges[:1] - 1, (edges[1:] + edges[:-1]) / 2, edges[-1:] + 1])
    sums = np.bincount(own, weights=reference, minlength=size)
    positions = np.where(others > 0, sums / np.maximum(others, 1), middles)
    apart = (np.abs(current - positions[codes]).mean() + np.abs(reference - positions[own]).mean()) / scale

    raw = stats.ks_2samp(current, reference).statistic
    widest = max(np.max(counts / 3_000), np.max(others / 20_000))
    assert ks(counts, others) <= raw + 1e-12 <= ks(counts, others) + widest + 2e-12
    raw = stats.wasserstein_distance(current, reference) / scale
    assert abs(wasserstein(counts, others, positions, scale) - raw) <= apart
    raw = abs(current.mean() - reference.mean()) / scale
    assert abs(mean_shift(counts, others, positions, scale) - raw) <= apart


def test_the_range_of_ratios_ends_at_one() -> None:
    current, reference = np.array([30, 0]), np.array([0, 50])
    for function in (jensen_shannon, hellinger, l_infinity, ks, cramers_v):
        assert function(current, reference) == pytest.approx(1.0)


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


@pytest.mark.parametrize("name", ["wasserstein", "mean_shift"])
def test_methods_on_positions_ask_for_them(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} needs the positions"):
        METHODS[name].function(Comparison(np.array([5, 5]), np.array([5, 5])))


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
def test_many_samples_at_once_give_the_values_one_by_one(method: Method) -> None:
    rng = np.random.default_rng(7)
    samples = rng.multinomial(500, np.full(12, 1 / 12), 20)
    together = method.function(sides(samples, shifted(0.3)))
    alone = [float(method.function(sides(sample, shifted(0.3)))) for sample in samples]
    assert together.shape == (20,)
    assert together == pytest.approx(np.array(alone), abs=1e-12)
    assert method.function(sides(samples, samples[::-1])).shape == (20,)


@every_method
def test_columns_with_positions_and_scales_of_their_own_give_the_values_one_by_one(method: Method) -> None:
    rng = np.random.default_rng(9)
    current, reference = (
        rng.multinomial(300, np.full(12, 1 / 12), 5),
        rng.multinomial(900, np.full(12, 1 / 12), 5),
    )
    places, scales = np.sort(rng.normal(size=(5, 12))), rng.uniform(1, 3, 5)
    together = distances(method, Comparison(current, reference, places, scales))
    for row, found in enumerate(together):
        alone = distance(method, Comparison(current[row], reference[row], places[row], float(scales[row])))
        assert isinstance(found, Value)
        assert isinstance(alone, Value)
        assert found.value == pytest.approx(alone.value, rel=1e-12)
        assert found.n == alone.n == 300


@every_method
def test_columns_without_rows_leave_the_others_alone(method: Method) -> None:
    current, reference = np.zeros((3, 12), np.int64), np.tile(shifted(0.0, 1_000), (3, 1))
    current[1], reference[2], current[2] = shifted(0.5, 1_000), 0, shifted(0.5, 1_000)
    found = distances(method, sides(current, reference))
    assert found[0] == Unavailable("too_few_rows")
    assert found[1] == distance(method, sides(current[1], reference[1]))
    assert found[2] == Unavailable("short_reference")


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


def test_methods_are_registered_by_name_and_kind() -> None:
    numeric = {"psi", "wasserstein", "ks", "jensen_shannon", "hellinger", "mean_shift"}
    categorical = {"psi", "cramers_v", "jensen_shannon", "hellinger", "l_infinity"}
    assert {name for name in METHODS if registered(name, "numeric")} == numeric
    assert {name for name in METHODS if registered(name, "categorical")} == categorical
    assert registered("no such method", "numeric") is None
