"""Regression: a predicted number, perhaps an interval, and a label that is a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_exporter.groups import by_group
from ml_exporter.judged import Judged
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.regression import (
    REGRESSION_METRICS,
    Count,
    ErrorHistogram,
    RegressionEvidence,
    Sum,
    row_counts,
    row_sums,
)
from ml_exporter.stats.regression_evidence import LIMIT
from ml_exporter.stats.result import Result
from ml_exporter.tally import Tally
from ml_exporter.tasks.task import Evidence, Known, Task, grouped, loss_effects

_OF_ERRORS = ("median_absolute_error", "absolute_error_p90", "absolute_error_p95", "absolute_error_p99")


class Regression(Task):
    """Counts and metrics of regression models.

    `center` is a number near the labels' mean, `tolerance` the largest absolute error of a good
    prediction; without one no prediction is good.
    """

    name = "regression"
    main_loss = watched_loss = "mean_absolute_error"
    answer_column = "prediction"
    rhythm = ("mean_absolute_error",)
    loss_names = ("mean_absolute_error", "mean_squared_error")
    metrics = tuple(REGRESSION_METRICS)
    recent_metrics = ("mean_absolute_error", "root_mean_squared_error", "bias")
    histogram = ErrorHistogram
    segment_columns = tuple(item.name.lower() for kind in (Count, Sum) for item in kind)

    def __init__(self, center: float, tolerance: float | None) -> None:
        self._center = center
        self.meaning = (center,)
        self._tolerance = tolerance
        self.arrays = {"counts": ((len(Count),), np.int64), "sums": ((len(Sum),), np.float64)}

    def losses(self, rows: Judged) -> Mapping[str, FloatArray]:
        """Absolute and squared error, errors beyond `LIMIT` counting as that."""
        with np.errstate(over="ignore", invalid="ignore"):
            sizes = np.minimum(np.abs(rows.scores - rows.labels), LIMIT)
        errors = np.where(_judgeable(rows), sizes, np.nan)
        return {"mean_absolute_error": errors, "mean_squared_error": errors * errors}

    def good(self, rows: Judged) -> BoolArray:
        """Rows whose error is within the tolerance."""
        if self._tolerance is None:
            return np.zeros(len(rows), np.bool_)
        return np.asarray(self.losses(rows)["mean_absolute_error"] <= self._tolerance, np.bool_)

    def tables(self, known: Known, group: IntArray, n: int) -> dict[str, NDArray[Any]]:
        """Counts and sums of the errors and labels."""
        rows = known.rows
        chosen = _judgeable(rows)
        counts, sums = self._rows(rows.take(chosen))
        return {"counts": by_group(counts, group[chosen], n), "sums": by_group(sums, group[chosen], n)}

    def histogram_of(self, rows: Judged, group: IntArray, n: int) -> Callable[[slice], ErrorHistogram]:
        """Sizes of the errors."""
        chosen = _judgeable(rows)
        of = grouped(group[chosen], n, self.losses(rows)["mean_absolute_error"][chosen])
        return lambda run: ErrorHistogram.of(of(run))

    def rhythm_rows(self, known: Known) -> list[tuple[int, BoolArray]]:
        """The loss is the absolute error."""
        return [(1, _judgeable(known.rows))]

    def rhythmic(self, known: Known) -> FloatArray:
        """The absolute error."""
        return known.losses["mean_absolute_error"][None]

    def effects(self, blocks: Sequence[Tally]) -> dict[str, float]:
        """One for all metrics, of the absolute error."""
        if not blocks:
            return {}
        rows = np.asarray([block["counts"][Count.ROWS] for block in blocks], np.float64)
        sums = np.asarray([block["sums"] for block in blocks])
        errors, expected = sums[:, Sum.ABSOLUTE], np.asarray([block["expected"][0] for block in blocks])
        total = float(errors.sum())
        squares = float(sums[:, Sum.SQUARE].sum()) - total * total / max(float(rows.sum()), 1.0)
        return loss_effects(self.metrics, rows, errors - expected, squares)

    def quality(self, evidence: Evidence) -> dict[str, Result]:
        """Every metric of regression."""
        found = regression_evidence(evidence.whole)
        return {name: metric(found, evidence.effect(name)) for name, metric in REGRESSION_METRICS.items()}

    def segment_rows(self, known: Known) -> tuple[IntArray, FloatArray]:
        """Counts and sums of each row, 0 where it cannot be judged."""
        rows = known.rows
        values = np.zeros((len(self.segment_columns), len(rows)))
        chosen = _judgeable(rows)
        values[:, chosen] = np.concatenate(self._rows(rows.take(chosen)), axis=1).T
        return np.zeros(len(rows), np.int64), values

    def segment_quality(
        self, sums: FloatArray, _: IntArray, effects: Mapping[str, float]
    ) -> dict[str, Result]:
        """All metrics but the quantiles."""
        counts = np.rint(sums[: len(Count)]).astype(np.int64)
        found = RegressionEvidence.from_arrays(counts, sums[len(Count) :], ErrorHistogram.empty())
        names = [name for name in REGRESSION_METRICS if name not in _OF_ERRORS]
        return {name: REGRESSION_METRICS[name](found, effects.get(name, 1.0)) for name in names}

    def class_quality(self, *_: object) -> dict[tuple[str, str], Result]:
        """There are no classes."""
        return {}

    def confusion(self, *_: object) -> None:
        """There are no classes."""

    def _rows(self, rows: Judged) -> tuple[FloatArray, FloatArray]:
        lower, upper = (None, None) if rows.details is None else rows.details.T
        counts = row_counts(rows.labels, lower, upper).astype(np.float64)
        return counts, row_sums(rows.labels, rows.scores, self._center)


def regression_evidence(judged: Tally) -> RegressionEvidence:
    """What the metrics of regression are computed from."""
    errors = judged.histogram
    kept = errors if isinstance(errors, ErrorHistogram) else ErrorHistogram.empty()
    return RegressionEvidence.from_arrays(judged["counts"], judged["sums"], kept)


def _judgeable(rows: Judged) -> BoolArray:
    return np.asarray(np.isfinite(rows.labels) & np.isfinite(rows.scores), np.bool_)
