"""JSON lines as columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import duckdb
import numpy as np

from ml_exporter.sources import sql
from ml_exporter.sources.blocks import Block
from ml_exporter.sources.reader import Columns, Memory, Reader
from ml_exporter.stats.arrays import BoolArray

_LENIENT_BLOCKS = 8
_OBJECT_SIZE = 16 << 20


class JsonReader(Reader):
    """Reads JSON lines: a row for each line that is not blank, all NULL for a malformed one.

    First the block is read strictly: then no line is malformed and no value of a wrong type. If
    that fails it is read leniently, and so are some blocks after it. Raises ValueError where paths
    contradict each other.
    """

    def __init__(
        self,
        types: Mapping[str, str],
        times: Iterable[str] = (),
        enumerations: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(types, times, enumerations)
        # There is nothing to optimize in a projection, and planning it costs as much as 1,000 lines.
        self._db.execute("PRAGMA disable_optimizer")
        sql.columns(types)
        self._memory = Memory()
        self._data = b""
        self._lenient = 0

    def load(self, block: Block) -> None:
        """Take a block of lines."""
        self._memory.write(block.data)
        self._data = block.data

    def columns(self, select: Mapping[str, str]) -> tuple[Columns, bool]:
        """Return what expressions give on the block, and whether all of its lines were sound."""
        if not self._lenient:
            try:
                return self._select(select, strict=True), True
            except duckdb.Error:
                self._lenient = _LENIENT_BLOCKS
        self._lenient -= 1
        return self._select(select, strict=False), False

    def lost(self) -> Sequence[bytes]:
        """Return nothing: a malformed line has a row."""
        return ()

    def texts(self, rows: Sequence[int]) -> list[bytes]:
        """Return the lines of rows."""
        lines = [line for line in self._data.split(b"\n") if line.strip()]
        return [lines[row] for row in rows]

    def defect(self, text: bytes, path: str) -> str | None:
        """Return what is wrong with a line as a whole, None where it is an object that lacks a value."""
        try:
            record = json.loads(text.decode("utf-8-sig"), parse_int=float)
        except (ValueError, RecursionError):
            return "malformed"
        if not isinstance(record, dict):
            return "not_an_object"
        for part in sql.parts(path):
            record = record.get(part) if isinstance(record, dict) else None
        # A field that is there, though DuckDB gave none: it has refused the line for what else is in it.
        return None if record in (None, "") else "malformed"

    def wrong_types(self, paths: Mapping[str, str], null: Mapping[str, BoolArray]) -> dict[str, BoolArray]:
        """Return where a value, or a parent that should be an object, is there but of another type.

        `paths` are dotted paths by column, `null` is where the columns have no value.
        """
        rows = np.flatnonzero(np.logical_or.reduce(list(null.values())))
        # Few lines are in question, and most often nothing is wrong with them.
        self._memory.write(b"\n".join(self.texts(rows.tolist())))
        with suppress(duckdb.Error):
            numbers = [path for path in paths.values() if self._types[path] == "DOUBLE"]
            values = dict.fromkeys(numbers, "DOUBLE")
            if len(numbers) == len(paths):
                self._query(
                    f"SELECT {', '.join(map(self.column, numbers))} FROM {self._relation(values, True)}"
                )
                return {}
        part = self._wrong_types(paths, {key: mask[rows] for key, mask in null.items()})
        wrong = {key: np.zeros(mask.size, np.bool_) for key, mask in null.items()}
        for key, found in part.items():
            wrong[key][rows] = found
        return wrong

    def _wrong_types(self, paths: Mapping[str, str], null: Mapping[str, BoolArray]) -> dict[str, BoolArray]:
        wrong = super().wrong_types(paths, null)
        for parent in {parent for path in paths.values() for parent in sql.parents(path)}:
            below = [key for key, path in paths.items() if parent in sql.parents(path)]
            # Where a parent is no object, nothing below it has a value.
            if np.logical_and.reduce([null[key] & ~wrong[key] for key in below]).any():
                other = f"coalesce(NOT starts_with({sql.path(parent)}::VARCHAR, '{{'), false)"
                found = self._query(f"SELECT {other} AS other FROM {self._file({parent: 'JSON'}, False)}")
                wrong |= {key: wrong[key] | found["other"] for key in below}
        return wrong

    def _relation(self, types: Mapping[str, str], strict: bool) -> str:
        values = {path: sql.path(path) for path in types}
        times = {path: sql.microseconds(sql.path(path)) for path in types if path in self._times}
        return f"(SELECT {self._named(values, times)} FROM {self._file(types, strict)})"

    def _file(self, types: Mapping[str, str], strict: bool) -> str:
        # Longer lines come only where the configuration allows them, and then one by one.
        size = max(_OBJECT_SIZE, 1 << self._memory.size.bit_length())
        # Unless it is told that lines are records, DuckDB samples them, and fails on deep nesting.
        options = (
            f"format='newline_delimited', records=true, columns={sql.columns(types)}, "
            f"maximum_object_size={size}, ignore_errors={str(not strict).lower()}"
        )
        # The path is ours, and all names and values are quoted by `sql`.
        return f"read_json('{self._memory.path}', {options})"
