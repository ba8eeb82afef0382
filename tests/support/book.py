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


@dataclass
class Waiter:
    """A label that waits."""

    truth: Truth
    used: bool = False


@dataclass
class Book:
    """Keeps predictions and labels as lists and looks through all of them each time."""

    rules: Rules
    pending: list[Served] = field(default_factory=list)
    labels: dict[int, Waiter] = field(default_factory=dict)
    judged: list[tuple[Served, int | None]] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    rows: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    delays: list[float] = field(default_factory=list)

    def add_labels(self, labels: list[Truth], horizon: int) -> None:
        for truth in labels:
            fate = self._fate(truth, horizon)
            if fate is None:
                self.labels[truth.id] = Waiter(truth)
            else:
                self.outcomes[fate] += 1

    def judge(self, horizon: int, label_horizon: int) -> None:
        ripe = [row for row in self.pending if row.time <= horizon - self.rules.maturity]
        self.pending = [row for row in self.pending if row not in ripe]
        firsts: dict[int, int] = {}
        for row in ripe:
            truth = self._match(row)
            silent = NEGATIVE if self.rules.silence == "negative" else ABSENT
            self.rows[row.time, row.version, silent if truth is None else truth.label] += 1
            self.judged.append((row, None if truth is None else truth.label))
            if truth is not None and not self.labels[row.id].used:
                firsts[row.id] = min(row.time, firsts.get(row.id, row.time))
        for id_, first in firsts.items():
            delay = self.labels[id_].truth.time - first
            self.outcomes["early" if delay < 0 else "matched"] += 1
            self.delays.append(max(delay, 0) / 1e6)
            self.labels[id_].used = True
        self._drop(label_horizon)

    def _fate(self, truth: Truth, horizon: int) -> str | None:
        if truth.time < horizon - self.rules.memory:
            return "expired"
        same = [(row, label) for row, label in self.judged if row.id == truth.id]
        if truth.id in self.labels or any(label is not None for _, label in same):
            return "duplicate"
        twin = self.rules.paired and any(row.id == truth.id for row in self.pending)
        return "late" if not twin and any(self._is_late(row, truth) for row, _ in same) else None

    def _is_late(self, row: Served, truth: Truth) -> bool:
        return truth.time - self.rules.wait <= row.time <= truth.time + EARLY

    def _match(self, row: Served) -> Truth | None:
        waiter = self.labels.get(row.id)
        if waiter is None or not row.time - EARLY <= waiter.truth.time <= row.time + self.rules.maturity:
            return None
        return waiter.truth

    def _drop(self, label_horizon: int) -> None:
        before = label_horizon - EARLY - self.rules.maturity
        for id_, waiter in list(self.labels.items()):
            if waiter.truth.time < before:
                late = any(row.id == id_ and self._is_late(row, waiter.truth) for row, _ in self.judged)
                unknown = "foreign" if self.rules.shared else "orphan"
                if not waiter.used:
                    self.outcomes["late" if late else unknown] += 1
                del self.labels[id_]
        oldest = label_horizon - self.rules.memory
        self.judged = [(row, label) for row, label in self.judged if row.time >= oldest]
