"""Mature predictions become tallies: what every task counts, beside what the task itself does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_exporter.groups import Counts, Groups, count, merged, table
from ml_exporter.hours import HOUR
from ml_exporter.judged import Judged
from ml_exporter.layout import Layout
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.tally import Shape, Tally
from ml_exporter.tasks.task import Known, Task

COMMON: Mapping[str, tuple[tuple[int, ...], type[np.generic]]] = {
    "mature": ((1,), np.int64),
    "labelled": ((1,), np.int64),
    "good": ((1,), np.int64),
}
"""What means the same whatever the task counts."""


class Judging:
    """How the mature predictions of a version are counted: by its task, its profile and its segments.

    `segments` is how many segments the model has, `values` how many codes each of them.
    """

    def __init__(self, task: Task, layout: Layout, segments: int = 0, values: int = 0) -> None:
        self.task = task
        self.layout = layout
        self._segments = (segments, values)
        self._label = layout.cells.get("label")
        self._score = layout.cells.get("score")
        hourly = layout.profile.hourly if layout.profile else {}
        flat = (0.0,) * 24
        self._expected = np.asarray([hourly.get(name, flat) for name in task.rhythm], np.float64)
        own = {
            "expected": ((len(task.rhythm),), np.float64),
            "labels": ((self._label.bins if self._label else 0,), np.int64),
            "selection": ((2, self._score.bins if self._score else 0), np.int64),
            "segment_rows": ((segments, values), np.int64),
            "segments": ((segments, values, len(task.segment_columns)), np.float64),
            "segment_scores": ((segments, values, task.segment_bins, 2), np.int64),
        }
        # What depends on the profile comes last, so that all else outlives a change of it.
        lasting = len(COMMON) + len(task.arrays)
        self.shape = Shape({**COMMON, **task.arrays, **own}, task.histogram, lasting)

    def count(self, rows: Judged, known: Known, steps: Sequence[int], clock: int) -> Counts:
        """Count rows, of which some are known; `clock` (microseconds) is where the quality windows end.

        The tally of all rows has no histogram: only windows are ranked.
        """
        groups = Groups(rows.times, steps, clock)
        group, n, members = groups.of_row, len(groups), groups.of_row[known.labelled]
        tables = self._tables(rows, known, group, members, n)
        return merged(tables, groups, self.shape, "mature", self.task.histogram_of(known.rows, members, n))

    def whole(self, rows: Judged) -> Tally:
        """The tally of all rows together, its histogram among it."""
        known, group = Known.of(rows, self.task), np.zeros(len(rows), np.int64)
        members = group[: len(known.rows)]
        tables = self._tables(rows, known, group, members, 1)
        arrays = {
            name: tables[name].astype(kind).reshape(size) for name, (size, kind) in self.shape.arrays.items()
        }
        histogram = self.task.histogram_of(known.rows, members, 1)
        return Tally(arrays, None if histogram is None else histogram(slice(0, 1)))

    def _tables(
        self, rows: Judged, known: Known, group: IntArray, members: IntArray, n: int
    ) -> dict[str, NDArray[Any]]:
        """Arrays of the rows in n groups; `members` are the groups of the labelled ones."""
        return {
            "mature": count(group, n),
            "labelled": count(members, n),
            "good": count(members[self.task.good(known.rows)], n),
            "expected": self._rhythm(known, members, n),
            "labels": self._label_bins(known.rows, members, n),
            "selection": self._selection(rows, known.labelled, group, n),
            "segment_rows": self._segment_counts(known.rows, members, n),
            "segments": self._segment_sums(known, members, n),
            "segment_scores": self._segment_scores(known.rows, members, n),
            **self.task.tables(known, members, n),
        }

    def _rhythm(self, known: Known, group: IntArray, n: int) -> FloatArray:
        """What the profile's hours of the day lead one to expect of the task's sums."""
        found = np.zeros((n, len(self.task.rhythm)))
        if not self._expected.any():
            return found
        cells, first = group * 24 + (known.rows.times // HOUR) % 24, 0
        for length, rows in self.task.rhythm_rows(known):
            hours = np.bincount(cells[rows], minlength=n * 24).reshape(n, 24)
            found[:, first : first + length] = hours @ self._expected[first : first + length].T
            first += length
        return found

    def _label_bins(self, rows: Judged, group: IntArray, n: int) -> IntArray:
        if self._label is None:
            return np.zeros((n, 0), np.int64)
        codes = self.task.label_codes(self.layout, self._label, rows.labels)
        # A label that no bin holds (infinite) is counted nowhere.
        held = codes < self._label.bins
        return table(group[held], codes[held], n, self._label.bins)

    def _selection(self, rows: Judged, labelled: BoolArray, group: IntArray, n: int) -> IntArray:
        """Scores by bin: of the labelled rows, and of all."""
        if self._score is None:
            return np.zeros((n, 2, 0), np.int64)
        bins = self._score.bins
        codes = self._score.numeric_codes(rows.scores, np.isnan(rows.scores))
        held = codes < bins
        parts = [table(group[part], codes[part], n, bins) for part in (held & labelled, held)]
        return np.stack(parts, axis=1)

    def _segment_counts(self, rows: Judged, group: IntArray, n: int) -> IntArray:
        """Labelled rows by segment and value, shape (n, segments, values)."""
        count_, values = self._segments
        if not count_ or rows.segments is None:
            return np.zeros((n, count_, values), np.int64)
        return np.stack([table(group, codes, n, values) for codes in rows.segments.T], axis=1)

    def _segment_scores(self, rows: Judged, group: IntArray, n: int) -> IntArray:
        """Scored rows by segment, value, bin of the score and label, where the task ranks segments."""
        (count_, values), bins = self._segments, self.task.segment_bins
        found = np.zeros((n, count_, values, bins, 2), np.int64)
        if not bins or rows.segments is None:
            return found
        scored, cells = self.task.segment_cells(rows)
        for segment, codes in enumerate(rows.segments[scored].T):
            cell = (group[scored] * values + codes) * bins * 2 + cells
            counted = np.bincount(cell, minlength=n * values * bins * 2)
            found[:, segment] = counted.reshape(n, values, bins, 2)
        return found

    def _segment_sums(self, known: Known, group: IntArray, n: int) -> FloatArray:
        """Sums of the task's columns by segment and value, shape (n, segments, values, columns)."""
        count_, values = self._segments
        columns = len(self.task.segment_columns)
        sums = np.zeros((n, count_, values, columns), np.float64)
        if not count_ or known.rows.segments is None or not len(known.rows):
            return sums
        kinds, weights = self.task.segment_rows(known)
        counted = columns - len(weights)
        for segment, codes in enumerate(known.rows.segments.T):
            cell = group * values + codes
            if counted:
                found = np.bincount(cell * (counted + 1) + kinds, minlength=n * values * (counted + 1))
                sums[:, segment, :, :counted] = found.reshape(n, values, counted + 1)[:, :, :counted]
            for column, weight in enumerate(weights, counted):
                sums[:, segment, :, column] = np.bincount(cell, weight, n * values).reshape(n, values)
        return sums
