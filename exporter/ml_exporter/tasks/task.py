"""What a task has to know: how its rows are counted and what its counts mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ml_exporter.judged import Judged, label_codes
from ml_exporter.layout import Cells, Layout
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.design_effect import of_residuals
from ml_exporter.stats.result import Result
from ml_exporter.stats.sparse import SparseCounts
from ml_exporter.tally import Arrays, Tally


@dataclass(frozen=True)
class Evidence:
    """Counts of one window: all of it, its blocks of time, and the design effect of each metric.

    A design effect is how many of these rows, correlated as they are, are worth one independent row.
    """

    whole: Tally
    blocks: Sequence[Tally]
    effects: Mapping[str, float]

    def effect(self, metric: str) -> float:
        """The metric's design effect, 1 where it is not known."""
        return self.effects.get(metric, 1.0)


@dataclass(frozen=True)
class Known:
    """Rows that have a label, which of the judged ones they are, and their losses by metric."""

    rows: Judged
    labelled: BoolArray
    losses: Mapping[str, FloatArray]

    @classmethod
    def of(cls, rows: Judged, task: Task) -> Self:
        """Those of some judged rows."""
        labelled = rows.labelled
        known = rows if labelled.all() else rows.take(labelled)
        return cls(known, labelled, task.losses(known))


class Task(ABC):
    """One kind of model: rows in, additive arrays out, and metrics made of them.

    `main_loss` is the row loss that stands for all where one number has to, `watched_loss` the one that drift
    of the concept is seen in, `answer_column` the profile's column of `Judged.scores`; `loss_names`
    are those of `losses`, `rhythm` names the sums whose course over the day the profile knows,
    `segment_columns` what is summed for each segment, `segment_bins` into how many bins its scores
    are counted, 0 where they are not; `meaning` is what else the meaning of the arrays depends on.
    """

    name: str
    main_loss: str
    watched_loss: str
    answer_column: str
    loss_names: tuple[str, ...]
    rhythm: tuple[str, ...]
    meaning: tuple[str | float, ...] = ()
    metrics: tuple[str, ...]
    recent_metrics: tuple[str, ...]
    classes: tuple[str, ...] = ()
    arrays: Arrays
    histogram: type[SparseCounts] | None = None
    segment_columns: ClassVar[tuple[str, ...]]
    segment_bins: int = 0

    @abstractmethod
    def losses(self, rows: Judged) -> Mapping[str, FloatArray]:
        """Losses of n labelled rows by the metric they are the mean of; NaN where a row has none.

        Lower is better in all of them: that of accuracy is 1 where the prediction was wrong.
        """

    @abstractmethod
    def good(self, rows: Judged) -> BoolArray:
        """Which of n labelled rows were right, for the objective."""

    @abstractmethod
    def tables(self, known: Known, group: IntArray, n: int) -> dict[str, NDArray[Any]]:
        """Arrays of the labelled rows by group, one row for each of n groups."""

    @abstractmethod
    def histogram_of(self, rows: Judged, group: IntArray, n: int) -> Callable[[slice], SparseCounts] | None:
        """What gives the sparse histogram of a run of the n groups, where the task has one."""

    @abstractmethod
    def rhythmic(self, known: Known) -> FloatArray:
        """What n labelled rows add to each of the sums of `rhythm`, shape (sums, n); NaN where nothing."""

    @abstractmethod
    def rhythm_rows(self, known: Known) -> list[tuple[int, BoolArray]]:
        """Which of n labelled rows enter the sums of `rhythm`: runs of sums by their length, with the rows (n,)."""

    @abstractmethod
    def effects(self, blocks: Sequence[Tally]) -> dict[str, float]:
        """Design effect by metric from blocks of time; empty where these are too few to tell."""

    @abstractmethod
    def quality(self, evidence: Evidence) -> dict[str, Result]:
        """Every metric of one window."""

    @abstractmethod
    def segment_rows(self, known: Known) -> tuple[IntArray, FloatArray]:
        """What is summed for segments of n rows: one of the first columns each adds 1 to, or that many for
        none of them, shape (n,); and values for the columns after these, shape (n, columns).
        """

    def segment_cells(self, rows: Judged) -> tuple[BoolArray, IntArray]:
        """Which of n labelled rows are ranked within segments, and the bin and label of these as one code: none."""
        return np.zeros(len(rows), np.bool_), np.zeros(0, np.int64)

    @abstractmethod
    def segment_quality(
        self, sums: FloatArray, scores: IntArray, effects: Mapping[str, float]
    ) -> dict[str, Result]:
        """The metrics that can be had from one segment's sums, and its scores by bin and label."""

    @abstractmethod
    def class_quality(self, evidence: Evidence) -> dict[tuple[str, str], Result]:
        """Metrics of single classes by (metric, class), where there are more than two."""

    @abstractmethod
    def confusion(self, tally: Tally) -> tuple[tuple[str, ...], IntArray] | None:
        """Names of the classes and their counts [actual, predicted], where there are classes."""

    def label_codes(self, layout: Layout, cells: Cells, labels: FloatArray) -> IntArray:
        """Cells of n labels in the profile's label column."""
        return label_codes(layout, cells, labels, self.classes)


def loss_effects(
    metrics: Sequence[str], rows: FloatArray, sums: FloatArray, squares: float
) -> dict[str, float]:
    """One design effect for all metrics, from a row loss: rows and sums by block (b,), squares in all.

    `sums` are less what the hours of the day lead one to expect.
    """
    n = float(rows.sum())
    variance = max(squares, 0.0) / (n - 1) if n > 1 else 0.0
    found = of_residuals(rows, sums, variance)
    return {} if found is None else dict.fromkeys(metrics, found.value)


def grouped(group: IntArray, n: int, column: NDArray[Any]) -> Callable[[slice], NDArray[Any]]:
    """What gives the part of a column that lies in a run of the n groups."""
    if np.any(group[1:] < group[:-1]):
        column = column[np.argsort(group, kind="stable")]
    ends = np.append(0, np.cumsum(np.bincount(group, minlength=n)))
    return lambda run: column[ends[run.start or 0] : ends[run.stop]]
