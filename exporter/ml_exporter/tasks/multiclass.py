"""Multiclass classification: a class, perhaps with the probability of each, and a label that is a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_exporter.groups import by_group, count, table
from ml_exporter.judged import Judged, label_codes
from ml_exporter.layout import Cells, Layout
from ml_exporter.slots import Slots
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.multiclass import (
    CLASS_METRICS,
    MULTICLASS_METRICS,
    ROC_AUC_CLASSES,
    MulticlassBlocks,
    MulticlassEvidence,
    class_quality,
)
from ml_exporter.stats.multiclass_evidence import row_hits, row_log_loss
from ml_exporter.stats.one_vs_rest import BINS, probability_bins
from ml_exporter.stats.result import Result, Unavailable
from ml_exporter.stats.sums import RowSums
from ml_exporter.tally import Tally
from ml_exporter.tasks.task import Evidence, Known, Task, loss_effects

DEFAULT_TOP_K = 3


class Multiclass(Task):
    """Counts and metrics of models with any number of classes; the last code is all "other" ones."""

    name = "multiclass"
    main_loss = watched_loss = "accuracy"
    answer_column = "score"
    loss_names = ("accuracy", "log_loss")
    metrics = tuple(MULTICLASS_METRICS)
    recent_metrics = ("accuracy", "balanced_accuracy", "log_loss", "top_k_accuracy")
    segment_columns = ("right", "wrong", "scored", "log", "log²")
    rhythm = ("accuracy",)

    def __init__(self, classes: Slots, top_k: int | None) -> None:
        self._slots = classes
        self._size = classes.size + 1
        self._top_k = DEFAULT_TOP_K if top_k is None else top_k
        self.meaning = (self._top_k, classes.size, *classes.known)
        ranked = classes.size if classes.size <= ROC_AUC_CLASSES else 0
        self.arrays = {
            "confusion": ((self._size, self._size), np.int64),  # [actual, predicted]
            "scored": ((1,), np.int64),  # labelled rows with a probability of each class
            "log": ((2,), np.float64),  # sums of log loss and its square
            "hits": ((1,), np.int64),  # scored rows whose label is among the most probable classes
            "one_vs_rest": ((ranked, BINS, 2), np.int64),
        }

    def losses(self, rows: Judged) -> Mapping[str, FloatArray]:
        """Losses of the class and of the probabilities."""
        scored = self._scored(rows)
        log = np.full(len(rows), np.nan)
        if rows.details is not None:
            log[scored] = row_log_loss(rows.details[scored], rows.labels[scored].astype(np.int64))
        wrong = np.where(_decided(rows), rows.classes != rows.labels, np.nan)
        return {"accuracy": wrong, "log_loss": log}

    def good(self, rows: Judged) -> BoolArray:
        """Rows whose class was the label."""
        return np.asarray(_decided(rows) & (rows.classes == rows.labels), np.bool_)

    def tables(self, known: Known, group: IntArray, n: int) -> dict[str, NDArray[Any]]:
        """Confusion counts, log loss, hits and scores by class."""
        rows = known.rows
        k, decided, scored = self._size, _decided(rows), self._scored(rows)
        cells = (rows.labels[decided] * k + rows.classes[decided]).astype(np.int64)
        log = known.losses["log_loss"][scored]
        return {
            "confusion": table(group[decided], cells, n, k * k).reshape(n, k, k),
            "scored": count(group[scored], n),
            "log": by_group(np.stack([log, log * log], axis=1), group[scored], n),
            "hits": count(group[scored][self._hits(rows.take(scored))], n),
            "one_vs_rest": self._ranked(rows.take(scored), group[scored], n),
        }

    def histogram_of(self, *_: object) -> None:
        """There is none: bins of each class are among the arrays."""

    def rhythm_rows(self, known: Known) -> list[tuple[int, BoolArray]]:
        """The loss is that of the class."""
        return [(1, _decided(known.rows))]

    def rhythmic(self, known: Known) -> FloatArray:
        """The loss of the class."""
        return known.losses["accuracy"][None]

    def effects(self, blocks: Sequence[Tally]) -> dict[str, float]:
        """One for all metrics, of the share of wrong classes."""
        rows = np.asarray([block["confusion"].sum() for block in blocks], np.float64)
        wrong = rows - np.asarray([np.trace(block["confusion"]) for block in blocks], np.float64)
        expected = np.asarray([block["expected"][0] for block in blocks])
        total = float(wrong.sum())
        squares = total - total * total / max(float(rows.sum()), 1.0)
        return loss_effects(self.metrics, rows, wrong - expected, squares)

    def quality(self, evidence: Evidence) -> dict[str, Result]:
        """Every metric of several classes."""
        blocks = [self._evidence(block) for block in evidence.blocks]
        found = MulticlassBlocks(self._evidence(evidence.whole), blocks)
        unscored = evidence.whole.count("scored") == 0
        results = {
            name: metric(found, evidence.effect(name))
            for name, metric in MULTICLASS_METRICS.items()
            if not (unscored and name in ("log_loss", "top_k_accuracy", "roc_auc"))
        }
        lacking = Unavailable("too_few_rows")
        return {name: results.get(name, lacking) for name in MULTICLASS_METRICS}

    def class_quality(self, evidence: Evidence) -> dict[tuple[str, str], Result]:
        """Precision, recall and F1 of each class."""
        found = class_quality(self._evidence(evidence.whole), evidence.effect(self.main_loss))
        return {
            (metric, name): found[metric, code]
            for code, name in self._named()
            for metric in CLASS_METRICS
            if (metric, code) in found
        }

    def segment_rows(self, known: Known) -> tuple[IntArray, FloatArray]:
        """Whether the class was right or wrong, then whether the row is scored and its log loss."""
        wrong, log = known.losses["accuracy"], known.losses["log_loss"]
        outcome = np.where(np.isnan(wrong), 2, wrong).astype(np.int64)
        scored = ~np.isnan(log)
        log = np.where(scored, log, 0.0)
        return outcome, np.stack([scored, log, log * log])

    def segment_quality(
        self, sums: FloatArray, _: IntArray, effects: Mapping[str, float]
    ) -> dict[str, Result]:
        """Accuracy and log loss."""
        right, wrong, scored, log, squares = sums.tolist()
        confusion = np.asarray([[right, wrong], [0.0, 0.0]]).astype(np.int64)
        nothing = np.zeros((2, BINS, 2), np.int64)
        part = MulticlassEvidence(confusion, RowSums(round(scored), log, squares), (0, 0), nothing)
        found = MulticlassBlocks(part, [])
        names = ("accuracy", "log_loss")
        return {name: MULTICLASS_METRICS[name](found, effects.get(name, 1.0)) for name in names}

    def confusion(self, tally: Tally) -> tuple[tuple[str, ...], IntArray]:
        """Counts by label and predicted class, of the classes that have a name."""
        codes, names = zip(*self._named(), strict=True)
        return names, tally["confusion"][np.ix_(codes, codes)]

    def label_codes(self, layout: Layout, cells: Cells, labels: FloatArray) -> IntArray:
        """Cells of n labels in the profile's label column."""
        return label_codes(layout, cells, labels, self._slots.names)

    def _named(self) -> list[tuple[int, str]]:
        """Codes that stand for something, with its name."""
        every = ((code, self._slots.label(code)) for code in range(self._size))
        return [(code, name) for code, name in every if name is not None]

    def _evidence(self, judged: Tally) -> MulticlassEvidence:
        log, squares = judged["log"].tolist()
        scored, hits = judged.count("scored"), judged.count("hits")
        ranked = judged["one_vs_rest"]
        other = np.zeros((min(len(ranked), 1), BINS, 2), np.int64)
        return MulticlassEvidence(
            judged["confusion"],
            RowSums(scored, log, squares),
            (hits, scored),
            np.concatenate([ranked, other]),
        )

    def _scored(self, rows: Judged) -> BoolArray:
        """Rows that have a probability of each class, and a label that is one of them."""
        if rows.details is None:
            return np.zeros(len(rows), np.bool_)
        known = np.all((rows.details >= 0.0) & (rows.details <= 1.0), axis=1)
        return np.asarray(known & rows.labelled & (rows.labels < rows.details.shape[1]), np.bool_)

    def _hits(self, rows: Judged) -> BoolArray:
        if rows.details is None or not len(rows):
            return np.zeros(len(rows), np.bool_)
        return row_hits(rows.details, rows.labels.astype(np.int64), self._top_k)

    def _ranked(self, rows: Judged, group: IntArray, n: int) -> IntArray:
        """Bins of each class's probability by [rest, class], shape (n, k, 64, 2)."""
        size = self.arrays["one_vs_rest"][0][0]
        found = np.zeros((n, size, BINS, 2), np.int64)
        if size and rows.details is not None:
            bins = probability_bins(rows.details)
            for code in range(rows.details.shape[1]):
                cells = bins[:, code] * 2 + (rows.labels == code)
                found[:, code] = table(group, cells, n, BINS * 2).reshape(n, BINS, 2)
        return found


def _decided(rows: Judged) -> BoolArray:
    return np.asarray(rows.labelled & (rows.classes >= 0), np.bool_)
