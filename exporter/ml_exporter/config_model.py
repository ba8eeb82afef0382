"""The configuration's shape: one frozen class for each mapping, attributes named as the keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from ml_exporter.config_logs import DAY, Labels, Predictions
from ml_exporter.config_types import (
    PANES,
    Count,
    DottedPath,
    Duration,
    FilePath,
    FrozenDict,
    FrozenMap,
    Label,
    Name,
    NonNegative,
    Number,
    PositiveDuration,
    Ratio,
    Section,
    Size,
    TextPattern,
    Window,
    WindowField,
)
from ml_exporter.sources.presets import with_presets

Detector = Literal["ecusum", "page_hinkley", "ddm", "adwin"]
DriftMethod = Literal[
    "psi",
    "wasserstein",
    "cramers_v",
    "ks",
    "jensen_shannon",
    "hellinger",
    "mean_shift",
    "l_infinity",
]
DriftReference = Literal["training", "previous", "mature"]
ColumnKind = Literal[
    "numeric", "categorical", "integer_category", "boolean", "text", "timestamp", "embedding", "ignore"
]

Objective = Annotated[float, Field(gt=0, lt=1)]

_DEFAULT_WINDOWS = (Window("1h", 3_600.0), Window("1d", 86_400.0), Window("7d", 604_800.0))


def _profile(value: object) -> object:
    return value if isinstance(value, Mapping) else {"default": value}


class Access(Section):
    """Users of the web config by what they may do; empty: every user."""

    scrape: tuple[Name, ...] = ()
    push: tuple[Name, ...] = ()
    admin: tuple[Name, ...] = ()


class Push(Section):
    """How many bytes of pushed records are kept for each log, and how many a request may bring."""

    spool_limit: Annotated[Size, Field(ge=2**20)] = 2**30
    body_limit: Annotated[Size, Field(ge=1024, le=2**28)] = 2**23


class Exporter(Section):
    """The exporter itself. Durations in seconds, sizes in bytes; no `state`: memory only."""

    state: FilePath | None = None
    evaluation_interval: PositiveDuration = 15.0
    birth_hold: Duration = 90.0
    pending_limit: Count = 50_000_000
    line_limit: Annotated[Size, Field(ge=1024, le=2**30)] = 2**20
    access: Access = Access()
    push: Push = Push()
    series_limit: Count = 20_000


class ProcessMatch(Section):
    """A group of processes: those whose command line `match` (a regular expression of RE2) is found in."""

    name: Name
    match: TextPattern


class Host(Section):
    """Whether the host is watched, and which of its processes."""

    enabled: bool = True
    processes: tuple[ProcessMatch, ...] = ()


class Target(Section):
    """The range in which a quality metric is to be, in the metric's unit."""

    min: Number | None = None
    max: Number | None = None


class Slo(Section):
    """The share of good predictions that is promised; `page`: whether fast burning wakes somebody."""

    objective: Objective
    tolerance: NonNegative | None = None
    page: bool = True


class Limit(Section):
    """The largest value that is still fine."""

    max: NonNegative


class RatioLimit(Section):
    """The largest share that is still fine."""

    max: Ratio


class DriftLimits(Section):
    """Limits of drift by method."""

    psi: Limit | None = None
    wasserstein: Limit | None = None
    cramers_v: Limit | None = None
    ks: Limit | None = None
    jensen_shannon: Limit | None = None
    hellinger: Limit | None = None
    mean_shift: Limit | None = None
    l_infinity: Limit | None = None
    centroid: Limit | None = None


class Drift(DriftLimits):
    """Limits of drift by method, for all columns and for some, and what is computed.

    `limits: auto` takes those that are not given from the profile.

    Without `methods`, and for kinds of columns that none of them is for, the defaults are computed;
    a method with a limit is computed in any case. The score of labelled rows is compared with that of
    all mature ones whether or not `references` names them.
    """

    columns: FrozenMap[Name, DriftLimits] = FrozenDict({})
    methods: tuple[DriftMethod, ...] | None = None
    references: Annotated[tuple[DriftReference, ...], Field(min_length=1)] = ("training",)
    pvalues: bool = False
    limits: Literal["auto", "none"] = "none"


