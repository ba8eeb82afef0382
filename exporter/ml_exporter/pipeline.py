"""One model's way from its logs to its counts: read, merge, judge, evaluate, save."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ml_exporter import saved_state
from ml_exporter.config import Exporter, Model
from ml_exporter.delta import Delta, LabelReader, PredictionReader
from ml_exporter.evaluation import ModelReport, evaluate
from ml_exporter.forms import details
from ml_exporter.labels import Rules, Waiting
from ml_exporter.layout import Layout
from ml_exporter.parallel import Shared, in_order, never
from ml_exporter.pending import PendingRows
from ml_exporter.recent import Recent, recent
from ml_exporter.sources.blocks import Block
from ml_exporter.sources.database import Database
from ml_exporter.sources.dead_letters import DeadLetters
from ml_exporter.sources.files import Listing, log_name
from ml_exporter.sources.follow import Follower
from ml_exporter.state import ModelState
from ml_exporter.store import Store
from ml_exporter.windows import MICROSECONDS, oldest_pane

WORKERS = 2
"""Threads that decode blocks, in which Python's own lock is free most of the time."""
_FORGOTTEN_FILES = 100


@dataclass(frozen=True)
class SourceStatus:
    """How far a log is read: `lag` in bytes, `read_until` in microseconds (None: at its end).

    `ahead` is how far time stamps were ahead of the clock, in microseconds, when rows were last read.
    """

    model: str
    source: str
    path: str
    problems: tuple[str, ...]
    lag: int
    read_until: int | None
    truncations: int
    ahead: int | None = None


