from dataclasses import fields
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from ml_exporter.stats.classification import (
    BINARY_METRICS,
    BINARY_RATES,
    BinaryCounts,
    BinaryEvidence,
    Gains,
    quality_value,
    row_brier,
    row_log_loss,
)
from ml_exporter.stats.intervals import proportion
from ml_exporter.stats.result import Reason, Unavailable, Value

Rows = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]
every_metric = pytest.mark.parametrize("name", list(BINARY_METRICS))

ON_PREDICTIONS = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "precision": metrics.precision_score,
    "recall": metrics.recall_score,
    "specificity": partial(metrics.recall_score, pos_label=False),
    "f1": metrics.f1_score,
    "matthews_corrcoef": metrics.matthews_corrcoef,
}
ON_SCORES = {"log_loss": metrics.log_loss, "brier_score": metrics.brier_score_loss}
BINNED = {"roc_auc": metrics.roc_auc_score, "average_precision": metrics.average_precision_score}


def rows(n: int = 3_000, seed: int = 1) -> Rows:
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.6, 2.0, n)
    scores[::300], scores[1::300] = 0.0, 1.0  # where the log loss is clipped
    return scores, scores > 0.35, rng.random(n) < scores


def evidence(n: int = 3_000, seed: int = 1) -> BinaryEvidence:
    return BinaryEvidence.of(*rows(n, seed))


def counts(tp: int, fp: int, fn: int, tn: int) -> BinaryEvidence:
    predictions = np.repeat([True, True, False, False], [tp, fp, fn, tn])
    labels = np.repeat([True, False, True, False], [tp, fp, fn, tn])
    return BinaryEvidence.of(np.where(predictions, 0.75, 0.25), predictions, labels)


def value_of(name: str, found: BinaryEvidence, design_effect: float = 1.0) -> Value:
    result = BINARY_METRICS[name](found, design_effect)
    assert isinstance(result, Value)
    return result


def bounds_of(value: Value) -> tuple[float, float]:
    assert value.lower is not None
    assert value.upper is not None
    return value.lower, value.upper


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cell_metrics_and_row_means_are_scikit_learns(seed: int) -> None:
    scores, predictions, labels = rows(seed=seed)
    expected = {name: metric(labels, predictions) for name, metric in ON_PREDICTIONS.items()}
    expected |= {name: metric(labels, scores) for name, metric in ON_SCORES.items()}
    found = {name: value_of(name, evidence(seed=seed)).value for name in expected}
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", list(BINNED))
def test_ranking_metrics_are_scikit_learns_up_to_binning(name: str) -> None:
    scores, _, labels = rows(30_000)
    assert value_of(name, evidence(30_000)).value == pytest.approx(BINNED[name](labels, scores), abs=1e-4)


def test_every_metric_has_a_reference() -> None:
    assert set(BINARY_METRICS) == {*ON_PREDICTIONS, *ON_SCORES, *BINNED}


def test_log_loss_is_clipped_as_scikit_learn_clips() -> None:
    scores, labels = np.array([0.0, 1.0, 1.0, 1e-300]), np.array([True, False, True, True])
    for score, label, loss in zip(scores, labels, row_log_loss(scores, labels), strict=True):
        assert loss == pytest.approx(metrics.log_loss([label], [score], labels=[False, True]), abs=1e-12)


def test_brier_rows_are_squared_distances() -> None:
    found = row_brier(np.array([0.25, 0.25]), np.array([True, False]))
    assert found.tolist() == [0.5625, 0.0625]


@every_metric
def test_bounds_hold_the_value_and_narrow_with_rows(name: str) -> None:
    widths = []
    for n in (300, 3_000, 30_000):
        value = value_of(name, evidence(n))
        lower, upper = bounds_of(value)
        assert lower <= value.value <= upper
        widths.append(upper - lower)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


@every_metric
def test_design_effect_of_four_doubles_the_width(name: str) -> None:
    plain, shared = (value_of(name, evidence(30_000), effect) for effect in (1.0, 4.0))
    widths = [upper - lower for lower, upper in (bounds_of(plain), bounds_of(shared))]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.05)
    assert (plain.value, plain.n) == (shared.value, shared.n)


@every_metric
def test_huge_design_effect_still_gives_finite_bounds(name: str) -> None:
    value = value_of(name, evidence(300), 200.0)
    lower, upper = bounds_of(value)
    assert np.isfinite([lower, upper]).all()
    assert lower <= value.value <= upper


@every_metric
def test_parts_add_up_to_the_whole(name: str) -> None:
    scores, predictions, labels = rows()
    parts = [
        BinaryEvidence.of(scores[part], predictions[part], labels[part])
        for part in np.array_split(np.arange(scores.size), 7)
    ]
    whole = value_of(name, evidence())
    for merged in (BinaryEvidence.merge(parts), sum(parts, BinaryEvidence())):
        assert value_of(name, merged).value == pytest.approx(whole.value, abs=1e-12)


