"""SQL expressions over a record: dotted paths, types, times, ids and classes.

Names come from configurations and logs, so everything that enters a statement is quoted here.
"""

from __future__ import annotations

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


def path(dotted: str) -> str:
    """Return the expression that reads a dotted path of the record."""
    return ".".join(name(part) for part in dotted.split("."))


def columns(types: Mapping[str, str]) -> str:
    """Return the `columns` argument of read_json for dotted paths and their types."""
    tree: dict[str, Any] = {}
    for dotted, kind in types.items():
        *parents, leaf = dotted.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = kind
    return "{" + ", ".join(f"{text(key)}: {text(_type(node))}" for key, node in tree.items()) + "}"


def _type(node: str | dict[str, Any]) -> str:
    if isinstance(node, str):
        return node
    return "STRUCT(" + ", ".join(f"{name(key)} {_type(child)}" for key, child in node.items()) + ")"


def id_hash(expression: str) -> str:
    """Return the 64-bit key of an id: the last 8 bytes of the MD5 of its text, little-endian."""
    return f"md5_number_lower({expression})"


def microseconds(expression: str) -> str:
    """Return a time stamp as microseconds since 1970, NULL where it is none.

    `expression` is text: RFC 3339 (UTC where it has no zone), or a number of seconds,
    milliseconds, microseconds or nanoseconds since 1970, told apart by its size.
    """
    number = f"try_cast({expression} AS DOUBLE)"
    scaled = (
        f"CASE WHEN abs({number}) < 1e11 THEN {number} * 1e6 WHEN abs({number}) < 1e14 THEN {number} * 1e3 "
        f"WHEN abs({number}) < 1e17 THEN {number} ELSE {number} / 1e3 END"
    )
    return f"coalesce(epoch_us(try_cast({expression} AS TIMESTAMPTZ)), try_cast(round({scaled}) AS BIGINT))"


def code(expression: str, values: Sequence[str], otherwise: int) -> str:
    """Return the position of a text in `values`, `otherwise` where it is not among them or NULL."""
    listed = "[" + ", ".join(map(text, values)) + "]::VARCHAR[]"
    return f"coalesce(list_position({listed}, {expression}) - 1, {otherwise})"


def category(expression: str, values: Sequence[str]) -> str:
    """Return the code of a category: its position, their number where unseen, one more where NULL."""
    unseen, missing = len(values), len(values) + 1
    return f"CASE WHEN {expression} IS NULL THEN {missing} ELSE {code(expression, values, unseen)} END::USMALLINT"


def binary_class(expression: str, positive: str) -> str:
    """Return 1 for the positive class, 0 for the other, -1 for NULL, -2 for what is neither.

    Where the positive class is a truth value, 1 and 1.0 mean true and 0 and 0.0 false, and anything
    else is neither; otherwise every other text is the negative class.
    """
    lowered = f"lower({expression})"
    if positive.lower() in _TRUE + _FALSE:
        truth = positive.lower() in _TRUE
        yes, no = (_TRUE, _FALSE) if truth else (_FALSE, _TRUE)
        cases = f"WHEN {lowered} IN {_in(yes)} THEN 1 WHEN {lowered} IN {_in(no)} THEN 0 ELSE -2"
    else:
        cases = f"WHEN {expression} = {text(positive)} THEN 1 ELSE 0"
    return f"CASE WHEN {expression} IS NULL THEN -1 {cases} END::TINYINT"


def _in(values: Iterable[str]) -> str:
    return "(" + ", ".join(map(text, values)) + ")"
