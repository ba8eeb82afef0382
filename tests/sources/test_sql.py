"""SQL expressions: time stamps, ids, classes, paths and their quoting."""

import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_exporter.sources import sql

TIME = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z in microseconds


@pytest.fixture(scope="module")
def database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.execute("SET timezone = 'UTC'")
    return connection


def evaluate(database: duckdb.DuckDBPyConnection, expression: str, value: str | None) -> Any:
    """The value of an expression over a text named `value`."""
    row = database.execute(f"SELECT {expression} FROM (SELECT ?::VARCHAR AS value)", [value]).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("2026-01-01T00:00:00Z", TIME),
        ("2026-01-01T00:00:00.5Z", TIME + 500_000),
        ("2026-01-01T00:00:00.123456Z", TIME + 123_456),
        ("2026-01-01T00:00:00.123456789Z", TIME + 123_456),
        ("2026-01-01t00:00:00z", TIME),
        ("2026-01-01 00:00:00Z", TIME),
        ("2026-01-01T02:00:00+02:00", TIME),
        ("2025-12-31T18:30:00-05:30", TIME),
        ("2026-01-01T02:00:00+02", TIME),
        ("2026-01-01T00:00:00", TIME),
        ("2026-01-01 00:00:00.25", TIME + 250_000),
        ("2026-01-01", TIME),
        ("1969-12-31T23:59:59Z", -1_000_000),
        ("1767225600", TIME),
        ("1767225600.25", TIME + 250_000),
        ("1767225600000", TIME),
        ("1767225600000000", TIME),
        ("1767225600000001", TIME + 1),
        ("1767225600000000000", TIME),
        ("1.7672256e9", TIME),
        ("0", 0),
        ("-1", -1_000_000),
    ],
)
def test_time_stamps(database: duckdb.DuckDBPyConnection, text: str, microseconds: int) -> None:
    assert evaluate(database, sql.microseconds("value"), text) == microseconds


NO_TIMES = """
now today yesterday epoch infinity -infinity inf nan true 2026-02-30T00:00:00Z 2026-13-01 2026-01-01T25:00:00Z
20260101T000000Z 01/02/2026 1e300 -1e300 999999-01-01T00:00:00Z {} [1] 2026- 2026-01-01T00:00:00Zulu
"""


@pytest.mark.parametrize("text", [None, "", " ", *NO_TIMES.split()])
def test_what_is_no_time_stamp(database: duckdb.DuckDBPyConnection, text: str | None) -> None:
    assert evaluate(database, sql.microseconds("value"), text) is None


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
@settings(max_examples=50)
def test_an_id_is_the_end_of_the_md5_of_its_text(database: duckdb.DuckDBPyConnection, text: str) -> None:
    # Stored predictions and labels meet by this number: it must not change from release to release.
    expected = int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[8:], "little")
    assert evaluate(database, sql.id_hash("value"), text) == expected


def test_the_hash_of_an_id_that_is_known_by_heart(database: duckdb.DuckDBPyConnection) -> None:
    assert evaluate(database, sql.id_hash("value"), "a") == 7_000_413_967_451_013_937


@pytest.mark.parametrize("text", [None, ""])
def test_no_id_has_no_hash(database: duckdb.DuckDBPyConnection, text: str | None) -> None:
    assert evaluate(database, sql.id_hash("value"), text) is None


@pytest.mark.parametrize(
    ("positive", "classes"),
    [
        ("true", {"true": 1, "TRUE": 1, "1": 1, "1.0": 1, "false": 0, "False": 0, "0": 0, "0.0": 0}),
        ("1", {"true": 1, "1": 1, "0": 0, "false": 0, "2": -2, "": -2, "yes": -2}),
        ("false", {"true": 0, "1": 0, "false": 1, "0": 1, "perhaps": -2}),
        ("fraud", {"fraud": 1, "Fraud": 0, "legal": 0, "true": 0, "": 0}),
        ("it's", {"it's": 1, "its": 0}),
    ],
)
def test_classes(database: duckdb.DuckDBPyConnection, positive: str, classes: dict[str, int]) -> None:
    expression = sql.binary_class("value", positive)
    assert {text: evaluate(database, expression, text) for text in classes} == classes
    assert evaluate(database, expression, None) == -1


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


@given(names=st.lists(NAMES, min_size=1, max_size=5))
def test_a_path_of_any_names_comes_apart_again(names: list[str]) -> None:
    dotted = ".".join(map(sql.escaped, names))
    assert sql.parts(dotted) == names
    assert [sql.parts(parent) for parent in sql.parents(dotted)] == [names[:n] for n in range(1, len(names))]


def test_paths_are_written_as_people_expect() -> None:
    assert sql.parts("a.b.c") == ["a", "b", "c"]
    assert sql.parts(r"a\.b.c") == ["a.b", "c"]
    assert sql.parts(r"a\b") == [r"a\b"]
    assert sql.parents("a.b.c") == ["a", "a.b"]
    assert sql.path('a.select."x"') == '"a"."select"."""x"""'


@given(name=NAMES)
@settings(max_examples=50)
def test_names_and_texts_are_quoted(database: duckdb.DuckDBPyConnection, name: str) -> None:
    row = database.execute(f"SELECT {sql.text(name)} AS {sql.name(name)}")
    assert row.description[0][0] == name
    assert row.fetchone() == (name,)


