"""One evaluation: a model's counts become numbers, each with its bounds or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

import numpy as np

from ml_exporter.comparison import Difference, differences
from ml_exporter.concept import Detector
from ml_exporter.config import Window
from ml_exporter.config_model import Model
from ml_exporter.drift import PREVIOUS, REFERENCE, Chance, Drift, Impact, references_of
from ml_exporter.embeddings import vector_drifts
from ml_exporter.estimate import estimated
from ml_exporter.health import Limits, Violation, absent, cardinalities, constants, violations
from ml_exporter.joint import JointDrift
from ml_exporter.layout import Layout
from ml_exporter.quality import WindowQuality, qualities
from ml_exporter.recent import Recent
from ml_exporter.season import Deviation, deviations
from ml_exporter.state import ModelState
from ml_exporter.stats.arrays import IntArray
from ml_exporter.stats.multivariate import METHODS
from ml_exporter.stats.result import Result, Unavailable, Value
from ml_exporter.tally import Tally
from ml_exporter.tasks.task import Evidence, Task
from ml_exporter.version import VersionState
from ml_exporter.windows import MICROSECONDS

Role = Literal["champion", "candidate", "shadow"]


@dataclass(frozen=True)
class Health:
    """What failed a check, in how many bins each column has rows, and which columns have become constant."""

    violations: tuple[Violation, ...]
    cardinalities: Mapping[str, int]
    constants: tuple[str, ...]

    @classmethod
    def of(cls, layout: Layout, inputs: Tally, window: str, limits: Limits) -> Self:
        """The health of a window's rows."""
        return cls(
            tuple(violations(layout, inputs, limits)),
            cardinalities(layout, inputs),
            constants(layout, inputs, window),
        )


@dataclass(frozen=True)
class WindowReport:
    """One window of one version.

    `recent` are metrics of the rows up to now that have a label; `quality` ended a maturity ago.
    `estimated` is quality without labels, of all rows up to now. Only the alert window has `drift`, the
    `impacts` of columns, the `chances` (p-values) of their distances, the `cells` that these are made
    of, the drift of columns together (`joint`), and its `health`. `absent` are the features that no row
    has, None where that cannot be told.
    """

    window: Window
    rows: int
    quality: WindowQuality
    drift: tuple[Drift, ...]
    health: Health | None
    recent: Mapping[str, float] = field(default_factory=dict)
    estimated: Mapping[str, Result] = field(default_factory=dict)
    impacts: tuple[Impact, ...] = ()
    chances: tuple[Chance, ...] = ()
    joint: tuple[JointDrift, ...] = ()
    cells: IntArray | None = None
    absent: tuple[str, ...] | None = None

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Values that failed a check, in the alert window."""
        return self.health.violations if self.health else ()


class _Shifts(NamedTuple):
    drift: tuple[Drift, ...] = ()
    impacts: tuple[Impact, ...] = ()
    chances: tuple[Chance, ...] = ()
    cells: IntArray | None = None


@dataclass(frozen=True)
class VersionReport:
    """One version: its role, its counts since ever, its windows and what watches its losses.

    `duplicates` are predictions that repeat the id of another, as far as they are mature.
    """

    name: str
    role: Role
    born: float
    layout: Layout
    task: Task
    inputs: Tally
    judged: Tally
    windows: tuple[WindowReport, ...]
    detectors: Mapping[str, Detector]
    duplicates: int = 0


@dataclass(frozen=True)
class Accounts:
    """What became of lines (by source and outcome) and labels since ever, and the newest prediction's time."""

    lines: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    newest: float | None = None


@dataclass(frozen=True)
class ModelReport:
    """All numbers of one model at one time (Unix seconds).

    `unexpected` are features that the log has and no profile knows.
    """

    model: Model
    time: float
    versions: tuple[VersionReport, ...]
    differences: tuple[Difference, ...]
    deviations: tuple[Deviation, ...]
    pending: int
    accounts: Accounts = Accounts()
    unexpected: tuple[str, ...] = ()


