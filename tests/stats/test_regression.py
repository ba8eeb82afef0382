from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from ml_exporter.stats import intervals
from ml_exporter.stats.arrays import FloatArray
from ml_exporter.stats.regression import (
    REGRESSION_METRICS,
    Count,
    ErrorHistogram,
    RegressionEvidence,
    Sum,
    absolute_loss,
    row_counts,
    row_sums,
    squared_loss,
)
from ml_exporter.stats.result import Unavailable, Value
from ml_exporter.stats.sums import RowSums

EXACT: dict[str, Callable[[FloatArray, FloatArray], float]] = {
    "mean_absolute_error": sklearn_metrics.mean_absolute_error,
    "root_mean_squared_error": sklearn_metrics.root_mean_squared_error,
    "mean_squared_error": sklearn_metrics.mean_squared_error,
    "mean_absolute_percentage_error": sklearn_metrics.mean_absolute_percentage_error,
    "r2_score": sklearn_metrics.r2_score,
    "bias": lambda labels, predictions: float(np.mean(predictions - labels)),
}
QUANTILES = {
    "median_absolute_error": 0.5,
    "absolute_error_p90": 0.9,
    "absolute_error_p95": 0.95,
    "absolute_error_p99": 0.99,
}
ROWS = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e3, 1e3)), min_size=12, max_size=80)


def rows(size: int, mean: float = 0.0, seed: int = 1) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    labels = mean + rng.gamma(2.0, 3.0, size)
    return labels, labels + rng.standard_t(5, size) + 0.2


def value(name: str, evidence: RegressionEvidence, design_effect: float = 1.0) -> Value:
    result = REGRESSION_METRICS[name](evidence, design_effect)
    assert isinstance(result, Value), (name, result)
    return result


@pytest.mark.parametrize("mean", [0.0, -250.0, 1e6])
@pytest.mark.parametrize("size", [10, 500, 50_000])
def test_values_are_scikit_learns(size: int, mean: float) -> None:
    labels, predictions = rows(size, mean)
    evidence = RegressionEvidence.of(labels, predictions, center=mean + 5.0)
    for name, reference in EXACT.items():
        assert value(name, evidence).value == pytest.approx(reference(labels, predictions), rel=1e-9)
    for name, share in QUANTILES.items():
        exact = np.quantile(np.abs(predictions - labels), share)
        assert value(name, evidence).value == pytest.approx(exact, rel=0.004)
    median = sklearn_metrics.median_absolute_error(labels, predictions)
    assert value("median_absolute_error", evidence).value == pytest.approx(median, rel=0.004)


def test_a_perfect_and_a_worthless_model_have_their_r2() -> None:
    labels, predictions = rows(400)
    assert value("r2_score", RegressionEvidence.of(labels, labels)) == Value(1.0, 1.0, 1.0, 400)
    worthless = value("r2_score", RegressionEvidence.of(labels, np.full(400, labels.mean())))
    assert worthless.value == pytest.approx(0.0, abs=1e-12)
    assert worthless.lower == pytest.approx(0.0, abs=1e-6)
    wrong = value("r2_score", RegressionEvidence.of(labels, -10.0 * predictions))
    assert wrong.upper is not None
    assert wrong.upper < -10.0


def test_labels_of_zero_are_left_out_of_the_percentage_error_and_counted() -> None:
    labels, predictions = rows(300)
    labels[::10] = 0.0
    kept = labels != 0.0
    evidence = RegressionEvidence.of(labels, predictions)
    found = value("mean_absolute_percentage_error", evidence)
    exact = sklearn_metrics.mean_absolute_percentage_error(labels[kept], predictions[kept])
    assert found.value == pytest.approx(exact, rel=1e-9)
    assert (found.n, evidence.zero_labels, evidence.n) == (270, 30, 300)
    nothing = RegressionEvidence.of(np.zeros(300), predictions)
    assert REGRESSION_METRICS["mean_absolute_percentage_error"](nothing, 1.0) == Unavailable("too_few_rows")


def test_a_label_next_to_zero_is_taken_as_scikit_learn_takes_it() -> None:
    labels, predictions = rows(50)
    labels[0] = 1e-300
    exact = sklearn_metrics.mean_absolute_percentage_error(labels, predictions)
    found = value("mean_absolute_percentage_error", RegressionEvidence.of(labels, predictions))
    assert found.value == pytest.approx(exact, rel=1e-9)