def test_columns_nest_as_the_paths_do() -> None:
    types = {"id": "VARCHAR", "f.x": "DOUBLE", "f.g.y": "DOUBLE", r"f.a\.b": "VARCHAR"}
    nested = """'STRUCT("x" DOUBLE, "g" STRUCT("y" DOUBLE), "a.b" VARCHAR)'"""
    assert sql.columns(types) == "{'id': 'VARCHAR', 'f': " + nested + "}"


@pytest.mark.parametrize("paths", [("a", "a.b"), ("a.b", "a"), ("f.x", "f.X"), ("É", "é"), ("F.a", "f.b")])
def test_columns_that_cannot_be_told_apart_are_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"object at once|only in case"):
        sql.columns(dict.fromkeys(paths, "DOUBLE"))


VALUES = ["red", "", "it's", 'say "x"', "é日", "red ", "NULL", "null"]


def test_codes_by_list_and_by_type_agree(database: duckdb.DuckDBPyConnection) -> None:
    database.execute(sql.enumeration('colour "1"', VALUES))
    by_list = sql.category("value", VALUES)
    by_type = sql.member("value", 'colour "1"', len(VALUES))
    for text in (*VALUES, "Red", " red", "blue", None):
        expected = VALUES.index(text) if text in VALUES else len(VALUES) + (text is None)
        assert evaluate(database, by_list, text) == evaluate(database, by_type, text) == expected


def test_a_column_without_known_values(database: duckdb.DuckDBPyConnection) -> None:
    database.execute(sql.enumeration("none", []))
    for text, code in (("red", 0), (None, 1)):
        assert evaluate(database, sql.member("value", "none", 0), text) == code
        assert evaluate(database, sql.category("value", []), text) == code


def test_a_code_that_is_not_listed(database: duckdb.DuckDBPyConnection) -> None:
    assert evaluate(database, sql.code("value", ["a", "b"], -7), "b") == 1
    assert evaluate(database, sql.code("value", ["a", "b"], -7), "c") == -7
    assert evaluate(database, sql.code("value", ["a", "b"], -7), None) == -7


@pytest.mark.parametrize(
    ("path", "record", "value"),
    [
        ("a[0]", {"a": [7, 8]}, "7"),
        ("a[1].b", {"a": [{"b": 1}, {"b": "x"}]}, "x"),
        ("a[0][1]", {"a": [[1, 2], [3]]}, "2"),
        ("a[5]", {"a": [1]}, None),
        ("a[0]", {"a": []}, None),
        ("a[0]", {}, None),
        ("a|json.b[0]", {"a": '{"b": [2.5]}'}, "2.5"),
        ("a|json[1]", {"a": "[1, 2]"}, "2"),
        ("a|json.b.c", {"a": '{"b": {"c": "x"}}'}, "x"),
        ('a|json.it\'s "it"', {"a": json.dumps({'it\'s "it"': 1})}, "1"),
        ("a|json.b", {"a": "no json"}, None),
        ("a|csv[0]", {"a": " 1.5,abc\n2,3"}, "1.5"),
        ("a|csv[1]", {"a": "1.5,abc\n2,3"}, "abc"),
        ("a|csv", {"a": "0.7"}, "0.7"),
        ("a|csv[2]", {"a": "1,2"}, None),
        ("a|csv[0]", {"a": ""}, None),
        ("a\\[0]", {"a[0]": "x"}, "x"),
        ("a\\|json", {"a|json": "x"}, "x"),
        ("price [USD]", {"price [USD]": "x"}, "x"),
        ("a|b", {"a|b": "x"}, "x"),
    ],
)
def test_paths_into_lists_and_texts(
    database: duckdb.DuckDBPyConnection, tmp_path: Path, path: str, record: dict[str, Any], value: str | None
) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    columns = sql.columns({path: "VARCHAR"})
    source = f"read_json('{tmp_path}/log.jsonl', format='newline_delimited', records=true, columns={columns})"
    assert database.execute(f"SELECT {sql.path(path)} FROM {source}").fetchall() == [(value,)]


def test_many_paths_into_one_record(database: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    record = {"o": [{"data": [0.5, "x"], "name": "p"}], "t": '{"a": 1, "b": 2}', "plain": 3}
    (tmp_path / "log.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    types = {"o[0].data[0]": "DOUBLE", "o[0].data[1]": "VARCHAR", "o[0].name": "VARCHAR"}
    types |= {"t|json.a": "DOUBLE", "t|json.b": "DOUBLE", "plain": "DOUBLE"}
    values = ", ".join(sql.typed(path, kind, strict=True) for path, kind in types.items())
    source = f"read_json('{tmp_path}/log.jsonl', format='newline_delimited', records=true, columns={sql.columns(types)})"
    assert database.execute(f"SELECT {values} FROM {source}").fetchall() == [(0.5, "x", "p", 1.0, 2.0, 3.0)]


@pytest.mark.parametrize("paths", [("a", "a[0]"), ("a.b", "a[0]"), ("a[0].b", "a[0]"), ("a[0]", "a.b")])
def test_a_value_is_no_list(paths: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="is a value and an object at once"):
        sql.columns(dict.fromkeys(paths, "VARCHAR"))


@given(st.text(min_size=1))
def test_a_name_that_is_escaped_is_one_name(name: str) -> None:
    assert sql.parts(sql.escaped(name)) == [name]
    assert sql.path(sql.escaped(name)) == sql.name(name)
    assert not sql.inside(sql.escaped(name))
