"""The loop: read, decode, tally, judge, evaluate, commit, publish.

Follow a row from top to bottom: `Pipeline.read` turns blocks of a log into deltas and merges them
(`state += delta`), `Pipeline.judge` joins what is mature with its labels, `evaluate` makes numbers
of the counts, `Engine.cycle` commits all of it in one transaction and only then hands it on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from ml_exporter.config import Config, Model
from ml_exporter.evaluation import ModelReport
from ml_exporter.layout import Constraint, Layout
from ml_exporter.parallel import never
from ml_exporter.pipeline import WORKERS, Pipeline, SourceStatus
from ml_exporter.profile import Profile, load
from ml_exporter.sources.database import Database
from ml_exporter.state import ModelState
from ml_exporter.store import Store
from ml_exporter.windows import MICROSECONDS

BLOCKS_A_CYCLE = 8


@dataclass(frozen=True)
class Snapshot:
    """What one cycle has committed: reports with the states they were made from.

    `behind` tells that more can be read at once, `evicted` how many predictions were counted as
    unlabelled before their time because more than `exporter.pending_limit` waited, `unwritten` why
    rejected records could not be kept.
    """

    time: float
    duration: float
    reports: tuple[tuple[ModelReport, ModelState], ...]
    sources: tuple[SourceStatus, ...]
    behind: bool
    evicted: int
    unwritten: tuple[str, ...] = ()


class Engine:
    """Runs the pipelines of all models on one store.

    Once `stopping` is true a cycle commits what it has read and judged by then. `before` is the engine
    whose place this one takes: its threads and open files are used on.
    """

    def __init__(
        self,
        config: Config,
        profiles: Mapping[str, Mapping[str, Layout]],
        store: Store,
        clock: Callable[[], float] = time.time,
        stopping: Callable[[], bool] = never,
        before: Engine | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self.store = store
        self._committed = True
        self._stopping = stopping
        self._workers: Executor = before._workers if before else ThreadPoolExecutor(WORKERS, "decode")
        self._database: Database = before._database if before else Database()
        self.pipelines: list[Pipeline]
        followers = (
            {pipeline.model.name: pipeline.followers for pipeline in before.pipelines} if before else {}
        )
        with store.transaction():
            store.forget_rows(model.name for model in config.models)
            self.pipelines = [
                Pipeline(
                    model,
                    profiles[model.name],
                    store,
                    config.exporter,
                    self._workers,
                    self._database,
                    stopping,
                    followers.get(model.name),
                )
                for model in config.models
            ]

    def cycle(self, limit: int = BLOCKS_A_CYCLE) -> Snapshot:
        """Read on, judge, evaluate and commit. Raises when nothing could be committed; then nothing has changed."""
        now = round(self.clock() * MICROSECONDS)
        return self._commit(lambda pipeline: self._advance(pipeline, now, now, limit), now)

    def run_once(self, at: int | None) -> Snapshot:
        """Read all logs to their end and evaluate at `at` (microseconds), or at each model's newest row."""
        now = round(self.clock() * MICROSECONDS)
        return self._commit(
            lambda pipeline: self._advance(pipeline, now, at, None), now if at is None else at
        )

    def _advance(
        self, pipeline: Pipeline, now: int, time: int | None, limit: int | None
    ) -> tuple[int, list[SourceStatus]]:
        """Read on and judge; returns the time that the model's numbers are for."""
        status = pipeline.read(now, limit, None if limit else time)
        moment = (pipeline.state.newest or now) if time is None else time
        pipeline.judge(moment, status)
        return moment, status

    def _report(self, pipeline: Pipeline, moment: int) -> ModelReport:
        states = {other.model.name: other.state for other in self.pipelines}
        return pipeline.report(moment, states.get(pipeline.model.compare_with or ""))

    def _commit(self, advance: Callable[[Pipeline], tuple[int, list[SourceStatus]]], now: int) -> Snapshot:
        started = time.monotonic()
        with self.store.transaction():
            if not self._committed:
                for pipeline in self.pipelines:
                    pipeline.restore()
            self._committed = False
            read = [(pipeline, *advance(pipeline)) for pipeline in self.pipelines if not self._stopping()]
            # Once all are read, since one model may be compared with another. On the way out nobody
            # looks at reports any more.
            done = [
                (pipeline, self._report(pipeline, moment), status)
                for pipeline, moment, status in read
                if not self._stopping()
            ]
            for pipeline in self.pipelines:
                pipeline.save()
        self._committed = True
        letters = [pipeline.letters for pipeline in self.pipelines if pipeline.letters]
        for file in letters:
            file.flush()
        sources = tuple(item for _, _, status in done for item in status)
        return Snapshot(
            now / MICROSECONDS,
            time.monotonic() - started,
            tuple((report, pipeline.state) for pipeline, report, _ in done),
            sources,
            behind=any(item.read_until is not None and not item.problems for item in sources),
            evicted=sum(pipeline.evicted for pipeline in self.pipelines),
            unwritten=tuple(file.problem for file in letters if file.problem),
        )


def load_layouts(config: Config) -> dict[str, dict[str, Layout]]:
    """Read the profiles of all models; raises ProfileError."""
    return {model.name: model_layouts(model, load) for model in config.models}


def model_layouts(model: Model, read: Callable[..., Profile]) -> dict[str, Layout]:
    """Return a model's layouts by version, with one for all others under "default"."""
    constraints = {
        name: Constraint(column.min, column.max, column.allowed, column.regex, column.not_null)
        for name, column in model.columns.items()
    }
    layouts = {version: Layout(read(path), constraints) for version, path in model.profile.items()}
    layouts.setdefault("default", Layout(None))
    return layouts
