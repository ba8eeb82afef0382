import numpy as np
import pytest
from tests.support.simulated import METRICS, Model, Rows, binary_blocks

from ml_exporter.stats.binary_effects import (
    DIRECTIONS,
    BinaryBlocks,
    binary_design_effects,
    gains_design_effect,
)
from ml_exporter.stats.classification import (
    BinaryCounts,
    BinaryEvidence,
    row_brier,
    row_log_loss,
)
from ml_exporter.stats.design_effect import BLOCKS, design_effect, hourly_mean
from ml_exporter.stats.result import Value

USUAL = Model(prevalence=0.2, separation=1.5, threshold=0.35)


def value(name: str, cells: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    counts = BinaryCounts(*(round(cell) for cell in cells.tolist()))
    result = METRICS[name](BinaryEvidence(counts), 1.0)
    assert isinstance(result, Value)
    return result.value


@pytest.mark.parametrize("name", list(DIRECTIONS))
def test_directions_are_the_gradients(name: str) -> None:
    cells, step = np.array([3e5, 1e5, 1.5e5, 14e5]), 1e3
    moves = step * np.eye(4)
    numeric = [(value(name, cells + move) - value(name, cells - move)) / (2 * step) for move in moves]
    found = DIRECTIONS[name](cells)
    free = found - found @ cells / cells.sum()  # a metric of shares does not move along the cells
    assert free / np.max(np.abs(free)) == pytest.approx(numeric / np.max(np.abs(numeric)), abs=1e-4)


def test_every_metric_has_an_effect() -> None:
    rng = np.random.default_rng(1)
    found = binary_design_effects(binary_blocks(USUAL.rows(rng, 600), rng.integers(0, BLOCKS, 600)))
    assert set(found) == set(METRICS)
    assert found["roc_auc"] == found["balanced_accuracy"]
    assert found["average_precision"] == found["precision"]


def test_accuracy_has_the_effect_of_the_mean_error() -> None:
    rng = np.random.default_rng(2)
    rows, block = USUAL.rows(rng, 2_000), rng.integers(0, BLOCKS, 2_000)
    wrong = (rows[1] != rows[2]).astype(np.float64)
    sums = [np.bincount(block, part, BLOCKS) for part in (np.ones(2_000), wrong, wrong)]
    expected = design_effect(np.stack(sums, axis=1))
    assert expected is not None
    found = binary_design_effects(binary_blocks(rows, block))
    assert found["accuracy"].ratio == pytest.approx(expected.ratio, rel=1e-3)
    gains = gains_design_effect(binary_blocks(rows, block), np.array([5.0, -2.0, -2.0, 5.0]))
    assert gains is not None
    assert gains.value == pytest.approx(found["accuracy"].value)


def test_a_metric_without_errors_takes_the_spare() -> None:
    rng = np.random.default_rng(3)
    scores, _, labels = USUAL.rows(rng, 600)
    rows: Rows = (scores, labels & (rng.random(600) < 0.5), labels)  # precision is 1
    found = binary_design_effects(binary_blocks(rows, rng.integers(0, BLOCKS, 600)))
    assert found["precision"] == found["log_loss"]
    assert found["recall"] != found["log_loss"]


def test_a_faultless_model_without_scores_has_no_effect() -> None:
    cells = np.tile([5.0, 0.0, 0.0, 20.0], (BLOCKS, 1))
    found = binary_design_effects(BinaryBlocks(cells, np.zeros((BLOCKS, 3)), np.zeros((BLOCKS, 3))))
    assert set(found) == set(METRICS)
    assert all(effect.value == 1.0 for effect in found.values())
    assert gains_design_effect(BinaryBlocks(cells, cells[:, :3], cells[:, :3]), np.ones(4)) is not None


@pytest.mark.parametrize("filled", [0, 5])
def test_too_few_blocks_have_none(filled: int) -> None:
    cells = np.zeros((BLOCKS, 4))
    cells[:filled] = (5.0, 3.0, 2.0, 20.0)
    blocks = BinaryBlocks(cells, np.zeros((BLOCKS, 3)), np.zeros((BLOCKS, 3)))
    assert binary_design_effects(blocks) == {}
    assert gains_design_effect(blocks, np.arange(4.0)) is None


def test_a_daily_rhythm_alone_widens_bounds_by_less_than_a_fifth() -> None:
    rng = np.random.default_rng(4)

    def day(n: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Rows]:
        hours = rng.integers(0, 24, n)
        return hours, USUAL.rows(rng, n, 0.8 * np.sin(2 * np.pi * hours / 24))

    hours, (scores, predictions, labels) = day(100_000)
    losses = row_log_loss(scores, labels), row_brier(scores, labels)
    cells = (predictions & labels, predictions & ~labels, ~predictions & labels, ~predictions & ~labels)
    profile = np.stack([hourly_mean(hours, column.astype(float)) for column in (*cells, *losses)], axis=1)
    widths: dict[bool, list[list[float]]] = {True: [], False: []}
    for _ in range(100):
        hours, rows = day(5_000)
        spent = np.bincount(24 * (hours // 2) + hours, minlength=24 * BLOCKS).reshape(BLOCKS, 24)
        for known in (True, False):
            blocks = binary_blocks(rows, hours // 2, spent @ profile if known else None)
            effects = binary_design_effects(blocks)
            widths[known].append([np.sqrt(effects[name].value) for name in METRICS])
    assert np.max(np.mean(widths[True], axis=0)) < 1.2
    assert np.max(np.mean(widths[False], axis=0)) > 3.0
