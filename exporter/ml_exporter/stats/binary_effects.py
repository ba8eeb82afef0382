"""The design effect of each binary metric, from confusion cells and loss sums by block.

One design effect for all metrics fails both ways. Under shared shocks of the log odds a balanced
model's log loss hardly moves while its precision does: bounds of precision with the loss's D hold the
truth in 44 % (20,000 rows); for a model with 20 % positives the loss's D widens accuracy's bounds
threefold for nothing. So each metric has the D of its own linear part (the delta method: a sum over
rows of a number that depends on the confusion cell), which costs no more than the cells by block.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from ml_exporter.stats.arrays import FloatArray
from ml_exporter.stats.design_effect import DesignEffect, design_effect, of_residuals

Direction: TypeAlias = Callable[[FloatArray], FloatArray]

COLUMNS = ("tp", "fp", "fn", "tn", "log_loss", "brier_score")
"""Columns of `BinaryBlocks.expected`."""


@dataclass(frozen=True, eq=False, slots=True)
class BinaryBlocks:
    """A window's labelled rows by block in time, aligned to absolute time.

    `cells` (b, 4): true positives, false positives, false negatives, true negatives. `log_loss` and
    `brier` (b, 3): rows with a score, sum and sum of squares of the row loss. `expected` (b, 6): the
    sums that the profile's hours of the day lead one to expect (see `COLUMNS`), or None.
    """

    cells: FloatArray
    log_loss: FloatArray
    brier: FloatArray
    expected: FloatArray | None = None


def binary_design_effects(blocks: BinaryBlocks) -> Mapping[str, DesignEffect]:
    """Design effect by metric; empty where `design_effect` would be None.

    ROC AUC takes that of balanced accuracy (the ROC AUC of the predictions), average precision that
    of precision. A metric without variance (no error so far) takes the log loss's, else accuracy's.
    """
    found = dict(_of_cells(blocks)) | dict(_of_losses(blocks))
    spare = found.get("log_loss", found.get("accuracy", design_effect(_rows_only(blocks.cells))))
    if spare is None:
        return {}
    found |= {name: found[proxy] for name, proxy in _PROXIES.items() if proxy in found}
    return dict.fromkeys((*DIRECTIONS, *_PROXIES, "log_loss", "brier_score"), spare) | found


def gains_design_effect(blocks: BinaryBlocks, gains: FloatArray) -> DesignEffect | None:
    """Design effect of the mean of a gain per cell; `gains` (4,): tp, fp, fn, tn."""
    return _along(blocks, gains) or design_effect(_rows_only(blocks.cells))


def _of_cells(blocks: BinaryBlocks) -> Iterator[tuple[str, DesignEffect]]:
    total = blocks.cells.sum(axis=0)
    for name, direction in DIRECTIONS.items():
        effect = _along(blocks, direction(total))
        if effect:
            yield name, effect


def _along(blocks: BinaryBlocks, gradient: FloatArray) -> DesignEffect | None:
    """Design effect of the mean of `gradient` over rows; None without variance or enough blocks."""
    cells = blocks.cells
    shares = cells.sum(axis=0) / max(float(cells.sum()), 1.0)
    variance = float(shares @ gradient**2 - (shares @ gradient) ** 2)
    scale = float(np.max(np.abs(gradient)))
    if not variance > 1e-12 * scale**2:
        return None
    residuals = cells if blocks.expected is None else cells - blocks.expected[:, :4]
    return of_residuals(cells.sum(axis=1), residuals @ gradient / scale, variance / scale**2)


def _of_losses(blocks: BinaryBlocks) -> Iterator[tuple[str, DesignEffect]]:
    for name, sums in (("log_loss", blocks.log_loss), ("brier_score", blocks.brier)):
        n, total, squares = (float(column) for column in sums.sum(axis=0))
        variance = (squares - total * total / n) / (n - 1) if n > 1 else 0.0
        residuals = sums[:, 1]
        if blocks.expected is not None:
            residuals = residuals - blocks.expected[:, COLUMNS.index(name)]
        effect = of_residuals(sums[:, 0], residuals, variance) if variance > 0 else None
        if effect:
            yield name, effect


def _rows_only(cells: FloatArray) -> FloatArray:
    return np.stack([cells.sum(axis=1), *np.zeros((2, len(cells)))], axis=1)


def _ratio(k: list[int], n: list[int]) -> Direction:
    """Of the share of cells `n` that lie in cells `k`: each row's distance from the share."""

    def direction(cells: FloatArray) -> FloatArray:
        hits, rows = np.zeros(4), np.zeros(4)
        hits[k], rows[n] = 1.0, 1.0
        return np.asarray(hits - rows * (cells[k].sum() / max(cells[n].sum(), 1.0)))

    return direction


_TP, _FP, _FN, _TN = range(4)
_recall = _ratio([_TP], [_TP, _FN])
_specificity = _ratio([_TN], [_TN, _FP])


def _balanced_accuracy(cells: FloatArray) -> FloatArray:
    positives, negatives = max(cells[_TP] + cells[_FN], 1.0), max(cells[_FP] + cells[_TN], 1.0)
    return np.asarray(_recall(cells) / positives + _specificity(cells) / negatives)


def _matthews_corrcoef(cells: FloatArray) -> FloatArray:
    """Gradient of phi = (tp tn - fp fn) / sqrt(product of the margins)."""
    tp, fp, fn, tn = cells
    predicted = np.array([tp + fp, tp + fp, fn + tn, fn + tn])
    actual = np.array([tp + fn, fp + tn, tp + fn, fp + tn])
    root = np.sqrt(predicted[0] * predicted[2] * actual[0] * actual[1])
    if root == 0:  # one class alone: phi is undefined
        return np.zeros(4)
    phi = (tp * tn - fp * fn) / root
    return np.asarray(np.array([tn, -fn, -fp, tp]) / root - phi / 2 * (1 / predicted + 1 / actual))


DIRECTIONS: Mapping[str, Direction] = MappingProxyType(
    {
        "accuracy": _ratio([_TP, _TN], [_TP, _FP, _FN, _TN]),
        "balanced_accuracy": _balanced_accuracy,
        "precision": _ratio([_TP], [_TP, _FP]),
        "recall": _recall,
        "specificity": _specificity,
        "f1": _ratio([_TP], [_TP, _FP, _FN]),
        "matthews_corrcoef": _matthews_corrcoef,
        "predicted_positive_rate": _ratio([_TP, _FP], [_TP, _FP, _FN, _TN]),
        "actual_positive_rate": _ratio([_TP, _FN], [_TP, _FP, _FN, _TN]),
    }
)
"""Gradient (up to a factor) of each confusion metric by its cells (4,), at these cells."""

_PROXIES: Mapping[str, str] = MappingProxyType(
    {"roc_auc": "balanced_accuracy", "average_precision": "precision"}
)
