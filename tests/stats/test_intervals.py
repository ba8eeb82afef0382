import numpy as np
import pytest
from scipy import stats

from ml_exporter.stats import intervals
from ml_exporter.stats.sums import RowSums


@pytest.mark.parametrize(("k", "n"), [(0, 25), (1, 30), (20, 40), (199, 200), (200, 200)])
def test_wilson_and_exact_bounds_are_scipys(k: int, n: int) -> None:
    test = stats.binomtest(k, n)
    wilson, exact = test.proportion_ci(method="wilson"), test.proportion_ci(method="exact")
    assert intervals.wilson(k, n) == pytest.approx((wilson.low, wilson.high), abs=1e-9)
    assert intervals.clopper_pearson(k, n) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_proportions_turn_conservative_below_twenty() -> None:
    assert intervals.proportion(12.0, 19.9) == intervals.clopper_pearson(12.0, 19.9)
    assert intervals.proportion(12.0, 20.0) == intervals.wilson(12.0, 20.0)


def test_f1_bounds_are_those_of_the_share_of_true_positives() -> None:
    test = stats.binomtest(60, 100).proportion_ci(method="wilson")
    expected = (2 * test.low / (1 + test.low), 2 * test.high / (1 + test.high))
    assert intervals.f1(60, 15, 25) == pytest.approx(expected, abs=1e-9)


def test_mean_of_two_equal_proportions_shrinks_the_width_by_the_root_of_two() -> None:
    lower, upper = intervals.wilson(70, 100)
    found = intervals.mean_of_two((70, 100), (70, 100))
    root = np.sqrt(0.5)
    assert found == pytest.approx((0.7 - (0.7 - lower) * root, 0.7 + (upper - 0.7) * root), abs=1e-12)


