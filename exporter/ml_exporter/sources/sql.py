"""SQL expressions over a record: dotted paths, types, times, ids and classes.

Names come from configurations and logs, so everything that enters a statement is quoted here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

_STEP = re.compile(r"\[\d+\]|\|json|\|csv")
_PART = re.compile(r"(.*?)((?:(?<!\\)(?:\[\d+\]|\|json|\|csv))*)", re.DOTALL)
_ELEMENT = "[]"
_TRUE = ("true", "1", "1.0")
_FALSE = ("false", "0", "0.0")


def text(value: str) -> str:
    """Return a string literal."""
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """Return a quoted identifier."""
    return '"' + value.replace('"', '""') + '"'


def parts(dotted: str) -> list[str]:
    """Return the names on a dotted path; a backslash before it makes a dot part of a name."""
    return [_plain(part) for part in _split(dotted)]


def escaped(part: str) -> str:
    """Return a name as it is written in a dotted path."""
    return re.sub(r"([.\\[|])", r"\\\1", part)


def parents(dotted: str) -> list[str]:
    """Return the dotted paths of the objects that a path goes through, outermost first.

    They end where it goes into a list or a text.
    """
    outer = _steps(dotted).outer
    names = [escaped(str(step)) for step in takewhile(lambda step: isinstance(step, str), outer)]
    return [".".join(names[:depth]) for depth in range(1, len(names))]


class _Steps(NamedTuple):
    """Names and places in lists on a path, then in the JSON or CSV that stands in a text there."""

    outer: list[str | int]
    form: str
    inner: list[str | int]


def _split(dotted: str) -> list[str]:
    return re.findall(r"(?:\\[.\\[|]|[^.])+", dotted)


def _plain(part: str) -> str:
    return re.sub(r"\\([.\\[|])", r"\1", part)


def _steps(dotted: str) -> _Steps:
    outer: list[str | int] = []
    inner: list[str | int] = []
    form = ""
    for part in _split(dotted):
        match = _PART.fullmatch(part)
        assert match is not None
        found: list[str | int] = [_plain(match[1])]
        for step in _STEP.findall(match[2]):
            if step.startswith("[") or form:
                found.append(int(step[1:-1]) if step.startswith("[") else step)
            else:
                outer, form, found = [*outer, *found], step[1:], []
        (inner if form else outer).extend(found)
    return _Steps(outer, form, inner)


def root(dotted: str) -> str:
    """Return the first name on a dotted path."""
    return str(_steps(dotted).outer[0])


def inside(dotted: str) -> bool:
    """Tell whether a path goes into a list or into a text."""
    steps = _steps(dotted)
    return bool(steps.form) or any(isinstance(step, int) for step in steps.outer)


def path(dotted: str) -> str:
    """Return the expression that reads a dotted path of the record.

    `a[0]` is the first element of a list, `a|json.b` what stands in a text that is JSON, `a|csv[0]` the
    first cell of a text that is a line of CSV.
    """
    steps = _steps(dotted)
    first, *rest = steps.outer
    found = name(str(first))
    for step in rest:
        found += f"[{step + 1}]" if isinstance(step, int) else f".{name(step)}"
    if steps.form == "json":
        keys = "".join(
            f"[{step}]" if isinstance(step, int) else f".{json.dumps(step)}" for step in steps.inner
        )
        return f"CASE WHEN json_valid({found}) THEN json_extract_string({found}, {text('$' + keys)}) END"
    if steps.form == "csv":
        cell = next((step for step in steps.inner if isinstance(step, int)), 0)
        return f"nullif(trim(string_split(split_part({found}, chr(10), 1), ',')[{cell + 1}]), '')"
    return found


def typed(dotted: str, kind: str, strict: bool) -> str:
    """Return the expression of a path as what `columns` gives a type or, inside a list or text, casts to it."""
    if kind != "DOUBLE" or not inside(dotted):
        return path(dotted)
    return f"{'CAST' if strict else 'try_cast'}({path(dotted)} AS DOUBLE)"


def columns(types: Mapping[str, str]) -> str:
    """Return the `columns` argument of read_json for dotted paths and their types.

    Elements of lists are read as text, and so are texts that hold something. Raises ValueError where a
    path is a value and an object at once, or where names differ only in case: DuckDB cannot tell those
    apart.
    """
    tree: dict[str, Any] = {}
    for dotted, kind in types.items():
        *parents, leaf = (_ELEMENT if isinstance(step, int) else step for step in _steps(dotted).outer)
        node = tree
        for parent in parents:
            node = _child(node, parent, {}, dotted)
        _child(node, leaf, kind, dotted)
        if inside(dotted):
            node[leaf] = "VARCHAR"
    return "{" + ", ".join(f"{text(key)}: {text(_type(node))}" for key, node in tree.items()) + "}"


def _child(node: dict[str, Any], key: str, fresh: str | dict[str, Any], dotted: str) -> Any:
    other = next((known for known in node if known.lower() == key.lower()), key)
    if other != key:
        raise ValueError(f"{dotted}: differs from another path only in case ({other}, {key})")
    found = node.setdefault(key, fresh)
    if isinstance(found, str) != isinstance(fresh, str) or (_ELEMENT in node and len(node) > 1):
        raise ValueError(f"{dotted}: is a value and an object at once")
    return found


def _type(node: str | dict[str, Any]) -> str:
    if isinstance(node, str):
        return node
    if _ELEMENT in node:
        return f"{_type(node[_ELEMENT])}[]"
    return "STRUCT(" + ", ".join(f"{name(key)} {_type(child)}" for key, child in node.items()) + ")"


def id_hash(expression: str) -> str:
    """Return the 64-bit key of an id, NULL where it is empty or NULL.

    It is the last 8 bytes of the MD5 of its text in UTF-8, little-endian. Numbers, truth values,
    objects and lists have the text that stands in the record.
    """
    # Equal to md5_number_lower, which takes three times as long.
    return f"(md5_number(nullif({expression}, '')) >> 64)::UBIGINT"


def microseconds(expression: str) -> str:
    """Return a time stamp as microseconds since 1970, NULL where it is none.

    `expression` is text: RFC 3339 (UTC where it has no zone; a date alone is its midnight), or a
    number of seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by its size.
    """
    # RFC 3339 allows t and z; DuckDB does not.
    date = f"coalesce(try_cast({expression} AS TIMESTAMPTZ), try_cast(upper({expression}) AS TIMESTAMPTZ))"
    number = since_1970(f"try_cast({expression} AS DOUBLE)")
    # A cast that fails is slow, so text is not tried as a number, nor a number as a date.
    return f"CASE WHEN ({expression})[5] = '-' THEN epoch_us({date}) ELSE {number} END"


def since_1970(number: str) -> str:
    """Return a number of seconds, milliseconds, microseconds or nanoseconds since 1970 in microseconds."""
    scaled = (
        f"CASE WHEN abs({number}) < 1e11 THEN {number} * 1e6 WHEN abs({number}) < 1e14 THEN {number} * 1e3 "
        f"WHEN abs({number}) < 1e17 THEN {number} ELSE {number} / 1e3 END"
    )
    return f"try_cast(round({scaled}) AS BIGINT)"


def code(expression: str, values: Sequence[str], otherwise: int) -> str:
    """Return the position of a text in `values`, `otherwise` where it is not among them or NULL."""
    listed = "[" + ", ".join(map(text, values)) + "]::VARCHAR[]"
    return f"coalesce(list_position({listed}, {expression}) - 1, {otherwise})"


def category(expression: str, values: Sequence[str]) -> str:
    """Return the code of a category: its position, their number where unseen, one more where NULL."""
    unseen, missing = len(values), len(values) + 1
    return f"CASE WHEN {expression} IS NULL THEN {missing} ELSE {code(expression, values, unseen)} END::USMALLINT"


def characters(expression: str) -> str:
    """Return the length of a text in characters, as a number."""
    return f"length({expression})::DOUBLE"


def age(now: str, time: str) -> str:
    """Return the seconds from one time to another, both in microseconds."""
    return f"({now} - {time}) / 1e6"


def vector(expression: str, size: int) -> str:
    """Return the list of numbers that a text is, NULL where it is none or has not so many items."""
    return f"try_cast({expression} AS DOUBLE[{size}])::DOUBLE[]"


def norm(expression: str, size: int) -> str:
    """Return the Euclidean norm of a list of so many numbers, NaN where one of them is missing."""
    squares = f"list_transform({vector(expression, size)}, lambda x: coalesce(x * x, 'nan'::DOUBLE))"
    return f"sqrt(list_aggregate({squares}, 'sum'))"


def differs(expression: str, pattern: str) -> str:
    """Return whether a text is there and the whole of it does not match a regular expression (of RE2)."""
    return f"coalesce(NOT regexp_full_match({expression}, {text(pattern)}), false)"


def enumeration(type_name: str, values: Sequence[str]) -> str:
    """Return the statement that makes a type for `member`: codes by hashing instead of by search."""
    return f"CREATE TEMP TYPE {name(type_name)} AS ENUM ({', '.join(map(text, values))})"


def member(expression: str, type_name: str, size: int) -> str:
    """Return what `category` does, for the `size` values of a type made by `enumeration`."""
    found = f"enum_code(try_cast({expression} AS {name(type_name)}))"
    other = f"CASE WHEN {expression} IS NULL THEN {size + 1} ELSE {size} END"
    return f"coalesce({found}, {other})::USMALLINT"


def other_than(wanted: Mapping[str, Sequence[str]]) -> str:
    """Return whether one of these texts is missing, or none of those that are wanted of it."""
    same = [f"{expression} IN {_in(values)}" for expression, values in wanted.items()]
    return f"NOT coalesce({' AND '.join(same)}, false)" if same else "false"


def binary_class(expression: str, positive: str) -> str:
    """Return 1 for the positive class, 0 for the other, -1 for NULL, -2 for what is neither.

    Where the positive class is a truth value, 1 and 1.0 mean true and 0 and 0.0 false, and anything
    else is neither; otherwise every other text is the negative class.
    """
    lowered = f"lower({expression})"
    if positive.lower() in _TRUE + _FALSE:
        truth = positive.lower() in _TRUE
        yes, no = (_TRUE, _FALSE) if truth else (_FALSE, _TRUE)
        # Nearly all values are the first two, and comparing is cheaper than lowering.
        cases = f"WHEN {expression} = {text(yes[0])} THEN 1 WHEN {expression} = {text(no[0])} THEN 0 "
        cases += f"WHEN {lowered} IN {_in(yes)} THEN 1 WHEN {lowered} IN {_in(no)} THEN 0 ELSE -2"
    else:
        cases = f"WHEN {expression} = {text(positive)} THEN 1 ELSE 0"
    return f"CASE WHEN {expression} IS NULL THEN -1 {cases} END::TINYINT"


def _in(values: Iterable[str]) -> str:
    return "(" + ", ".join(map(text, values)) + ")"