class Multivariate(Section):
    """Limits of the drift of columns together, by method; with any of them all methods are computed."""

    pca: Limit | None = None
    correlation_max: Limit | None = None
    correlation_mean: Limit | None = None


class HealthLimits(Section):
    """Limits of the share of values that fail a check."""

    missing: RatioLimit | None = None
    wrong_type: RatioLimit | None = None
    out_of_range: RatioLimit | None = None
    unseen: RatioLimit | None = None
    outlier: RatioLimit | None = None
    empty: RatioLimit | None = None
    not_allowed: RatioLimit | None = None
    pattern: RatioLimit | None = None


class Health(HealthLimits):
    """Limits by check, for all columns and for some; `limits: auto` takes the rest from the profile."""

    columns: FrozenMap[Name, HealthLimits] = FrozenDict({})
    limits: Literal["auto", "none"] = "none"


class Latency(Section):
    """A prediction that took longer than `limit` seconds is a slow one; `objective`: the share that is not."""

    limit: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    objective: Objective = 0.99
    page: bool = True


class Errors(Section):
    """The share of predictions without an error that is promised; `page` as in `slo`."""

    objective: Objective = 0.99
    page: bool = True


class Column(Section):
    """What is known of a column better than a profile can guess it."""

    kind: ColumnKind | None = None
    min: Number | None = None
    max: Number | None = None
    allowed: tuple[Label, ...] = ()
    regex: TextPattern | None = None
    not_null: bool = False
    importance: NonNegative | None = None


_NOTHING = Column()


class QualityValue(Section):
    """What one prediction in each cell of the confusion matrix gains (or costs, below 0)."""

    tp: Number = 0.0
    fp: Number = 0.0
    fn: Number = 0.0
    tn: Number = 0.0


class IntervalFields(Section):
    """Where a predicted interval's ends stand in the record."""

    lower: DottedPath
    upper: DottedPath


