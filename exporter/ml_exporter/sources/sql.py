"""SQL expressions over a record: dotted paths, types, times, ids and classes.

Names come from configurations and logs, so everything that enters a statement is quoted here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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
    return [re.sub(r"\\([.\\])", r"\1", part) for part in re.findall(r"(?:\\[.\\]|[^.])+", dotted)]


def escaped(part: str) -> str:
    """Return a name as it is written in a dotted path."""
    return re.sub(r"([.\\])", r"\\\1", part)


def parents(dotted: str) -> list[str]:
    """Return the dotted paths of the objects that a path goes through, outermost first."""
    names = [escaped(part) for part in parts(dotted)]
    return [".".join(names[:depth]) for depth in range(1, len(names))]


def path(dotted: str) -> str:
    """Return the expression that reads a dotted path of the record."""
    return ".".join(map(name, parts(dotted)))


def columns(types: Mapping[str, str]) -> str:
    """Return the `columns` argument of read_json for dotted paths and their types.

    Raises ValueError where a path is a value and an object at once, or where names differ only in
    case: DuckDB cannot tell those apart.
    """
    tree: dict[str, Any] = {}
    for dotted, kind in types.items():
        *parents, leaf = parts(dotted)
        node = tree
        for parent in parents:
            node = _child(node, parent, {}, dotted)
        _child(node, leaf, kind, dotted)
    return "{" + ", ".join(f"{text(key)}: {text(_type(node))}" for key, node in tree.items()) + "}"


def _child(node: dict[str, Any], key: str, fresh: str | dict[str, Any], dotted: str) -> Any:
    other = next((known for known in node if known.lower() == key.lower()), key)
    if other != key:
        raise ValueError(f"{dotted}: differs from another path only in case ({other}, {key})")
    found = node.setdefault(key, fresh)
    if isinstance(found, str) != isinstance(fresh, str):
        raise ValueError(f"{dotted}: is a value and an object at once")
    return found


def _type(node: str | dict[str, Any]) -> str:
    if isinstance(node, str):
        return node
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
