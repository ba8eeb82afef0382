"""What a reference's labelled rows say of a model's answers: quality, rhythm, and what losses to expect."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import betaincinv, stdtrit

from ml_exporter.hours import HOUR
from ml_exporter.judged import Judged
from ml_exporter.judging import Judging
from ml_exporter.layout import Cells, Layout
from ml_exporter.profile import Estimation, ExpectedLossByBin, NumericColumn, Reference
from ml_exporter.sources.batch import POSITIVE
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.design_effect import BLOCKS, hourly_mean
from ml_exporter.stats.estimation import fit_calibration
from ml_exporter.stats.expected_loss import fit_expected_loss
from ml_exporter.stats.folds import MINIMUM_REFERENCE, chronological_folds
from ml_exporter.stats.result import Value
from ml_exporter.tally import Tally
from ml_exporter.tasks.task import Evidence, Known, Task

ANSWER_BINS, ROWS_A_BIN = 200, 50
_HIGHEST = 0.99
"""Quantile of the losses that counts as 1, and confidence of what is expected at most."""

Binned = Callable[[FloatArray, BoolArray, int], tuple[NumericColumn, IntArray] | str]


def reference_quality(task: Task, layout: Layout, rows: Judged) -> dict[str, Reference]:
    """Quality of the reference in 12 blocks of time, bounds with the design effect among them."""
    judging = Judging(task, layout)
    ends = np.linspace(0, len(rows), BLOCKS + 1).astype(np.int64)
    number = np.searchsorted(ends, np.arange(len(rows)), side="right")
    parts = [rows.take(number == block) for block in range(1, BLOCKS + 1)]
    blocks = [judging.whole(part) for part in parts if len(part)]
    whole = Tally.sum(judging.shape, blocks)
    found = task.quality(Evidence(whole, blocks, task.effects(blocks)))
    return {
        name: Reference(
            value=digits(result.value), lower=_maybe(result.lower), upper=_maybe(result.upper), n=result.n
        )
        for name, result in found.items()
        if isinstance(result, Value)
    }


def hourly_rhythm(task: Task, rows: Judged) -> dict[str, tuple[float, ...]]:
    """Mean of each of the task's sums by hour of the day."""
    hours = (rows.times // HOUR) % 24
    found = {}
    for name, values in zip(task.rhythm, task.rhythmic(Known.of(rows, task)), strict=True):
        known = np.isfinite(values)
        if known.any():
            found[name] = tuple(digits(mean) for mean in hourly_mean(hours[known], values[known]))
    return found


def expected_loss(task: Task, cells: Cells, rows: Judged) -> ExpectedLossByBin | None:
    """The loss to expect at most by bin of the answer, None without labelled rows."""
    loss = task.losses(rows)[task.watched_loss]
    known = np.isfinite(loss) & np.isfinite(rows.scores)
    if not known.any():
        return None
    counted = set(np.unique(loss[known]).tolist()) <= {0.0, 1.0}
    scale = 1.0 if counted else float(np.quantile(loss[known], _HIGHEST)) or 1.0
    codes = cells.numeric_codes(rows.scores[known], None)
    values = np.minimum(loss[known] / scale, 1.0)
    n, total, squares = (
        np.asarray(np.bincount(codes, weight, cells.bins)[: cells.bins], np.float64)
        for weight in (np.ones(values.size), values, values * values)
    )
    upper = _proportions(total, n) if counted else _means(total, squares, n)
    return ExpectedLossByBin(scale=digits(scale), upper=tuple(digits(value) for value in upper))


def estimation(task: Task, rows: Judged, binned: Binned) -> Estimation | None:
    """What answers mean on the reference, None where it has too few labelled rows to tell."""
    losses = task.losses(rows)
    known = np.isfinite(rows.scores) & np.isfinite(losses[task.watched_loss])
    if task.name == "binary":
        known &= np.isfinite(losses["log_loss"])
    if np.count_nonzero(known) < MINIMUM_REFERENCE:
        return None
    n = int(np.count_nonzero(known))
    made = binned(rows.scores[known], np.zeros(n, np.bool_), min(ANSWER_BINS, n // ROWS_A_BIN))
    assert not isinstance(made, str)
    column, codes = made
    folds = chronological_folds(codes.size)
    learned = {
        metric: fit_expected_loss(codes, values, folds, column.size).to_json()
        for metric, values in _learned(task, losses, known).items()
    }
    binary = task.name == "binary"
    positive = rows.labels[known] == POSITIVE
    rates = fit_calibration(codes, positive, folds, column.size).to_json() if binary else None
    return Estimation(column=column, classes=2 if binary else 1, calibration=rates, losses=learned)


def _learned(task: Task, losses: Mapping[str, FloatArray], known: BoolArray) -> dict[str, FloatArray]:
    """Losses that are learned by bin; accuracy is learned as it is, not as the share of wrong rows."""
    found = {name: loss[known] for name, loss in losses.items() if np.isfinite(loss[known]).all()}
    if task.name == "binary":
        found.pop("accuracy", None)
    elif "accuracy" in found:
        found["accuracy"] = 1.0 - found["accuracy"]
    return found


def _proportions(total: FloatArray, n: FloatArray) -> FloatArray:
    """Upper 99 % bounds of proportions (Clopper, Pearson 1934), 1 without rows or with every row."""
    some = (n > 0) & (total < n)
    bounds = betaincinv(total + 1, np.maximum(n - total, 1), _HIGHEST)
    return np.where(some, bounds, 1.0)


def _means(total: FloatArray, squares: FloatArray, n: FloatArray) -> FloatArray:
    """Upper 99 % bounds of means by Student's t, 1 below two rows."""
    rows = np.maximum(n, 2)
    mean = total / rows
    error = np.sqrt(np.maximum(squares / rows - mean**2, 0.0) / (rows - 1))
    return np.where(n >= 2, np.minimum(mean + stdtrit(rows - 1, _HIGHEST) * error, 1.0), 1.0)


def _maybe(value: float | None) -> float | None:
    return None if value is None else digits(value)


def digits(value: float) -> float:
    """Round to nine significant digits, so that the last bits of a sum do not change the file."""
    return float(f"{float(value):.9g}")
