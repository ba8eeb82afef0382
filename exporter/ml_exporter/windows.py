"""Sliding windows as panes: a window of length w is the sum of its panes, each w/60 long.

Panes are aligned to absolute time and open on the left: pane k holds the time stamps in
(k * step, (k + 1) * step]. At time t a window covers (floor(t / step) * step - 59 * step, t], so it
slides at 1/60 of its length with constant memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from ml_exporter.tally import Shape, Tally

PANES = 60
BLOCK = 5
"""Panes of a block, the 12 of a window: within it rows may be correlated, between them they are not."""
MICROSECONDS = 1_000_000
_MOST_PARTS = 32


def step_of(seconds: float) -> int:
    """Length of a pane, in microseconds, of a window of `seconds`."""
    return round(seconds * MICROSECONDS) // PANES


def oldest_pane(time: int, step: int, panes: int = PANES) -> int:
    """The first of so many panes up to `time` (microseconds): of the window at this time unless said."""
    return time // step - (panes - 1)


class Panes:
    """The panes of one window: pane number to what was counted in it.

    A time stamp ahead of the clock has a pane that is not in the window yet, so there can be more
    than 60 of them. What is added to a pane is summed up when it is asked for: many parts at once
    cost hardly more than one. `kept` panes are kept, for windows that are compared with the one before.
    """

    def __init__(self, step: int, shape: Shape, kept: int = PANES) -> None:
        self.step = step
        self.changed: set[int] = set()
        self._shape = shape
        self._kept = kept
        self._parts: dict[int, list[Tally]] = {}

    @property
    def tallies(self) -> dict[int, Tally]:
        """What was counted in each pane."""
        for pane, parts in self._parts.items():
            self._sum(pane, parts)
        return {pane: parts[0] for pane, parts in self._parts.items()}

    def add(self, pane: int, tally: Tally) -> None:
        """Merge `tally` into a pane."""
        parts = self._parts.setdefault(pane, [])
        parts.append(tally)
        if len(parts) >= _MOST_PARTS:
            self._sum(pane, parts)
        self.changed.add(pane)

    def put(self, pane: int, tally: Tally) -> None:
        """Let `tally` be what was counted in a pane."""
        self._parts[pane] = [tally]

    def at(self, time: int) -> Iterator[tuple[int, Tally]]:
        """The panes in the window at `time` (microseconds) with their numbers, oldest first."""
        first, last = oldest_pane(time, self.step), (time - 1) // self.step
        return ((pane, tally) for pane, tally in sorted(self.tallies.items()) if first <= pane <= last)

    def before(self, time: int) -> Iterator[tuple[int, Tally]]:
        """The panes right before those in the window at `time`, as many as these."""
        last = oldest_pane(time, self.step) - 1
        return ((pane, tally) for pane, tally in sorted(self.tallies.items()) if last - PANES < pane <= last)

    def prune(self, time: int) -> None:
        """Forget the panes that no window from `time` (microseconds) on can reach."""
        first = oldest_pane(time, self.step, self._kept)
        for pane in [pane for pane in self._parts if pane < first]:
            del self._parts[pane]
            self.changed.add(pane)

    def _sum(self, pane: int, parts: list[Tally]) -> None:
        if len(parts) > 1:
            self._parts[pane] = [Tally.sum(self._shape, parts)]
