"""How often the 95 % bounds of multiclass metrics hold the true value, on simulated models."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import softmax

from ml_exporter.stats.averages import Margins
from ml_exporter.stats.multiclass import MULTICLASS_METRICS, MulticlassBlocks, MulticlassEvidence
from ml_exporter.stats.result import Value

BLOCKS, PANES = 12, 60
WIDER = {"roc_auc", "log_loss"}  # skewed or rank-based: 92 to 98 %
BY_BLOCKS = {name for name in MULTICLASS_METRICS if name.endswith(("_macro", "_weighted"))} | {"roc_auc"}


@dataclass(frozen=True)
class Model:
    """Calibrated probabilities of normal classes; `shock` is shared by the rows of a pane.

    `shock` is the standard deviation of what a pane adds to the separation of its rows' classes.
    """

    shares: tuple[float, ...]
    separation: float
    shock: float = 0.0

    def draw(self, rng: np.random.Generator, rows: int) -> MulticlassBlocks:
        classes = len(self.shares)
        panes = rng.integers(0, PANES, rows)
        labels = rng.choice(classes, rows, p=self.shares)
        signal = rng.normal(size=(rows, classes))
        shocks = self.shock * rng.normal(size=PANES) if self.shock else np.zeros(PANES)
        signal[np.arange(rows), labels] += self.separation + shocks[panes]
        found = softmax(np.log(self.shares) + self.separation * signal, axis=1)
        predicted, blocks = found.argmax(axis=1), panes * BLOCKS // PANES
        parts = (blocks == block for block in range(BLOCKS))
        return MulticlassBlocks.of(
            MulticlassEvidence.of(found[part], predicted[part], labels[part], 2) for part in parts
        )

    def truth(self, millions: int) -> Mapping[str, float]:
        rng = np.random.default_rng(99)
        draws = (self.draw(rng, 100_000) for _ in range(10 * millions))
        population = MulticlassBlocks(MulticlassEvidence.merge(drawn.window for drawn in draws), ())
        results = {name: metric(population, 1.0) for name, metric in MULTICLASS_METRICS.items()}
        return {name: result.value for name, result in results.items() if isinstance(result, Value)}


def coverage(
    model: Model, rows: int, runs: int, truth: Mapping[str, float], sizes: tuple[int, float] = (20, np.inf)
) -> dict[str, float]:
    """Share of runs whose bounds hold the truth, over runs whose smallest margin is in `sizes`."""
    rng = np.random.default_rng(5)
    held: dict[str, list[bool]] = {name: [] for name in MULTICLASS_METRICS}
    for _ in range(runs):
        drawn = model.draw(rng, rows)
        counts = Margins.of(drawn.window.confusion)
        if not sizes[0] <= min(counts.actual.min(), counts.predicted.min()) < sizes[1]:
            continue
        for name, metric in MULTICLASS_METRICS.items():
            result = metric(drawn, 1.0)
            if isinstance(result, Value) and result.lower is not None and result.upper is not None:
                held[name].append(result.lower <= truth[name] <= result.upper)
    assert min(map(len, held.values())) > runs / 4
    if rows * (1 - truth["top_k_accuracy"]) < 5:  # so few misses leave the bounds of a ratio hardly a choice
        del held["top_k_accuracy"]
    return {name: float(np.mean(hits)) for name, hits in held.items()}


def assert_covered(shares: Mapping[str, float], slack: float) -> None:
    outside = {
        name: share
        for name, share in shares.items()
        if not (0.92 if name in WIDER else 0.93) - slack
        <= share
        <= (0.98 if name in WIDER else 0.975) + slack
    }
    assert outside == {}


@pytest.mark.parametrize(("rows", "runs"), [(200, 300), (2_000, 250)])
def test_bounds_cover_the_truth(rows: int, runs: int) -> None:
    model = Model((0.5, 0.3, 0.2), separation=1.5)
    shares = coverage(model, rows, runs, model.truth(1))
    assert set(shares) == set(MULTICLASS_METRICS)
    assert_covered(shares, slack=0.02)


def test_averages_know_of_shared_shocks_from_their_blocks() -> None:
    model = Model((0.5, 0.3, 0.2), separation=1.5, shock=0.5)
    shares = coverage(model, 5_000, 100, model.truth(2))
    assert {name: share for name, share in shares.items() if name in BY_BLOCKS and share < 0.9} == {}
    assert shares["accuracy"] < 0.8  # without a design effect


@pytest.mark.long
@pytest.mark.parametrize(("rows", "runs"), [(200, 3_000), (2_000, 1_500), (20_000, 600)])
@pytest.mark.parametrize(
    "model",
    [
        Model((0.5, 0.3, 0.2), separation=1.5),
        Model((0.5, 0.3, 0.2), separation=2.5),
        Model((0.4, 0.35, 0.25), separation=1.0),
        Model((0.75, 0.2, 0.05), separation=2.0),
        Model((0.25, 0.15, 0.15, 0.1, 0.1, 0.1, 0.075, 0.075), separation=2.5),
    ],
    ids=["usual", "sharp", "weak", "rare", "eight"],
)
def test_bounds_cover_the_truth_in_full(model: Model, rows: int, runs: int) -> None:
    if rows * min(model.shares) < 25:  # at 200 rows: enough that most runs have 20 in the smallest class
        rows = round(40 / min(model.shares))
    assert_covered(coverage(model, rows, runs, model.truth(5)), slack=0.0)


@pytest.mark.long
@pytest.mark.parametrize("rows", [2_000, 20_000])
def test_averages_cover_the_truth_under_shared_shocks(rows: int) -> None:
    model = Model((0.5, 0.3, 0.2), separation=1.5, shock=0.5)
    shares = coverage(model, rows, 600, model.truth(15))
    assert min(share for name, share in shares.items() if name in BY_BLOCKS) >= 0.93, shares


@pytest.mark.long
def test_bounds_of_small_classes_are_conservative() -> None:
    model = Model((0.7, 0.22, 0.08), separation=2.0)
    shares = coverage(model, 200, 2_000, model.truth(5), sizes=(10, 20))
    assert min(share for name, share in shares.items() if name in BY_BLOCKS) >= 0.945, shares


@pytest.mark.long
def test_without_blocks_the_bounds_still_cover() -> None:
    model = Model((0.5, 0.3, 0.2), separation=1.5)
    truth, rng = model.truth(5), np.random.default_rng(7)
    held: dict[str, list[bool]] = {name: [] for name in BY_BLOCKS}
    for _ in range(2_000):
        whole = MulticlassBlocks.of([model.draw(rng, 500).window])
        for name in BY_BLOCKS:
            result = MULTICLASS_METRICS[name](whole, 1.0)
            if isinstance(result, Value) and result.lower is not None and result.upper is not None:
                held[name].append(result.lower <= truth[name] <= result.upper)
    shares = {name: float(np.mean(hits)) for name, hits in held.items()}
    assert min(shares.values()) >= 0.93, shares
