"""Watching the host: collectors at the same time, none of which can spoil or hold up the page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from ml_exporter.config_model import Host
from ml_exporter.metrics.cgroup import collect_cgroups
from ml_exporter.metrics.families import Families
from ml_exporter.metrics.gpu import Gpus
from ml_exporter.metrics.host import HostState, collect_host
from ml_exporter.metrics.pressure import collect_pressure
from ml_exporter.metrics.process import ProcessTotals, collect_processes, collect_self

COLLECTORS = ("host", "pressure", "process", "cgroup", "gpu", "self")
NEEDS = {"cgroup": "process"}
"""Collectors that begin when another one has ended, by which they know what to look at."""
DEADLINE = 2.0
"""How long the page waits for all collectors together, in seconds."""

Collector = Callable[[Families], None]


@dataclass(frozen=True)
class HostPaths:
    """Where the host's own files are, which is elsewhere in a container."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    root: Path = Path("/")


class _Run(threading.Thread):
    """One run of a collector, which begins when `after` has ended.

    `error` is what it has failed with.
    """

    def __init__(self, name: str, collector: Collector, after: _Run | None) -> None:
        # A daemon, so that one that hangs does not hold up the end of the program.
        super().__init__(name=f"collect-{name}", daemon=True)
        self.found = Families()
        self.error: Exception | None = None
        self._begun = time.monotonic()
        self._ended: float | None = None
        self._collector, self._after = collector, after

    def run(self) -> None:
        """Collect; whatever fails is kept."""
        if self._after is not None:
            self._after.join()
            self._begun = time.monotonic()
        try:
            self._collector(self.found)
        except Exception as error:
            self.error = error
        self._ended = time.monotonic()

    def seconds(self) -> float:
        """Return how long it took, or has taken by now."""
        return (self._ended or time.monotonic()) - self._begun


class Watch:
    """Runs the collectors, each in a thread of its own, and waits for all of them to one deadline.

    One that fails or is late adds nothing this time; `report` is told why. A late one is not begun
    again before it has ended.
    """

    def __init__(
        self,
        paths: HostPaths,
        disabled: frozenset[str],
        report: Callable[[Exception], None],
        deadline: float = DEADLINE,
    ) -> None:
        self._paths = paths
        self._disabled = disabled
        self._report = report
        self._deadline = deadline
        self._running: dict[str, _Run] = {}
        self._host_state, self._totals, self._gpus = HostState(), ProcessTotals(), Gpus()
        # psutil has one folder for the whole process, and in a container it is the host's that counts.
        psutil.PROCFS_PATH = str(paths.proc)

    def collect(self, families: Families, host: Host) -> None:
        """Add what the collectors find, and how they did."""
        collectors = dict(self._collectors(host))
        busy = {name for name in collectors if name in self._running and self._running[name].is_alive()}
        for name, collector in collectors.items():
            if name not in busy:
                run = _Run(name, collector, self._running.get(NEEDS.get(name, "")))
                self._running[name] = run
                run.start()
        end = time.monotonic() + self._deadline
        for name in collectors:
            run = self._running[name]
            error = _still_busy(name) if name in busy else self._outcome(name, run, end)
            if error is None:
                families.take(run.found)
            else:
                self._report(error)
            families.add("ml_exporter_collector_success", (name,), error is None)
            families.add("ml_exporter_collector_duration_seconds", (name,), run.seconds())

    def _collectors(self, host: Host) -> Iterator[tuple[str, Collector]]:
        paths = self._paths
        every: dict[str, Collector] = {
            "host": lambda found: collect_host(
                found, proc=paths.proc, root=paths.root, state=self._host_state
            ),
            "pressure": lambda found: collect_pressure(found, proc=paths.proc),
            "process": lambda found: collect_processes(found, host.processes, self._totals, proc=paths.proc),
            "cgroup": lambda found: collect_cgroups(
                found, self._totals.leaders, proc=paths.proc, sys=paths.sys
            ),
            "gpu": self._gpus.collect,
            "self": collect_self,
        }
        of_the_host = () if host.enabled else ("host", "pressure", "gpu")
        left_out = {*self._disabled, *of_the_host}
        # One without the other that it needs would find nothing, and call that a success.
        return (
            (name, run) for name, run in every.items() if left_out.isdisjoint({name, NEEDS.get(name, name)})
        )

    def _outcome(self, name: str, run: _Run, end: float) -> Exception | None:
        """Wait for a run to the end; return what was wrong with it."""
        run.join(max(0.0, end - time.monotonic()))
        if run.is_alive():
            return TimeoutError(f"collector {name} has taken more than {self._deadline:g} s")
        return run.error


def _still_busy(name: str) -> Exception:
    return TimeoutError(f"collector {name} is still busy with what it was asked for before")