def test_interval_coverage_counts_rows_with_both_ends_and_the_ends_themselves() -> None:
    labels, predictions = rows(400)
    lower, upper = predictions - 1.0, predictions + 1.0
    lower[:50], upper[30:70] = np.nan, np.nan
    lower[70] = labels[70]
    upper[71] = labels[71]
    both = ~(np.isnan(lower) | np.isnan(upper))
    hits = int(np.count_nonzero((lower[both] <= labels[both]) & (labels[both] <= upper[both])))
    found = value("interval_coverage", RegressionEvidence.of(labels, predictions, lower, upper), 2.0)
    assert (found.n, found.value) == (330, hits / 330)
    assert (found.lower, found.upper) == intervals.wilson(hits / 2, 165)
    for ends in ((None, None), (lower, None), (np.full(400, np.nan), upper)):
        evidence = RegressionEvidence.of(labels, predictions, *ends)
        assert REGRESSION_METRICS["interval_coverage"](evidence, 1.0) == Unavailable("too_few_rows")


def test_nine_rows_are_too_few_and_ten_are_not() -> None:
    labels, predictions = rows(10)
    ten = RegressionEvidence.of(labels, predictions, predictions - 1, predictions + 1)
    nine = RegressionEvidence.of(labels[:9], predictions[:9], predictions[:9] - 1, predictions[:9] + 1)
    for name, metric in REGRESSION_METRICS.items():
        assert value(name, ten).n == 10
        assert metric(nine, 1.0) == Unavailable("too_few_rows")
        assert metric(RegressionEvidence.empty(), 1.0) == Unavailable("too_few_rows")


@pytest.mark.parametrize("center", [0.0, 0.1, 1e3])
def test_one_label_value_has_no_r2(center: float) -> None:
    predictions = np.random.default_rng(2).normal(size=1_000)
    evidence = RegressionEvidence.of(np.full(1_000, 0.3), predictions, center=center)
    assert REGRESSION_METRICS["r2_score"](evidence, 1.0) == Unavailable("single_class")
    assert value("mean_absolute_error", evidence).n == 1_000


@pytest.mark.parametrize("label", [1e80, 1e200, 1e308])
def test_what_float64_cannot_hold_is_an_error_and_never_infinite(label: float) -> None:
    labels, predictions = rows(100)
    labels[0], predictions[1] = label, -label
    evidence = RegressionEvidence.of(labels, predictions)
    for metric in REGRESSION_METRICS.values():
        result = metric(evidence, 1.0)
        if isinstance(result, Value):
            assert np.all(np.isfinite([result.value, result.lower or 0.0, result.upper or 0.0]))
        else:
            assert result.reason in ("error", "too_few_rows")
    assert REGRESSION_METRICS["r2_score"](evidence, 1.0) == Unavailable("error")
    assert value("median_absolute_error", evidence).value < 2.0


def test_labels_that_hardly_differ_have_no_infinite_r2() -> None:
    labels, predictions = rows(100)
    for scale, available in ((1e-30, True), (1e-40, False), (1e-160, False)):
        result = REGRESSION_METRICS["r2_score"](RegressionEvidence.of(labels * scale, predictions), 90.0)
        assert isinstance(result, Value) == available
        assert isinstance(result, Unavailable) or np.isfinite(result.lower or np.nan)


@given(ROWS, st.integers(0, 80), st.floats(-1e6, 1e6))
@settings(max_examples=60, deadline=None)
def test_merge_of_parts_is_the_evidence_of_the_whole(
    drawn: list[tuple[float, float]], cut: int, center: float
) -> None:
    labels, errors = np.array(drawn).T
    predictions = labels + errors
    whole = RegressionEvidence.of(labels, predictions, predictions - 1, predictions + 1, center)
    parts = [
        RegressionEvidence.of(
            labels[part], predictions[part], predictions[part] - 1, predictions[part] + 1, center
        )
        for part in (slice(cut), slice(cut, None))
    ]
    for merged in (RegressionEvidence.merge(parts), parts[0] + parts[1] + RegressionEvidence.empty()):
        assert np.array_equal(merged.counts, whole.counts)
        assert merged.errors == whole.errors
        # A sum may cancel, so it is compared with the size of what was added.
        sizes = np.abs(row_sums(labels, predictions, center)).sum(axis=0)
        assert np.all(np.abs(merged.sums - whole.sums) <= 1e-12 * sizes)


@given(ROWS, st.sampled_from(sorted(REGRESSION_METRICS)), st.floats(1.0, 40.0))
@settings(max_examples=150, deadline=None)
def test_bounds_hold_the_value_and_stay_where_the_metric_can_be(
    drawn: list[tuple[float, float]], name: str, design_effect: float
) -> None:
    labels, errors = np.array(drawn).T
    predictions = labels + errors
    evidence = RegressionEvidence.of(labels, predictions, predictions - 1, predictions + 1)
    result = REGRESSION_METRICS[name](evidence, design_effect)
    if isinstance(result, Value):
        assert result.lower is not None
        assert result.lower <= result.value
        assert result.upper is None or result.value <= result.upper
        assert name in ("bias", "r2_score") or result.lower >= 0.0
        assert name not in ("r2_score", "interval_coverage") or (result.upper or 0.0) <= 1.0
    else:
        assert (name, result.reason) in (
            ("r2_score", "single_class"),
            ("mean_absolute_percentage_error", "too_few_rows"),
        )


