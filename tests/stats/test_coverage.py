"""How often the 95 % bounds of binary metrics hold the true value, on simulated models."""

from collections.abc import Mapping

import numpy as np
import pytest
from tests.support.simulated import Model

from ml_exporter.stats.classification import BINARY_METRICS
from ml_exporter.stats.result import Value

WIDER = {"roc_auc", "average_precision", "log_loss"}  # skewed or rank-based: 92 to 98 %


def coverage(model: Model, rows: int, runs: int, truth: Mapping[str, float]) -> dict[str, float]:
    """Share of runs whose bounds hold the truth, over runs with 20 rows in every class and denominator."""
    rng = np.random.default_rng(5)
    held: dict[str, list[bool]] = {name: [] for name in BINARY_METRICS}
    for _ in range(runs):
        drawn = model.draw(rng, rows)
        if min(drawn.confusion.positives, drawn.confusion.negatives) < 20:
            continue
        for name, metric in BINARY_METRICS.items():
            result = metric(drawn, 1.0)
            if isinstance(result, Value) and result.n >= 20 and result.lower is not None:
                assert result.upper is not None
                held[name].append(result.lower <= truth[name] <= result.upper)
    return {name: float(np.mean(hits)) for name, hits in held.items() if len(hits) > runs / 2}


def assert_covered(shares: Mapping[str, float], slack: float) -> None:
    assert set(shares) == set(BINARY_METRICS)
    outside = {
        name: share
        for name, share in shares.items()
        if not (0.92 if name in WIDER else 0.93) - slack
        <= share
        <= (0.98 if name in WIDER else 0.975) + slack
    }
    assert outside == {}


@pytest.mark.parametrize("rows", [200, 2_000])
def test_bounds_cover_the_truth(rows: int) -> None:
    model = Model(prevalence=0.2, separation=1.5, threshold=0.35)
    assert_covered(coverage(model, rows, 400, model.truth(1)), slack=0.012)


@pytest.mark.long
@pytest.mark.parametrize(("rows", "runs"), [(200, 4_000), (2_000, 4_000), (20_000, 2_500)])
@pytest.mark.parametrize(
    "model",
    [
        Model(prevalence=0.2, separation=1.5, threshold=0.35),
        Model(prevalence=0.2, separation=3.0, threshold=0.35),
        Model(prevalence=0.5, separation=1.5, threshold=0.5),
        Model(prevalence=0.3, separation=1.0, threshold=0.4, slope=1.5),
        Model(prevalence=0.05, separation=1.5, threshold=0.15),
    ],
    ids=["usual", "sharp", "balanced", "overconfident", "rare"],
)
def test_bounds_cover_the_truth_in_full(model: Model, rows: int, runs: int) -> None:
    if rows * model.prevalence < 20:  # "rare" at 200 rows has ten positives: see the test below
        rows *= 5
    assert_covered(coverage(model, rows, runs, model.truth(8)), slack=0.0)


@pytest.mark.long
def test_bounds_of_small_classes_are_conservative() -> None:
    model = Model(prevalence=0.07, separation=1.5, threshold=0.2)
    truth, rng = model.truth(8), np.random.default_rng(6)
    names = ["recall", "balanced_accuracy", "matthews_corrcoef", "roc_auc", "average_precision", "log_loss"]
    held: dict[str, list[bool]] = {name: [] for name in names}
    for _ in range(4_000):
        drawn = model.draw(rng, 200)
        for name in names if 10 <= drawn.confusion.positives < 20 else []:
            result = BINARY_METRICS[name](drawn, 1.0)
            if isinstance(result, Value) and result.lower is not None and result.upper is not None:
                held[name].append(result.lower <= truth[name] <= result.upper)
    shares = {name: float(np.mean(hits)) for name, hits in held.items()}
    assert min(shares.values()) >= 0.945, shares
