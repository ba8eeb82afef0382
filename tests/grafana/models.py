"""The made-up models of the page that dashboards are tried on: one of each task, and one that is new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

WINDOWS = ("1m", "5m", "15m")
JUDGED = "15m"
COLUMNS = ("carrier", "distance", "score", "seats", "wind_speed", "hour", "label")


@dataclass(frozen=True)
class Made:
    """One model: its metrics with their values, targets by metric and bound, and what it has.

    `labelled` is false where no label has come yet; `answer` is the column whose bins are known;
    `compared` are the candidate's differences by metric.
    """

    name: str
    task: str
    metrics: Mapping[str, float]
    targets: Mapping[tuple[str, str], float]
    versions: tuple[str, ...] = ("1",)
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ("prediction",)
    answer: str = "prediction"
    labelled: bool = True
    segments: Mapping[tuple[str, str], float] = field(default_factory=dict)
    compared: Mapping[str, float] = field(default_factory=dict)

    @property
    def scored(self) -> bool:
        """Whether there is a score that can be calibrated."""
        return self.task == "binary"


# The champion misses its Brier target for sure, and meets the other. Each segment's value is that much
# better or worse than the whole. The candidate is better, worse and not decided.
BINARY = Made(
    "flight-delay",
    "binary",
    {"accuracy": 0.74, "brier_score": 0.25, "roc_auc": 0.74},
    {("brier_score", "max"): 0.18, ("roc_auc", "min"): 0.7},
    versions=("1", "2"),
    classes=("negative", "positive"),
    columns=COLUMNS,
    answer="score",
    segments={("carrier", "AA"): 0.1, ("carrier", "UA"): -0.1, ("origin", "JFK"): 0.0},
    compared={"brier_score": 0.01, "log_loss": -0.01, "roc_auc": 0.001},
)
MULTICLASS = Made(
    "flight-outcome",
    "multiclass",
    {"accuracy": 0.8, "f1_macro": 0.4},
    {("accuracy", "min"): 0.7},
    classes=("cancelled", "late", "on_time"),
    columns=("score", "prediction"),
    answer="score",
)
REGRESSION = Made(
    "delay-minutes",
    "regression",
    {"mean_absolute_error": 20.0, "r2_score": 0.2},
    {("mean_absolute_error", "max"): 28},
)
NEW = Made(
    "gate-change",
    "binary",
    {"accuracy": 0.6, "roc_auc": 0.8},
    {("accuracy", "min"): 0.7, ("roc_auc", "min"): 0.7},
    classes=("negative", "positive"),
    columns=("score",),
    answer="score",
    labelled=False,
)
MODELS = (BINARY, MULTICLASS, REGRESSION, NEW)

_NO_LABELS = "no label has come yet"
_ONE_VERSION = "there is one version"
_NO_CLASSES = "errors of numbers have no classes"
_NO_SEGMENTS = "no segments are configured"
_NO_SCORES = "only scores of two classes are calibrated"
_NO_WEEKS = "there are no weeks yet"
_BY_CLASS = "Which class does the champion know worst?"
_MISTAKES = "Which mistakes does the champion make?"
_CALIBRATION = "Are the champion's scores the probabilities they seem to be?"
_NOW = "What does every metric say now, and how surely?"
_ALONE = {
    "Which version is best, and how surely?": _ONE_VERSION,
    "Does the difference in $metric become certain?": _ONE_VERSION,
    "Which segments are worst in $metric?": _NO_SEGMENTS,
}

# Titles of panels, or titles with the letters of their queries, that show nothing for a model, and why.
EMPTY: Mapping[str, Mapping[str, str]] = {
    BINARY.name: {_BY_CLASS: "two classes have their metrics in the table of all metrics"},
    MULTICLASS.name: {**_ALONE, _CALIBRATION: _NO_SCORES},
    REGRESSION.name: {
        **_ALONE,
        _BY_CLASS: _NO_CLASSES,
        _MISTAKES: _NO_CLASSES,
        _CALIBRATION: _NO_SCORES,
        "Are labelled predictions a fair sample of all?": "there are no scores to compare",
    },
    NEW.name: {
        **_ALONE,
        _BY_CLASS: _NO_LABELS,
        "What share of labelled predictions is right?": _NO_LABELS,
        "What share of the champion's mature predictions has a label? [A]": _NO_LABELS,
        "Are labelled predictions a fair sample of all?": _NO_LABELS,
        "How many labelled predictions is quality computed from?": _NO_LABELS,
        "Which version does better in $metric?": _NO_LABELS,
        "What does each metric say of each version?": _NO_LABELS,
        "How far is the last hour from the same hour of earlier weeks? [A]": _NO_WEEKS,
        "Is there more or less traffic than at this hour of earlier weeks? [A]": _NO_WEEKS,
        "What becomes of the labels?": _NO_LABELS,
        **{f"{_CALIBRATION} [{letter}]": _NO_LABELS for letter in "AB"},
        **{f"{_NOW} [{letter}]": _NO_LABELS for letter in "ABCDFHI"},
        **{f"Is $metric as good as it has to be? [{letter}]": _NO_LABELS for letter in "ABC"},
        **{f"Has $metric changed since the reference? [{letter}]": _NO_LABELS for letter in "AB"},
        "What is $metric expected to be, before its labels come? [E]": _NO_LABELS,
    },
}
