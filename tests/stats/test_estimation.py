import json

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics
from tests.support.forecasts import Model, Rows, realized

from ml_exporter.stats import estimation, folds
from ml_exporter.stats.estimation import ESTIMATED_METRICS, Calibration, estimate_binary, fit_calibration
from ml_exporter.stats.result import Unavailable, Value

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def known(rate: Floats, rows: int = 1_000) -> Calibration:
    """A calibration that is certain: every fold agrees."""
    return Calibration(np.full(rate.size, rows), rate, np.tile(rate, (folds.FOLDS, 1)))


def window(seed: int = 3, b: int = 40, rows: int = 60) -> tuple[Ints, Calibration]:
    """Counts that change from bin to bin, the predicted class at a threshold that some rows ignore."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, rows, (b, 2))
    counts[: b // 2, 1] //= 10
    counts[b // 2 :, 0] //= 10
    return counts, known(np.linspace(0.02, 0.9, b))


def value(counts: Ints, calibration: Calibration, name: str, design_effect: float = 1.0) -> Value:
    result = estimate_binary(counts, calibration, design_effect)[name]
    assert isinstance(result, Value)
    return result


def width(result: Value) -> float:
    assert result.lower is not None
    assert result.upper is not None
    return result.upper - result.lower


def rows_of(counts: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Bin and predicted class of each row, shapes (n,)."""
    bins = np.repeat(np.arange(counts.shape[0]), counts.sum(axis=1))
    predicted = np.concatenate(
        [
            np.arange(total) >= total - hits
            for total, hits in zip(counts.sum(axis=1), counts[:, 1], strict=True)
        ]
    )
    return bins, predicted


def test_expected_table_counts_each_row_by_its_rate() -> None:
    counts, calibration = window()
    bins, predicted = rows_of(counts)
    rate = calibration.rate[bins]
    tp, fn = rate[predicted].sum(), rate[~predicted].sum()
    fp, tn = predicted.sum() - tp, (~predicted).sum() - fn
    expected = {
        "accuracy": (tp + tn) / bins.size,
        "balanced_accuracy": (tp / (tp + fn) + tn / (tn + fp)) / 2,
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "f1": 2 * tp / (2 * tp + fp + fn),
        "matthews_corrcoef": (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)),
        "actual_positive_rate": (tp + fn) / bins.size,
    }
    for name, wanted in expected.items():
        assert value(counts, calibration, name).value == pytest.approx(wanted, abs=1e-12), name
    rows = {name: value(counts, calibration, name).n for name in ("accuracy", "precision", "recall", "f1")}
    denominators = (bins.size, predicted.sum(), round(tp + fn), round(tp + fp + fn))
    assert tuple(rows.values()) == denominators


def test_labelled_rows_are_judged_as_scikit_learn_judges() -> None:
    rows = Model().draw(np.random.default_rng(7), 500)
    found, both = realized(rows), (rows.labels, rows.predicted)
    expected = {
        "accuracy": metrics.accuracy_score(*both),
        "balanced_accuracy": metrics.balanced_accuracy_score(*both),
        "precision": metrics.precision_score(*both),
        "recall": metrics.recall_score(*both),
        "specificity": metrics.recall_score(*both, pos_label=False),
        "f1": metrics.f1_score(*both),
        "matthews_corrcoef": metrics.matthews_corrcoef(*both),
        "actual_positive_rate": np.mean(rows.labels),
        "roc_auc": metrics.roc_auc_score(rows.labels, rows.scores),
        "average_precision": metrics.average_precision_score(rows.labels, rows.scores),
    }
    assert tuple(found) == ESTIMATED_METRICS
    assert found == pytest.approx(expected, abs=1e-12)


def test_roc_auc_is_that_of_rows_that_are_positive_in_part() -> None:
    counts, calibration = window()
    bins, _ = rows_of(counts)
    rate = calibration.rate[bins]
    halves = np.repeat([True, False], bins.size)
    expected = metrics.roc_auc_score(halves, np.tile(bins, 2), sample_weight=np.concatenate([rate, 1 - rate]))
    assert value(counts, calibration, "roc_auc").value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rows", [8, 60])
