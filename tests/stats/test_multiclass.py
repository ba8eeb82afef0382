import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from ml_exporter.stats import intervals
from ml_exporter.stats.multiclass import (
    CLASS_METRICS,
    MULTICLASS_METRICS,
    MulticlassBlocks,
    MulticlassEvidence,
    class_quality,
    macro_roc_auc_error,
)
from ml_exporter.stats.result import Reason, Result, Unavailable, Value

Rows = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]
every_metric = pytest.mark.parametrize("name", list(MULTICLASS_METRICS))
AVERAGES = [name for name in MULTICLASS_METRICS if name.endswith(("_macro", "_weighted"))]
TOP = 2

ON_PREDICTIONS: Mapping[str, Callable[..., float]] = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "precision_macro": partial(metrics.precision_score, average="macro"),
    "recall_macro": partial(metrics.recall_score, average="macro"),
    "f1_macro": partial(metrics.f1_score, average="macro"),
    "precision_weighted": partial(metrics.precision_score, average="weighted"),
    "recall_weighted": partial(metrics.recall_score, average="weighted"),
    "f1_weighted": partial(metrics.f1_score, average="weighted"),
}


def rows(n: int = 3_000, classes: int = 4, seed: int = 1) -> Rows:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.linspace(0.5, 1.0, classes), n)
    labels = (rng.random((n, 1)) > np.cumsum(probabilities, axis=1)[:, :-1]).sum(axis=1)
    probabilities[::300] = np.eye(classes)[rng.integers(0, classes, probabilities[::300].shape[0])]
    return probabilities, probabilities.argmax(axis=1), labels


def blocks_of(found: Rows, blocks: int = 12) -> MulticlassBlocks:
    every = zip(*(np.array_split(part, blocks) for part in found), strict=True)
    return MulticlassBlocks.of(
        MulticlassEvidence.of(scores, predicted, labels, TOP) for scores, predicted, labels in every
    )


def confused(confusion: list[list[int]], blocks: int = 1) -> MulticlassBlocks:
    """Rows of these counts in an order that spreads them over the blocks, without probabilities."""
    cells = np.array(confusion)
    labels, predicted = (np.repeat(axis.ravel(), cells.ravel()) for axis in np.indices(cells.shape))
    order = np.random.default_rng(2).permutation(labels.size)
    nothing = np.full((labels.size, cells.shape[0]), np.nan)
    return blocks_of((nothing, predicted[order], labels[order]), blocks)


def value_of(name: str, found: MulticlassBlocks, design_effect: float = 1.0) -> Value:
    result = MULTICLASS_METRICS[name](found, design_effect)
    assert isinstance(result, Value)
    return result


def bounds_of(result: Result) -> tuple[float, float]:
    assert isinstance(result, Value)
    assert result.lower is not None
    assert result.upper is not None
    return result.lower, result.upper


def width(name: str, found: MulticlassBlocks, design_effect: float = 1.0) -> float:
    lower, upper = bounds_of(value_of(name, found, design_effect))
    return upper - lower


@pytest.mark.parametrize(("classes", "seed"), [(2, 1), (3, 2), (7, 3), (20, 4)])
def test_metrics_are_scikit_learns(classes: int, seed: int) -> None:
    probabilities, predicted, labels = rows(6_000, classes, seed)
    found = blocks_of((probabilities, predicted, labels))
    expected = {name: metric(labels, predicted) for name, metric in ON_PREDICTIONS.items()}
    expected["log_loss"] = metrics.log_loss(labels, probabilities)
    if classes > 2:  # scikit-learn has no top two of two classes
        expected["top_k_accuracy"] = metrics.top_k_accuracy_score(labels, probabilities, k=TOP)
    assert {name: value_of(name, found).value for name in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("classes", "seed"), [(3, 2), (7, 3), (20, 4)])
def test_roc_auc_is_scikit_learns_within_the_computed_error(classes: int, seed: int) -> None:
    probabilities, predicted, labels = rows(6_000, classes, seed)
    found = blocks_of((probabilities, predicted, labels))
    expected = metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    gap = abs(value_of("roc_auc", found).value - expected)
    assert gap <= macro_roc_auc_error(found.window) + 1e-12
    assert gap < 0.005
    assert value_of("roc_auc", found).n == labels.size


def test_quality_of_a_class_is_scikit_learns() -> None:
    probabilities, predicted, labels = rows()
    found = class_quality(MulticlassEvidence.of(probabilities, predicted, labels, TOP), 1.0)
    expected = np.array(metrics.precision_recall_fscore_support(labels, predicted)[:3])
    values = [[getattr(found[name, c], "value", None) for c in range(4)] for name in CLASS_METRICS]
    assert np.array(values) == pytest.approx(expected, abs=1e-12)