def test_matthews_standard_error_is_that_of_simulated_tables() -> None:
    cells = np.array([300.0, 100.0, 150.0, 1450.0])
    tp, fp, fn, tn = np.random.default_rng(1).multinomial(2000, cells / 2000, 40_000).T.astype(float)
    phi = (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    lower, upper = np.arctanh(intervals.matthews_corrcoef(*cells))
    assert (upper - lower) / (2 * 1.96) == pytest.approx(np.std(np.arctanh(phi)), rel=0.02)


def test_matthews_of_a_faultless_table_has_bounds_below_one() -> None:
    lower, upper = intervals.matthews_corrcoef(50, 0, 0, 50)
    assert 0.8 < lower < upper < 1.0


@pytest.mark.parametrize("auc", [0.5, 0.72, 0.99])
def test_newcombe_bounds_lie_z_standard_errors_away(auc: float) -> None:
    positives, negatives = 15, 185
    for bound in intervals.newcombe(auc, positives, negatives):
        # Hanley and McNeil's variance with 100 in place of both class sizes.
        better, worse = bound / (2 - bound) - bound**2, 2 * bound**2 / (1 + bound) - bound**2
        variance = (bound * (1 - bound) + 99 * (better + worse)) / (positives * negatives)
        assert abs(auc - bound) == pytest.approx(stats.norm.ppf(0.975) * np.sqrt(variance), rel=1e-6)


def test_newcombe_reaches_the_ends_only_at_the_ends() -> None:
    assert intervals.newcombe(1.0, 12, 300)[1] == 1.0
    assert 0.5 < intervals.newcombe(1.0, 12, 300)[0] < 0.95
    assert intervals.newcombe(0.0, 12, 300)[0] == 0.0


def test_small_classes_take_the_wider_of_both_roc_auc_bounds() -> None:
    variances = (0.05, 0.02)
    newcombe = intervals.newcombe(0.8, 15, 200)
    lower, upper = intervals.roc_auc(0.8, variances, 15, 200)
    assert lower <= newcombe[0]
    assert upper >= newcombe[1]
    assert intervals.roc_auc(0.8, variances, 25, 200) == intervals.newcombe(0.8, 25, 200)
    assert intervals.roc_auc(0.8, variances, 40, 200) != intervals.newcombe(0.8, 40, 200)


def test_mean_bounds_are_those_of_the_t_test() -> None:
    values = np.random.default_rng(2).gamma(0.5, 2.0, 80)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    sums = RowSums.of(values)
    assert intervals.mean(sums) == pytest.approx((expected.low, expected.high), rel=1e-9)
    lower, upper = intervals.positive_mean(sums)
    assert np.sqrt(lower * upper) == pytest.approx(sums.mean)
    assert np.log(upper / lower) == pytest.approx((expected.high - expected.low) / sums.mean)


def test_a_mean_of_zero_has_bounds() -> None:
    assert intervals.positive_mean(RowSums.of(np.zeros(50))) == (0.0, 0.0)


def test_few_rows_of_a_class_widen_the_bounds_of_a_loss() -> None:
    sums = RowSums.of(np.random.default_rng(2).gamma(0.5, 2.0, 200))
    widths = []
    for smallest in (100, 20, 19, 10, 5, 0):
        lower, upper = intervals.positive_mean(sums, 1.0, smallest)
        widths.append(np.log(upper / lower))
    assert widths[0] == widths[1] < widths[2] < widths[3] < widths[4] == widths[5]
    assert intervals.positive_mean(sums, 1.5, 29)[1] > intervals.positive_mean(sums, 1.5, 30)[1]


def test_design_effect_divides_the_rows() -> None:
    once = RowSums.of(np.random.default_rng(3).random(100))
    lower, upper = intervals.mean(once, design_effect=4.0)
    t = stats.t.ppf(0.975, 24)
    assert upper - lower == pytest.approx(2 * t * np.sqrt(once.variance / 25))


def test_row_sums_are_additive_and_give_numpys_moments() -> None:
    values = np.random.default_rng(4).normal(3.0, 2.0, 90)
    whole = RowSums.of(values[:40]) + RowSums.of(values[40:])
    assert whole.n == 90
    assert whole.mean == pytest.approx(np.mean(values))
    assert whole.variance == pytest.approx(np.var(values, ddof=1))
    assert RowSums.of(np.full(3, 0.1)).variance == pytest.approx(0.0, abs=1e-15)
    assert RowSums.of(np.ones(1)).variance == 0.0


def test_normal_quantile_is_scipys() -> None:
    assert intervals.normal_quantile() == pytest.approx(stats.norm.ppf(0.975))


def test_mean_gain_of_two_cells_is_a_proportion() -> None:
    lower, upper = intervals.proportion(30, 100)
    found = intervals.mean_gain(np.array([30.0, 70.0]), np.array([5.0, -1.0]))
    assert found == pytest.approx((6 * lower - 1, 6 * upper - 1))


def test_mean_gain_moves_with_the_gains() -> None:
    cells, gains = np.array([12.0, 30.0, 8.0, 150.0]), np.array([5.0, -1.0, -50.0, 0.0])
    lower, upper = intervals.mean_gain(cells, gains)
    assert intervals.mean_gain(cells, 2 * gains + 3) == pytest.approx((2 * lower + 3, 2 * upper + 3))
    assert intervals.mean_gain(cells, -gains) == pytest.approx((-upper, -lower))


def test_mean_gain_of_rows_that_all_are_alike_has_bounds() -> None:
    lower, upper = intervals.mean_gain(np.array([0.0, 0.0, 0.0, 60.0]), np.array([5.0, -1.0, -50.0, 1.0]))
    assert lower < -2.0
    assert 1.0 < upper < 2.0
    assert intervals.mean_gain(np.array([0.0, 60.0]), np.array([2.0, 2.0])) == (2.0, 2.0)


@pytest.mark.parametrize("shares", [(0.12, 0.1, 0.08, 0.7), (0.01, 0.02, 0.01, 0.96), (0.4, 0.1, 0.1, 0.4)])
@pytest.mark.parametrize("gains", [(5.0, -1.0, -50.0, 0.0), (1.0, 0.0, 0.0, 1.0), (0.0, -1.0, -10.0, 0.1)])
def test_mean_gain_covers_the_truth_where_an_error_is_rare_and_dear(
    shares: tuple[float, ...], gains: tuple[float, ...]
) -> None:
    drawn = np.random.default_rng(6).multinomial(200, shares, 1_000).astype(np.float64)
    truth, each = np.dot(shares, gains), np.array(gains)
    held = [lower <= truth <= upper for lower, upper in (intervals.mean_gain(row, each) for row in drawn)]
    assert 0.925 <= np.mean(held) <= 0.985
