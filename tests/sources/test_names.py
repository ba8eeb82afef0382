"""Names in a text column: learned block by block, with codes that stay."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.records import NOW, TIME, block, line

from ml_exporter.sources.answers import ClassForm
from ml_exporter.sources.database import Database
from ml_exporter.sources.decode import Fields, LabelDecoder, PredictionDecoder
from ml_exporter.sources.names import LONGEST

FIELDS = Fields(timestamp="ts", id="id")
SHARED = Database()
NAME = st.one_of(
    st.sampled_from(["a", "b", "A", "a.b", "other", "missing", "null", "1", "1.0", "true"]),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=5),
)


def decoder(known: Sequence[str] = (), limit: int = 250) -> PredictionDecoder:
    form = ClassForm("prediction", "label", known, {}, limit)
    return PredictionDecoder(FIELDS, form, {}, {}, {}, database=SHARED)


def classes(reader: PredictionDecoder, values: Sequence[object]) -> list[str | None]:
    """What a reader makes of a block: names, "?" for a class that is none of its own, None for none."""
    data = b"".join(line({"id": str(n), "ts": TIME, "prediction": value}) for n, value in enumerate(values))
    rows, outcomes = reader.decode(block(data), NOW)
    assert dict(outcomes) == {"accepted": len(values)}
    names = [*rows.class_names, "?"]
    return [None if code < 0 else names[code] for code in rows.classes.tolist()]


def test_a_name_that_is_learned_keeps_its_code() -> None:
    reader = decoder()
    assert classes(reader, ["b", "a", "b"]) == ["b", "a", "b"]
    assert classes(reader, ["c", "a", "b"]) == ["c", "a", "b"]
    data = line({"id": "1", "ts": TIME, "prediction": "a"})
    assert reader.decode(block(data), NOW)[0].class_names == ("a", "b", "c")


def test_names_beyond_the_limit_are_one() -> None:
    reader = decoder(limit=2)
    assert classes(reader, ["b", "a", "c"]) == ["b", "a", "?"]
    assert classes(reader, ["c", "d", "a"]) == ["?", "?", "a"]


def test_known_names_come_first_and_count_for_the_limit() -> None:
    reader = decoder(["z", "y"], 3)
    assert classes(reader, ["b", "a", "y"]) == ["?", "a", "y"]
    data = line({"id": "1", "ts": TIME, "prediction": "a"})
    assert reader.decode(block(data), NOW)[0].class_names == ("z", "y", "a")


def test_a_name_that_is_too_long_is_not_told_apart() -> None:
    reader = decoder()
    assert classes(reader, ["x" * LONGEST, "y" * (LONGEST + 1), "a"]) == ["x" * LONGEST, "?", "a"]


def test_an_empty_text_is_no_name() -> None:
    assert classes(decoder(), ["", None, "a"]) == [None, None, "a"]
    assert classes(decoder(["a"]), ["", None, "a"]) == [None, None, "a"]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1, "1"),
        (1.0, "1.0"),
        ("1", "1"),
        (True, "true"),
        (["a"], '["a"]'),
        ({"a": 1}, '{"a":1}'),
        ("a.b", "a.b"),
        ('it\'s "so"\\', 'it\'s "so"\\'),
        ("früh 🚲", "früh 🚲"),
        ("two\nlines", "two\nlines"),
        ("'; DROP TABLE pending; --", "'; DROP TABLE pending; --"),
    ],
)
def test_a_name_is_the_text_of_its_value(value: object, name: str) -> None:
    assert classes(decoder(), [value, "other one"]) == [name, "other one"]
    assert classes(decoder([name]), [value]) == [name]


def test_names_that_differ_only_in_case_are_two() -> None:
    assert classes(decoder(), ["Car", "car", "CAR"]) == ["Car", "car", "CAR"]


@settings(max_examples=10)
@given(st.lists(st.lists(NAME, min_size=1, max_size=4), min_size=1, max_size=3))
def test_readers_that_learn_in_any_order_agree_on_names(blocks: list[list[str]]) -> None:
    forwards, backwards = decoder(), decoder()
    found = [classes(forwards, own) for own in blocks]
    assert found == blocks
    assert [classes(backwards, own) for own in reversed(blocks)] == list(reversed(blocks))


def test_labels_are_learned_as_predictions_are() -> None:
    reader = LabelDecoder(FIELDS, ClassForm(None, "label", (), {}, 3))
    blocks = (["b", "a"], ["c", "d", "a"])
    for values, expected in zip(blocks, (["b", "a"], ["c", "?", "a"]), strict=True):
        data = b"".join(line({"id": str(n), "ts": TIME, "label": value}) for n, value in enumerate(values))
        rows, _ = reader.decode(block(data), NOW)
        assert [[*rows.class_names, "?"][int(code)] for code in rows.labels] == expected
