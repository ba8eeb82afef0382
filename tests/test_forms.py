"""What configurations and profiles say of classes, segments and where answers stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.made import fields, site_of

from ml_exporter.config import Model
from ml_exporter.forms import class_slots, details, known_values, label_form, prediction_form, segment_slots
from ml_exporter.layout import Layout
from ml_exporter.profile import CategoricalColumn, Profile
from ml_exporter.slots import Slots
from ml_exporter.sources.answers import BinaryForm, ClassForm, NumberForm


def layout(**columns: dict[str, int]) -> Layout:
    """A layout of categorical columns, given as rows by category."""
    made = {
        name: CategoricalColumn(
            kind="categorical",
            categories=tuple(rows),
            rare=("rare one",),
            counts=(*rows.values(), 1, 0),
            missing=0,
        )
        for name, rows in columns.items()
    }
    return Layout(
        Profile(
            format=1,
            model="m",
            task="multiclass",
            rows=9,
            labelled=9,
            first="",
            last="",
            windows={},
            columns=made,
            ignored={},
            quality={},
        )
    )


def configured(folder: Path, task: str = "multiclass", score: object = "s", **more: object) -> Model:
    return site_of(folder, task, fields(score=score), **more).config().models[0]


NONE = {"default": Layout(None)}
SEEN = {"default": layout(label={"car": 5, "bike": 9}, k={"x": 3, "y": 7})}
BOTH = {**SEEN, "2": layout(label={"tram": 20, "bike": 1}, k={"z": 9})}


class TestClasses:
    def test_a_mapping_names_them_whatever_profiles_say(self, tmp_path: Path) -> None:
        model = configured(tmp_path, score={"tram": "t", "bus": "b"})
        assert class_slots(model, SEEN).names == ["bus", "tram"]

    def test_those_of_all_profiles_are_known(self, tmp_path: Path) -> None:
        assert class_slots(configured(tmp_path), BOTH).names == ["bike", "car", "tram"]

    def test_the_most_frequent_ones_have_the_places(self, tmp_path: Path) -> None:
        slots = class_slots(configured(tmp_path, class_limit=2), BOTH)
        assert (slots.names, slots.size) == (["bike", "tram"], 2)

    def test_nobody_knows_them(self, tmp_path: Path) -> None:
        slots = class_slots(configured(tmp_path, class_limit=7), NONE)
        assert (slots.names, slots.size) == ([], 7)

    def test_their_order_does_not_hang_on_their_numbers(self, tmp_path: Path) -> None:
        model = configured(tmp_path)
        other = {"default": layout(label={"car": 9, "bike": 5})}
        assert class_slots(model, SEEN).names == class_slots(model, other).names


def test_values_of_profiles_come_the_most_frequent_first() -> None:
    assert known_values(BOTH.values(), "label") == ["tram", "bike", "car"]
    assert known_values(BOTH.values(), "k") == ["z", "y", "x"]
    assert known_values(BOTH.values(), "nothing") == []


def test_segments_know_the_values_of_the_profile_or_none(tmp_path: Path) -> None:
    model = configured(tmp_path, segments=["k", "new"], segment_limit=2)
    found = segment_slots(model, BOTH)
    assert list(found) == ["k", "new"]
    assert (found["k"].names, found["new"].names, found["new"].size) == (["z", "y"], [], 2)


@pytest.mark.parametrize(
    ("score", "paths", "number"),
    [
        ("s", ["s.bike", "s.car"], 2),
        ("deep.s", ["deep.s.bike", "deep.s.car"], 2),
        ({"car": "p_car", "bike": "p.b"}, ["p.b", "p_car"], 2),
        (..., [], 0),
    ],
)
def test_where_probabilities_stand(tmp_path: Path, score: object, paths: list[str], number: int) -> None:
    model = configured(tmp_path, score=score)
    form = prediction_form(model, SEEN)
    assert isinstance(form, ClassForm)
    assert form.numbers == paths
    assert details(model, SEEN) == number


def test_names_with_dots_are_one_part_of_a_path(tmp_path: Path) -> None:
    form = prediction_form(configured(tmp_path), {"default": layout(label={"a.b": 1, "c\\d": 2})})
    assert form.numbers == ["s.a\\.b", "s.c\\\\d"]


def test_classes_that_differ_only_in_case_have_no_probabilities(tmp_path: Path) -> None:
    """No reader tells such names apart; classes are judged all the same."""
    layouts = {"default": layout(label={"Car": 1, "car": 2})}
    model = configured(tmp_path)
    assert (prediction_form(model, layouts).numbers, details(model, layouts)) == ([], 0)
    assert class_slots(model, layouts).names == ["Car", "car"]


def test_without_known_classes_there_are_no_probabilities(tmp_path: Path) -> None:
    model = configured(tmp_path)
    assert (prediction_form(model, NONE).numbers, details(model, NONE)) == ([], 0)


@pytest.mark.parametrize(
    ("task", "form", "more", "number"),
    [
        ("binary", BinaryForm, {}, 0),
        ("regression", NumberForm, {}, 0),
        ("regression", NumberForm, {"interval": {"lower": "a", "upper": "b"}}, 2),
    ],
)
def test_the_other_tasks(tmp_path: Path, task: str, form: type, more: dict[str, Any], number: int) -> None:
    model = configured(tmp_path, task, "score" if task == "binary" else ..., **more)
    assert isinstance(prediction_form(model, NONE), form)
    assert isinstance(label_form(model, NONE), form)
    assert details(model, NONE) == number


def test_slots_are_those_that_readers_know(tmp_path: Path) -> None:
    """Columns of probabilities and codes of classes have one order."""
    model = configured(tmp_path)
    form, slots = prediction_form(model, BOTH), class_slots(model, BOTH)
    assert isinstance(slots, Slots)
    assert [path.removeprefix("s.") for path in form.numbers] == slots.names
