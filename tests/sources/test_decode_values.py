"""What the values of a record become: columns with codes, missing and wrong values told apart."""

from typing import Any

import numpy as np
import pytest
from tests.support.records import (
    BAD,
    GOOD,
    MICROSECONDS,
    NOW,
    block,
    decoded,
    decoder,
    line,
    masks,
    nested,
    prediction,
    raw,
)

from ml_exporter.sources.batch import ABSENT, INVALID


def test_a_sound_record_arrives_in_all_its_columns() -> None:
    rows, _ = decoded(GOOD)
    assert rows.times.tolist() == [MICROSECONDS]
    assert [rows.version_names[code] for code in rows.versions] == ["1"]
    assert (rows.scores.tolist(), rows.classes.tolist(), rows.latency.tolist()) == ([0.75], [1], [0.25])
    assert rows.errors.tolist() == [False]
    assert rows.numbers["x"].values.tolist() == [1.5]
    assert rows.numbers["y"].values.tolist() == [2.0]
    assert rows.categories["c"].tolist() == [0]
    assert rows.labels is None
    assert masks(rows) == ([False], [False])


@pytest.mark.parametrize(
    ("text", "value", "state"),
    [
        (b"2.5", 2.5, "present"),
        (b"-0", 0.0, "present"),
        (b"1e400", np.inf, "present"),
        (b"1" + b"0" * 400, np.inf, "present"),
        (b"NaN", np.nan, "present"),
        (b"-Infinity", -np.inf, "present"),
        (b'"2.5"', 2.5, "present"),
        (b"true", 1.0, "present"),
        (b"null", np.nan, "missing"),
        (b'"abc"', np.nan, "wrong_type"),
        (b'""', np.nan, "wrong_type"),
        (b"[1]", np.nan, "wrong_type"),
        (b'{"a": 1}', np.nan, "wrong_type"),
        (nested(b"[", 2000, b"]"), np.nan, "wrong_type"),
        (nested(b'{"a":', 2000, b"}"), np.nan, "wrong_type"),
    ],
    ids=lambda value: value[:12].decode() if isinstance(value, bytes) else None,
)
def test_a_wrong_type_is_told_from_a_missing_number(text: bytes, value: float, state: str) -> None:
    found = decoder()
    for before in (b"", BAD):
        rows, outcomes = found.decode(block(before + raw(text)), NOW)
        assert outcomes["accepted"] == 1
        np.testing.assert_array_equal(rows.numbers["x"].values, [value])
        assert masks(rows) == ([state == "missing"], [state == "wrong_type"])
        assert masks(rows, "y") == ([False], [False])


@pytest.mark.parametrize(
    ("features", "missing", "wrong"),
    [
        ([1, 2], False, True),
        ("text", False, True),
        ('{"x": 1}', False, True),
        (7, False, True),
        (None, True, False),
        (..., True, False),
        ({}, True, False),
        ({"X": 1.0}, True, False),
    ],
)
def test_features_that_are_no_object(features: object, missing: bool, wrong: bool) -> None:
    rows, outcomes = decoded(line(prediction(features=features)) + GOOD + b"\n" + BAD)
    assert outcomes == {"accepted": 2, "malformed": 1}
    for name in ("x", "y"):
        assert masks(rows, name) == ([missing, False], [wrong, False])
    assert rows.categories["c"].tolist() == [3, 0]


@pytest.mark.parametrize(
    ("value", "code"),
    [("red", 0), ("blue", 1), ("Red", 2), (" red", 2), ("", 2), (7, 2), (True, 2), (["red"], 2), (None, 3)],
)
def test_categories_are_compared_exactly(value: object, code: int) -> None:
    rows, _ = decoded(line(prediction(features={"c": value})))
    assert rows.categories["c"].tolist() == [code]


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (b"0.5", 0.5),
        (b'"0.5"', 0.5),
        (b"null", np.nan),
        (b"NaN", np.inf),
        (b'"high"', np.inf),
        (b"[0.5]", np.inf),
    ],
)
def test_a_score_that_is_no_number_is_not_taken_for_a_missing_one(text: bytes, score: float) -> None:
    found = decoder()
    for before in (b"", BAD):
        rows, _ = found.decode(block(before + raw(text, "score")), NOW)
        np.testing.assert_array_equal(rows.scores, [score])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"prediction": True}, 1),
        ({"prediction": False}, 0),
        ({"prediction": 1}, 1),
        ({"prediction": "0"}, 0),
        ({"prediction": "late"}, INVALID),
        ({"prediction": [True]}, INVALID),
        ({"prediction": ..., "score": 0.5}, 1),
        ({"prediction": ..., "score": 0.49}, 0),
        ({"prediction": ..., "score": ...}, ABSENT),
    ],
)
def test_the_predicted_class(changes: dict[str, Any], code: int) -> None:
    rows, _ = decoded(line(prediction(**changes)))
    assert rows.classes.tolist() == [code]


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        ("timeout", True),
        (True, True),
        ({"code": 7}, True),
        (500, True),
        (..., False),
        (None, False),
        ("", False),
        (False, False),
    ],
)
def test_a_request_with_an_error_has_failed(error: object, failed: bool) -> None:
    rows, _ = decoded(line(prediction(error=error, score=..., prediction=...)))
    assert rows.errors.tolist() == [failed]


def test_latency_that_is_no_number_is_none() -> None:
    rows, outcomes = decoded(line(prediction(latency_s="slow")) + line(prediction(latency_s=...)))
    assert outcomes == {"accepted": 2}
    assert np.isnan(rows.latency).all()


def test_good_lines_mean_the_same_strictly_and_leniently() -> None:
    random = np.random.default_rng(5)
    records = []
    for number in range(300):
        features = {"x": float(random.normal()), "y": None, "c": str(random.choice(["red", "blue", "new"]))}
        score = float(random.uniform()) if number % 7 else None
        records.append(line(prediction(id=number, score=score, features=features, version=str(number % 3))))
    strict, _ = decoded(b"".join(records))
    lenient, outcomes = decoded(BAD + b"".join(records))
    assert outcomes == {"accepted": 300, "malformed": 1}
    for name in ("ids", "times", "versions", "scores", "classes", "latency", "errors"):
        np.testing.assert_array_equal(getattr(strict, name), getattr(lenient, name))
    for name in ("x", "y"):
        np.testing.assert_array_equal(strict.numbers[name].values, lenient.numbers[name].values)
        assert masks(strict, name) == masks(lenient, name)
    np.testing.assert_array_equal(strict.categories["c"], lenient.categories["c"])


def test_after_a_bad_block_good_ones_are_still_read_right() -> None:
    found = decoder()
    found.decode(block(BAD), NOW)
    for number in range(20):
        rows, outcomes = found.decode(block(raw(b"null" if number % 2 else b"1")), NOW)
        assert outcomes == {"accepted": 1}
        assert masks(rows) == ([number % 2 == 1], [False])


def test_blocks_of_one_length_are_not_confused() -> None:
    found = decoder()
    for number in range(10, 30):
        rows, _ = found.decode(block(raw(str(number).encode())), NOW)
        assert rows.numbers["x"].values.tolist() == [number]