def test_values_and_bounds_are_those_of_drawn_labels(rows: int) -> None:
    counts, calibration = window(rows=rows)
    bins, predicted = rows_of(counts)
    rng, runs = np.random.default_rng(4), 1_000
    drawn = [
        # Rows of one bin in random order: their scores differ, but say no more than the bin does.
        realized(
            Rows(bins + rng.random(bins.size), predicted, rng.random(bins.size) < calibration.rate[bins])
        )
        for _ in range(runs)
    ]
    for name, result in estimate_binary(counts, calibration).items():
        assert isinstance(result, Value)
        assert result.lower is not None
        assert result.upper is not None
        found = np.array([run[name] for run in drawn])
        spread = float(np.std(found))
        assert result.value == pytest.approx(found.mean(), abs=spread / 8), name
        assert width(result) / (2 * 1.96) == pytest.approx(spread, rel=0.09), name
        assert 0.93 <= np.mean((result.lower <= found) & (found <= result.upper)) <= 0.97, name


def test_few_errors_skew_the_bounds() -> None:
    counts = np.array([[0, 0], [0, 60]])
    result = value(counts, known(np.array([0.02, 0.98])), "precision")
    assert result.upper == 1.0  # 30 % of such windows have no error at all
    assert result.lower is not None
    assert 0.93 < result.lower < 0.95  # three errors, 57 of 60, are as likely as not to be exceeded by none


def test_what_the_folds_disagree_on_widens_the_bounds() -> None:
    counts, calibration = window()
    shift = np.linspace(-0.02, 0.02, folds.FOLDS)[:, None]
    learned = Calibration(calibration.rows, calibration.rate, calibration.rate + shift)
    certain, uncertain = (value(counts, each, "actual_positive_rate") for each in (calibration, learned))
    assert uncertain.value == pytest.approx(certain.value, abs=1e-3)
    learned_part = np.sum(np.square(shift))
    own = np.sum(counts.sum(axis=1) * calibration.rate * (1 - calibration.rate)) / counts.sum() ** 2
    degrees = 9 * ((own + learned_part) / learned_part) ** 2
    half = stats.t.ppf(0.975, degrees) * np.sqrt(own + learned_part)
    assert width(uncertain) / 2 == pytest.approx(half, rel=1e-3)
    assert width(uncertain) > 3 * width(certain)


def test_the_flattery_of_noisy_rates_is_taken_off() -> None:
    counts, calibration = window()
    worse = np.clip(0.45 + 0.99 * (calibration.rate - 0.45), 0, 1)
    noisy = Calibration(calibration.rows, worse, np.tile(calibration.rate, (folds.FOLDS, 1)))
    plain, folded = (value(counts, known(rate), "roc_auc").value for rate in (worse, calibration.rate))
    assert value(counts, noisy, "roc_auc").value == pytest.approx(plain + 9 * (plain - folded), abs=1e-12)


def test_design_effect_widens_by_its_root() -> None:
    counts, calibration = window()
    for name in ESTIMATED_METRICS:
        once, four = (value(counts, calibration, name, effect) for effect in (1.0, 4.0))
        assert width(four) == pytest.approx(2 * width(once), rel=1e-9), name
        assert four.value == once.value


def test_rates_never_fall_and_empty_bins_lie_between_their_neighbours() -> None:
    rng = np.random.default_rng(1)
    bins = rng.integers(0, 50, 20_000) * 2
    labels = rng.random(bins.size) < bins / 120
    learned = fit_calibration(bins, labels, folds.chronological_folds(bins.size), 100)
    assert np.all(np.diff(learned.rate) >= 0)
    assert np.all(np.diff(learned.fold_rates, axis=1) >= 0)
    assert np.max(np.abs(learned.rate - np.arange(100) / 120)) < 0.06
    assert learned.rate[31] == pytest.approx((learned.rate[30] + learned.rate[32]) / 2)
    assert learned.rate[99] == learned.rate[98]
    np.testing.assert_array_equal(learned.rows, np.bincount(bins, minlength=100))
    assert learned.rows @ learned.rate == pytest.approx(labels.sum())


def test_a_fold_is_left_out_of_its_rates() -> None:
    bins, labels = np.zeros(1_000, np.int64), np.arange(1_000) < 100
    learned = fit_calibration(bins, labels, folds.chronological_folds(1_000), 1)
    assert learned.rate == pytest.approx([0.1])
    assert learned.fold_rates[:, 0] == pytest.approx([0.0] + [1 / 9] * 9)


