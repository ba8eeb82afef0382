"""One evaluation: a model's counts become numbers, each with its bounds or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ml_exporter.config import Model, Window
from ml_exporter.drift import Drift, drifts
from ml_exporter.layout import Layout
from ml_exporter.profile import NumericColumn
from ml_exporter.recent import Recent
from ml_exporter.state import ModelState, VersionState
from ml_exporter.stats.classification import BINARY_METRICS, BinaryCounts, BinaryEvidence
from ml_exporter.stats.result import Reason, Result, Unavailable, Value
from ml_exporter.stats.scores import ScoreHistogram
from ml_exporter.stats.sequential import mean_difference
from ml_exporter.stats.sums import RowSums
from ml_exporter.tally import Tally
from ml_exporter.windows import MICROSECONDS

Role = Literal["champion", "candidate", "shadow"]
REFERENCE = "training"

RECENT_METRICS = ("accuracy", "precision", "recall", "f1", "brier_score", "log_loss")
"""What is computed of predictions that have a label and are not mature."""


@dataclass(frozen=True)
class Violation:
    """How many values failed a check, of how many."""

    column: str
    check: str
    count: int
    rows: int


@dataclass(frozen=True)
class WindowReport:
    """One window of one version. `coverage` is None without mature predictions.

    `recent` are metrics of the rows up to now that have a label; `quality` ended a maturity ago.
    """

    window: Window
    rows: int
    mature: int
    labelled: int
    coverage: float | None
    quality: Mapping[str, Result]
    drift: tuple[Drift, ...]
    violations: tuple[Violation, ...]
    recent: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class VersionReport:
    """One version: its role, its counts since ever and its windows."""

    name: str
    role: Role
    born: float
    layout: Layout
    inputs: Tally
    judged: Tally
    windows: tuple[WindowReport, ...]


@dataclass(frozen=True)
class Difference:
    """How much better a candidate is than the champion."""

    metric: str
    baseline: str
    candidate: str
    result: Result


@dataclass(frozen=True)
class ModelReport:
    """All numbers of one model at one time (Unix seconds)."""

    model: Model
    time: float
    versions: tuple[VersionReport, ...]
    differences: tuple[Difference, ...]
    pending: int


def evaluate(state: ModelState, time: int, pending: int, waiting: Recent) -> ModelReport:
    """Compute a model's numbers at `time` (microseconds) from its counts.

    `pending` predictions wait; `waiting` counts those of them that have a label.
    """
    champion = state.champion
    versions = tuple(
        VersionReport(
            name,
            _role(state.model, name, champion),
            version.born,
            version.layout,
            version.totals["inputs"],
            version.totals["judged"],
            tuple(_windows(state, name, time, pending, waiting)),
        )
        for name, version in sorted(state.versions.items())
    )
    return ModelReport(
        state.model, time / MICROSECONDS, versions, tuple(_differences(state, champion)), pending
    )


def violations(layout: Layout, inputs: Tally) -> Iterator[Violation]:
    """Values that failed a check, by column and check, of the rows in a tally."""
    rows, errors = inputs.count("rows"), inputs.count("errors")
    for name, cells in layout.cells.items():
        if name == "label":
            continue
        own = cells.of(inputs["cells"])
        n = rows - errors if name in ("score", "prediction") else rows
        yield Violation(name, "missing", int(own[cells.missing]), n)
        if isinstance(cells.column, NumericColumn):
            yield Violation(name, "wrong_type", int(own[cells.invalid]), n)
            yield Violation(name, "out_of_range", int(inputs["outside"][layout.positions[name]]), n)
        else:
            unseen = own[cells.invalid] if name == "prediction" else own[cells.column.unseen_code]
            yield Violation(name, "unseen", int(unseen), n)


def evidence(judged: Tally) -> BinaryEvidence:
    """What the binary metrics are computed from."""
    (tn, fp), (fn, tp) = judged["confusion"].tolist()
    scored = judged.count("scored")
    log, log_squares, brier, brier_squares = judged["losses"].tolist()
    return BinaryEvidence(
        BinaryCounts(tp, fp, fn, tn),
        RowSums(scored, log, log_squares),
        RowSums(scored, brier, brier_squares),
        ScoreHistogram.empty() if judged.scores is None else judged.scores,
    )


def _windows(
    state: ModelState, name: str, time: int, pending: int, waiting: Recent
) -> Iterator[WindowReport]:
    model, version = state.model, state.versions[name]
    judged_time = time - round(model.maturity * MICROSECONDS)
    for index, window in enumerate(model.windows):
        inputs = version.window("inputs", index, time)
        judged = version.window("judged", index, judged_time)
        mature, labelled = judged.count("mature"), judged.count("labelled")
        alert = window == model.alert_window
        early = waiting.get((state.codes.index(name), index))
        yield WindowReport(
            window,
            inputs.count("rows"),
            mature,
            labelled,
            labelled / mature if mature else None,
            _quality(model, judged, pending),
            tuple(_drift(version.layout, inputs, judged, window)) if alert else (),
            tuple(violations(version.layout, inputs)) if alert else (),
            _recent(version, index, time, early) if model.labels else {},
        )


def _recent(version: VersionState, index: int, time: int, early: Tally | None) -> dict[str, float]:
    """Metrics of a window's rows up to now that have a label, mature or not."""
    parts = [*version.panes["judged"][index].at(time), *([] if early is None else [early])]
    arrays = ("confusion", "scored", "losses")
    found = (
        evidence(Tally({name: np.sum([part[name] for part in parts], axis=0) for name in arrays}))
        if parts
        else None
    )
    values = ((name, BINARY_METRICS[name](found, 1.0)) for name in RECENT_METRICS if found)
    return {name: result.value for name, result in values if isinstance(result, Value)}


def _quality(model: Model, judged: Tally, pending: int) -> dict[str, Result]:
    lacking = _lacking(model, judged, pending)
    if lacking:
        return dict.fromkeys(BINARY_METRICS, Unavailable(lacking))
    found = evidence(judged)
    return {name: metric(found, 1.0) for name, metric in BINARY_METRICS.items()}


def _lacking(model: Model, judged: Tally, pending: int) -> Reason | None:
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


def _drift(layout: Layout, inputs: Tally, judged: Tally, window: Window) -> Iterator[Drift]:
    for name, cells in layout.cells.items():
        own = cells.of(inputs["cells"])[: cells.bins]
        if name == "label":
            own = np.zeros(cells.bins, np.int64)
            own[:2] = judged["labels"]
        yield from drifts(name, cells.column, own, window.name)


def _differences(state: ModelState, champion: str | None) -> Iterator[Difference]:
    for (baseline, candidate), sums in sorted(state.pairs.items()):
        if baseline == champion and candidate in state.versions:
            for metric, rows in sorted(sums.items()):
                yield Difference(metric, baseline, candidate, mean_difference(rows))
    for name in state.model.shadow:
        if champion and (champion, name) not in state.pairs:
            yield Difference("log_loss", champion, name, Unavailable("too_few_rows"))


def _role(model: Model, name: str, champion: str | None) -> Role:
    if name == champion:
        return "champion"
    return "shadow" if name in model.shadow else "candidate"
