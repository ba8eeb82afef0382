"""DuckDB's reading of a block of a log: expressions in, one array for each of them out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ml_exporter.sources import sql
from ml_exporter.sources.blocks import Block
from ml_exporter.sources.database import Database
from ml_exporter.stats.arrays import BoolArray, FloatArray

Columns: TypeAlias = Mapping[str, Any]
"""Arrays by name, one element for each record; NULL is masked."""

_PLANS = 32


class Reader(ABC):
    """Reads one block at a time of a log of one format, with given types (dotted path to DuckDB type).

    `times` are those paths that hold time stamps, `enumerations` the value lists that `sql.member`
    may name; `database` is shared with other readers. Expressions refer to a path as `column(path)`, and to its microseconds as `time(path)`.
    Not for use by two threads at once.
    """

    def __init__(
        self,
        types: Mapping[str, str],
        times: Iterable[str] = (),
        enumerations: Mapping[str, Sequence[str]] | None = None,
        database: Database | None = None,
    ) -> None:
        self._types = dict(types)
        self._times = frozenset(times)
        # Names of our own: DuckDB could not tell apart those that differ only in case.
        self._names = {path: f"p{number}" for number, path in enumerate(types)}
        self._database = database or Database()
        self._db = self._database.connect()
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
    def names(self, path: str, rows: Sequence[int] | None = None) -> frozenset[str]:
        """Return the names in the object at a path, as far as a sample of the block's records tells.

        `rows` are that sample; a format that has columns tells those of all records.
        """

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

    def vectors(self, path: str, size: int, every: int) -> FloatArray:
        """Return the lists of numbers at a path, shape (k, size), of every so many rows that have one."""
        numbered = f"SELECT {self.column(path)} AS own, row_number() OVER () - 1 AS number"
        rows = f"({numbered} FROM {self._relation({path: 'VARCHAR'}, strict=False)})"
        value = f"unnest({sql.vector('own', size)}) AS value"
        found = self._query(f"SELECT {value} FROM {rows} WHERE number % {every} = 0")["value"]
        return np.asarray(np.ma.filled(found, np.nan), np.float64).reshape(-1, size)

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


def aliased(select: Mapping[str, str]) -> str:
    """Return expressions with names of our own, since their keys may differ only in case."""
    return ", ".join(f"{expression} AS o{number}" for number, expression in enumerate(select.values()))


def renamed(select: Mapping[str, str], found: Columns) -> Columns:
    """Return the columns of `aliased` expressions under the expressions' keys."""
    return dict(zip(select, found.values(), strict=True))
