"""Some of the rows that a profile is made from, as columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ml_exporter.judged import Judged
from ml_exporter.sources import sql
from ml_exporter.sources.batch import ABSENT, ClassArray
from ml_exporter.stats.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class Feature:
    """A feature as the data has it, and in `note` why it was taken for that.

    `kind` is numeric, categorical, text or timestamp, None where it is not watched; `sure` where the
    configuration says so; `size` is the length of an embedding.
    """

    name: str
    path: str
    kind: str | None
    note: str
    sure: bool = False
    size: int = 0

    @property
    def number(self) -> str:
        """The expression of its numbers on the table `rows`: of a text its length, of an embedding its norm."""
        own = sql.name(f"f {self.name}")
        if self.kind == "embedding":
            # What is there and is no such list is no number.
            return f"CASE WHEN {own} IS NOT NULL THEN coalesce({sql.norm(own, self.size)}, 'nan'::DOUBLE) END"
        return sql.characters(own) if self.kind == "text" else own


@dataclass(frozen=True)
class Table:
    """Where the rows are: `query` gives the columns of a statement on the table `rows`.

    `details` are the names of what is beside an answer, as in `sources.batch`.
    """

    query: Callable[[str], Mapping[str, Any]]
    task: str
    classes: Sequence[str]
    details: Sequence[str]


class Part:
    """Some of the rows, one column at a time; in time order where `sort` is true.

    `where` is a condition of SQL on the table `rows`.
    """

    def __init__(self, table: Table, where: str, sort: bool) -> None:
        self._table, self._where, self._sort = table, where, sort

    def __len__(self) -> int:
        return int(self.times.size)

    @cached_property
    def times(self) -> IntArray:
        """Time stamps in microseconds, shape (n,)."""
        times = np.asarray(self._read("time"), np.int64)
        return times if self._order is None else times[self._order]

    def judged(self) -> Judged:
        """What was answered in n rows and what became of them; classes are codes into `classes`."""
        table, times, scores = self._table, self.times, self._numbers("score")
        details = None
        if table.details:
            details = np.stack([self._numbers(f"d {name}") for name in table.details], axis=1)
        if table.task == "regression":
            none, labels = np.full(times.size, ABSENT, np.int16), self._numbers("label")
            labels[~np.isfinite(labels)] = np.nan
            return Judged(times, scores, none, details, labels)
        classes, codes = (self._codes(name) for name in ("class", "label"))
        if table.task == "multiclass" and details is not None:
            # As they are read from the log: without one of them there is no score, without any it is missing.
            lacking = np.isnan(details)
            scores = np.where(lacking.any(axis=1), np.inf, np.max(details, axis=1))
            scores[lacking.all(axis=1)] = np.nan
            derived = (classes == ABSENT) & np.isfinite(scores)
            classes[derived] = np.argmax(details[derived], axis=1)
        known = np.where(codes >= 0, codes.astype(np.float64), np.nan)
        return Judged(times, scores, classes, details, known)

    def numbers(self, feature: Feature) -> tuple[FloatArray, Any]:
        """Numbers of a feature, shape (n,), and where they are missing; NaN is what is no number."""
        column = self._column(feature.number)
        return np.asarray(np.ma.filled(column, np.nan), np.float64), np.ma.getmaskarray(column)

    def vectors(self, feature: Feature, limit: int) -> tuple[FloatArray, IntArray]:
        """Up to about so many finite vectors of an embedding, shape (n, size), and their ascending times."""
        own = sql.name(f"f {feature.name}")
        every = max(1, -(-len(self) // limit))
        rows = f"kept.rows WHERE {self._where} AND rowid % {every} = 0 AND isfinite({feature.number})"
        vector = sql.vector(own, feature.size)
        found = self._table.query(f"SELECT unnest({vector}) AS value FROM {rows}")["value"]
        values = np.asarray(np.ma.filled(found, np.nan), np.float64).reshape(-1, feature.size)
        times = np.asarray(self._table.query(f"SELECT time AS value FROM {rows}")["value"], np.int64)
        order = np.argsort(times, kind="stable")
        return values[order], times[order]

    def category_codes(self, feature: Feature, values: Sequence[str]) -> IntArray:
        """Codes of a categorical feature in a list of values, shape (n,); see `sql.category`."""
        code = sql.category(sql.name(f"f {feature.name}"), values)
        return np.asarray(self._column(code), np.int64)

    def _numbers(self, name: str) -> FloatArray:
        return np.asarray(np.ma.filled(self._column(sql.name(name)), np.nan), np.float64)

    def _codes(self, name: str) -> ClassArray:
        """Codes of `class` or `label`, as in `sources.batch`."""
        own, classes = sql.name(name), self._table.classes
        if self._table.task == "multiclass":
            own = f"CASE WHEN {own} IS NULL THEN {ABSENT} ELSE {sql.code(own, classes, len(classes))} END"
        return np.asarray(self._column(own), np.int16)

    def _column(self, expression: str) -> Any:
        column = self._read(expression)
        return column if self._order is None else column[self._order]

    @cached_property
    def _order(self) -> IntArray | None:
        if not self._sort:
            return None
        times = np.asarray(self._read("time"), np.int64)
        return np.argsort(times, kind="stable") if np.any(times[1:] < times[:-1]) else None

    def _read(self, expression: str) -> Any:
        return self._table.query(f"SELECT {expression} AS value FROM kept.rows WHERE {self._where}")["value"]
