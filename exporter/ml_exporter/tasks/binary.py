"""Binary classification: P(positive), a decision, and a label that is positive or negative."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_exporter.config_model import QualityValue
from ml_exporter.groups import by_group, count, table
from ml_exporter.judged import Judged
from ml_exporter.sources.batch import BINARY_CLASSES, NEGATIVE, POSITIVE
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.binary_effects import (
    COLUMNS,
    BinaryBlocks,
    binary_design_effects,
    gains_design_effect,
)
from ml_exporter.stats.calibration import BINS
from ml_exporter.stats.classification import (
    BINARY_METRICS,
    BINARY_RATES,
    BinaryCounts,
    BinaryEvidence,
    Gains,
    quality_value,
    row_brier,
    row_log_loss,
)
from ml_exporter.stats.one_vs_rest import BINS as SEGMENT_BINS
from ml_exporter.stats.one_vs_rest import probability_bins
from ml_exporter.stats.result import Result
from ml_exporter.stats.scores import ScoreHistogram, score_keys
from ml_exporter.stats.sums import RowSums
from ml_exporter.tally import Tally
from ml_exporter.tasks.task import Evidence, Known, Task, grouped

_METRICS = {**BINARY_METRICS, **BINARY_RATES}
_CELLS = [3, 1, 2, 0]
"""Places of tp, fp, fn and tn in the confusion counts [actual, predicted]."""
_BIN_EDGES = np.linspace(0.0, 1.0, BINS + 1)[1:-1]


class Binary(Task):
    """Counts and metrics of binary models; `gains` is what a row of each cell is worth."""

    classes = BINARY_CLASSES
    rhythm = COLUMNS
    name = "binary"
    watched_loss = "accuracy"
    answer_column = "score"
    loss_names = ("accuracy", "brier_score", "log_loss")
    recent_metrics = ("accuracy", "precision", "recall", "f1", "brier_score", "log_loss")
    histogram = ScoreHistogram
    segment_columns = ("tn", "fp", "fn", "tp", "scored", "log", "log²", "brier", "brier²")

    def __init__(
        self, scored: bool, gains: QualityValue | None = None, segment_roc_auc: bool = False
    ) -> None:
        self.segment_bins = SEGMENT_BINS if segment_roc_auc else 0
        self.main_loss = "brier_score" if scored else "accuracy"
        self._gains = Gains(gains.tp, gains.fp, gains.fn, gains.tn) if gains else None
        self.metrics = (*_METRICS, *(["quality_value"] if gains else []))
        self.arrays = {
            "confusion": ((2, 2), np.int64),  # [actual, predicted]
            "scored": ((1,), np.int64),  # labelled rows that carry a score
            "losses": ((4,), np.float64),  # sums of log loss, its square, squared error, its square
            "calibration": ((BINS, 3), np.float64),  # rows, sum of scores, positives
        }

    def losses(self, rows: Judged) -> Mapping[str, FloatArray]:
        """Losses of the decision and of the score."""
        scored, decided = _scored(rows), _decided(rows)
        positive, scores = rows.labels == POSITIVE, np.where(scored, rows.scores, 0.5)
        return {
            "accuracy": np.where(decided, rows.classes != rows.labels, np.nan),
            "brier_score": np.where(scored, row_brier(scores, positive), np.nan),
            "log_loss": np.where(scored, row_log_loss(scores, positive), np.nan),
        }

    def good(self, rows: Judged) -> BoolArray:
        """Rows whose decision was the label."""
        return np.asarray(_decided(rows) & (rows.classes == rows.labels), np.bool_)

    def tables(self, known: Known, group: IntArray, n: int) -> dict[str, NDArray[Any]]:
        """Confusion counts, losses and calibration bins."""
        rows = known.rows
        decided, scored = _decided(rows), _scored(rows)
        cells = (rows.labels[decided] * 2 + rows.classes[decided]).astype(np.int64)
        scores, positive = rows.scores[scored], rows.labels[scored] == POSITIVE
        log, brier = (known.losses[name][scored] for name in ("log_loss", "brier_score"))
        losses = np.stack([log, log * log, brier, brier * brier], axis=1)
        return {
            "confusion": table(group[decided], cells, n, 4).reshape(n, 2, 2),
            "scored": count(group[scored], n),
            "losses": by_group(losses, group[scored], n),
            "calibration": _calibration(scores, positive, group[scored], n),
        }

    def histogram_of(self, rows: Judged, group: IntArray, n: int) -> Callable[[slice], ScoreHistogram]:
        """Scores by label."""
        scored = _scored(rows)
        cells = score_keys(rows.scores[scored]).astype(np.int64) * 2 + (rows.labels[scored] == POSITIVE)
        of = grouped(group[scored], n, cells)
        return lambda run: ScoreHistogram.of_cells(of(run))

    def rhythm_rows(self, known: Known) -> list[tuple[int, BoolArray]]:
        """Cells count the decided rows, losses the scored ones."""
        return [(4, _decided(known.rows)), (2, _scored(known.rows))]

    def rhythmic(self, known: Known) -> FloatArray:
        """Cells of the decided rows, losses of the scored ones."""
        rows, losses = known.rows, known.losses
        decided = _decided(rows)
        cell = np.where(decided, rows.labels * 2 + rows.classes, np.nan)
        cells = [np.where(decided, cell == place, np.nan) for place in _CELLS]
        return np.stack([*cells, losses["log_loss"], losses["brier_score"]])

    def effects(self, blocks: Sequence[Tally]) -> dict[str, float]:
        """Each metric has its own: what correlates the score's loss may leave the decision alone."""
        if not blocks:
            return {}
        rows = np.asarray([block["scored"] for block in blocks], np.float64)
        losses = np.asarray([block["losses"] for block in blocks])
        found = BinaryBlocks(
            np.asarray([block["confusion"].ravel()[_CELLS] for block in blocks], np.float64),
            np.concatenate([rows, losses[:, :2]], axis=1),
            np.concatenate([rows, losses[:, 2:]], axis=1),
            np.asarray([block["expected"] for block in blocks]),
        )
        effects = {name: effect.value for name, effect in binary_design_effects(found).items()}
        if effects and self._gains is not None:
            gains = np.asarray([self._gains.tp, self._gains.fp, self._gains.fn, self._gains.tn])
            own = gains_design_effect(found, gains)
            effects["quality_value"] = own.value if own else 1.0
        return effects

    def quality(self, evidence: Evidence) -> dict[str, Result]:
        """Every binary metric."""
        found = binary_evidence(evidence.whole)
        results = {name: metric(found, evidence.effect(name)) for name, metric in _METRICS.items()}
        if self._gains is not None:
            effect = evidence.effect("quality_value")
            results["quality_value"] = quality_value(found.confusion, self._gains, effect)
        return results

    def segment_rows(self, known: Known) -> tuple[IntArray, FloatArray]:
        """The cell of the confusion matrix, then whether the row is scored and its losses."""
        rows = known.rows
        cells = np.where(_decided(rows), rows.labels * 2 + rows.classes, 4).astype(np.int64)
        log, brier = known.losses["log_loss"], known.losses["brier_score"]
        scored = ~np.isnan(log)
        log, brier = np.where(scored, log, 0.0), np.where(scored, brier, 0.0)
        return cells, np.stack([scored, log, log * log, brier, brier * brier])

    def segment_quality(
        self, sums: FloatArray, scores: IntArray, effects: Mapping[str, float]
    ) -> dict[str, Result]:
        """All metrics but average precision; ROC AUC from bins where these are counted."""
        tn, fp, fn, tp, scored = (round(value) for value in sums[:5].tolist())
        log, log2, brier, brier2 = sums[5:].tolist()
        found = BinaryEvidence(
            BinaryCounts(tp, fp, fn, tn),
            RowSums(scored, log, log2),
            RowSums(scored, brier, brier2),
            ScoreHistogram(np.arange(len(scores), dtype=np.uint32), scores),
        )
        unknown = {"average_precision", *([] if self.segment_bins else ["roc_auc"])}
        names = [name for name in _METRICS if name not in unknown]
        return {name: _METRICS[name](found, effects.get(name, 1.0)) for name in names}

    def segment_cells(self, rows: Judged) -> tuple[BoolArray, IntArray]:
        """The bins are those of one class against the rest, label positive in the second column."""
        scored = _scored(rows)
        cells = probability_bins(rows.scores[scored]) * 2 + (rows.labels[scored] == POSITIVE)
        return scored, cells

    def class_quality(self, *_: object) -> dict[tuple[str, str], Result]:
        """Both classes are told by precision, recall and specificity."""
        return {}

    def confusion(self, tally: Tally) -> tuple[tuple[str, ...], IntArray]:
        """Counts by label and decision."""
        return self.classes, tally["confusion"]


