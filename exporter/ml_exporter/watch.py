"""Watching the host: collectors side by side, none of which can spoil or hold up the page."""

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
DEADLINE = 2.0
"""How long the page waits for a collector, in seconds."""

Collector = Callable[[Families], None]


@dataclass(frozen=True)
class HostPaths:
    """Where the host's own files are, which is elsewhere in a container."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    root: Path = Path("/")


class Watch:
    """Runs the collectors, each in a thread of its own and with a deadline.

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
        self._running: dict[str, threading.Thread] = {}
        self._host_state, self._totals, self._gpus = HostState(), ProcessTotals(), Gpus()
        # psutil has one folder for the whole process, and in a container it is the host's that counts.
        psutil.PROCFS_PATH = str(paths.proc)

    def collect(self, families: Families, host: Host) -> None:
        """Add what the collectors find, and how they did."""
        for name, collector in self._collectors(host):
            started = time.monotonic()
            error = self._run(name, collector, families)
            if error is not None:
                self._report(error)
            families.add("ml_exporter_collector_success", (name,), error is None)
            families.add("ml_exporter_collector_duration_seconds", (name,), time.monotonic() - started)

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
        return ((name, run) for name, run in every.items() if name not in {*self._disabled, *of_the_host})

    def _run(self, name: str, collector: Collector, families: Families) -> Exception | None:
        """Run a collector; return what was wrong with it."""
        if name in self._running and self._running[name].is_alive():
            return TimeoutError(f"collector {name} is still busy with what it was asked for before")
        found, errors = Families(), list[Exception]()

        def work() -> None:
            try:
                collector(found)
            except Exception as error:
                errors.append(error)

        # A daemon, so that one that hangs does not hold up the end of the program.
        thread = self._running[name] = threading.Thread(target=work, name=f"collect-{name}", daemon=True)
        thread.start()
        thread.join(self._deadline)
        if thread.is_alive():
            return TimeoutError(f"collector {name} has taken more than {self._deadline:g} s")
        if not errors:
            families.take(found)
        return errors[0] if errors else None
