"""Sliding windows as panes: a window of length w is the sum of its panes, each w/60 long.

Panes are aligned to absolute time and open on the left: pane k holds the time stamps in
(k * step, (k + 1) * step]. At time t a window covers (floor(t / step) * step - 59 * step, t], so it
slides at 1/60 of its length with constant memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from ml_exporter.tally import Tally

PANES = 60
BLOCK = 5
"""Panes of a block, the 12 of a window: within it rows may be correlated, between them they are not."""
MICROSECONDS = 1_000_000


def step_of(seconds: float) -> int:
    """Length of a pane, in microseconds, of a window of `seconds`."""
    return round(seconds * MICROSECONDS) // PANES


def oldest_pane(time: int, step: int) -> int:
    """The first pane of a window at `time` (microseconds)."""
    return time // step - (PANES - 1)


class Panes:
    """The panes of one window: pane number to what was counted in it.

    A time stamp ahead of the clock has a pane that is not in the window yet, so there can be more
    than 60 of them.
    """

    def __init__(self, step: int) -> None:
        self.step = step
        self.tallies: dict[int, Tally] = {}
        self.changed: set[int] = set()

    def add(self, pane: int, tally: Tally) -> None:
        """Merge `tally` into a pane."""
        present = self.tallies.get(pane)
        self.tallies[pane] = tally if present is None else present + tally
        self.changed.add(pane)

    def at(self, time: int) -> Iterator[tuple[int, Tally]]:
        """The panes in the window at `time` (microseconds) with their numbers, oldest first."""
        first, last = oldest_pane(time, self.step), (time - 1) // self.step
        return ((pane, self.tallies[pane]) for pane in sorted(self.tallies) if first <= pane <= last)

    def prune(self, time: int) -> None:
        """Forget the panes that no window from `time` (microseconds) on can reach."""
        first = oldest_pane(time, self.step)
        for pane in [pane for pane in self.tallies if pane < first]:
            del self.tallies[pane]
            self.changed.add(pane)
