"""Rows of a profile's columns, counted by cell and by stretch of time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from ml_exporter.drift import Column
from ml_exporter.profile import CategoricalColumn, NumericColumn
from ml_exporter.profile_bins import Numbers
from ml_exporter.profile_data import Rows
from ml_exporter.profile_part import Part
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray

Take: TypeAlias = Callable[[Any], tuple[FloatArray, BoolArray]]
"""Gives the numbers of some rows, and where they are missing."""


class Stretches:
    """The stretches of time that the chunks of all windows are made of.

    `seconds` are the chunks' lengths by window; they begin with the first row, and the last one,
    which is not complete, is left out. `first` and `last` are in microseconds.
    """

    def __init__(self, first: int, last: int, seconds: Mapping[str, float]) -> None:
        self._first = first
        self._lengths = {window: round(length * 1e6) for window, length in seconds.items()}
        self.chunks = {window: (last - first) // length for window, length in self._lengths.items()}
        ends = [np.arange(1, self.chunks[name] + 1) * length for name, length in self._lengths.items()]
        self._starts = np.unique(np.concatenate([np.zeros(1, np.int64), *ends]))

    def __len__(self) -> int:
        return int(self._starts.size)

    def of(self, times: IntArray) -> IntArray:
        """The stretch of each of n rows."""
        return np.searchsorted(self._starts, times - self._first, side="right") - 1

    def by_chunk(self, window: str, counts: IntArray) -> IntArray:
        """Rows by chunk and cell, from rows by stretch and cell."""
        starts = np.arange(self.chunks[window]) * self._lengths[window]
        if not starts.size:
            return counts[:0]
        end = np.searchsorted(self._starts, self.chunks[window] * self._lengths[window])
        return np.asarray(np.add.reduceat(counts[:end], np.searchsorted(self._starts, starts), axis=0))


class Counted(Protocol):
    """A column while it is counted from views of rows; `size` is its bins and `missing`."""

    size: int

    def add(self, view: Any) -> IntArray:
        """Add rows and return their cells; one beyond the others has no place in the distribution."""

    def codes(self, view: Any) -> IntArray:
        """The cells of rows that are not to be added."""

    def column(self, counts: IntArray) -> Column:
        """The column of these rows by cell."""


class CountedNumbers:
    """A numeric column of the numbers that `take` gives; `finish` is told the column when all are counted."""

    def __init__(
        self, empty: NumericColumn, take: Take, finish: Callable[[NumericColumn], NumericColumn]
    ) -> None:
        self._numbers, self._take, self._finish = Numbers(empty), take, finish
        self.size = self._numbers.cells.bins

    def add(self, view: Any) -> IntArray:
        """The cells of rows, whose numbers are added up."""
        return self._numbers.add(*self._take(view))

    def codes(self, view: Any) -> IntArray:
        """The cells of rows."""
        return self._numbers.codes(*self._take(view))

    def column(self, counts: IntArray) -> Column:
        """The column of these rows by cell."""
        return self._finish(self._numbers.column(counts))


class CountedCategories:
    """A column of categories: `take` gives the cells of some rows."""

    def __init__(self, empty: CategoricalColumn, take: Callable[[Any], IntArray]) -> None:
        self._empty, self._take = empty, take
        self.size = empty.size + 1

    def add(self, view: Any) -> IntArray:
        """The cells of rows."""
        return self._take(view)

    codes = add

    def column(self, counts: IntArray) -> Column:
        """The column of these rows by cell."""
        return self._empty.model_copy(
            update={"counts": tuple(counts[:-1].tolist()), "missing": int(counts[-1])}
        )


class Counter:
    """Counts columns of all rows by stretch and cell, a block of rows at a time."""

    def __init__(self, rows: Rows, stretches: Stretches) -> None:
        self._rows, self._stretches = rows, stretches
        # Four bytes a row that every column needs again: in a file, so that memory stays free.
        with tempfile.TemporaryFile() as file:
            self._stretch = np.memmap(file, np.int32, "w+", shape=len(rows))
        for number, block in enumerate(rows.blocks()):
            self._stretch[self._place(number)] = stretches.of(block.times)

    def count(
        self, columns: Sequence[Counted], view: Callable[[Part], Any] = lambda part: part
    ) -> list[IntArray]:
        """Rows by stretch and cell of each column; `view` makes of a block what the columns look at."""
        counts = [np.zeros(len(self._stretches) * column.size, np.int64) for column in columns]
        for number, block in enumerate(self._rows.blocks()):
            seen, stretch = view(block), self._stretch[self._place(number)].astype(np.int64)
            for column, total in zip(columns, counts, strict=True):
                cells = column.add(seen)
                held = cells < column.size
                place = stretch * column.size + cells
                total += np.bincount(place if held.all() else place[held], minlength=total.size)
        return [total.reshape(-1, column.size) for column, total in zip(columns, counts, strict=True)]

    def _place(self, block: int) -> slice:
        return slice(block * self._rows.block, (block + 1) * self._rows.block)
