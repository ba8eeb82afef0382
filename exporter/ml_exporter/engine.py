"""The loop: read, decode, tally, judge, evaluate, commit, publish.

Follow a row from top to bottom: `Pipeline.read` turns blocks of a log into deltas and merges them
(`state += delta`), `Pipeline.judge` joins what is mature with its labels, `evaluate` makes numbers
of the counts, `Engine.cycle` commits all of it in one transaction and only then hands it on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from ml_exporter.config import Config, Model
from ml_exporter.delta import Delta, LabelReader, PredictionReader
from ml_exporter.evaluation import ModelReport, evaluate
from ml_exporter.labels import Waiting
from ml_exporter.layout import Layout
from ml_exporter.profile import Profile, load
from ml_exporter.sources.files import Block, Listing, list_files, read_blocks
from ml_exporter.state import SOURCES, ModelState
from ml_exporter.store import Store
from ml_exporter.windows import MICROSECONDS

BLOCKS_A_CYCLE = 8
_FORGOTTEN_FILES = 100


@dataclass(frozen=True)
class SourceStatus:
    """How far a log is read: `lag` in bytes, `read_until` in microseconds (None: at its end)."""

    model: str
    source: str
    path: str
    problems: tuple[str, ...]
    lag: int
    read_until: int | None
    truncations: int


@dataclass(frozen=True)
class Snapshot:
    """What one cycle has committed: reports with the states they were made from."""

    time: float
    duration: float
    reports: tuple[tuple[ModelReport, ModelState], ...]
    sources: tuple[SourceStatus, ...]
    behind: bool


class Pipeline:
    """One model's way from its logs to its counts."""

    def __init__(self, model: Model, layouts: Mapping[str, Layout], store: Store, line_limit: int) -> None:
        self.model = model
        self.layouts = layouts
        self._store = store
        self._line_limit = line_limit
        self._code = store.model_code(model.name)
        self._predictions = PredictionReader(model, layouts)
        self._labels = LabelReader(model) if model.labels else None
        # Without a state nothing tells what an earlier run has read, so a live one begins at the end.
        self._from_end = store.path is None
        self.waiting = self._make_waiting(model)
        self.state = ModelState(model, layouts)
        self.state.load(store, self._code)

    def read(self, now: int, limit: int | None, until: int | None = None) -> list[SourceStatus]:
        """Read both logs on, at most `limit` blocks each; `now` and `until` in microseconds."""
        # Labels first: a prediction must not be judged before the labels of its time were read.
        status = [] if self._labels is None else [self._read("labels", now, limit, until)]
        status.append(self._read("predictions", now, limit, until))
        self._from_end = False
        return status

    def judge(self, now: int, status: list[SourceStatus]) -> None:
        """Judge the predictions that are mature at `now` and at the label log's read position."""
        state, maturity = self.state, round(self.model.maturity * MICROSECONDS)
        if self._labels is not None:
            ends = {item.source: now if item.read_until is None else item.read_until for item in status}
            horizon = min(now, ends["labels"])
            verdict = self.waiting.judge(horizon, min(horizon, ends["predictions"]))
            state.add_verdict(verdict, now - maturity)
        state.prune(now, now - maturity)
        state.choose_champion(now)

    def report(self, now: int) -> ModelReport:
        """Compute the numbers at `now` (microseconds)."""
        pending = self.waiting.pending() if self.model.labels else 0
        return evaluate(self.state, now, pending)

    def save(self) -> None:
        """Write what has changed; inside the store's transaction."""
        self.state.save(self._store, self._code)

    def roll_back(self) -> None:
        """Return to what is committed."""
        self.state = ModelState(self.model, self.layouts)
        self.state.load(self._store, self._code)

    def _read(self, source: str, now: int, limit: int | None, until: int | None) -> SourceStatus:
        log = self.model.labels if source == "labels" else self.model.predictions
        assert log is not None
        listing = self._list(source, log.path, from_end=self._from_end and limit is not None)
        blocks = self._blocks(listing, complete=limit is None)
        read = 0
        for block in islice(blocks, limit):
            self._merge(self._delta(source, block, now, until, live=limit is not None), now)
            read += block.end.offset - block.start.offset
        at_end = limit is None or next(blocks, None) is None
        return SourceStatus(
            self.model.name,
            source,
            log.path,
            listing.problems,
            listing.lag - read,
            None if at_end and not listing.problems else self.state.read_until.get(source, 0),
            self.state.truncations[source],
        )

    def _list(self, source: str, path: str, from_end: bool) -> Listing:
        known = self.state.positions[source]
        listing = list_files(path, known, from_end)
        gone = [position for key, position in known.items() if key not in listing.matched][-_FORGOTTEN_FILES:]
        self.state.positions[source] = {position.key: position for position in (*gone, *listing.positions)}
        self.state.truncations[source] += listing.truncated
        return listing

    def _blocks(self, listing: Listing, complete: bool) -> Iterator[Block]:
        for position in listing.positions:
            yield from read_blocks(position, self._line_limit, complete)

    def _delta(self, source: str, block: Block, now: int, until: int | None, live: bool) -> Delta:
        if source == "labels":
            assert self._labels is not None
            return self._labels.read(block, now, until)
        # Live windows end now; otherwise they end at the newest row, wherever that is.
        return self._predictions.read(block, now, now if live else until, until)

    def _merge(self, delta: Delta, now: int) -> None:
        state = self.state
        state.add(delta, now / MICROSECONDS)
        if delta.labels is not None:
            # A label is too old for ids that are remembered only once its predictions have been read.
            horizon = min(state.read_until.get(source, 0) for source in SOURCES)
            state.label_outcomes += self.waiting.add_labels(delta.labels, horizon)
        if delta.predictions is None or not len(delta.predictions):
            return
        codes = state.version_codes(delta.predictions.version_names, delta.predictions.versions)
        if self._labels is not None:
            self.waiting.add_predictions(delta.predictions, codes)
        elif delta.predictions.labels is not None:
            state.add_labelled(delta.predictions, codes, max(now, delta.newest or 0))

    def _make_waiting(self, model: Model) -> Waiting:
        labels = model.labels
        wait = round(labels.wait * MICROSECONDS) if labels else 0
        return Waiting(
            self._store,
            self._code,
            round(model.maturity * MICROSECONDS),
            wait,
            shared=labels.shared if labels else False,
            silence=labels.silence if labels else "unknown",
        )


