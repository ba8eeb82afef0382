"""How often the bounds hold the true value where rows come correlated, with the design effect estimated."""

from collections.abc import Mapping

import numpy as np
import pytest
from tests.support.simulated import METRICS, PANES, SHOCK, Model, Shocks, binary_blocks, pane_shocks

from ml_exporter.stats.binary_effects import binary_design_effects
from ml_exporter.stats.classification import BinaryEvidence
from ml_exporter.stats.design_effect import BLOCKS
from ml_exporter.stats.result import Value

WIDER = {"roc_auc", "average_precision", "log_loss"}  # skewed or rank-based: 92 to 98 %
MODELS = {
    "usual": Model(prevalence=0.2, separation=1.5, threshold=0.35),
    "sharp": Model(prevalence=0.2, separation=3.0, threshold=0.35),
    "balanced": Model(prevalence=0.5, separation=1.5, threshold=0.5),
    "overconfident": Model(prevalence=0.3, separation=1.0, threshold=0.4, slope=1.5),
    "rare": Model(prevalence=0.05, separation=1.5, threshold=0.15),
}


def coverage(
    model: Model, kind: Shocks, rows: int, runs: int, truth: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Share of runs whose bounds hold the truth, with the design effect and without."""
    rng = np.random.default_rng(5)
    held: dict[str, list[tuple[bool, bool]]] = {name: [] for name in METRICS}
    for _ in range(runs):
        pane = rng.integers(0, PANES, rows)
        drawn = model.rows(rng, rows, pane_shocks(rng, kind)[pane])
        evidence = BinaryEvidence.of(*drawn)
        effects = binary_design_effects(binary_blocks(drawn, pane * BLOCKS // PANES))
        if min(evidence.confusion.positives, evidence.confusion.negatives) < 20:
            continue
        for name, metric in METRICS.items():
            results = [metric(evidence, effect) for effect in (effects[name].value, 1.0)]
            if isinstance(results[0], Value) and results[0].n >= 20:
                held[name].append((holds(results[0], truth[name]), holds(results[1], truth[name])))
    shares = {name: np.mean(hits, axis=0).tolist() for name, hits in held.items()}
    return {name: share[0] for name, share in shares.items()}, {
        name: share[1] for name, share in shares.items()
    }


def holds(result: object, truth: float) -> bool:
    assert isinstance(result, Value)
    assert result.lower is not None
    assert result.upper is not None
    return result.lower <= truth <= result.upper


def assert_within(shares: Mapping[str, float], slack: float) -> None:
    assert set(shares) == set(METRICS)
    outside = {
        name: share
        for name, share in shares.items()
        if not (0.92 if name in WIDER else 0.93) - slack
        <= share
        <= (0.98 if name in WIDER else 0.975) + slack
    }
    assert outside == {}


def test_independent_rows_are_covered_as_often_as_without_design_effect() -> None:
    model = MODELS["usual"]
    shares, _ = coverage(model, "none", 1_000, 250, model.truth(1))
    assert_within(shares, slack=0.015)


@pytest.mark.parametrize("name", ["usual", "balanced"])
def test_correlated_rows_are_covered(name: str) -> None:
    model = MODELS[name]
    shares, plain = coverage(model, "autoregressive", 10_000, 150, model.truth(1, SHOCK))
    assert min(shares.values()) >= 0.85, shares
    assert min(plain.values()) < 0.6


@pytest.mark.long
@pytest.mark.parametrize(("rows", "runs"), [(200, 4_000), (2_000, 4_000), (20_000, 2_000)])
@pytest.mark.parametrize("name", list(MODELS))
def test_independent_rows_in_full(name: str, rows: int, runs: int) -> None:
    model = MODELS[name]
    rows = rows if rows * model.prevalence >= 20 else 5 * rows
    assert_within(coverage(model, "none", rows, runs, model.truth(4))[0], slack=0.0)


@pytest.mark.long
@pytest.mark.parametrize(("rows", "runs"), [(200, 2_000), (2_000, 2_000), (20_000, 2_000)])
@pytest.mark.parametrize("kind", ["shared", "autoregressive"])
@pytest.mark.parametrize("name", list(MODELS))
def test_correlated_rows_in_full(name: str, kind: Shocks, rows: int, runs: int) -> None:
    model = MODELS[name]
    rows = rows if rows * model.prevalence >= 20 else 5 * rows
    shares, _ = coverage(model, kind, rows, runs, model.truth(4, SHOCK))
    assert min(shares.values()) >= 0.88, shares
