"""Names from logs and configurations: versions, features of any name, paths."""

import numpy as np
import pytest
from tests.support.records import (
    GOOD,
    NOW,
    binary,
    block,
    decoded,
    decoder,
    line,
    masks,
    prediction,
)

from ml_exporter.sources import sql
from ml_exporter.sources.batch import INVALID
from ml_exporter.sources.decode import (
    OTHER_VERSION,
    UNKNOWN_VERSION,
    VERSION_CODES,
    Fields,
    PredictionDecoder,
)


def test_versions_are_named_as_the_log_does() -> None:
    found = decoder()
    lines = [line(prediction(version=version)) for version in ("b", 2, None, ..., "b", "a")]
    rows, _ = found.decode(block(b"".join(lines)), NOW)
    names = [rows.version_names[code] for code in rows.versions]
    assert names == ["b", "2", UNKNOWN_VERSION, UNKNOWN_VERSION, "b", "a"]
    later, _ = found.decode(block(line(prediction(version="a"))), NOW)
    assert [later.version_names[code] for code in later.versions] == ["a"]


def test_versions_beyond_those_that_are_told_apart_are_other_ones() -> None:
    found = decoder(versions=("zz",))
    names = [f"v{number:03d}" for number in range(2 * VERSION_CODES)]
    rows, outcomes = found.decode(block(b"".join(line(prediction(version=name)) for name in names)), NOW)
    told = [rows.version_names[code] for code in rows.versions]
    assert outcomes == {"accepted": len(names)}
    assert told == [*names[: VERSION_CODES - 1], *[OTHER_VERSION] * (VERSION_CODES + 1)]
    rows, _ = found.decode(block(line(prediction(version="zz"))), NOW)
    assert [rows.version_names[code] for code in rows.versions] == ["zz"]


def test_a_version_as_long_as_a_page_is_an_other_one() -> None:
    rows, _ = decoded(line(prediction(version="x" * 10_000)) + line(prediction(version="'; --")))
    assert [rows.version_names[code] for code in rows.versions] == [OTHER_VERSION, "'; --"]


def test_a_log_without_versions_or_ids() -> None:
    rows, outcomes = decoder(Fields(timestamp="ts"), binary("score")).decode(
        block(GOOD + b"\n{}\n[]\n{bad"), NOW
    )
    assert outcomes == {"accepted": 1, "no_timestamp": 1, "not_an_object": 1, "malformed": 1}
    assert [rows.version_names[code] for code in rows.versions] == [UNKNOWN_VERSION]
    assert rows.classes.tolist() == [1]


HOSTILE = [
    "select",
    "a.b",
    'a"b',
    "a'b",
    "a\\b",
    "a\\",
    "a b",
    "é日",
    "a;--",
    '{"',
    "x\ty",
    "\x01",
    "a,b)",
    "$",
    "*",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_features_of_any_name(name: str) -> None:
    path = f"features.{sql.escaped(name)}"
    fields = Fields(timestamp="ts", id="id")
    number = PredictionDecoder(fields, binary(), {name: path}, {}, {})
    # Two versions of a model may disagree about what kind of feature it is.
    both = PredictionDecoder(fields, binary(), {name: path}, {name: path}, {name: [name, "text"]})
    for value, code in ((1.5, 2), ("text", 1), (None, 3)):
        data = line(prediction(features={name: value, "other": 1}))
        for found in (number, both):
            rows, outcomes = found.decode(block(data), NOW)
            assert outcomes == {"accepted": 1}
            assert masks(rows, name) == ([value is None], [value == "text"])
        assert rows.categories[name].tolist() == [code]


def test_paths_that_contradict_each_other_are_refused() -> None:
    fields = Fields(timestamp="ts")
    with pytest.raises(ValueError, match="only in case"):
        PredictionDecoder(fields, binary(), {"a": "features.a", "A": "features.A"}, {}, {})
    with pytest.raises(ValueError, match="value and an object at once"):
        PredictionDecoder(fields, binary(), {"a": "features", "b": "features.b"}, {}, {})


def test_one_path_may_serve_two_fields() -> None:
    fields = Fields(timestamp="ts", version="version")
    found = PredictionDecoder(fields, binary("p", "p"), {"version": "version"}, {}, {})
    data = line(prediction(p=1)) + line(prediction(p="no", version="x"))
    rows, outcomes = found.decode(block(data), NOW)
    assert outcomes == {"accepted": 2}
    assert rows.scores.tolist() == [1.0, np.inf]
    assert rows.classes.tolist() == [1, INVALID]
    assert masks(rows, "version") == ([False, False], [False, True])