class Engine:
    """Runs the pipelines of all models on one store."""

    def __init__(
        self,
        config: Config,
        profiles: Mapping[str, Mapping[str, Layout]],
        store: Store,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.clock = clock
        self.store = store
        with store.transaction():
            self.pipelines = [
                Pipeline(model, profiles[model.name], store, config.exporter.line_limit)
                for model in config.models
            ]

    def cycle(self, limit: int = BLOCKS_A_CYCLE) -> Snapshot:
        """Read on, judge, evaluate and commit. Raises when nothing could be committed; then nothing has changed."""
        now = round(self.clock() * MICROSECONDS)
        return self._committed(lambda pipeline: self._advance(pipeline, now, limit), now)

    def run_once(self, at: int | None) -> Snapshot:
        """Read all logs to their end and evaluate at `at` (microseconds), or at each model's newest row."""
        now = round(self.clock() * MICROSECONDS)

        def advance(pipeline: Pipeline) -> tuple[ModelReport, list[SourceStatus]]:
            status = pipeline.read(now, None, at)
            time = at if at is not None else pipeline.state.newest or now
            finished = [replace(item, read_until=None) for item in status]
            pipeline.judge(time, finished)
            return pipeline.report(time), status

        return self._committed(advance, now if at is None else at)

    def _advance(self, pipeline: Pipeline, now: int, limit: int) -> tuple[ModelReport, list[SourceStatus]]:
        pipeline.state.born = pipeline.state.born or now / MICROSECONDS
        status = pipeline.read(now, limit)
        pipeline.judge(now, status)
        return pipeline.report(now), status

    def _committed(
        self, advance: Callable[[Pipeline], tuple[ModelReport, list[SourceStatus]]], now: int
    ) -> Snapshot:
        started = time.monotonic()
        try:
            with self.store.transaction():
                done = [(pipeline, *advance(pipeline)) for pipeline in self.pipelines]
                for pipeline in self.pipelines:
                    pipeline.save()
        except BaseException:
            for pipeline in self.pipelines:
                pipeline.roll_back()
            raise
        sources = tuple(item for _, _, status in done for item in status)
        return Snapshot(
            now / MICROSECONDS,
            time.monotonic() - started,
            tuple((report, pipeline.state) for pipeline, report, _ in done),
            sources,
            behind=any(item.read_until is not None and not item.problems for item in sources),
        )


def load_layouts(config: Config) -> dict[str, dict[str, Layout]]:
    """Read the profiles of all models; raises ProfileError."""
    return {model.name: model_layouts(model, load) for model in config.models}


def model_layouts(model: Model, read: Callable[..., Profile]) -> dict[str, Layout]:
    """Return a model's layouts by version, with one for all others under "default"."""
    limits = {name: (column.min, column.max) for name, column in model.columns.items()}
    layouts = {version: Layout(read(path), limits) for version, path in model.profile.items()}
    layouts.setdefault("default", Layout(None))
    return layouts
