"""JSON lines as columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import duckdb
import numpy as np

from ml_exporter.sources import sql
from ml_exporter.sources.blocks import Block
from ml_exporter.sources.database import Database
from ml_exporter.sources.reader import Columns, Reader
from ml_exporter.stats.arrays import BoolArray, IntArray

_LENIENT_BLOCKS = 8
_OBJECT_SIZE = 2 << 20
_SAMPLE_LINES, _SAMPLE_SIZE = 8, 1 << 16


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
        database: Database | None = None,
    ) -> None:
        super().__init__(types, times, enumerations, database)
        # There is nothing to optimize in a projection, and planning it costs as much as 1,000 lines.
        self._db.execute("PRAGMA disable_optimizer")
        sql.columns(types)
        self._memory, self._few = self._database.memory()
        self._source = self._memory
        self._found: tuple[IntArray, IntArray] | None = None
        self._lenient = 0

    def load(self, block: Block) -> None:
        """Take a block of lines."""
        self._memory, self._few = self._database.memory()
        self._source = self._memory
        self._found = None
        self.too_long = self._memory.load(block)

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

    def names(self, path: str, rows: Sequence[int] | None = None) -> frozenset[str]:
        """Return the names in the object at a path, in a few lines: parsing all would take too long."""
        found: set[str] = set()
        sample = self._memory.sample(_SAMPLE_LINES, _SAMPLE_SIZE) if rows is None else self.texts(rows)
        for line in sample:
            with suppress(ValueError, RecursionError):
                record = json.loads(line)
                for part in sql.parts(path):
                    record = record.get(part) if isinstance(record, dict) else None
                found.update(record if isinstance(record, dict) else ())
        return frozenset(found)

    def texts(self, rows: Sequence[int]) -> list[bytes]:
        """Return the lines of rows."""
        chosen = np.asarray(rows, np.int64)
        starts, ends = self._lines()
        return self._memory.cut(starts[chosen], ends[chosen])

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
        self._few.write(b"\n".join(self.texts(rows.tolist())), self._memory.longest)
        self._source = self._few
        try:
            if self._all_numbers(list(paths.values())):
                return {}
            part = self._wrong_types(paths, {key: mask[rows] for key, mask in null.items()})
        finally:
            self._source = self._memory
        wrong = {key: np.zeros(mask.size, np.bool_) for key, mask in null.items()}
        for key, found in part.items():
            wrong[key][rows] = found
        return wrong

    def _all_numbers(self, paths: Sequence[str]) -> bool:
        """Whether a strict look finds nothing but numbers and nothing."""
        types = {path: self._types[path] for path in paths}
        if set(types.values()) != {"DOUBLE"}:
            return False
        with suppress(duckdb.Error):
            self._prepared(f"SELECT {', '.join(map(self.column, paths))} FROM {self._relation(types, True)}")
            return True
        return False

    def _lines(self) -> tuple[IntArray, IntArray]:
        """Return where the lines begin and end that are not blank, one for each row."""
        if self._found is None:
            data = self._memory.array()
            ends = np.flatnonzero(data == ord("\n"))
            if data.size and data[-1] != ord("\n"):
                ends = np.append(ends, data.size)
            starts = np.append(0, ends[:-1] + 1)[: ends.size]
            # Nearly all of them begin with a brace.
            filled = data[starts] > ord(" ")
            doubtful = np.flatnonzero(~filled)
            filled[doubtful] = [
                bool(line.strip()) for line in self._memory.cut(starts[doubtful], ends[doubtful])
            ]
            self._found = starts[filled], ends[filled]
        return self._found

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
        values = {path: sql.typed(path, kind, strict) for path, kind in types.items()}
        times = {path: sql.microseconds(sql.path(path)) for path in types if path in self._times}
        return f"(SELECT {self._named(values, times)} FROM {self._file(types, strict)})"

    def _file(self, types: Mapping[str, str], strict: bool) -> str:
        # Longer lines come only where the configuration allows them, and then one by one.
        size = max(_OBJECT_SIZE, 1 << self._source.longest.bit_length())
        # Unless it is told that lines are records, DuckDB samples them, and fails on deep nesting.
        options = (
            f"format='newline_delimited', records=true, columns={sql.columns(types)}, "
            f"maximum_object_size={size}, ignore_errors={str(not strict).lower()}"
        )
        # The path is ours, and all names and values are quoted by `sql`.
        return f"read_json('{self._source.path}', {options})"
