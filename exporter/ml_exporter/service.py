"""The running exporter: a thread that evaluates, a thread that watches the host, and the page they make."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from ml_exporter import __version__
from ml_exporter.config import Config, load
from ml_exporter.config_model import Access
from ml_exporter.engine import Engine, Snapshot, load_layouts
from ml_exporter.layout import Layout
from ml_exporter.metrics import exporter as own
from ml_exporter.metrics import pushed
from ml_exporter.metrics.families import Families
from ml_exporter.pipeline import SourceStatus
from ml_exporter.profile import ProfileError
from ml_exporter.snapshot import Part, Rendered, config_page, join, log_page, render
from ml_exporter.sources.push import Spools
from ml_exporter.state_file import StateDamagedError, StateError
from ml_exporter.store import Store
from ml_exporter.summary import summarize
from ml_exporter.troubles import own_troubles
from ml_exporter.watch import DEADLINE, HostPaths, Watch
from ml_exporter.web.status import Report, Status

_WATCH_SECONDS = 5.0
_STALE_SECONDS = 60.0


class Service:
    """Runs an engine and serves what it commits; what `web.app` asks for as its page.

    `require` raises what is wrong with who may do what by a configuration that is loaded again.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        logger: logging.Logger,
        host: HostPaths,
        disabled: frozenset[str] = frozenset(),
        require: Callable[[Access], object] = lambda _: None,
    ) -> None:
        self._config = config
        self._require = require
        self._store = store
        self._logger = logger
        self._host_watch = Watch(host, disabled, lambda error: self._count_error("collector", error))
        self._layouts = load_layouts(config)
        # Made by the first evaluation, which waits until the state can be written.
        self._engine: Engine | None = None
        self._config_page = _config_page(config, self._layouts)
        self.spools = Spools(config)
        self._snapshot: Snapshot | None = None
        self._summary: tuple[Snapshot, Report] | None = None
        self._log_page = Part()
        self._own_page, self._host_page = Rendered(), Rendered()
        self._errors: Counter[str] = Counter()
        self._errors_lock = threading.Lock()
        self._problems: dict[tuple[str, str], tuple[str, ...]] = {}
        self._last_error = ""
        self._reloaded, self._reload_successful = time.time(), True
        # Held while the engine changes: by a cycle, and by a reload that puts another in its place.
        self._engine_lock, self._turnstile = threading.Lock(), threading.Lock()
        self._watch_lock = threading.Lock()
        self._stop, self._wake, self._looked = threading.Event(), threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=self._evaluate_forever, name="engine"),
            threading.Thread(target=self._watch_forever, name="watch", daemon=True),
        ]

    def start(self) -> None:
        """Begin to evaluate and to watch the host."""
        self._prepare_spools()
        for thread in self._threads:
            thread.start()
        # So that whoever is told that it listens finds the host's numbers, unless a collector hangs.
        self._looked.wait(DEADLINE)

    def halt(self) -> None:
        """Begin to stop: an evaluation that is under way commits what it has done by now."""
        self._stop.set()
        self._wake.set()

    def stop(self) -> None:
        """Wait for the last commit, and close the state."""
        self.halt()
        self._threads[0].join()
        self._store.close()

    def metrics(self, openmetrics: bool, gzipped: bool) -> bytes:
        """Return the page; without what came from logs when that is too old."""
        log = Rendered() if self._stale() else self._log_page.page
        parts = (self._config_page.page, log, self._own_page, self._host_page)
        return join(parts, openmetrics, gzipped)

    def not_ready(self) -> str | None:
        """Return why the exporter is not ready, None when it is."""
        if self._snapshot is None:
            return f"the first evaluation is not done{self._last_error}"
        if self._stale():
            return f"the newest evaluation is {time.time() - self._snapshot.time:.0f} s old{self._last_error}"
        return None

    def config_yaml(self) -> str:
        """Return the configuration in use, secrets masked."""
        return self._config.masked_yaml()

    def status(self) -> Status:
        """Return what the status page shows; of one snapshot always the same report."""
        snapshot, known = self._snapshot, self._summary
        if snapshot is not None and (known is None or known[0] is not snapshot):
            self._summary = known = snapshot, summarize(snapshot)
        report = None if known is None else known[1]
        wrong = own_troubles(self.not_ready(), self._reload_successful, self._log_page.dropped)
        return Status(__version__, time.time(), tuple(wrong), report)

    @property
    def access(self) -> Access:
        """Who may do what by the configuration in use."""
        return self._config.exporter.access

    def report(self, area: str, error: Exception) -> None:
        """Count and log what went wrong outside, and was got over."""
        self.count(area)
        self._logger.error("%s: %s", area, error)

    def reload(self) -> None:
        """Load the configuration again; raises what is wrong with a bad one, and keeps the old one."""
        try:
            config = load(self._config.path)
            if config.exporter.state != self._config.exporter.state:
                raise ProfileError("exporter.state: cannot change while running; restart the exporter")
            layouts = load_layouts(config)
            with self._engine_in_turn():
                self._require(config.exporter.access)
                before = self._engine
                self._engine = before and self._new_engine(config, layouts, before)
                self._config, self._layouts = config, layouts
                self._config_page = _config_page(config, layouts)
                self.spools.configure(config)
                self._drop_other_models()
        except Exception as error:
            self._reload_successful = False
            self._count_error("reload", error)
            raise
        self._reloaded, self._reload_successful = time.time(), True
        self._logger.info("configuration loaded")
        self._prepare_spools()
        self._guarded("watch", self._watch)
        self._wake.set()

    def _evaluate_forever(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            behind = self._guarded("evaluation", self._evaluate)
            pause = self._config.exporter.evaluation_interval - (time.monotonic() - started)
            # Behind means that there is more to read at once; an evaluation is made of every batch.
            self._wake.wait(0.0 if behind else max(0.0, pause))
            self._wake.clear()

    def _evaluate(self) -> bool:
        """Run one cycle and publish it; tell whether more can be read at once."""
        with self._engine_in_turn():
            snapshot = self._cycle()
            if self._stop.is_set():
                return False
            self._publish(snapshot)
            self._release_spools()
        self._last_error = ""
        for source in snapshot.sources:
            self._note_problems(source)
        for problem in snapshot.unwritten:
            self.count("dead_letter")
            self._logger.error("dead_letter: %s", problem)
        if snapshot.evicted:
            self.count("pending_limit")
            self._logger.error(
                "pending_limit: %d predictions count as unlabelled before their time", snapshot.evicted
            )
        return snapshot.behind

    @contextmanager
    def _engine_in_turn(self) -> Iterator[None]:
        """Have the engine alone. Whoever waits is next: with a backlog the other comes back at once."""
        with self._turnstile:
            self._engine_lock.acquire()
        try:
            yield
        finally:
            self._engine_lock.release()

    def _new_engine(
        self, config: Config, layouts: Mapping[str, Mapping[str, Layout]], before: Engine | None = None
    ) -> Engine:
        return Engine(config, layouts, self._store, stopping=self._stop.is_set, before=before)

    def _prepare_spools(self) -> None:
        for _, spool in self.spools.items():
            try:
                spool.prepare()
            except OSError as error:
                self.report("push", error)

    def _release_spools(self) -> None:
        """Delete pushed records that are committed."""
        for report, state in self._snapshot.reports if self._snapshot else ():
            for source, positions in state.positions.items():
                if spool := self.spools.get(report.model.name, source):
                    spool.release(positions.values())

    def _publish(self, snapshot: Snapshot) -> None:
        exporter = self._config.exporter
        # Limits and targets are never left out: what is measured has the rest.
        rest = exporter.series_limit - self._config_page.exported
        page = log_page(snapshot, exporter.birth_hold, rest)
        self._log_page, self._snapshot = page, snapshot

    def _drop_other_models(self) -> None:
        """Publish the newest snapshot once more without the models that are not configured any more."""
        if self._snapshot is None:
            return
        names = {model.name for model in self._config.models}
        self._publish(
            replace(
                self._snapshot,
                reports=tuple(pair for pair in self._snapshot.reports if pair[0].model.name in names),
                sources=tuple(source for source in self._snapshot.sources if source.model in names),
            )
        )

    def _cycle(self) -> Snapshot:
        if self._engine is None:
            self._engine = self._new_engine(self._config, self._layouts)
        try:
            return self._engine.cycle()
        except StateDamagedError:
            # What the engine knows goes with the state: the next one begins with a new state.
            self._engine = None
            raise

    def _note_problems(self, source: SourceStatus) -> None:
        """Log what is wrong with a source when it begins, not at every evaluation."""
        key = (source.model, source.source)
        if source.problems and source.problems != self._problems.get(key):
            self.count("source")
            self._logger.warning("%s of %s: %s", source.source, source.model, "; ".join(source.problems))
        self._problems[key] = source.problems

    def _watch_forever(self) -> None:
        while not self._stop.is_set():
            self._guarded("watch", self._watch)
            self._looked.set()
            self._stop.wait(_WATCH_SECONDS)

    def _guarded(self, area: str, work: Callable[[], bool | None]) -> bool:
        """Do a loop's work once. Whatever fails is counted, and the loop goes on."""
        try:
            return bool(work())
        except Exception as error:
            self._count_error(area, error)
            return False

    def _watch(self) -> None:
        with self._watch_lock:
            # First what has nobody to wait for.
            self._own_page = self._look_inside()
            self._host_page = self._look_around()

    def _look_inside(self) -> Rendered:
        families = Families()
        own.collect(families, self._vitals())
        pushed.collect(families, self.spools)
        return render(families)

    def _look_around(self) -> Rendered:
        families = Families()
        self._host_watch.collect(families, self._config.host)
        return render(families)

    def _vitals(self) -> own.Vitals:
        snapshot = self._snapshot
        return own.Vitals(
            clock=time.time(),
            ready=self.not_ready() is None,
            interval=self._config.exporter.evaluation_interval,
            evaluated=snapshot.time if snapshot else None,
            duration=snapshot.duration if snapshot else None,
            sources=snapshot.sources if snapshot else (),
            exported=self._config_page.exported + self._log_page.exported,
            dropped=self._log_page.dropped,
            series_limit=self._config.exporter.series_limit,
            reload_successful=self._reload_successful,
            reloaded=self._reloaded,
            errors=self._errors.copy(),
            set_aside=self._store.set_aside,
            state_size=self._store.size(),
        )

    def _stale(self) -> bool:
        limit = max(3 * self._config.exporter.evaluation_interval, _STALE_SECONDS)
        return self._snapshot is None or time.time() - self._snapshot.time > limit

    def _count_error(self, area: str, error: Exception) -> None:
        self.count(area)
        known, self._last_error = self._last_error, f": {error}"
        if not isinstance(error, StateError):
            self._logger.error("%s failed", area, exc_info=error, extra={"asked": area == "reload"})
        elif self._last_error != known:
            # A disk stays full for hours: once is enough, and where in the code it showed tells nothing.
            self._logger.error("%s failed: %s", area, error)

    def count(self, area: str) -> None:
        """Count an error that was logged."""
        with self._errors_lock:
            self._errors[area] += 1


def _config_page(config: Config, layouts: Mapping[str, Mapping[str, Layout]]) -> Part:
    return config_page((model, layouts[model.name]) for model in config.models)
