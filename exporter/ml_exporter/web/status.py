"""What the status page shows, as plain values: the page is made of nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["failing", "warning", "notice", "unjudged", "fine"]
"""How something stands: pages somebody, opens a ticket, good to know, not to be told, or well."""

LEVELS: tuple[Level, ...] = ("failing", "warning", "notice", "unjudged", "fine")
"""All of them, worst first."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong now; `alert` is the rule that watches it, empty where none does."""

    level: Level
    title: str
    text: str
    alert: str = ""


@dataclass(frozen=True, slots=True)
class Number:
    """A statistic with its bounds, None where it has none, and the number of rows behind it."""

    value: float
    lower: float | None
    upper: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric of the champion in the alert window, or in `missing` the reason why there is none.

    `low` and `high` are its target, `reference` is what the profile's rows had, `estimate` what is
    expected of the rows that have no label yet. `level` is fine where the target is surely met, failing
    where it is surely missed.
    """

    metric: str
    found: Number | None
    missing: str = ""
    low: float | None = None
    high: float | None = None
    reference: float | None = None
    estimate: Number | None = None
    level: Level = "unjudged"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Shares of a column's bins, the last of them that of missing values, now and in the reference."""

    bins: tuple[str, ...]
    now: tuple[float, ...]
    reference: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Shift:
    """One column's distance from its reference (training: the profile) by one method."""

    column: str
    method: str
    reference: str
    value: float
    noise: float | None
    limit: float | None
    drifted: bool
    histogram: Histogram | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The share of a column's values that fail a check, the limit where there is one, and what chance explains."""

    column: str
    check: str
    count: int
    rows: int
    limit: float | None
    noise: float | None = None

    @property
    def share(self) -> float:
        """Failed ones of all (0..1)."""
        return self.count / self.rows if self.rows else 0.0

    @property
    def over(self) -> bool:
        """Whether the limit is exceeded, and not by chance."""
        return self.limit is not None and self.share > max(self.limit, self.noise or 0.0)


@dataclass(frozen=True, slots=True)
class LabelStatus:
    """What is known of labels: those of the champion's mature predictions, and what became of all."""

    mature: int
    labelled: int
    smallest_coverage: float | None
    pending: int
    outcomes: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version in the alert window; `verdict` tells how it compares with the champion."""

    name: str
    role: str
    predictions: int
    profile: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Missing:
    """Statistics that cannot be computed: what, in which windows, why, and how many of them."""

    subject: str
    windows: tuple[str, ...]
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model in short. Numbers are the champion's over `window`; `reason` says why it is in its state.

    `measures` are the metrics with a target, `coverage` the share of mature predictions with a label,
    None where none is mature or labels are not expected.
    """

    name: str
    task: str = ""
    team: str = ""
    window: str = ""
    level: Level = "unjudged"
    reason: str = ""
    troubles: tuple[Trouble, ...] = ()
    newest: float | None = None
    measures: tuple[Measure, ...] = ()
    compared: int = 0
    drifted: int = 0
    checked: int = 0
    exceeded: int = 0
    coverage: float | None = None


@dataclass(frozen=True, slots=True)
class ModelDetail:
    """The rest of what is shown of a model.

    `others` are metrics without a target, `shifts` the columns that moved most, `failures` the checks
    that failed most, all of those that exceed their limit among them.
    """

    predictions: int = 0
    others: tuple[Measure, ...] = ()
    shifts: tuple[Shift, ...] = ()
    failures: tuple[Failure, ...] = ()
    labels: LabelStatus | None = None
    versions: tuple[VersionStatus, ...] = ()
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True)
class LogStatus:
    """One log of a model: how far it is read, what is wrong with it, and what became of its lines.

    `behind` is how far the read position is behind the clock in seconds, None where that is not known.
    """

    model: str
    source: str
    path: str
    problem: str = ""
    lag: int = 0
    behind: float | None = 0.0
    accepted: int = 0
    rejected: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What one evaluation has found, as of `time` (Unix seconds).

    `detail` tells more of one model, by its place in `models`; it is asked for those that are shown in full.
    """

    time: float
    detail: Callable[[int], ModelDetail]
    models: tuple[ModelStatus, ...] = ()
    logs: tuple[LogStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """What the page shows: the exporter's own state at `clock` (Unix seconds), and the newest report."""

    version: str
    clock: float
    troubles: tuple[Trouble, ...] = ()
    report: Report | None = None