def test_a_shift_of_labels_and_predictions_changes_errors_and_r2_not_at_all() -> None:
    labels, predictions = rows(2_000)
    here = RegressionEvidence.of(labels, predictions, center=5.0)
    there = RegressionEvidence.of(labels + 4_096.0, predictions + 4_096.0, center=4_000.0)
    for name in set(REGRESSION_METRICS) - {"mean_absolute_percentage_error", "interval_coverage"}:
        before, after = value(name, here), value(name, there)
        assert (after.value, after.lower, after.upper) == pytest.approx(
            (before.value, before.lower, before.upper), rel=1e-6
        )


@pytest.mark.parametrize("scale", [1 / 1024, 64.0])
def test_a_change_of_unit_scales_errors_and_leaves_ratios(scale: float) -> None:
    labels, predictions = rows(2_000)
    before = RegressionEvidence.of(labels, predictions, center=5.0)
    after = RegressionEvidence.of(labels * scale, predictions * scale, center=5.0 * scale)
    ratios = {"mean_absolute_percentage_error", "r2_score"}
    for name in set(REGRESSION_METRICS) - {"interval_coverage"}:
        factor = 1.0 if name in ratios else scale**2 if name == "mean_squared_error" else scale
        old, new = value(name, before), value(name, after)
        assert old.lower is not None
        assert old.upper is not None
        expected = (old.value * factor, old.lower * factor, old.upper * factor)
        assert (new.value, new.lower, new.upper) == pytest.approx(expected, rel=1e-9)


def test_bounds_widen_with_the_root_of_the_design_effect() -> None:
    labels, predictions = rows(100_000)
    evidence = RegressionEvidence.of(labels, predictions, predictions - 1, predictions + 1)
    for name in REGRESSION_METRICS:
        once, four = value(name, evidence), value(name, evidence, 4.0)
        assert once.lower is not None
        assert once.upper is not None
        assert four.lower is not None
        assert four.upper is not None
        assert (four.upper - four.lower) / (once.upper - once.lower) == pytest.approx(2.0, rel=0.1)


def test_the_bounds_of_r2_are_as_wide_as_its_simulated_spread() -> None:
    found, halves = [], []
    for seed in range(400):
        result = value("r2_score", RegressionEvidence.of(*rows(400, 50.0, seed), center=40.0))
        assert result.lower is not None
        assert result.upper is not None
        found.append(np.log(1 - result.value))
        halves.append((np.log(1 - result.lower) - np.log(1 - result.upper)) / (2 * 1.966))
    assert np.mean(halves) == pytest.approx(np.std(found), rel=0.12)


def test_rows_added_by_group_are_the_evidence_of_each_group() -> None:
    labels, predictions = rows(900, 20.0)
    lower, upper = predictions - 1.0, predictions + 1.0
    group = np.random.default_rng(3).integers(0, 4, 900)
    counts, sums = row_counts(labels, lower, upper), row_sums(labels, predictions, 26.0)
    assert (counts.shape, sums.shape) == ((900, len(Count)), (900, len(Sum)))
    for which in range(4):
        part = group == which
        alone = RegressionEvidence.of(labels[part], predictions[part], lower[part], upper[part], 26.0)
        added = [np.bincount(group, column, 4)[which] for column in sums.T]
        rebuilt = RegressionEvidence.from_arrays(counts[part].sum(axis=0), np.array(added), alone.errors)
        assert np.array_equal(rebuilt.counts, alone.counts)
        assert rebuilt.sums == pytest.approx(alone.sums, rel=1e-12)


def test_stored_arrays_of_another_shape_are_refused() -> None:
    good = RegressionEvidence.empty()
    for counts, sums in ((good.counts[:3], good.sums), (good.counts, np.zeros(11))):
        with pytest.raises(ValueError, match="regression: counts of shape"):
            RegressionEvidence.from_arrays(counts, sums, ErrorHistogram.empty())


def test_losses_are_the_sums_of_absolute_and_squared_errors() -> None:
    labels, predictions = rows(250)
    evidence = RegressionEvidence.of(labels, predictions, center=3.0)
    errors = predictions - labels
    for found, row in (
        (absolute_loss(evidence.n, evidence.sums), np.abs(errors)),
        (squared_loss(evidence.n, evidence.sums), np.square(errors)),
        (evidence.error, errors),
    ):
        expected = RowSums.of(row)
        assert found.n == 250
        assert (found.total, found.squares) == pytest.approx((expected.total, expected.squares), rel=1e-12)
    assert (evidence.absolute_error, evidence.squared_error) == (
        absolute_loss(250, evidence.sums),
        squared_loss(250, evidence.sums),
    )
