"""What is counted of one version of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ml_exporter.concept import Pace, Watch
from ml_exporter.embeddings import vector_shape
from ml_exporter.groups import Counts
from ml_exporter.hours import Hours, by_hour
from ml_exporter.judged import Judged
from ml_exporter.judging import COMMON, Judging
from ml_exporter.stats.arrays import IntArray
from ml_exporter.store import PaneKey
from ml_exporter.tally import Shape, Tally, input_shape
from ml_exporter.tasks.task import Known, Task
from ml_exporter.windows import BLOCK, PANES, Panes

INPUT_HOURS = ("rows", "positives")
"""Columns of an hour that are counted as predictions are read."""
TOTAL, HOURS = "", "hours"
"""Names that stand in a window's place: for the counts since ever, and for those by hour."""


class VersionState:
    """Counts of one version: since ever, per window and per hour, and what watches its losses."""

    def __init__(
        self,
        judging: Judging,
        watch: Watch,
        steps: Sequence[int],
        born: float,
        kept: Sequence[int] | None = None,
        joint: int | None = None,
        alert: int = 0,
    ) -> None:
        self.judging = judging
        self.layout = layout = judging.layout
        self.born = born
        self.newest = 0
        self.duplicates = 0
        self.shapes: dict[str, Shape] = {
            "inputs": input_shape(layout.size, len(layout.cells), layout.estimated),
            "judged": judging.shape,
            "joint": layout.coding.shape if layout.coding and joint is not None else Shape({}),
            "vectors": vector_shape(layout.embeddings),
        }
        # Columns together and vectors are of interest in one window only, and not since ever.
        self.totals = {kind: Tally.zeros(self.shapes[kind]) for kind in ("inputs", "judged")}
        own = {"inputs": kept or [PANES] * len(steps)}
        self.panes = {
            kind: [
                Panes(step, shape, panes)
                for step, panes in zip(steps, own.get(kind, [PANES] * len(steps)), strict=True)
            ]
            for kind, shape in self.shapes.items()
        }
        self.hours = hours_of(judging.task)
        self.watch = watch
        self._steps = steps
        self._only = {"joint": joint, "vectors": alert}

    def add_inputs(self, counts: Counts) -> None:
        """Merge what reading predictions has counted."""
        self._add("inputs", counts)
        for kind, found in (("joint", counts.joint), ("vectors", counts.vectors)):
            for (window, pane), tally in found.items():
                self.panes[kind][window].add(pane, tally)
        self.hours.add(counts.hours, INPUT_HOURS)

    def judge(self, rows: Judged, clock: int) -> None:
        """Count mature rows, in the order of time; `clock` is where the quality windows end."""
        known = Known.of(rows, self.judging.task)
        self._add("judged", self.judging.count(rows, known, self._steps, clock))
        for name, loss in known.losses.items():
            valid = np.isfinite(loss)
            values = loss[valid]
            sums = by_hour(known.rows.times[valid], (np.ones(values.size), values, values * values))
            self.hours.add(sums, loss_columns((name,)))
        self.watch.update(known, Pace(*self.hours.series(loss_columns((self.judging.task.watched_loss,))[0])))

    def window(self, kind: str, index: int, time: int) -> Tally:
        """Counts in a window at `time` (microseconds)."""
        return Tally.sum(self.shapes[kind], (tally for _, tally in self.panes[kind][index].at(time)))

    def previous_cells(self, index: int, time: int) -> IntArray:
        """Cells of the window of the same length right before the one at `time` (microseconds)."""
        parts = (tally["cells"] for _, tally in self.panes["inputs"][index].before(time))
        return np.asarray(sum(parts, np.zeros(self.layout.size, np.int64)))

    def blocks(self, index: int, time: int) -> dict[int, Tally]:
        """Judged counts in a window at `time`, by blocks of panes that are aligned to absolute time."""
        blocks: dict[int, list[Tally]] = {}
        for pane, tally in self.panes["judged"][index].at(time):
            blocks.setdefault(pane // BLOCK, []).append(tally)
        return {block: Tally.sum(self.shapes["judged"], parts) for block, parts in blocks.items()}

    def prune(self, clock: int, judged_clock: int) -> None:
        """Forget what no window from the clocks on can reach."""
        for kind, time in (("inputs", clock), ("judged", judged_clock), ("joint", clock), ("vectors", clock)):
            for panes in self.panes[kind]:
                panes.prune(time)
        self.hours.prune(judged_clock)

    def changed(self, windows: Sequence[str]) -> Iterator[tuple[tuple[str, str, int], bytes | None]]:
        """What is new since it was saved, as (kind, window, pane) and bytes; None where it is gone."""
        for kind, rings in self.panes.items():
            if kind in self.totals:
                yield (kind, TOTAL, 0), self.totals[kind].to_bytes(self.shapes[kind])
            for window, panes in zip(windows, rings, strict=True):
                tallies = panes.tallies
                for pane in panes.changed:
                    tally = tallies.get(pane)
                    yield (kind, window, pane), tally.to_bytes(self.shapes[kind]) if tally else None
        for hour, data in self.hours.stored():
            yield (HOURS, HOURS, hour), data

    def saved(self) -> None:
        """Take note that what has changed is written."""
        for rings in self.panes.values():
            for panes in rings:
                panes.changed.clear()
        self.hours.changed.clear()

    def restore(self, key: PaneKey, data: bytes, windows: Sequence[str], task: bool, profile: bool) -> bool:
        """Take over stored counts; returns false where they mean something else now.

        `task` and `profile` tell that what was counted depends on them and has not changed since.
        Otherwise only the rest is taken over: counters in any case, quality with another profile.
        """
        _, kind, window, pane = key
        if kind == HOURS:
            if task:
                self.hours.restore(pane, data)
            return task
        if window == TOTAL:
            self.totals[kind] = _read(self.shapes[kind], data, task, profile)
            return True
        if window not in windows or not task or not (profile or kind == "judged"):
            return False
        if kind in self._only and windows.index(window) != self._only[kind]:
            return False
        panes = self.panes[kind][windows.index(window)]
        panes.put(pane, _read(self.shapes[kind], data, task, profile))
        if not profile:
            panes.changed.add(pane)  # its stored form has the length that it had with the other profile
        return True

    def _add(self, kind: str, counts: Counts) -> None:
        self.totals[kind] = self.totals[kind] + counts.total
        for (window, pane), tally in counts.panes.items():
            self.panes[kind][window].add(pane, tally)


def hours_of(task: Task) -> Hours:
    """What is kept of a version by hour."""
    return Hours((*INPUT_HOURS, *loss_columns(task.loss_names)))


def _read(shape: Shape, data: bytes, task: bool, profile: bool) -> Tally:
    """A stored tally as far as it means the same with another task or profile."""
    if task:
        return Tally.from_bytes(shape, data) if profile else Tally.lasting(shape, data)
    zeros, common = Tally.zeros(shape), Tally.lasting(Shape(COMMON, lasting=len(COMMON)), data)
    return Tally({**zeros.arrays, **common.arrays}, zeros.histogram)


def loss_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns that an hour keeps of each loss."""
    return tuple(f"{name} {sum_}" for name in names for sum_ in ("rows", "sum", "squares"))
