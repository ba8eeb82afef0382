"""Rows of a Parquet file as columns; a path leads into structs, or is the column "features.x"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import duckdb

from ml_exporter.sources import sql
from ml_exporter.sources.blocks import Block
from ml_exporter.sources.database import Database
from ml_exporter.sources.reader import Columns, Reader, aliased, renamed

_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*|BOOLEAN")
_TIME = re.compile(r"TIMESTAMP.*|DATE")
_COLUMNS = 5
"""How many columns are read at once: fewer take less memory, and much fewer more time."""


class ParquetReader(Reader):
    """Reads rows of Parquet files; a column that is not there is a missing value.

    Rows that DuckDB cannot read are malformed, all of their block.
    """

    def __init__(
        self,
        types: Mapping[str, str],
        times: Iterable[str] = (),
        enumerations: Mapping[str, Sequence[str]] | None = None,
        database: Database | None = None,
    ) -> None:
        super().__init__(types, times, enumerations, database)
        self._path = ""
        self._start = self._stop = 0
        self._described = ""
        self._found: dict[str, tuple[str, str]] = {}
        self._below: dict[str, frozenset[str]] = {}
        self._unreadable = False

    def load(self, block: Block) -> None:
        """Take a block of rows."""
        assert block.file is not None
        self._unreadable = False
        self._start, self._stop = block.start.offset, block.end.offset
        self._path = block.file.path
        if block.start.head != self._described:
            self._described = block.start.head
            self._found = self._find_all()
            self._below.clear()

    def columns(self, select: Mapping[str, str]) -> tuple[Columns, bool]:
        """Return what expressions give on the rows, and whether their columns are of the types asked for."""
        numbers = (path for path, kind in self._types.items() if kind == "DOUBLE" and path in self._found)
        sound = all(_NUMBER.fullmatch(self._found[path][1]) for path in numbers)
        try:
            return self._select(select, strict=True), sound
        except duckdb.Error:
            self._unreadable = True
            return self._select(select, strict=True), sound

    def lost(self) -> Sequence[bytes]:
        """Return the numbers of the rows that could not be read."""
        rows = range(self._start, self._stop) if self._unreadable else ()
        return [b"row %d" % row for row in rows]

    def names(self, path: str, rows: Sequence[int] | None = None) -> frozenset[str]:  # noqa: ARG002 - as in every reader
        """Return the fields of the struct at a path, or the columns below it, of the file."""
        if path not in self._below:
            self._below[path] = self._names_below(path)
        return self._below[path]

    def _names_below(self, path: str) -> frozenset[str]:
        prefix = ".".join(sql.parts(path)) + "."
        columns = (name for name in self._columns("*") if name.startswith(prefix))
        below = frozenset(name.removeprefix(prefix) for name in columns)
        return below or frozenset(self._columns(f"unnest({sql.path(path)})"))

    def _columns(self, what: str) -> list[str]:
        with suppress(duckdb.Error):
            return [
                str(row[0])
                for row in self._db.execute(f"DESCRIBE SELECT {what} FROM {self._file()}").fetchall()
            ]
        return []

    def texts(self, rows: Sequence[int]) -> list[bytes]:
        """Return rows as JSON."""
        found = self._query(f"SELECT to_json(r)::VARCHAR AS text FROM {self._rows('*')} r")["text"]
        return [str(found[row]).encode() for row in rows]

    def defect(self, text: bytes, path: str) -> str | None:  # noqa: ARG002 - as in every reader
        """Return nothing: rows of a table are sound as a whole."""
        return None

    def _select(self, select: Mapping[str, str], strict: bool) -> Columns:
        # The rows are part of the statement, so it never comes again. DuckDB holds its whole result beside
        # the arrays made of it, and reads no columns but those that are asked for.
        relation, names = self._relation(self._types, strict), list(select)
        found: dict[str, Any] = {}
        for start in range(0, len(names), _COLUMNS):
            part = {name: select[name] for name in names[start : start + _COLUMNS]}
            found |= renamed(part, self._query(f"SELECT {aliased(part)} FROM {relation}"))
        return found

    def _find_all(self) -> dict[str, tuple[str, str]]:
        """Return the expression and the type of each path that this file has."""
        usual = {path: sql.path(path) for path in self._types}
        types = self._describe(list(usual.values()))
        if types is not None:
            return {path: (usual[path], kind) for path, kind in zip(usual, types, strict=True)}
        return {path: found for path in usual if (found := self._find(path))}

    def _find(self, path: str) -> tuple[str, str] | None:
        for expression in (sql.path(path), sql.name(".".join(sql.parts(path)))):
            types = self._describe([expression])
            if types is not None:
                return expression, types[0]
        return None

    def _describe(self, expressions: Sequence[str]) -> list[str] | None:
        """Return the types of expressions, None where the file lacks one of them."""
        named = ", ".join(f"{expression} AS e{number}" for number, expression in enumerate(expressions))
        try:
            rows = self._db.execute(f"DESCRIBE SELECT {named} FROM {self._file()}").fetchall()
        except duckdb.Error:
            return None
        return [str(row[1]) for row in rows]

    def _relation(self, types: Mapping[str, str], strict: bool) -> str:  # noqa: ARG002 - never strict
        values = {path: self._value(path, kind) for path, kind in types.items()}
        times = {path: self._microseconds(path) for path in types if path in self._times}
        return self._rows(self._named(values, times))

    def _rows(self, columns: str) -> str:
        rows = f"file_row_number >= {self._start} AND file_row_number < {self._stop}"
        if self._unreadable:
            return f"(SELECT {columns} FROM {self._file()} WHERE false)"
        return f"(SELECT {columns} FROM {self._file()} WHERE {rows})"

    def _value(self, path: str, kind: str) -> str:
        if path not in self._found:
            return f"NULL::{kind}"
        expression, found = self._found[path]
        if kind == "VARCHAR" or _NUMBER.fullmatch(found):
            return f"{expression}::{kind}"
        return f"try_cast({expression} AS DOUBLE)" if found == "VARCHAR" else "NULL::DOUBLE"

    def _microseconds(self, path: str) -> str:
        expression, found = self._found.get(path, ("NULL", "VARCHAR"))
        if found == "TIMESTAMP WITH TIME ZONE":
            return f"epoch_us({expression})"
        if _TIME.fullmatch(found):
            return f"epoch_us({expression}::TIMESTAMP)"
        if _NUMBER.fullmatch(found):
            return sql.since_1970(f"{expression}::DOUBLE")
        return sql.microseconds(f"{expression}::VARCHAR")

    def _file(self) -> str:
        return f"read_parquet('{self._path}', file_row_number=true)"