def binary_evidence(judged: Tally) -> BinaryEvidence:
    """What the binary metrics are computed from."""
    (tn, fp), (fn, tp) = judged["confusion"].tolist()
    scored = judged.count("scored")
    log, log_squares, brier, brier_squares = judged["losses"].tolist()
    scores = judged.histogram
    return BinaryEvidence(
        BinaryCounts(tp, fp, fn, tn),
        RowSums(scored, log, log_squares),
        RowSums(scored, brier, brier_squares),
        scores if isinstance(scores, ScoreHistogram) else ScoreHistogram.empty(),
    )


def _calibration(scores: FloatArray, positive: BoolArray, group: IntArray, n: int) -> FloatArray:
    cells = group * BINS + np.searchsorted(_BIN_EDGES, scores)
    sums = [np.bincount(cells, weights=weight, minlength=n * BINS) for weight in (None, scores, positive)]
    return np.stack(sums, axis=1).reshape(n, BINS, 3).astype(np.float64)


def _decided(rows: Judged) -> BoolArray:
    return np.asarray(rows.labelled & (rows.classes >= NEGATIVE), np.bool_)


def _scored(rows: Judged) -> BoolArray:
    return np.asarray(rows.labelled & (rows.scores >= 0.0) & (rows.scores <= 1.0), np.bool_)