def evaluate(
    state: ModelState, time: int, pending: int, waiting: Recent, other: ModelState | None = None
) -> ModelReport:
    """Compute a model's numbers at `time` (microseconds) from its counts.

    `pending` predictions wait; `waiting` counts those of them that have a label; `other` is the model
    that this one is compared with.
    """
    champion = state.champion
    versions = tuple(
        VersionReport(
            name,
            _role(state.model, name, champion),
            version.born,
            version.layout,
            version.judging.task,
            version.totals["inputs"],
            version.totals["judged"],
            tuple(_windows(state, name, time, pending, waiting)),
            dict(version.watch.detectors),
            version.duplicates,
        )
        for name, version in sorted(state.versions.items())
    )
    return ModelReport(
        state.model,
        time / MICROSECONDS,
        versions,
        tuple(differences(state, other, time - round(state.model.maturity * MICROSECONDS))),
        tuple(deviations(state, time)),
        pending,
        _accounts(state),
        tuple(sorted(state.unexpected)),
    )


def _windows(
    state: ModelState, name: str, time: int, pending: int, waiting: Recent
) -> Iterator[WindowReport]:
    model, version = state.model, state.versions[name]
    judged_time = time - round(model.maturity * MICROSECONDS)
    quality, judged = qualities(model, version, state.segments, judged_time, pending)
    for index, window in enumerate(model.windows):
        inputs = version.window("inputs", index, time)
        alert = window == model.alert_window
        shifts = _shifts(state, version, index, time, inputs, judged[index]) if alert else _Shifts()
        early = waiting.get((state.codes.index(name), index))
        yield WindowReport(
            window,
            inputs.count("rows"),
            quality[index],
            shifts.drift,
            Health.of(version.layout, inputs, window.name, state.limits) if alert else None,
            _recent(version, index, time, early) if model.labels else {},
            estimated(version.layout, inputs, quality[index].design_effect),
            shifts.impacts,
            shifts.chances,
            tuple(_joint(version, index, window.name, time)) if index == model.joint_window else (),
            shifts.cells,
            absent(version.layout, inputs),
        )


def _accounts(state: ModelState) -> Accounts:
    newest = None if state.newest is None else state.newest / MICROSECONDS
    lines = {source: dict(counts) for source, counts in state.outcomes.items()}
    return Accounts(lines, dict(state.label_outcomes), newest)


def _recent(version: VersionState, index: int, time: int, early: Tally | None) -> dict[str, float]:
    """Metrics of a window's rows up to now that have a label, mature or not."""
    task, shape = version.judging.task, version.shapes["judged"]
    parts = [tally for _, tally in version.panes["judged"][index].at(time)]
    whole = Tally.sum(shape, [*parts, *([] if early is None else [early])])
    if not whole.count("labelled"):
        return {}
    found = task.quality(Evidence(whole, [whole], {}))
    return {
        name: result.value
        for name, result in found.items()
        if name in task.recent_metrics and isinstance(result, Value)
    }


def _shifts(
    state: ModelState, version: VersionState, index: int, time: int, inputs: Tally, judged: Tally
) -> _Shifts:
    columns, window = state.columns[version.layout], state.model.windows[index].name
    current = np.array(inputs["cells"])
    if "label" in version.layout.cells:
        cells = version.layout.cells["label"]
        current[cells.offset : cells.offset + cells.bins] = judged["labels"]
    sides: dict[str, IntArray | None] = {REFERENCE: None}
    if PREVIOUS in references_of(state.model):
        sides[PREVIOUS] = version.previous_cells(index, time)
    drift, impacts, chances, _ = _Shifts()
    for reference in references_of(state.model):
        drift += tuple(columns.drifts(current, window, reference, sides[reference]))
        impacts += tuple(columns.impacts(current, reference, sides[reference]))
        chances += tuple(columns.chances(current, reference, sides[reference]))
    sums = version.window("vectors", index, time)
    drift += tuple(vector_drifts(version.layout.embeddings, sums, window, columns.limits))
    if "score" in version.layout.cells:
        drift += tuple(columns.selection("score", judged["selection"]))
    return _Shifts(drift, impacts, chances, current)


def _joint(version: VersionState, index: int, window: str, time: int) -> Iterator[JointDrift]:
    """How columns go together in a window; each method without a value where the profile does not know."""
    coding = version.layout.coding
    if coding is None:
        yield from (JointDrift(method, Unavailable("no_profile")) for method in METHODS)
    else:
        yield from coding.drifts(version.window("joint", index, time), window)


def _role(model: Model, name: str, champion: str | None) -> Role:
    if name == champion:
        return "champion"
    return "shadow" if name in model.shadow else "candidate"
