"""The join of predictions and labels once more, row by row in plain Python: what the real one is held against."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ml_exporter.labels import EARLY, Rules

ABSENT, NEGATIVE = -1, 0


@dataclass(frozen=True)
class Served:
    """A prediction of the champion (version 0) or of a shadow."""

    id: int
    time: int
    version: int = 0
    score: float = 0.5


@dataclass(frozen=True)
class Truth:
    """A label."""

    id: int
    time: int
    label: int


@dataclass(eq=False)
class Waiter:
    """A label that waits; `used` when its outcome is known."""

    truth: Truth
    used: bool = False


@dataclass
class Book:
    """Keeps predictions and labels as lists and looks through all of them each time."""

    rules: Rules
    pending: list[Served] = field(default_factory=list)
    labels: list[Waiter] = field(default_factory=list)
    judged: list[tuple[Served, bool]] = field(default_factory=list)
    settled: int | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    rows: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    delays: list[float] = field(default_factory=list)

    def add_labels(self, labels: list[Truth], horizon: int) -> None:
        for truth in labels:
            if truth.time < horizon - self.rules.memory:
                self.outcomes["expired"] += 1
            else:
                self.labels.append(Waiter(truth))

    def judge(self, horizon: int, label_horizon: int) -> None:
        ripe = [row for row in self.pending if row.time <= horizon - self.rules.maturity]
        self.pending = [row for row in self.pending if row not in ripe]
        for row in sorted(ripe, key=lambda row: row.time):
            own = self._matches(row)
            silent = NEGATIVE if self.rules.silence == "negative" else ABSENT
            self.rows[row.time, row.version, own[0].truth.label if own else silent] += 1
            self.judged.append((row, bool(own)))
            for place, waiter in enumerate(own):
                self._count(waiter, waiter.truth.time - row.time, first=place == 0)
        self._settle(label_horizon - self.rules.maturity - EARLY)

    def _matches(self, row: Served) -> list[Waiter]:
        """The labels that belong to a prediction, by their time stamps and then as they came."""
        earliest, latest = row.time - EARLY, row.time + self.rules.maturity
        own = [
            each for each in self.labels if each.truth.id == row.id and earliest <= each.truth.time <= latest
        ]
        return sorted(own, key=lambda each: each.truth.time)

    def _count(self, waiter: Waiter, delay: int, first: bool) -> None:
        if waiter.used:
            return
        waiter.used = True
        if not first:
            self.outcomes["duplicate"] += 1
            return
        self.outcomes["early" if delay < 0 else "matched"] += 1
        self.delays.append(max(delay, 0) / 1e6)

    def _settle(self, before: int) -> None:
        width = max(1, (self.rules.maturity + EARLY) // 60)
        before = before // width * width
        if self.settled is not None and before <= self.settled:
            return
        self.settled = before
        seen: set[tuple[int, int]] = set()
        leaving = [each for each in self.labels if each.truth.time < before]
        self.labels = [each for each in self.labels if each.truth.time >= before]
        for waiter in sorted(leaving, key=lambda each: each.truth.time):
            if not waiter.used:
                self._leave(waiter.truth, (waiter.truth.id, waiter.truth.time // width), seen)
        self.judged = [(row, had) for row, had in self.judged if row.time >= before - self.rules.wait]

    def _leave(self, truth: Truth, key: tuple[int, int], seen: set[tuple[int, int]]) -> None:
        earliest, latest = truth.time - self.rules.wait, truth.time + EARLY
        found = [had for row, had in self.judged if row.id == truth.id and earliest <= row.time <= latest]
        unknown = "foreign" if self.rules.shared else "orphan"
        if any(found):
            self.outcomes["duplicate"] += 1
            return
        repeated, fate = key in seen, "late" if found else unknown
        self.outcomes["duplicate" if repeated else fate] += 1
        seen.add(key)
