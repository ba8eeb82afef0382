"""Simulated binary models: calibrated scores of two normal classes, with shocks that rows share."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from ml_exporter.stats.binary_effects import BinaryBlocks
from ml_exporter.stats.classification import (
    BINARY_METRICS,
    BINARY_RATES,
    BinaryEvidence,
    row_brier,
    row_log_loss,
)
from ml_exporter.stats.design_effect import BLOCKS
from ml_exporter.stats.result import Value

Floats = NDArray[np.float64]
Rows = tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]
Shocks = Literal["none", "shared", "autoregressive"]

METRICS = MappingProxyType({**BINARY_METRICS, **BINARY_RATES})
PANES = 60
SHOCK = 0.5  # standard deviation of a pane's shock, in logits


@dataclass(frozen=True)
class Model:
    """Calibrated scores of two normal classes; `slope` above 1 makes the scores overconfident."""

    prevalence: float
    separation: float
    threshold: float
    slope: float = 1.0

    def rows(self, rng: np.random.Generator, n: int, shock: Floats | float = 0.0) -> Rows:
        """Scores, predictions and labels; `shock` (n,) moves the log odds of the labels alone."""
        labels = rng.random(n) < self.prevalence
        signal = rng.normal(size=n) + self.separation * labels
        depth = logit(self.prevalence) + self.separation * (signal - self.separation / 2)
        scores = expit(self.slope * depth)
        if np.any(shock):
            labels = rng.random(n) < expit(depth + shock)
        return scores, scores > self.threshold, labels

    def draw(self, rng: np.random.Generator, rows: int) -> BinaryEvidence:
        return BinaryEvidence.of(*self.rows(rng, rows))

    def truth(self, millions: int, spread: float = 0.0) -> Mapping[str, float]:
        """Every metric's value over a population, under normal shocks of this spread."""
        rng, size = np.random.default_rng(99), 1_000_000
        population = BinaryEvidence.merge(
            BinaryEvidence.of(*self.rows(rng, size, spread * rng.normal(size=size) if spread else 0.0))
            for _ in range(millions)
        )
        results = {name: metric(population, 1.0) for name, metric in METRICS.items()}
        return {name: result.value for name, result in results.items() if isinstance(result, Value)}


def pane_shocks(rng: np.random.Generator, kind: Shocks) -> Floats:
    """A shock for each of 60 panes, in logits: none, independent, or an AR(1) process of 0.5."""
    steps = rng.normal(size=PANES)
    if kind == "none":
        return np.zeros(PANES)
    if kind == "autoregressive":
        for pane in range(1, PANES):
            steps[pane] = 0.5 * steps[pane - 1] + np.sqrt(0.75) * steps[pane]
    return SHOCK * steps


def binary_blocks(rows: Rows, block: NDArray[np.int64], expected: Floats | None = None) -> BinaryBlocks:
    """Cells and loss sums of rows by block."""
    scores, predictions, labels = rows
    cell = np.where(predictions, np.where(labels, 0, 1), np.where(labels, 2, 3))
    cells = np.bincount(4 * block + cell, minlength=4 * BLOCKS).reshape(BLOCKS, 4).astype(np.float64)
    losses = [
        np.stack([cells.sum(axis=1), *(np.bincount(block, part, BLOCKS) for part in (loss, loss**2))], axis=1)
        for loss in (row_log_loss(scores, labels), row_brier(scores, labels))
    ]
    return BinaryBlocks(cells, losses[0], losses[1], expected)
