"""Rows by the panes they belong to, and tables with one row for each group of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.sparse import SparseCounts
from ml_exporter.tally import Shape, Tally
from ml_exporter.windows import PANES, oldest_pane

Where = tuple[int, int]
"""A window (its index) and the number of a pane in it."""

_OUT = -(2**62)


@dataclass(frozen=True)
class Counts:
    """Tallies of some rows: `total` of all of them, `panes` of those that are in a window.

    `hours` are sums by hour since 1970, as `hours.by_hour` makes them, `joint` the moments of chosen rows,
    `vectors` the sums of embeddings.
    """

    total: Tally
    panes: Mapping[Where, Tally]
    hours: Mapping[int, FloatArray] = field(default_factory=dict)
    joint: Mapping[Where, Tally] = field(default_factory=dict)
    vectors: Mapping[Where, Tally] = field(default_factory=dict)


class Groups:
    """Splits rows by the panes they belong to, so that one pass over a column serves all windows.

    Rows of one group share their pane in every window; rows that are in none share a group too.
    `clock` (microseconds) bounds the panes: what has left a window by then is not kept for it,
    unless `kept` is more than its panes.
    """

    keys: IntArray
    of_row: IntArray

    def __init__(
        self, times: IntArray, steps: Sequence[int], clock: int, kept: Sequence[int] | None = None
    ) -> None:
        # Every pane is made of whole ticks, so all that follows need not look at rows.
        tick = int(np.gcd.reduce(np.asarray(steps, np.int64)))
        first = [
            oldest_pane(clock, step, panes)
            for step, panes in zip(steps, kept or [PANES] * len(steps), strict=True)
        ]
        oldest = min(pane * (step // tick) for pane, step in zip(first, steps, strict=True))
        ticks = np.maximum((times - 1) // tick, oldest - 1)
        # Logs are nearly in time order, so runs of equal ticks are far fewer than rows.
        starts = np.flatnonzero(np.diff(ticks, prepend=oldest - 2))
        found, position = np.unique(ticks[starts], return_inverse=True)
        panes = np.stack(
            [_panes(found // (step // tick), pane) for pane, step in zip(first, steps, strict=True)], axis=1
        )
        # In the order of time panes only grow, so equal rows of `panes` stand together.
        new = np.diff(panes, axis=0, prepend=panes[:1] - 1).any(axis=1)
        self.keys = panes[new]
        lengths = np.diff(np.append(starts, times.size))
        self.of_row = np.repeat((np.cumsum(new) - 1)[position], lengths)

    def __len__(self) -> int:
        return len(self.keys)

    def outside(self) -> IntArray:
        """Groups that are in no window, as indices."""
        return np.flatnonzero((self.keys == _OUT).all(axis=1))

    def panes(self, window: int) -> tuple[IntArray, IntArray]:
        """The place of each row's pane of a window, -1 where it is in none, and the numbers of these panes."""
        numbers = self.keys[:, window]
        inside = numbers != _OUT
        place = np.full(numbers.size, -1, np.int64)
        found, place[inside] = np.unique(numbers[inside], return_inverse=True)
        return place[self.of_row], found

    def windows(self) -> Iterator[tuple[int, IntArray, IntArray]]:
        """Give each window (its index) that has panes, these, and where their groups begin and end.

        A pane's groups stand together: those of pane i are from bound i to bound i + 1.
        """
        for window, panes in enumerate(self.keys.T):
            starts = np.flatnonzero(np.diff(panes, prepend=_OUT))
            if starts.size:
                yield window, panes[starts], np.append(starts, len(self))


def _panes(panes: IntArray, first: int) -> IntArray:
    return np.where(panes < first, _OUT, panes)


def merged(
    tables: Mapping[str, NDArray[Any]],
    groups: Groups,
    shape: Shape,
    counted: str,
    histogram: Callable[[slice], SparseCounts] | None = None,
) -> Counts:
    """Sum tables, one row for each group, to tallies; the one named `counted` tells where there are rows.

    `histogram` gives that of a run of groups; it is asked for those of the panes only, as nobody ranks all
    rows since ever.
    """

    def tally(arrays: Mapping[str, NDArray[Any]], members: slice = slice(0)) -> Tally:
        shaped = {
            name: arrays[name].astype(kind).reshape(size) for name, (size, kind) in shape.arrays.items()
        }
        return Tally(shaped, None if histogram is None else histogram(members))

    panes: dict[Where, Tally] = {}
    for window, numbers, bounds in groups.windows():
        sums = {name: np.add.reduceat(table, bounds[:-1], axis=0) for name, table in tables.items()}
        for index, (number, ends) in enumerate(zip(numbers, pairwise(bounds), strict=True)):
            if sums[counted][index].any():
                row = {name: table[index] for name, table in sums.items()}
                panes[window, int(number)] = tally(row, slice(*ends))
    return Counts(tally({name: table.sum(axis=0) for name, table in tables.items()}), panes)


def count(group: IntArray, n: int) -> IntArray:
    """Rows of each of n groups, shape (n, 1)."""
    return np.bincount(group, minlength=n).reshape(n, 1)


def table(group: IntArray, codes: NDArray[Any], n: int, size: int) -> IntArray:
    """Rows of each of n groups by code below `size`, shape (n, size)."""
    return np.bincount(group * size + codes, minlength=n * size).reshape(n, size)


def by_group(values: FloatArray, group: IntArray, n: int) -> FloatArray:
    """Sums of n-column values by group, shape (n, columns); NaN must not occur."""
    sums = [np.bincount(group, weights=column, minlength=n) for column in values.T]
    return np.stack(sums, axis=1) if sums else np.zeros((n, 0))