def test_plain_lists_give_the_calibration_back() -> None:
    rng = np.random.default_rng(2)
    bins = rng.integers(0, 30, 3_000)
    learned = fit_calibration(bins, rng.random(3_000) < bins / 40, folds.chronological_folds(3_000), 30)
    again = Calibration.from_json(json.loads(json.dumps(learned.to_json())))
    np.testing.assert_array_equal(again.rows, learned.rows)
    np.testing.assert_allclose(again.rate, learned.rate, atol=5e-7)
    np.testing.assert_allclose(again.fold_rates, learned.fold_rates, atol=5e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": [0.1]}, "one value for each bin"),
        ({"fold_rates": [[0.1, 0.2]] * 9}, "one value for each bin"),
        ({"rate": [0.1, 1.2]}, "rates must lie"),
        ({"rate": [0.1, float("nan")]}, "rates must lie"),
        ({"rows": [3, -1]}, "rows must not be negative"),
    ],
)
def test_damaged_lists_are_refused(change: dict[str, object], message: str) -> None:
    fine = {"rows": [5, 5], "rate": [0.1, 0.2], "fold_rates": [[0.1, 0.2]] * 10}
    assert Calibration.from_json(fine).rate.tolist() == [0.1, 0.2]
    with pytest.raises(ValueError, match=message):
        Calibration.from_json(fine | change)


def test_bins_and_folds_out_of_range_are_refused() -> None:
    bins, labels, fold = np.array([0, 1]), np.array([True, False]), np.array([0, 1])
    with pytest.raises(ValueError, match="bins must be 0 to 0"):
        fit_calibration(bins, labels, fold, 1)
    with pytest.raises(ValueError, match="folds must be 0 to 9"):
        fit_calibration(bins, labels, fold + 9, 2)
    with pytest.raises(ValueError, match="no bin has enough rows"):
        fit_calibration(bins, labels, np.zeros(2, np.int64), 2)
    with pytest.raises(ValueError, match=r"counts must have shape \(3, 2\)"):
        estimate_binary(np.zeros((2, 2), np.int64), known(np.array([0.1, 0.2, 0.3])))


def reasons(counts: Ints, calibration: Calibration) -> dict[str, str]:
    results = estimate_binary(counts, calibration)
    assert tuple(results) == ESTIMATED_METRICS
    return {name: each.reason for name, each in results.items() if isinstance(each, Unavailable)}


def test_short_references_and_windows_beyond_them_are_refused() -> None:
    counts, calibration = window()
    assert reasons(counts, calibration) == {}
    few = Calibration(np.full(40, 12), calibration.rate, calibration.fold_rates)
    assert set(reasons(counts, few).values()) == {"short_reference"}
    assert set(reasons(counts, known(np.full(40, 4e-4))).values()) == {"short_reference"}
    rows = calibration.rows.copy()
    rows[-1] = 0
    beyond = Calibration(rows, calibration.rate, calibration.fold_rates)
    counts[-1] = 0
    assert reasons(counts, beyond) == {}
    counts[-1, 1] = 0.06 * counts.sum()
    assert len(reasons(counts, beyond)) == len(ESTIMATED_METRICS)


def test_few_rows_of_a_class_leave_out_what_needs_them() -> None:
    rate = np.array([0.01, 0.5])
    assert set(reasons(np.array([[9, 0], [0, 0]]), known(rate)).values()) == {"too_few_rows"}
    counts = np.array([[500, 0], [0, 8]])  # nine positives expected, eight predicted
    lacking = reasons(counts, known(rate))
    both = {"balanced_accuracy", "matthews_corrcoef", "roc_auc", "average_precision"}
    assert lacking == dict.fromkeys({"precision", "recall"} | both, "too_few_rows")
    only = reasons(np.array([[500, 0], [80, 0]]), known(rate))
    assert only == {"precision": "too_few_rows", "matthews_corrcoef": "single_class"}


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_certain_rates_raise_nothing(rate: float) -> None:
    counts, _ = window()
    found = estimation._rank_moments(counts.sum(axis=1).astype(float), np.full((11, 40), rate))
    assert all(np.all(np.isfinite(part)) for each in found for part in each)
