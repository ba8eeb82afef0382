"""DuckDB's reading of a block of JSON lines: expressions in, one array for each of them out."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import duckdb
import numpy as np

from ml_exporter.sources import sql
from ml_exporter.stats.arrays import BoolArray

Columns: TypeAlias = Mapping[str, Any]
"""Arrays by name, one element for each line that is not blank; NULL is masked."""

_LENIENT_BLOCKS = 8
_OBJECT_SIZE = 16 << 20


class LineReader:
    """Reads the lines of one block at a time with given types (dotted path to DuckDB type).

    `enumerations` are the value lists that `sql.member` may name. First the block is read strictly:
    then no line is malformed and no value of a wrong type, so every NULL is truly missing. If that
    fails it is read leniently, and so are some blocks after it. Not for use by two threads at once.
    """

    def __init__(
        self, types: Mapping[str, str], enumerations: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._db = duckdb.connect(":memory:", config={"threads": 1})
        self._db.execute("SET timezone = 'UTC'")
        # The same path holds other bytes every time.
        self._db.execute("SET enable_external_file_cache = false")
        # There is nothing to optimize in a projection, and planning it costs as much as 1,000 lines.
        self._db.execute("PRAGMA disable_optimizer")
        for name, values in (enumerations or {}).items():
            self._db.execute(sql.enumeration(name, values))
        self._types = dict(types)
        self._columns = sql.columns(types)
        self._file = os.memfd_create("ml_exporter")
        weakref.finalize(self, os.close, self._file)
        self._size = 0
        self._plans: dict[str, str] = {}
        self._lenient = 0

    def load(self, data: bytes) -> None:
        """Take a block of lines."""
        os.ftruncate(self._file, len(data))
        written = 0
        view = memoryview(data)
        while written < len(data):
            written += os.pwrite(self._file, view[written:], written)
        self._size = len(data)

    def columns(self, select: Mapping[str, str]) -> tuple[Columns, bool]:
        """Return what expressions give on the block, and whether all of its lines were sound."""
        if not self._lenient:
            try:
                return self._prepared(select, lenient=False), True
            except duckdb.Error:
                self._lenient = _LENIENT_BLOCKS
        self._lenient -= 1
        return self._prepared(select, lenient=True), False

    def distinct(self, expression: str) -> list[str]:
        """Return the distinct texts of an expression, in order."""
        found = self._query(f"DISTINCT {expression} AS value", self._columns, lenient=True)["value"]
        return sorted(value for value in np.ma.compressed(found) if value is not None)

    def wrong_types(self, paths: Mapping[str, str], null: Mapping[str, BoolArray]) -> dict[str, BoolArray]:
        """Return where a value, or a parent that should be an object, is there but of another type.

        `paths` are dotted paths by column, `null` is where the columns have no value.
        """
        present = {key: f"{sql.path(path)} IS NOT NULL" for key, path in paths.items()}
        texts = self._read_as("VARCHAR", paths.values(), present)
        wrong = {key: null[key] & texts[key] for key in paths}
        for parent in {parent for path in paths.values() for parent in sql.parents(path)}:
            below = [key for key, path in paths.items() if parent in sql.parents(path)]
            # Where a parent is no object, nothing below it has a value.
            if np.logical_and.reduce([null[key] & ~wrong[key] for key in below]).any():
                other = f"coalesce(NOT starts_with({sql.path(parent)}::VARCHAR, '{{'), false)"
                found = self._read_as("JSON", [parent], {"other": other})["other"]
                wrong |= {key: wrong[key] | found for key in below}
        return wrong

    def _read_as(self, kind: str, paths: Iterable[str], select: Mapping[str, str]) -> Columns:
        return self._query(_aliased(select), sql.columns(dict.fromkeys(paths, kind)), lenient=True)

    def _prepared(self, select: Mapping[str, str], lenient: bool) -> Columns:
        statement = self._statement(_aliased(select), self._columns, lenient)
        if statement not in self._plans:
            name = f"plan_{len(self._plans)}"
            self._db.execute(f"PREPARE {name} AS {statement}")
            self._plans[statement] = name
        return dict(self._db.execute(f"EXECUTE {self._plans[statement]}").fetchnumpy())

    def _query(self, select: str, columns: str, lenient: bool) -> Columns:
        return dict(self._db.execute(self._statement(select, columns, lenient)).fetchnumpy())

    def _statement(self, select: str, columns: str, lenient: bool) -> str:
        # Longer lines come only where the configuration allows them, and then one by one.
        size = max(_OBJECT_SIZE, 1 << self._size.bit_length())
        # Unless it is told that lines are records, DuckDB samples them, and fails on deep nesting.
        options = f"format='newline_delimited', records=true, columns={columns}, maximum_object_size={size}"
        # The path is ours, and all names and values are quoted by `sql`.
        source = f"read_json('/proc/self/fd/{self._file}', {options}, ignore_errors={str(lenient).lower()})"
        return f"SELECT {select} FROM {source}"


def _aliased(select: Mapping[str, str]) -> str:
    return ", ".join(f"{expression} AS {sql.name(key)}" for key, expression in select.items())