def test_bounds_of_a_class_are_those_of_two_classes() -> None:
    found = class_quality(confused([[40, 10, 0], [5, 30, 5], [0, 20, 90]]).window, 2.0)
    assert bounds_of(found["precision", 1]) == intervals.proportion(15, 30)
    assert bounds_of(found["recall", 0]) == intervals.proportion(20, 25)
    assert bounds_of(found["f1", 2]) == intervals.f1(45, 2.5, 10)


def test_classes_that_never_occur_are_left_out() -> None:
    found = confused([[40, 10, 0], [10, 40, 0], [0, 0, 0]], blocks=12)
    labels, predicted = np.repeat([0, 0, 1, 1], [40, 10, 10, 40]), np.repeat([0, 1, 0, 1], [40, 10, 10, 40])
    expected = {name: metric(labels, predicted) for name, metric in ON_PREDICTIONS.items()}
    assert {name: value_of(name, found).value for name in expected} == pytest.approx(expected, abs=1e-12)


def test_a_class_without_rows_is_only_in_the_averages_of_what_was_predicted() -> None:
    found = confused([[40, 10, 12], [10, 40, 0], [0, 0, 0]], blocks=12)
    labels = np.repeat([0, 0, 0, 1, 1], [40, 10, 12, 10, 40])
    predicted = np.repeat([0, 1, 2, 0, 1], [40, 10, 12, 10, 40])
    with warnings.catch_warnings(action="ignore"):
        expected = {name: metric(labels, predicted) for name, metric in ON_PREDICTIONS.items()}
    assert MULTICLASS_METRICS["recall_macro"](found, 1.0) == Unavailable("too_few_rows")
    del expected["recall_macro"]
    assert {name: value_of(name, found).value for name in expected} == pytest.approx(expected, abs=1e-12)


def test_top_k_breaks_ties_as_scikit_learn_does() -> None:
    probabilities = np.random.default_rng(3).integers(0, 3, (400, 5)) / 3
    labels = np.arange(400) % 5
    for top_k in (1, 2, 4):
        hits, n = MulticlassEvidence.of(probabilities, labels, labels, top_k).top
        assert hits / n == metrics.top_k_accuracy_score(labels, probabilities, k=top_k)


def test_rows_without_probabilities_count_in_the_confusion_only() -> None:
    probabilities, predicted, labels = rows(1_000)
    known = np.arange(1_000) % 3 > 0
    partly = np.where(known[:, None], probabilities, np.nan)
    partly[0, :2] = 0.5  # a row with some of its probabilities has none
    found = MulticlassEvidence.of(partly, predicted, labels, TOP)
    without = MulticlassEvidence.of(probabilities[known], predicted[known], labels[known], TOP)
    assert found.n == 1_000
    assert found == replace(without, confusion=found.confusion)


@pytest.mark.parametrize("name", ["log_loss", "top_k_accuracy", "roc_auc"])
def test_a_log_without_probabilities_has_no_metrics_of_them(name: str) -> None:
    found = confused([[40, 10], [10, 40]], blocks=12)
    assert MULTICLASS_METRICS[name](found, 1.0) == Unavailable("too_few_rows")
    assert macro_roc_auc_error(found.window) == 0.0


@pytest.mark.parametrize(
    ("confusion", "reasons"),
    [
        ([[4, 1], [1, 3]], dict.fromkeys([*AVERAGES, "accuracy", "balanced_accuracy"], "too_few_rows")),
        (
            [[40, 9], [0, 0]],
            dict.fromkeys(["balanced_accuracy", "precision_macro", "f1_macro"], "single_class"),
        ),
        (
            [[40, 9], [4, 5]],
            dict.fromkeys(["balanced_accuracy", "precision_macro", "f1_macro"], "too_few_rows"),
        ),
        ([[40, 9], [40, 0]], {"precision_macro": "too_few_rows"}),
        ([[40, 0], [40, 0]], {"precision_macro": "too_few_rows"}),
    ],
    ids=["few rows", "one class", "rare class", "rarely predicted", "never predicted"],
)
def test_reasons(confusion: list[list[int]], reasons: Mapping[str, Reason]) -> None:
    found = confused(confusion)
    assert {name: MULTICLASS_METRICS[name](found, 1.0) for name in reasons} == {
        name: Unavailable(reason) for name, reason in reasons.items()
    }


def test_roc_auc_wants_two_classes_of_ten_rows() -> None:
    probabilities, predicted, labels = rows(500, 3)
    alone = blocks_of((probabilities, predicted, np.zeros(500, np.int64)))
    assert MULTICLASS_METRICS["roc_auc"](alone, 1.0) == Unavailable("single_class")
    rare = np.where(np.arange(500) < 9, 2, labels % 2)
    found = blocks_of((probabilities, predicted, rare))
    assert MULTICLASS_METRICS["roc_auc"](found, 1.0) == Unavailable("too_few_rows")


def test_roc_auc_has_a_limit_of_classes() -> None:
    found = blocks_of(rows(6_000, 21))
    assert isinstance(MULTICLASS_METRICS["roc_auc"](found, 1.0), Unavailable)
    assert value_of("f1_macro", found).value > 0


