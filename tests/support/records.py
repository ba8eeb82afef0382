"""Log lines: records with everything in them, of which a test changes what it is about."""

import json
from typing import Any

import numpy as np

from ml_exporter.sources.answers import AnswerForm, BinaryForm
from ml_exporter.sources.batch import Predictions
from ml_exporter.sources.blocks import Block
from ml_exporter.sources.decode import Fields, LabelDecoder, PredictionDecoder
from ml_exporter.sources.files import Position

NOW = 1_767_312_000_000_000  # 2026-01-02T00:00:00Z in microseconds
TIME = "2026-01-01T00:00:00.000Z"
MICROSECONDS = 1_767_225_600_000_000  # TIME

FIELDS = Fields(
    timestamp="ts",
    id="id",
    version="version",
    latency_seconds="latency_s",
    error="error",
)


def binary(
    score: str | None = None, prediction: str | None = None, label: str | None = None, positive: str = "true"
) -> BinaryForm:
    """Where a binary answer stands."""
    return BinaryForm(score, prediction, label, positive)


ANSWERS = binary("score", "prediction")


def prediction(**changes: Any) -> dict[str, Any]:
    """A sound prediction; `changes` replace its fields, and ... leaves one out."""
    record = {
        "id": "a",
        "ts": TIME,
        "version": "1",
        "score": 0.75,
        "prediction": True,
        "latency_s": 0.25,
        "features": {"x": 1.5, "y": 2, "c": "red"},
    }
    return {key: value for key, value in (record | changes).items() if value is not ...}


def label(**changes: Any) -> dict[str, Any]:
    """A sound label; `changes` as for `prediction`."""
    record = {"id": "a", "ts": TIME, "label": True} | changes
    return {key: value for key, value in record.items() if value is not ...}


def line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def raw(value: bytes, field: str = "x") -> bytes:
    """A line with bytes of a test's own where a field's value stands."""
    mark = "\0value\0"
    record = prediction()
    (record["features"] if field in record["features"] else record)[field] = mark
    return line(record).replace(json.dumps(mark).encode(), value)


GOOD = line(prediction()).rstrip(b"\n")
BAD = b"{bad\n"
"""A line that makes a block fail the strict look, so that it is read leniently."""


def nested(text: bytes, depth: int, end: bytes) -> bytes:
    """Deeply nested JSON."""
    return text * depth + b"1" + end * depth


def block(data: bytes) -> Block:
    """A block of lines, wherever they stand."""
    position = Position("log", "", 0, 0)
    return Block(data, position, position)


def decoder(
    fields: Fields = FIELDS, answers: AnswerForm = ANSWERS, versions: tuple[str, ...] = ()
) -> PredictionDecoder:
    """A decoder of two numbers and a category with two values."""
    numbers = {"x": "features.x", "y": "features.y"}
    return PredictionDecoder(fields, answers, numbers, {"c": "features.c"}, {"c": ["red", "blue"]}, versions)


def label_decoder() -> LabelDecoder:
    return LabelDecoder(Fields(timestamp="ts", id="id"), binary(label="label"))


def decoded(data: bytes) -> tuple[Predictions, dict[str, int]]:
    """What a fresh decoder makes of some lines."""
    rows, outcomes = decoder().decode(block(data), NOW)
    return rows, dict(outcomes)


def masks(rows: Predictions, name: str = "x") -> tuple[list[bool], list[bool]]:
    """Where a number is missing, and where it is of a wrong type."""
    column = rows.numbers[name]
    none = np.zeros(len(rows), np.bool_)
    missing = none if column.missing is None else column.missing
    wrong = none if column.wrong_type is None else column.wrong_type
    return missing.tolist(), wrong.tolist()
