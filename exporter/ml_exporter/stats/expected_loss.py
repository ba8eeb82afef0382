"""Row losses without labels: what a prediction of this size has cost on the reference.

For regression the absolute error by bin of the prediction, for many classes whether the row was
correct by bin of the top probability, for binary models the log loss or the Brier score by score
bin. A window's expected mean weighs the bins by its own rows.

It is right as long as the loss given the prediction stays as it was on the reference, however the
predictions themselves move (covariate shift). It is wrong after concept drift and after label shift,
which change the loss within a bin; only labels show that. It also fails where predictions lie beyond
those of the reference.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.folds import FOLDS, filled, fold_counts, forecast, is_short
from ml_exporter.stats.intervals import MINIMUM
from ml_exporter.stats.result import Result, Unavailable, Value

__all__ = ["ExpectedLoss", "estimate_accuracy", "estimate_loss", "estimate_root_loss", "fit_expected_loss"]


@dataclass(frozen=True, eq=False, slots=True)
class ExpectedLoss:
    """A row loss by bin, learned on labelled reference rows, in the loss's own unit.

    `rows`, int64, shape (b,): rows of the reference. `mean`, `variance` and `third`, shape (b,):
    mean of the loss in the bin, its unbiased variance and third central moment. `fold_means`, shape
    (10, b): the mean without each fold.
    """

    rows: IntArray
    mean: FloatArray
    variance: FloatArray
    third: FloatArray
    fold_means: FloatArray

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, seven significant digits."""
        moments = {name: _rounded(getattr(self, name)) for name in ("mean", "variance", "third")}
        fold_means = [_rounded(row) for row in self.fold_means]
        return {"rows": self.rows.tolist(), **moments, "fold_means": fold_means}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read what `to_json` writes; raises KeyError or ValueError on anything else."""
        rows = np.array(data["rows"], np.int64)
        mean, variance, third, fold_means = (
            np.array(data[name], np.float64) for name in ("mean", "variance", "third", "fold_means")
        )
        moments = (mean, variance, third)
        if rows.ndim != 1 or any(moment.shape != rows.shape for moment in moments):
            raise ValueError("rows, mean, variance and third must have one value for each bin")
        if fold_means.shape != (FOLDS, rows.size):
            raise ValueError(f"fold_means must have {FOLDS} rows of one value for each bin")
        finite = all(np.all(np.isfinite(values)) for values in (*moments, fold_means))
        if not finite or rows.min(initial=0) < 0 or variance.min(initial=0) < 0:
            raise ValueError("moments must be finite, rows and variance must not be negative")
        return cls(rows, mean, variance, third, fold_means)


def _rounded(values: FloatArray) -> list[float]:
    return [float(f"{value:.7g}") for value in values]


def fit_expected_loss(bins: IntArray, losses: FloatArray, folds: IntArray, b: int) -> ExpectedLoss:
    """Learn a loss by bin from n reference rows with finite losses; all shapes (n,).

    Bins are 0 to b - 1, quantiles of the reference; folds are those of `chronological_folds`. Bins
    with too few rows for a moment take it from their neighbours. Raises ValueError on other bins or
    folds, or where no bin has three rows.
    """
    rows, totals = fold_counts(folds, bins, b), fold_counts(folds, bins, b, losses)
    all_rows = rows.sum(axis=0)
    mean = _means(all_rows, totals.sum(axis=0))
    gap = losses - mean[bins]
    squares, cubes = (fold_counts(folds, bins, b, gap**power).sum(axis=0) for power in (2, 3))
    pairs, triples = all_rows - 1, (all_rows - 1) * (all_rows - 2) / np.maximum(all_rows, 1)
    return ExpectedLoss(
        all_rows.astype(np.int64),
        mean,
        filled(squares / np.maximum(pairs, 1), all_rows > 1),
        filled(cubes / np.maximum(triples, 0.5), all_rows > 2),
        np.stack([_means(all_rows - rows[k], totals.sum(axis=0) - totals[k]) for k in range(FOLDS)]),
    )


def _means(rows: FloatArray, totals: FloatArray) -> FloatArray:
    return filled(totals / np.maximum(rows, 1), rows > 0)


def estimate_loss(
    counts: IntArray, expected: ExpectedLoss, design_effect: float = 1.0, highest: float = math.inf
) -> Result:
    """Expected mean of a loss, 0 and up, on rows without labels, with 95 % bounds of what will turn out.

    `counts`, shape (b,): the window's rows by bin. `design_effect`, 1 and up, multiplies the variance
    of the window's own rows where they come correlated; `highest` is the loss's upper end.
    `Unavailable` are: `too_few_rows`, fewer than ten; `short_reference`, where the reference has
    fewer than 500 rows, or no row in the bins of more than 5 % of the window.
    """
    if counts.shape != expected.rows.shape:
        raise ValueError(f"counts must have shape {expected.rows.shape}, not {counts.shape}")
    n = int(counts.sum())
    if n < MINIMUM:
        return Unavailable("too_few_rows")
    if is_short(expected.rows, counts):
        return Unavailable("short_reference")
    weights = counts / n
    # D rows that move as one: their sum has D times the variance and D^2 times the third moment.
    found = forecast(
        np.concatenate([expected.mean[None], expected.fold_means]) @ weights[:, None],
        np.array([weights @ expected.variance / n * design_effect]),
        np.array([weights @ expected.third / n**2 * design_effect**2]),
        np.zeros(1),
        np.full(1, highest),
    )
    value, lower, upper = (float(part[0]) for part in found)
    return Value(value, lower, upper, n)


def estimate_accuracy(counts: IntArray, expected: ExpectedLoss, design_effect: float = 1.0) -> Result:
    """Expected accuracy, as `estimate_loss`, where the loss learned is 1 for a correct row, else 0.

    For many classes the bins are those of the top probability.
    """
    return estimate_loss(counts, expected, design_effect, highest=1.0)


def estimate_root_loss(counts: IntArray, expected: ExpectedLoss, design_effect: float = 1.0) -> Result:
    """Root of the expected mean loss: the root mean squared error where squared errors were learned."""
    result = estimate_loss(counts, expected, design_effect)
    if not isinstance(result, Value) or result.lower is None or result.upper is None:
        return result
    return Value(math.sqrt(result.value), math.sqrt(result.lower), math.sqrt(result.upper), result.n)
