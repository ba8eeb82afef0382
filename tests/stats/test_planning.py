from typing import Literal

import numpy as np
import pytest
from tests.support.simulated import METRICS, Model

from ml_exporter.stats.intervals import MINIMUM, proportion
from ml_exporter.stats.planning import half_width, provable
from ml_exporter.stats.result import Value

Bound = Literal["min", "max"]
PLANNED = sorted(set(METRICS) - {"average_precision"})
BALANCED = Model(prevalence=0.5, separation=1.5, threshold=0.5)
USUAL = Model(prevalence=0.2, separation=1.5, threshold=0.35)


def mean_half_width(model: Model, name: str, n: int) -> float:
    rng = np.random.default_rng(1)
    halves = []
    for _ in range(40):
        result = METRICS[name](model.draw(rng, n), 1.0)
        assert isinstance(result, Value)
        assert result.lower is not None
        assert result.upper is not None
        halves.append((result.upper - result.lower) / 2)
    return float(np.mean(halves))


@pytest.mark.parametrize("name", PLANNED)
@pytest.mark.parametrize("model", [BALANCED, USUAL], ids=["balanced", "usual"])
def test_half_width_is_that_of_simulated_windows(model: Model, name: str) -> None:
    value = model.truth(1)[name]
    found = half_width(name, value, 800, model.prevalence)
    assert found == pytest.approx(mean_half_width(model, name, 800), rel=0.08)


def test_half_widths_shrink_with_the_root_of_the_rows() -> None:
    for name in PLANNED:
        narrow, wide = (half_width(name, 0.3, n, 0.3) for n in (40_000, 10_000))
        assert narrow is not None
        assert wide == pytest.approx(2 * narrow, rel=0.03)


@pytest.mark.parametrize(("name", "value"), [("log_loss", 0.7), ("log_loss", 3.0), ("brier_score", 0.25)])
def test_losses_beyond_a_constant_score_have_a_half_width(name: str, value: float) -> None:
    found = half_width(name, value, 500, 0.4)
    assert found is not None
    assert found == pytest.approx(1.965 * value / np.sqrt(500), rel=0.01)


@pytest.mark.parametrize("name", ["log_loss", "brier_score"])
def test_losses_at_the_end_have_a_half_width(name: str) -> None:
    assert half_width(name, 0.0, 500, 0.4) == 0.0
    worst = half_width(name, 1.0, 500, 0.4)
    assert worst is not None
    assert 0.0 < worst < 0.1


@pytest.mark.parametrize("name", [name for name in PLANNED if name not in ("log_loss", "brier_score")])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_half_widths_at_the_ends_are_finite(name: str, value: float) -> None:
    found = half_width(name, value, 500, 0.4)
    assert found is not None
    assert 0 < found < 0.5


def test_too_few_expected_rows_have_no_half_width() -> None:
    assert half_width("accuracy", 0.8, MINIMUM - 1) is None
    assert half_width("recall", 0.8, 99, 0.1) is None
    assert half_width("recall", 0.8, 101, 0.1) is not None
    assert half_width("specificity", 0.8, 99, 0.9) is None
    assert half_width("roc_auc", 0.8, 99, 0.9) is None
    assert half_width("log_loss", 0.3, 99, 0.05) is not None


def test_what_cannot_be_planned_has_no_half_width() -> None:
    assert half_width("recall", 0.8, 500) is None
    assert half_width("log_loss", 0.3, 500, 0.0) is None
    assert half_width("average_precision", 0.8, 500, 0.3) is None
    assert half_width("r2_score", 0.8, 500) is None
    assert half_width("mean_absolute_error", 4.0, 500) is None


def test_regression_errors_take_the_spread_of_the_reference() -> None:
    rng, halves = np.random.default_rng(2), []
    for _ in range(300):
        errors = np.abs(rng.normal(0.0, 5.0, 400))
        halves.append([errors.mean(), np.sqrt(np.mean(errors**2))])
    spreads = {
        "mean_absolute_error": errors.std(),
        "root_mean_squared_error": np.var(errors) and (errors**2).std(),
    }
    for column, (name, spread) in enumerate(spreads.items()):
        value = float(np.mean(halves, axis=0)[column])
        expected = 1.966 * float(np.std(halves, axis=0)[column])
        assert half_width(name, value, 400, spread=float(spread)) == pytest.approx(expected, rel=0.12)
    assert half_width("mean_absolute_error", 4.0, 9, spread=1.0) is None
    assert half_width("root_mean_squared_error", 0.0, 90, spread=0.0) == 0.0


@pytest.mark.parametrize(
    ("metric", "target", "bound", "n", "rate", "expected"),
    [
        ("accuracy", 0.5, "min", 12, 0.5, True),
        ("accuracy", 0.2, "min", 12, 0.5, False),  # none of 12 right: the upper bound is 0.26
        ("accuracy", 1e-4, "min", 1_000_000, 0.5, True),
        ("recall", 0.1, "min", 100, 0.2, False),
        ("recall", 0.3, "min", 100, 0.2, True),
        ("recall", 0.99, "min", 100, 0.05, False),  # five positives are too few for any bounds
        ("precision", 0.2, "min", 70, 0.2, True),
        ("specificity", 0.5, "min", 40, 0.9, False),
        ("f1", 0.2, "min", 50, 0.2, True),
        ("matthews_corrcoef", 0.2, "min", 50, 0.5, True),
        ("balanced_accuracy", 0.6, "min", 50, 0.5, True),
        ("roc_auc", 0.6, "min", 100, 0.05, False),
        ("roc_auc", 0.6, "min", 100, 0.5, True),
        ("average_precision", 0.9, "min", 200, 0.2, True),
        ("log_loss", 3.0, "max", 100, 0.5, True),
        ("log_loss", 3.0, "max", 9, 0.5, False),
        ("brier_score", 0.2, "max", 30, 0.5, True),
        ("predicted_positive_rate", 0.9, "max", 20, 0.5, False),
        ("predicted_positive_rate", 0.9, "max", 50, 0.5, True),
        ("predicted_positive_rate", 0.1, "min", 100, 0.5, True),
        ("accuracy", 0.9, "max", 100, 0.5, True),
        ("accuracy", 1.0, "max", 10_000, 0.5, False),
        ("r2_score", 0.5, "min", 9, None, False),
        ("r2_score", 0.5, "min", 10, None, True),
        ("accuracy", 0.5, "min", 0, None, False),
    ],
)
def test_provable(
    metric: str, target: float, bound: Bound, n: float, rate: float | None, expected: bool
) -> None:
    assert provable(metric, target, bound, n, rate) is expected


@pytest.mark.parametrize("n", [10, 19, 20, 57, 300])
def test_an_accuracy_is_provable_down_to_the_upper_bound_of_no_hit(n: int) -> None:
    edge = proportion(0, n)[1]
    assert provable("accuracy", edge + 1e-9, "min", n, 0.3)
    assert not provable("accuracy", edge, "min", n, 0.3)