@every_metric
@pytest.mark.parametrize("n", [0, 1, 9])
def test_fewer_than_ten_rows_are_too_few(name: str, n: int) -> None:
    assert BINARY_METRICS[name](evidence(n), 1.0) == Unavailable("too_few_rows")


@every_metric
@pytest.mark.parametrize("cells", [(12, 0, 0, 12), (0, 12, 12, 0), (1, 11, 11, 1)])
def test_extreme_tables_give_bounds_or_a_reason(name: str, cells: tuple[int, int, int, int]) -> None:
    value = value_of(name, counts(*cells))
    lower, upper = bounds_of(value)
    assert np.isfinite([lower, value.value, upper]).all()
    assert lower <= value.value <= upper
    assert lower < upper or name in {"log_loss", "brier_score"}


@pytest.mark.parametrize(
    ("cells", "reasons"),
    [
        # No positive label: what speaks of positives cannot be judged.
        ((0, 30, 0, 70), dict.fromkeys(["recall", "balanced_accuracy", "roc_auc"], "single_class")),
        ((0, 0, 0, 100), {"precision": "too_few_rows", "f1": "too_few_rows"}),
        ((60, 0, 40, 0), dict.fromkeys(["specificity", "average_precision"], "single_class")),
        # No positive prediction.
        ((0, 0, 40, 60), {"precision": "too_few_rows", "matthews_corrcoef": "single_class"}),
        ((9, 30, 0, 60), dict.fromkeys(["recall", "roc_auc", "matthews_corrcoef"], "too_few_rows")),
        ((5, 4, 40, 60), {"precision": "too_few_rows"}),
    ],
)
def test_undefined_is_a_reason_and_never_zero(
    cells: tuple[int, int, int, int], reasons: dict[str, Reason]
) -> None:
    for name, reason in reasons.items():
        assert BINARY_METRICS[name](counts(*cells), 1.0) == Unavailable(reason)


def test_recall_of_nothing_found_is_zero_with_bounds() -> None:
    value = value_of("recall", counts(0, 0, 40, 60))
    assert (value.value, value.lower, value.n) == (0.0, 0.0, 40)
    assert bounds_of(value)[1] < 0.1


def test_values_carry_the_rows_of_their_denominator() -> None:
    found = counts(20, 30, 40, 110)
    expected = {"accuracy": 200, "precision": 50, "recall": 60, "specificity": 140, "f1": 90}
    assert {name: value_of(name, found).n for name in expected} == expected


def test_confusion_counts_are_named_as_usual() -> None:
    assert counts(1, 2, 3, 4).confusion == BinaryCounts(tp=1, fp=2, fn=3, tn=4)
    assert [cell.name for cell in fields(BinaryCounts)] == ["tp", "fp", "fn", "tn"]
    assert BinaryCounts(1, 2, 3, 4) + BinaryCounts(1, 1, 1, 1) == BinaryCounts(2, 3, 4, 5)


def test_rates_are_shares_of_all_rows_with_wilsons_bounds() -> None:
    found = counts(20, 30, 40, 110)
    for name, hits in {"predicted_positive_rate": 50, "actual_positive_rate": 60}.items():
        result = BINARY_RATES[name](found, 2.0)
        assert result == Value(hits / 200, *proportion(hits / 2, 100), 200)
        assert BINARY_RATES[name](counts(3, 2, 2, 2), 1.0) == Unavailable("too_few_rows")


def test_a_log_without_scores_has_the_metrics_of_its_cells() -> None:
    unscored = BinaryEvidence(BinaryCounts(20, 30, 40, 110))
    for name, metric in BINARY_METRICS.items():
        result = metric(unscored, 1.5)
        if name in ON_PREDICTIONS:
            assert result == metric(counts(20, 30, 40, 110), 1.5)
        else:
            assert result == Unavailable("too_few_rows")


def test_quality_value_is_the_mean_gain_of_a_row() -> None:
    scores, predictions, labels = rows()
    each = np.where(predictions, np.where(labels, 8.0, -3.0), np.where(labels, -20.0, 0.25))
    found = quality_value(BinaryCounts.of(predictions, labels), Gains(8.0, -3.0, -20.0, 0.25), 1.0)
    assert isinstance(found, Value)
    assert found.value == pytest.approx(each.mean())
    assert found.n == scores.size
    lower, upper = bounds_of(found)
    assert (upper - lower) / 2 == pytest.approx(1.96 * each.std() / np.sqrt(scores.size), rel=0.02)


def test_quality_value_widens_with_the_design_effect_and_wants_ten_rows() -> None:
    cells, gains = BinaryCounts(200, 300, 400, 1_100), Gains(1.0, -1.0, -5.0, 0.0)
    plain, shared = (quality_value(cells, gains, effect) for effect in (1.0, 4.0))
    assert isinstance(plain, Value)
    assert isinstance(shared, Value)
    widths = [upper - lower for lower, upper in (bounds_of(plain), bounds_of(shared))]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.02)
    assert quality_value(BinaryCounts(9, 0, 0, 0), gains, 1.0) == Unavailable("too_few_rows")