class Retrain(Section):
    """How retraining is asked for."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$", repr=False)]
    headers: FrozenMap[Name, FilePath] = FrozenDict({})
    secret_file: FilePath | None = None
    cooldown: PositiveDuration = DAY
    max_per_week: Count | None = None
    max_age: PositiveDuration | None = None

    @property
    def secrets(self) -> dict[str, Path]:
        """The files that hold secrets, by key."""
        headers = {f"headers.{name}": path for name, path in self.headers.items()}
        return headers if self.secret_file is None else {**headers, "secret_file": self.secret_file}


class DeadLetter(Section):
    """Where rejected lines are kept."""

    path: FilePath
    max_bytes: Size = 2**26


class Model(Section):
    """One model: its logs, what it is compared with, and what is expected of it."""

    name: Name
    task: Literal["binary", "multiclass", "regression"] = "binary"
    team: Label = "unknown"
    profile: Annotated[
        FrozenMap[Name, FilePath],
        BeforeValidator(_profile, str | dict[str, str]),
    ] = FrozenDict({})
    shadow: tuple[Label, ...] = ()
    champion: Label | None = None
    predictions: Predictions
    labels: Labels | None = None
    positive: Label = "true"
    segments: tuple[Name, ...] = ()
    windows: Annotated[tuple[WindowField, ...], Field(min_length=1, max_length=10)] = _DEFAULT_WINDOWS
    # Read it as `alert_window`, which is never empty.
    given_alert_window: WindowField | None = Field(default=None, alias="alert_window")
    quality: FrozenMap[Name, Target] = FrozenDict({})
    calibration: RatioLimit | None = None
    slo: Slo | None = None
    drift: Drift = Drift()
    health: Health = Health()
    latency: Latency | None = None
    errors: Errors = Errors()
    version_limit: Count = 5
    segment_limit: Count = 20
    segment_roc_auc: bool = False
    class_limit: Count = 20
    export_bins: tuple[Name, ...] = ()
    cadence: Literal["stream", "batch"] = "stream"
    compare_with: Name | None = None
    max_age: PositiveDuration | None = None
    prediction_age_limit: PositiveDuration = 3_600.0
    label_delay_limit: PositiveDuration | None = None
    drifted_columns_limit: Ratio = 0.3
    multivariate: Multivariate = Multivariate()
    seasonal: Limit | None = None
    columns: FrozenMap[Name, Column] = FrozenDict({})
    quality_value: QualityValue | None = None
    top_k: Count | None = None
    interval: IntervalFields | None = None
    detectors: tuple[Detector, ...] = ("ecusum",)
    tol: Ratio = 0.02
    processes: tuple[Name, ...] = ()
    retrain: Retrain | None = None
    dead_letter: DeadLetter | None = None

    @model_validator(mode="before")
    @classmethod
    def _apply_presets(cls, data: object) -> object:
        return with_presets(data)

    @property
    def alert_window(self) -> Window:
        """The window that thresholds judge: as given, else 1d, else the longest."""
        seconds = self.given_alert_window.seconds if self.given_alert_window else DAY
        same = (window for window in self.windows if window.seconds == seconds)
        return next(same, self.windows[-1])

    @property
    def kept_panes(self) -> tuple[int, ...]:
        """How many panes of inputs each window keeps: those of the window before it where they are compared."""
        previous = "previous" in self.drift.references
        return tuple(
            2 * PANES if previous and window == self.alert_window else PANES for window in self.windows
        )

    @property
    def joint_window(self) -> int | None:
        """The place of the window in which columns are watched together, None where they are not."""
        return self.windows.index(self.alert_window) if self.multivariate.model_fields_set else None

    @property
    def maturity(self) -> float:
        """Seconds from a prediction to its judgement; 0 where the label is in the same record."""
        return self.labels.maturity if self.labels else 0.0

    @property
    def oldest(self) -> float | None:
        """Age in seconds above which the champion is to be retrained: the shorter one given, None without any."""
        given = (self.max_age, self.retrain.max_age if self.retrain else None)
        return min((age for age in given if age is not None), default=None)

    @property
    def label_field(self) -> str | None:
        """Where the label stands in the prediction's record; None where a label log is configured."""
        return None if self.labels else self.predictions.fields.label

    def profile_path(self, version: str) -> Path | None:
        """Return the profile that the version is compared with, None where it has none."""
        return self.profile.get(version, self.profile.get("default"))

    def drift_limit(self, column: str, method: str) -> float | None:
        """Return the configured limit of the column's drift by the method, None where there is none."""
        return _limit(self.drift.columns.get(column), self.drift, method)

    def multivariate_limit(self, method: str) -> float | None:
        """Return the limit of the drift of columns together by the method, None where no alert is wanted."""
        limit: Limit | None = getattr(self.multivariate, method)
        return limit.max if limit else None

    def drift_limited(self) -> bool:
        """Return whether any column has a limit of drift."""
        sections = (self.drift, *self.drift.columns.values())
        return self.drift.limits == "auto" or any(
            getattr(section, name) for section in sections for name in DriftLimits.model_fields
        )

    def health_limit(self, column: str, check: str) -> float | None:
        """Return the limit of the share of the column's values that fail the check (0..1).

        What the column must be by its own section has to hold without exception, unless its own limit
        says otherwise.
        """
        own, demands = self.health.columns.get(column), self.columns.get(column, _NOTHING)
        demanded = {"missing": demands.not_null, "not_allowed": demands.allowed, "pattern": demands.regex}
        if demanded.get(check) and getattr(own, check, None) is None:
            return 0.0
        return _limit(own, self.health, check)


class Root(Section):
    """The whole file."""

    exporter: Exporter = Exporter()
    host: Host = Host()
    models: Annotated[tuple[Model, ...], Field(min_length=1)]


def _limit(own: Section | None, common: Section, name: str) -> float | None:
    for section in (own, common):
        limit = getattr(section, name, None)
        if isinstance(limit, Limit | RatioLimit):
            return limit.max
    return None