def test_a_weighted_average_may_move_by_the_weight_of_rare_classes() -> None:
    never = confused([[400, 100, 0], [100, 400, 0], [20, 19, 0]])
    often = confused([[400, 100, 0], [90, 400, 10], [20, 19, 0]])
    weight = 39 / 1_039
    assert width("precision_weighted", never) == pytest.approx(
        width("precision_weighted", often) + weight, abs=0.1 * weight
    )


@pytest.mark.parametrize("name", AVERAGES)
def test_without_blocks_bounds_take_the_design_effect(name: str) -> None:
    probabilities, predicted, labels = rows(2_000)
    few = blocks_of((probabilities, predicted, labels), blocks=5)
    assert width(name, few, 4.0) == pytest.approx(2 * width(name, few), rel=0.03)
    assert width(name, few) == pytest.approx(
        width(name, blocks_of((probabilities, predicted, labels))), rel=0.5
    )


@pytest.mark.parametrize("name", [*AVERAGES, "roc_auc"])
def test_bounds_from_blocks_hold_the_correlation_already(name: str) -> None:
    found = blocks_of(rows(2_000))
    assert width(name, found, 4.0) == width(name, found)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "log_loss", "top_k_accuracy"])
def test_bounds_of_rows_take_the_design_effect(name: str) -> None:
    found = blocks_of(rows(4_000))
    assert width(name, found, 4.0) == pytest.approx(2 * width(name, found), rel=0.05)


@pytest.mark.parametrize("name", [*AVERAGES, "balanced_accuracy", "accuracy"])
@pytest.mark.parametrize("blocks", [1, 12])
def test_a_faultless_window_has_a_lower_bound(name: str, blocks: int) -> None:
    found = value_of(name, confused([[60, 0], [0, 40]], blocks))
    lower, upper = bounds_of(found)
    assert (found.value, upper) == (1.0, 1.0)
    assert 0.85 < lower < 0.99


def test_a_model_that_predicts_one_class_has_bounds() -> None:
    for name in ("recall_macro", "balanced_accuracy"):
        found = value_of(name, confused([[60, 0], [40, 0]], 12))
        assert found.value == 0.5
        assert 0.04 < width(name, confused([[60, 0], [40, 0]], 12)) < 0.4


def test_faultless_ranking_has_a_lower_bound() -> None:
    labels = np.arange(120) % 3
    probabilities = np.where(np.eye(3)[labels] > 0, 0.9, 0.05)
    found = value_of("roc_auc", blocks_of((probabilities, labels, labels)))
    assert found.value == 1.0
    assert 0.8 < bounds_of(found)[0] < 1.0


def test_a_class_in_one_block_only_leaves_wide_bounds() -> None:
    probabilities, predicted, labels = rows(1_200, 2)
    storm = np.arange(1_200) < 100
    found = blocks_of((probabilities, predicted, np.where(storm, labels, 0)))
    spread = blocks_of((probabilities, predicted, np.where(np.arange(1_200) % 12 == 0, labels, 0)))
    assert width("recall_macro", found) > 2 * width("recall_macro", spread)


@every_metric
def test_empty_blocks_change_nothing(name: str) -> None:
    found = blocks_of(rows(1_000))
    more = MulticlassBlocks.of([MulticlassEvidence.empty(4), *found.blocks, MulticlassEvidence.empty(4)])
    assert MULTICLASS_METRICS[name](more, 1.5) == MULTICLASS_METRICS[name](found, 1.5)


@every_metric
def test_no_rows_are_too_few(name: str) -> None:
    nothing = MulticlassBlocks.of([MulticlassEvidence.empty(3)] * 12)
    assert MULTICLASS_METRICS[name](nothing, 1.0) == Unavailable("too_few_rows")


@pytest.mark.parametrize("wrong", [-1, 3])
def test_classes_out_of_range_are_refused(wrong: int) -> None:
    probabilities, right = np.full((2, 3), 1 / 3), np.array([0, 1])
    for predicted, labels in ((right, right * 0 + wrong), (right * 0 + wrong, right)):
        with pytest.raises(ValueError, match=r"classes must lie in 0 \.\. 2"):
            MulticlassEvidence.of(probabilities, predicted, labels, TOP)


def test_probabilities_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="probabilities must lie in"):
        MulticlassEvidence.of(np.array([[1.5, -0.5]]), np.array([0]), np.array([0]), TOP)


def test_evidence_of_other_classes_does_not_merge() -> None:
    with pytest.raises(ValueError, match="as many classes"):
        MulticlassEvidence.empty(2) + MulticlassEvidence.empty(3)
    with pytest.raises(ValueError, match="as many classes"):
        MulticlassEvidence.merge([])


def test_evidence_is_no_other_thing() -> None:
    assert MulticlassEvidence.empty(2) == MulticlassEvidence.empty(2)
    assert MulticlassEvidence.empty(2) != MulticlassEvidence.empty(3)
    assert MulticlassEvidence.empty(2) != (0, 0)
