"""Answers and labels of every task in every shape that a record may have, each with its stated outcome."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.records import BAD, NOW, TIME, block, line

from ml_exporter.sources.answers import AnswerForm, ClassForm, NumberForm
from ml_exporter.sources.batch import ABSENT, Predictions
from ml_exporter.sources.database import Database
from ml_exporter.sources.decode import Fields, LabelDecoder, PredictionDecoder
from ml_exporter.sources.follow import Follower

FIELDS = Fields(timestamp="ts", id="id")
NAN, INF = math.nan, math.inf
SHARED = Database()


def classes(known: Sequence[str] = ("a", "b"), **paths: str) -> ClassForm:
    """Classes with probabilities below "s"."""
    return ClassForm("prediction", "label", known, paths or {name: f"s.{name}" for name in known}, 250)


def numbers() -> NumberForm:
    return NumberForm("prediction", "label", ("low", "high"))


def text_of(values: dict[str, object]) -> bytes:
    """A record; NaN and infinities stand in it as Python writes them."""
    return line({"id": "1", "ts": TIME, **values})


def decoded(form: AnswerForm, *lines: bytes) -> Predictions:
    decoder = PredictionDecoder(FIELDS, form, {}, {}, {}, database=SHARED)
    rows, outcomes = decoder.decode(block(b"".join(lines)), NOW)
    counted = dict(outcomes)
    assert counted.pop("accepted") == len(rows)
    assert sum(counted.values()) == len(lines) - len(rows)
    return rows


def answer(form: AnswerForm, values: dict[str, object], bad: bool) -> tuple[object, ...]:
    """Score, class, label and details of one record, alone or beside a malformed line."""
    rows = decoded(form, text_of(values), *([BAD] if bad else []))
    (code,), names = rows.classes.tolist(), rows.class_names
    label = rows.labels[0] if rows.labels is not None else NAN
    details = () if rows.details is None else tuple(rows.details[0].tolist())
    if isinstance(form, ClassForm):
        label = None if np.isnan(label) else names[int(label)]
    return rows.scores[0], None if code == ABSENT else names[code], label, details


SCORED = {"a": 0.7, "b": 0.3}


@pytest.mark.parametrize("bad", [False, True], ids=["strictly", "leniently"])
@pytest.mark.parametrize(
    ("values", "score", "name", "label", "details"),
    [
        ({"s": SCORED, "prediction": "b", "label": "a"}, 0.7, "b", "a", (0.7, 0.3)),
        # Without a class the largest probability decides.
        ({"s": {"a": 0.2, "b": 0.8}}, 0.8, "b", None, (0.2, 0.8)),
        ({"prediction": "a"}, NAN, "a", None, (NAN, NAN)),
        ({"s": None, "prediction": "a"}, NAN, "a", None, (NAN, NAN)),
        ({"s": {}}, NAN, None, None, (NAN, NAN)),
        # What is no object has no probabilities.
        ({"s": "x"}, NAN, None, None, (NAN, NAN)),
        ({"s": 0.5}, NAN, None, None, (NAN, NAN)),
        ({"s": [0.7, 0.3]}, NAN, None, None, (NAN, NAN)),
        # An object that lacks a probability, or has something else in its place, is no score.
        ({"s": {"a": 0.7}}, INF, None, None, (0.7, NAN)),
        ({"s": {"a": "x", "b": 0.2}, "prediction": "b"}, INF, "b", None, (NAN, 0.2)),
        ({"s": {"a": NAN, "b": 0.2}}, INF, None, None, (NAN, 0.2)),
        ({"s": {"a": INF, "b": 0.2}}, INF, None, None, (INF, 0.2)),
        ({"s": {"a": 0.5, "b": 0.2, "c": 0.3}}, 0.5, "a", None, (0.5, 0.2)),
        ({"s": {"a": 1.5, "b": -0.5}}, 1.5, "a", None, (1.5, -0.5)),
        ({"s": {"a": True, "b": False}}, 1.0, "a", None, (1.0, 0.0)),
        ({"s": {"a": "0.7", "b": "0.3"}}, 0.7, "a", None, (0.7, 0.3)),
        ({"prediction": "", "label": ""}, NAN, None, None, (NAN, NAN)),
        ({"prediction": 3, "label": False}, NAN, "3", "false", (NAN, NAN)),
        ({"prediction": "new", "label": "A"}, NAN, "new", "A", (NAN, NAN)),
        ({"prediction": NAN, "label": INF}, NAN, "NaN", "Infinity", (NAN, NAN)),
    ],
)
def test_classes(
    values: dict[str, object],
    score: float,
    name: str | None,
    label: str | None,
    details: tuple[float, ...],
    bad: bool,
) -> None:
    found = answer(classes(), values, bad)
    np.testing.assert_equal(found, (score, name, label, details))


@pytest.mark.parametrize("bad", [False, True], ids=["strictly", "leniently"])
@pytest.mark.parametrize(
    ("values", "score", "label", "details"),
    [
        ({"prediction": 1.5, "label": 2, "low": 0, "high": 3}, 1.5, 2.0, (0.0, 3.0)),
        ({"prediction": "1.5", "label": " 2 "}, 1.5, 2.0, (NAN, NAN)),
        ({"prediction": None, "label": None}, NAN, NAN, (NAN, NAN)),
        ({}, NAN, NAN, (NAN, NAN)),
        # What is no number is no answer, and no label.
        ({"prediction": "soon", "label": "late"}, INF, NAN, (NAN, NAN)),
        ({"prediction": "", "label": ""}, INF, NAN, (NAN, NAN)),
        ({"prediction": [1], "label": [2]}, INF, NAN, (NAN, NAN)),
        ({"prediction": {"x": 1}, "label": {"x": 1}}, INF, NAN, (NAN, NAN)),
        ({"prediction": NAN, "label": NAN}, INF, NAN, (NAN, NAN)),
        ({"prediction": INF, "label": -INF}, INF, NAN, (NAN, NAN)),
        ({"prediction": "nan", "label": "nan"}, INF, NAN, (NAN, NAN)),
        ({"prediction": 10**400, "label": 10**400}, INF, NAN, (NAN, NAN)),
        # A truth value reads as a number where numbers are expected, and as text where a label is.
        ({"prediction": True, "label": True}, 1.0, NAN, (NAN, NAN)),
        ({"prediction": 1, "label": 1, "low": "x", "high": 3}, 1.0, 1.0, (NAN, 3.0)),
        ({"prediction": 0, "label": 1e308}, 0.0, 1e308, (NAN, NAN)),
    ],
)
def test_numbers(
    values: dict[str, object], score: float, label: float, details: tuple[float, ...], bad: bool
) -> None:
    np.testing.assert_equal(answer(numbers(), values, bad), (score, None, label, details))


class TestLabelLogs:
    def outcome(self, form: AnswerForm, value: object, bad: bool) -> str:
        data = text_of({} if value is ... else {"label": value}) + (BAD if bad else b"")
        outcomes = dict(LabelDecoder(FIELDS, form, database=SHARED).decode(block(data), NOW)[1])
        if bad:
            assert outcomes.pop("malformed") == 1
        ((found, n),) = outcomes.items()
        assert n == 1
        return found

    @pytest.mark.parametrize("bad", [False, True], ids=["strictly", "leniently"])
    @pytest.mark.parametrize(
        ("value", "number", "name"),
        [
            (1, "accepted", "accepted"),
            ("1", "accepted", "accepted"),
            ("late", "bad_label", "accepted"),
            (True, "bad_label", "accepted"),
            ([1], "bad_label", "accepted"),
            ("nan", "bad_label", "accepted"),
            (NAN, "bad_label", "accepted"),
            (-INF, "bad_label", "accepted"),
            (10**400, "bad_label", "accepted"),
            ("", "bad_label", "no_label"),
            (None, "no_label", "no_label"),
            (..., "no_label", "no_label"),
        ],
    )
    def test_each_label_has_one_outcome(self, value: object, number: str, name: str, bad: bool) -> None:
        assert self.outcome(NumberForm(None, "label"), value, bad) == number
        assert self.outcome(ClassForm(None, "label", ("a",), {}, 250), value, bad) == name


@pytest.mark.parametrize("name", ["a.b", 'say "a"', "it's", "back\\slash", "früh 🚲", "with space", "p 0"])
def test_the_probability_of_a_class_of_any_name(name: str) -> None:
    path = "s." + name.replace("\\", "\\\\").replace(".", "\\.")
    form = ClassForm("prediction", "label", [name, "b"], {name: path, "b": "s.b"}, 250)
    rows = decoded(form, text_of({"s": {name: 0.9, "b": 0.1}, "label": name}))
    assert rows.details is not None
    assert rows.labels is not None
    assert (rows.details.tolist(), rows.classes.tolist(), rows.labels.tolist()) == ([[0.9, 0.1]], [0], [0.0])


def test_without_any_probability_configured_there_are_no_details() -> None:
    form = ClassForm("prediction", None, (), {}, 250)
    rows = decoded(form, text_of({"prediction": "a", "s": SCORED}))
    assert rows.details is None
    assert rows.labels is None
    assert np.isnan(rows.scores).all()


ROWS: list[dict[str, Any]] = [
    {"id": "1", "ts": TIME, "prediction": "b", "label": "a", "s": {"a": 0.25, "b": 0.75}},
    {"id": "2", "ts": TIME, "prediction": None, "label": None, "s": {"a": 0.5, "b": 0.25}},
    {"id": "3", "ts": TIME, "prediction": "c", "label": "b", "s": {"a": None, "b": 0.5}},
    {"id": "4", "ts": TIME, "prediction": "a", "label": "b", "s": {"a": None, "b": None}},
]
NUMBERS: list[dict[str, Any]] = [
    {"id": "1", "ts": TIME, "prediction": 1.5, "label": 2.0, "low": 0.5, "high": 2.5},
    {"id": "2", "ts": TIME, "prediction": None, "label": 1e-300, "low": None, "high": 2.0},
    {"id": "3", "ts": TIME, "prediction": 0.1, "label": None, "low": 0.0, "high": None},
]


def written(folder: Path, rows: list[dict[str, Any]], form: str) -> Path:
    """The same rows as a file of each format."""
    path = folder / f"log.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        flat = [
            {key: value for key, value in row.items() if key != "s"}
            | {f"s.{name}": score for name, score in row.get("s", {}).items()}
            for row in rows
        ]
        lines = [
            list(flat[0]),
            *([json.dumps(v).strip('"') if v is not None else "" for v in r.values()] for r in flat),
        ]
        path.write_text("".join(",".join(parts) + "\n" for parts in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize(
    ("rows", "answers"), [(ROWS, classes), (NUMBERS, numbers)], ids=["classes", "numbers"]
)
def test_every_format_gives_the_same_answers(
    tmp_path: Path, form: str, rows: list[dict[str, Any]], answers: Any
) -> None:
    def read(kind: str) -> Predictions:
        path = written(tmp_path, rows, kind)
        follower = Follower(str(path), kind)
        listing = follower.look({}, False)
        blocks = [own for position in listing.positions for own in follower.blocks(position, 2**20, True)]
        assert len(blocks) == 1
        found, outcomes = PredictionDecoder(FIELDS, answers(), {}, {}, {}, form=kind).decode(blocks[0], NOW)
        assert dict(outcomes) == {"accepted": len(rows)}
        return found

    found, expected = read(form), read("jsonl")
    assert found.class_names == expected.class_names
    for name in ("ids", "times", "scores", "classes", "labels", "details"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
