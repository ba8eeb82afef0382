"""Sums by hour, kept for a quarter: what versions are compared in, and seasons are seen in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ml_exporter.stats.arrays import FloatArray, IntArray

HOUR = 3_600_000_000
"""An hour, in microseconds."""
KEPT = 13 * 7 * 24
"""Hours that are kept: 13 weeks."""


def by_hour(times: IntArray, columns: Sequence[FloatArray | IntArray]) -> dict[int, FloatArray]:
    """Sums of columns of shape (n,) by hour since 1970; `times` in microseconds."""
    if not times.size:
        return {}
    hours = times // HOUR
    first = int(hours.min())
    # A log is nearly in time order, so its hours are few; a stray one must not make a long table.
    if int(hours.max()) - first > KEPT:
        found, hours = np.unique(hours, return_inverse=True)
    else:
        found, hours = np.arange(first, int(hours.max()) + 1), hours - first
    sums = np.stack([np.bincount(hours, weights=column, minlength=found.size) for column in columns], axis=1)
    return {int(found[index]): sums[index] for index in np.flatnonzero(sums.any(axis=1))}


class Hours:
    """Additive columns by hour since 1970."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.sums: dict[int, FloatArray] = {}
        self.changed: set[int] = set()

    def add(self, sums: Mapping[int, FloatArray], columns: Sequence[str]) -> None:
        """Merge sums of some of the columns."""
        places = [self.columns.index(name) for name in columns]
        for hour, more in sums.items():
            kept = self.sums.setdefault(hour, np.zeros(len(self.columns)))
            kept[places] += more
            self.changed.add(hour)

    def prune(self, clock: int) -> None:
        """Forget what is older than a quarter at `clock` (microseconds)."""
        oldest = clock // HOUR - KEPT
        for hour in [hour for hour in self.sums if hour < oldest]:
            del self.sums[hour]
            self.changed.add(hour)

    def stored(self) -> Iterator[tuple[int, bytes | None]]:
        """What is new since it was saved, as bytes; None where an hour is gone."""
        for hour in self.changed:
            sums = self.sums.get(hour)
            yield hour, None if sums is None else sums.astype("<f8").tobytes()

    def restore(self, hour: int, data: bytes) -> None:
        """Take over what `stored` has given."""
        self.sums[hour] = np.frombuffer(data, "<f8").astype(np.float64)

    def series(self, column: str) -> tuple[IntArray, FloatArray]:
        """Hours in rising order with their sum of a column, where it is above 0; both of shape (n,)."""
        place = self.columns.index(column)
        found = sorted((hour, float(sums[place])) for hour, sums in self.sums.items() if sums[place] > 0)
        hours = np.asarray([hour for hour, _ in found], np.int64)
        return hours, np.asarray([total for _, total in found])

    def table(self, columns: Sequence[str], hours: Sequence[int]) -> FloatArray:
        """Sums of some columns in some hours, shape (hours, columns); 0 where nothing was counted."""
        places = [self.columns.index(name) for name in columns]
        empty = np.zeros(len(self.columns))
        if not len(hours):
            return np.zeros((0, len(columns)))
        return np.stack([self.sums.get(hour, empty) for hour in hours])[:, places]