class Pipeline:
    """One model's way from its logs to its counts."""

    def __init__(
        self,
        model: Model,
        layouts: Mapping[str, Layout],
        store: Store,
        limits: Exporter,
        workers: Executor,
        database: Database,
        stopping: Callable[[], bool] = never,
        followers: Mapping[str, Follower] | None = None,
    ) -> None:
        self.model = model
        self.layouts = layouts
        self._store = store
        self._limits = limits
        self._code = store.model_code(model.name)
        self._workers = workers
        self._stopping = stopping
        self._predictions = Shared(lambda: PredictionReader(model, layouts, database))
        self._labels = Shared(lambda: LabelReader(model, layouts, database)) if model.labels else None
        logs = {"predictions": model.predictions} | ({"labels": model.labels} if model.labels else {})
        self.followers = {
            source: _follower(log.path, log.format, (followers or {}).get(source))
            for source, log in logs.items()
        }
        kept = model.dead_letter
        self.letters = DeadLetters(model.name, kept.path, kept.max_bytes) if kept else None
        self.evicted = 0
        self.state = ModelState(model, layouts)
        self._rows = PendingRows(store, self._code, details(model, layouts), len(model.segments))
        self.waiting = Waiting(store, self._code, rules(model), self._rows, self.state.task.losses, stopping)
        self.restore()

    def read(self, now: int, limit: int | None, until: int | None = None) -> list[SourceStatus]:
        """Read both logs on, at most `limit` blocks each; `now` and `until` in microseconds."""
        # Labels first: a prediction must not be judged before the labels of its time were read.
        status = [] if self._labels is None else [self._read("labels", now, limit, until)]
        status.append(self._read("predictions", now, limit, until))
        if limit is not None and self.state.born is None:
            self.state.born = now / MICROSECONDS
        return status

    def judge(self, now: int, status: list[SourceStatus]) -> None:
        """Judge the predictions that are mature at `now` and at the label log's read position."""
        state, maturity = self.state, round(self.model.maturity * MICROSECONDS)
        if self._labels is not None:
            ends = {item.source: now if item.read_until is None else item.read_until for item in status}
            horizon = min(now, ends["labels"])
            state.judged_until = min(horizon, ends["predictions"])
            verdict = self.waiting.judge(horizon, state.judged_until)
            self.waiting.evict(self._limits.pending_limit, verdict)
            self.evicted = verdict.evicted
            state.add_verdict(verdict, now - maturity)
        state.prune(now, now - maturity)
        state.choose_champion(now)

    def report(self, now: int, other: ModelState | None) -> ModelReport:
        """Compute the numbers at `now` (microseconds); `other` is the model that this one is compared with."""
        if self._labels is None:
            return evaluate(self.state, now, 0, {}, other)
        return evaluate(self.state, now, self.waiting.pending(), self._recent(now), other)

    def save(self) -> None:
        """Write what has changed; inside the store's transaction."""
        saved_state.save(self.state, self._store, self._code)

    def restore(self) -> None:
        """Return to what is committed."""
        if self.letters:
            self.letters.drop()
        self.state = ModelState(self.model, self.layouts)
        if not saved_state.load(self.state, self._store, self._code):
            self.waiting.forget()

    def _read(self, source: str, now: int, limit: int | None, until: int | None) -> SourceStatus:
        files, live = self.followers[source], limit is not None
        listing = self._list(source, live)
        blocks = self._blocks(files, listing, complete=not live)

        def decode(block: Block) -> tuple[Block, Delta]:
            return block, self._delta(source, block, now, until, live)

        read, last, ahead = 0, None, 0
        for block, delta in in_order(
            self._workers, decode, islice(self._until_stopped(blocks), limit), WORKERS
        ):
            self._merge(delta, now, now if live else until or delta.newest or now)
            if not live:
                self.state.prune_panes()
            elif self.letters:
                self.letters.add(source, block.end.path, now / MICROSECONDS, delta.letters)
            read += block.size
            last, ahead = delta, max(ahead, delta.ahead)
        if last is not None:
            self.state.ahead[source] = ahead
        following = next(blocks, None) if live else None
        problems = files.problems
        if not problems:
            reached = now if following is None else _reached(last, following, listing)
            self.state.read_until[source] = reached
        at_end = following is None and not problems
        return SourceStatus(
            self.model.name,
            source,
            files.pattern,
            problems,
            listing.lag - read,
            None if at_end else self.state.read_until[source],
            self.state.truncations[source],
            self.state.ahead.get(source),
        )

    def _list(self, source: str, live: bool) -> Listing:
        known = self.state.positions[source]
        # Without a state nothing tells what an earlier run has read, so a live one begins at the end.
        from_end = live and self._store.path is None and self.state.born is None
        listing = self.followers[source].look(known, from_end)
        gone = [position for key, position in known.items() if key not in listing.matched][-_FORGOTTEN_FILES:]
        self.state.positions[source] = {position.key: position for position in (*gone, *listing.positions)}
        self.state.truncations[source] += listing.truncated
        return listing

    def _blocks(self, files: Follower, listing: Listing, complete: bool) -> Iterator[Block]:
        for position in listing.positions:
            yield from files.blocks(position, self._limits.line_limit, complete)

    def _until_stopped(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Take blocks one by one, as long as there is time; those that are left are not touched."""
        while not self._stopping():
            try:
                yield next(blocks)
            except StopIteration:
                return

    def _delta(self, source: str, block: Block, now: int, until: int | None, live: bool) -> Delta:
        if source == "labels":
            assert self._labels is not None
            return self._labels.use(lambda reader: reader.read(block, now, until))
        # Live windows end now; otherwise they end at the newest row, wherever that is.
        clock = now if live else until
        return self._predictions.use(lambda reader: reader.read(block, now, clock, until))

    def _merge(self, delta: Delta, now: int, clock: int) -> None:
        """Add what a block has brought; windows end at `clock`."""
        state, rows = self.state, delta.predictions
        state.add(delta, now / MICROSECONDS)
        if delta.labels is not None:
            labels = state.with_own_labels(delta.labels)
            state.label_outcomes += self.waiting.add_labels(labels, state.judged_until)
        if rows is None or not len(rows):
            return
        codes = state.version_codes(rows.version_names, rows.versions)
        rows = state.with_own_classes(rows)
        if self._labels is not None:
            self.waiting.add_predictions(rows, codes, state.segment_codes(rows))
        elif rows.labels is not None:
            state.add_labelled(rows, codes, clock)

    def _recent(self, now: int) -> Recent:
        starts = [oldest_pane(now, step) * step for step in self.state.steps]
        maturity = round(self.model.maturity * MICROSECONDS)
        versions = self.state.versions
        judging = {
            code: versions[name].judging for code, name in enumerate(self.state.codes) if name in versions
        }
        return recent(self._store, self._code, self._rows, judging, maturity, now, starts)


def _follower(pattern: str, form: str, before: Follower | None) -> Follower:
    """Go on with one that has followed the same files: it holds those that were deleted meanwhile."""
    same = before is not None and (before.pattern, before.form) == (pattern, form)
    return before if before is not None and same else Follower(pattern, form)


def rules(model: Model) -> Rules:
    """Return how the model's labels meet its predictions."""
    labels, maturity = model.labels, round(model.maturity * MICROSECONDS)
    if labels is None:
        return Rules(maturity, 0)
    wait = round(labels.wait * MICROSECONDS)
    return Rules(maturity, wait, labels.silence, labels.shared, paired=bool(model.shadow))


def _reached(last: Delta | None, following: Block, listing: Listing) -> int:
    """Return the time up to which a log is read that is not read to its end, 0 where that is not known.

    Files that are rotated forms of one log follow each other; others may be written side by side,
    and one of them that is not read yet can hold rows of any time. The middle of the last block
    stands for it, so that a single wrong time stamp changes nothing.
    """
    paths = [position.path for position in listing.positions]
    unread = {log_name(path) for path in paths[paths.index(following.start.path) :]}
    if last is None or unread != {log_name(last.position.path)}:
        return 0
    rows = last.labels if last.predictions is None else last.predictions
    return int(np.median(rows.times)) if rows is not None and rows.times.size else 0
