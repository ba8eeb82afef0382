"""DuckDB's reading of a block of a log: expressions in, one array for each of them out."""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from mmap import mmap
from typing import Any, TypeAlias

import duckdb
import numpy as np
from numpy.typing import NDArray

from ml_exporter.sources import sql
from ml_exporter.sources.blocks import Block, all_fit, cut_out
from ml_exporter.stats.arrays import BoolArray

Columns: TypeAlias = Mapping[str, Any]
"""Arrays by name, one element for each record; NULL is masked."""

_PLANS = 32


class Reader(ABC):
    """Reads one block at a time of a log of one format, with given types (dotted path to DuckDB type).

    `times` are those paths that hold time stamps, `enumerations` the value lists that `sql.member`
    may name. Expressions refer to a path as `column(path)`, and to its microseconds as `time(path)`.
    Not for use by two threads at once.
    """

    def __init__(
        self,
        types: Mapping[str, str],
        times: Iterable[str] = (),
        enumerations: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._types = dict(types)
        self._times = frozenset(times)
        # Names of our own: DuckDB could not tell apart those that differ only in case.
        self._names = {path: f"p{number}" for number, path in enumerate(types)}
        self._db = duckdb.connect(":memory:", config={"threads": 1})
        self._db.execute("SET timezone = 'UTC'")
        # The same path holds other bytes every time.
        self._db.execute("SET enable_external_file_cache = false")
        for name, values in (enumerations or {}).items():
            self._db.execute(sql.enumeration(name, values))
        self._plans: dict[str, str] = {}
        self.too_long = 0
        """How many lines of the block were too long, and are left out."""

    def column(self, path: str) -> str:
        """Return the expression for a path's value."""
        return self._names[path]

    def time(self, path: str) -> str:
        """Return the expression for a path's time stamp in microseconds since 1970, NULL where it is none."""
        return f"{self._names[path]}_time"

    @abstractmethod
    def load(self, block: Block) -> None:
        """Take a block."""

    @abstractmethod
    def columns(self, select: Mapping[str, str]) -> tuple[Columns, bool]:
        """Return what expressions give on the block, and whether all of its records were sound.

        In sound records every NULL is truly missing, and no value of a wrong type.
        """

    @abstractmethod
    def lost(self) -> Sequence[bytes]:
        """Return the malformed records of the block that have no row in `columns`."""

    @abstractmethod
    def texts(self, rows: Sequence[int]) -> list[bytes]:
        """Return rows as they stand in the log, or what comes nearest to it."""

    @abstractmethod
    def defect(self, text: bytes, path: str) -> str | None:
        """Return what is wrong with a whole row in which `path` has no value: an outcome, or None."""

    @abstractmethod
    def _relation(self, types: Mapping[str, str], strict: bool) -> str:
        """Return a table expression that has the paths of `types` as columns (see `_named`)."""

    def distinct(self, path: str) -> list[str]:
        """Return the distinct texts of a path, in order."""
        relation = self._relation({path: "VARCHAR"}, strict=False)
        found = self._query(f"SELECT DISTINCT {self.column(path)} AS value FROM {relation}")["value"]
        return sorted(value for value in np.ma.compressed(found) if value is not None)

    def wrong_types(self, paths: Mapping[str, str], null: Mapping[str, BoolArray]) -> dict[str, BoolArray]:
        """Return where a value is there but of another type.

        `paths` are dotted paths by column, `null` is where the columns have no value.
        """
        relation = self._relation(dict.fromkeys(paths.values(), "VARCHAR"), strict=False)
        present = {key: f"{self.column(path)} IS NOT NULL" for key, path in paths.items()}
        found = renamed(present, self._query(f"SELECT {aliased(present)} FROM {relation}"))
        return {key: null[key] & found[key] for key in paths}

    def _named(self, expressions: Mapping[str, str], times: Mapping[str, str]) -> str:
        """Return what to select from a file so that paths and their time stamps have our names."""
        parts = [f"{expression} AS {self.column(path)}" for path, expression in expressions.items()]
        parts += [f"{expression} AS {self.time(path)}" for path, expression in times.items()]
        return ", ".join(parts) or "1"

    def _select(self, select: Mapping[str, str], strict: bool) -> Columns:
        relation = self._relation(self._types, strict)
        return renamed(select, self._prepared(f"SELECT {aliased(select)} FROM {relation}"))

    def _prepared(self, statement: str) -> Columns:
        """Run a statement that comes again and again: planning it takes as long as hundreds of rows."""
        if statement not in self._plans:
            if len(self._plans) >= _PLANS:  # a log decides how many there are
                for name in self._plans.values():
                    self._db.execute(f"DEALLOCATE {name}")
                self._plans.clear()
            name = f"plan_{len(self._plans)}"
            self._db.execute(f"PREPARE {name} AS {statement}")
            self._plans[statement] = name
        return dict(self._db.execute(f"EXECUTE {self._plans[statement]}").fetchnumpy())

    def _query(self, statement: str) -> Columns:
        return dict(self._db.execute(statement).fetchnumpy())


class Memory:
    """A file that exists in memory only, so that DuckDB reads bytes of ours.

    `size` is how many there are, `longest` a bound on the length of a line. Its pages are kept:
    fresh ones cost more than what is copied into them.
    """

    def __init__(self) -> None:
        self._file = os.memfd_create("ml_exporter")
        weakref.finalize(self, os.close, self._file)
        self._map: mmap | None = None
        self.size = 0
        self.longest = 0

    @property
    def path(self) -> str:
        """Where DuckDB finds it."""
        return f"/proc/self/fd/{self._file}"

    def load(self, block: Block) -> int:
        """Put the lines of a block in place of what is there; return how many were too long."""
        if block.file is None:
            self.write(block.data, block.line_limit)
            return block.too_long
        with self._view(block.end.offset - block.start.offset) as view:
            filled = block.file.read_into(view, block.start.offset)
        assert self._map is not None
        if filled < self.size:  # the file was cut meanwhile
            self._resize(self._map.rfind(b"\n", 0, filled) + 1)
        self.longest = min(self.size, block.line_limit)
        if all_fit(self._map, self.size, block.line_limit):
            return 0
        fitting, too_long = cut_out(self.array().tobytes(), block.line_limit)
        self.write(fitting, block.line_limit)
        return too_long

    def write(self, data: bytes, line_limit: int = 0) -> None:
        """Put these bytes in place of what is there; no line has more than `line_limit` of them, 0: unknown."""
        with self._view(len(data)) as view:
            view[:] = data
        self.longest = min(self.size, line_limit or self.size)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes between two offsets."""
        return self._map[start:stop] if self._map is not None else b""

    def array(self) -> NDArray[np.uint8]:
        """Return what is there without a copy; it changes with the next block."""
        return np.frombuffer(self._map or b"", np.uint8, self.size)

    def _view(self, size: int) -> memoryview:
        """Return a writable view of so many bytes; let it go before the next one is asked for."""
        self._resize(size)
        if self._map is None or len(self._map) < size:
            self._map = mmap(self._file, size) if size else None
        return memoryview(self._map)[:size] if self._map is not None else memoryview(bytearray())

    def _resize(self, size: int) -> None:
        os.ftruncate(self._file, size)
        self.size = size


def aliased(select: Mapping[str, str]) -> str:
    """Return expressions with names of our own, since their keys may differ only in case."""
    return ", ".join(f"{expression} AS o{number}" for number, expression in enumerate(select.values()))


def renamed(select: Mapping[str, str], found: Columns) -> Columns:
    """Return the columns of `aliased` expressions under the expressions' keys."""
    return dict(zip(select, found.values(), strict=True))
