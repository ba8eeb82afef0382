"""Quality of one version: judged counts become metrics, each with its bounds or why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri

from ml_exporter.config import Model
from ml_exporter.slots import Slots
from ml_exporter.stats.calibration import CalibrationCounts, calibration_noise, expected_calibration_error
from ml_exporter.stats.intervals import CONFIDENCE
from ml_exporter.stats.result import Reason, Result, Unavailable, Value
from ml_exporter.tally import Tally
from ml_exporter.tasks.task import Evidence, Task
from ml_exporter.version import VersionState

FEWEST = 10
"""Rows of a segment's value below which nothing is said of it."""


@dataclass(frozen=True)
class SegmentQuality:
    """Quality of the rows that have one value in one segment."""

    segment: str
    value: str
    rows: int
    quality: Mapping[str, Result]


@dataclass(frozen=True)
class WindowQuality:
    """What became of the predictions of one window.

    `coverage` is None without mature predictions, `effective` how many independent rows the labelled
    ones are worth, None where nothing is judged: `labelled` over `design_effect`.
    """

    mature: int
    labelled: int
    coverage: float | None
    effective: float | None
    design_effect: float
    metrics: Mapping[str, Result]
    classes: Mapping[tuple[str, str], Result] = field(default_factory=dict)
    segments: tuple[SegmentQuality, ...] = ()
    calibration: Result | None = None
    calibration_noise: float | None = None


def qualities(
    model: Model, version: VersionState, segments: Mapping[str, Slots], time: int, pending: int
) -> tuple[list[WindowQuality], list[Tally]]:
    """Quality in every window at `time` (microseconds), and the counts it is made of.

    Where a window has too few blocks to tell how correlated rows are, that of the next longer one is
    taken; where none can tell, as in the first half of a long window's first days, that of the next
    shorter one. It is blind to what correlates rows for longer, but nearer to the truth than none.
    """
    windows = [list(version.blocks(index, time).values()) for index in range(len(model.windows))]
    effects = [version.judging.task.effects(blocks) for blocks in windows]
    found, counts = [], []
    for index, (window, blocks) in enumerate(zip(model.windows, windows, strict=True)):
        known: Mapping[str, float] = next(filter(None, [*effects[index:], *reversed(effects[:index])]), {})
        whole = Tally.sum(version.shapes["judged"], blocks)
        evidence = Evidence(whole, blocks, known)
        shown = segments if window == model.alert_window else {}
        found.append(_window(model, version.judging.task, evidence, shown, pending))
        counts.append(whole)
    return found, counts


def lacking(model: Model, judged: Tally, pending: int) -> Reason | None:
    """Why no quality can be computed of a window's counts, None where it can."""
    mature, labelled = judged.count("mature"), judged.count("labelled")
    if model.labels is None and model.label_field is None:
        return "no_labels"
    if not mature:
        return "immature" if pending else "too_few_rows"
    if not labelled:
        return "no_labels"
    if model.labels and labelled < model.labels.min_coverage * mature:
        return "low_coverage"
    return None


def _window(
    model: Model, task: Task, evidence: Evidence, segments: Mapping[str, Slots], pending: int
) -> WindowQuality:
    judged = evidence.whole
    mature, labelled = judged.count("mature"), judged.count("labelled")
    coverage = labelled / mature if mature else None
    effect = evidence.effect(task.main_loss)
    reason = lacking(model, judged, pending)
    if reason:
        metrics: dict[str, Result] = dict.fromkeys(task.metrics, Unavailable(reason))
        scored = Unavailable(reason) if "calibration" in task.arrays else None
        return WindowQuality(mature, labelled, coverage, None, effect, metrics, calibration=scored)
    error, noise = _calibration(evidence)
    return WindowQuality(
        mature,
        labelled,
        coverage,
        labelled / effect,
        effect,
        task.quality(evidence),
        task.class_quality(evidence),
        tuple(_segments(model, task, evidence, segments)),
        error,
        noise,
    )


def _calibration(evidence: Evidence) -> tuple[Result | None, float | None]:
    """The calibration's error and what it reaches by chance, where the task has scores to be calibrated."""
    if "calibration" not in evidence.whole.arrays:
        return None, None
    counts = CalibrationCounts(evidence.whole["calibration"])
    error = expected_calibration_error(counts)
    noise = calibration_noise(counts, evidence.effect("brier_score")) if isinstance(error, Value) else None
    return error, noise


def _segments(
    model: Model, task: Task, evidence: Evidence, segments: Mapping[str, Slots]
) -> Iterator[SegmentQuality]:
    """Quality of each segment's values, for the metrics that have a target."""
    judged = evidence.whole
    sums, counts, scores = judged["segments"], judged["segment_rows"], judged["segment_scores"]
    many = int(np.count_nonzero(counts >= FEWEST))
    wider = widening(many)
    effects = {metric: evidence.effect(metric) * wider for metric in task.metrics}
    for number, (name, slots) in enumerate(segments.items()):
        for code in np.flatnonzero(counts[number]).tolist():
            value = slots.label(code)
            if value is not None:
                cell = number, code
                found = task.segment_quality(sums[cell], scores[cell], effects)
                quality = {name: result for name, result in found.items() if name in model.quality}
                yield SegmentQuality(name, value, int(counts[number, code]), quality)


def widening(looks: int) -> float:
    """By how much fewer independent rows bounds must be made of when `looks` of them are judged at once.

    Bonferroni's correction as a design effect: a bound's half width depends on z² / n alone.
    """
    tail = (1 - CONFIDENCE) / 2
    return float((ndtri(tail / max(looks, 1)) / ndtri(tail)) ** 2)
