"""The configuration of a model's logs: where they are, and where in a record the values stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import PlainValidator

from ml_exporter.config_source import label_text
from ml_exporter.config_types import (
    DottedPath,
    Duration,
    FrozenDict,
    GlobPath,
    PositiveDuration,
    Ratio,
    Section,
    dotted,
    invalid,
)
from ml_exporter.sources.presets import LabelPreset, PredictionPreset

Format = Literal["jsonl", "csv", "parquet"]

DAY = 86_400.0


def _features(value: object) -> str | tuple[str, ...] | FrozenDict[str, str]:
    if isinstance(value, Mapping) and value:
        return FrozenDict({label_text(name) or str(name): dotted(path) for name, path in value.items()})
    if isinstance(value, tuple) and value and all(label_text(item) for item in value):
        return tuple(label_text(item) or "" for item in value)
    if isinstance(value, str) and value.strip():
        return value
    raise invalid(
        "is neither a path nor a list of paths",
        "name the object of features, list their paths, or write NAME: PATH",
    )


def _score(value: object) -> str | FrozenDict[str, str]:
    if not isinstance(value, Mapping):
        return dotted(value)
    return FrozenDict({label_text(name) or str(name): dotted(path) for name, path in value.items()})


class PredictionFields(Section):
    """Where the values of a prediction stand in its record, as dotted paths; None: the log has none."""

    id: DottedPath = "id"
    timestamp: DottedPath = "timestamp"
    version: DottedPath = "version"
    score: Annotated[str | FrozenDict[str, str], PlainValidator(_score, str | dict[str, str])] | None = None
    prediction: DottedPath | None = None
    label: DottedPath | None = None
    latency_seconds: DottedPath | None = None
    error: DottedPath | None = None
    features: Annotated[
        str | tuple[str, ...] | FrozenDict[str, str],
        PlainValidator(_features, str | list[str] | dict[str, str]),
    ] = "features"


class LabelFields(Section):
    """Where the values of a label stand in its record; no `timestamp`: the time it was read."""

    id: DottedPath = "id"
    timestamp: DottedPath | None = None
    label: DottedPath = "label"


def _where(value: object) -> FrozenDict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping) or not value:
        raise invalid("does not say which records to read", "write PATH: TEXT, or PATH: [TEXT, ...]")
    return FrozenDict({dotted(path): _texts(path, wanted) for path, wanted in value.items()})


def _texts(path: object, wanted: object) -> tuple[str, ...]:
    texts = [label_text(text) for text in (wanted if isinstance(wanted, tuple) else (wanted,))]
    if not texts or None in texts:
        raise invalid(
            f"{path} is neither a text nor a list of texts", "write PATH: TEXT, or PATH: [TEXT, ...]"
        )
    return tuple(text for text in texts if text is not None)


Where = Annotated[
    FrozenDict[str, tuple[str, ...]],
    PlainValidator(_where, dict[str, str | bool | float | list[str | bool | float]]),
]
"""Which records of a log are read: dotted paths with the texts that stand there."""


class Predictions(Section):
    """The prediction log: `path` is an absolute glob pattern."""

    path: GlobPath
    format: Format = "jsonl"
    fields: PredictionFields = PredictionFields()
    where: Where = FrozenDict({})
    push: bool = False
    preset: PredictionPreset | None = None


class Labels(Section):
    """The label log, and how long to wait for labels (seconds)."""

    path: GlobPath
    format: Format = "jsonl"
    fields: LabelFields = LabelFields()
    where: Where = FrozenDict({})
    push: bool = False
    preset: LabelPreset | None = None
    maturity: Duration = DAY
    wait: PositiveDuration = 30 * DAY
    min_coverage: Ratio = 0.9
    silence: Literal["unknown", "negative"] = "unknown"
    shared: bool = False
