"""Resources of groups of processes, as process-exporter means them, and of the exporter itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import psutil

from ml_exporter.metrics.catalogue import Families


class Match(Protocol):
    """A group of processes: its name, and the regular expression found in their command lines."""

    @property
    def name(self) -> str:
        """The value of the label `process`."""

    @property
    def match(self) -> str:
        """Searched for in the command line, its arguments joined by blanks."""


class ProcessTotals:
    """CPU time by group that never goes down: what processes used stays counted when they exit."""

    def __init__(self) -> None:
        self._gone: dict[str, float] = {}
        self._known: dict[str, dict[psutil.Process, float]] = {}

    def update(
        self, name: str, seconds: dict[psutil.Process, float], alive: frozenset[psutil.Process]
    ) -> float:
        """Return the group's CPU seconds, with those read now; `alive` are all processes there are."""
        known = self._known.setdefault(name, {})
        for process, value in seconds.items():
            known[process] = max(value, known.get(process, 0.0))
        # Processes compare by pid and start, so one that took over a pid is another one.
        for process in [process for process in known if process not in alive]:
            self._gone[name] = self._gone.get(name, 0.0) + known.pop(process)
        return self._gone.get(name, 0.0) + sum(known.values())


@dataclass
class _Group:
    """What was read of one group."""

    instances: int = 0
    seconds: dict[psutil.Process, float] = field(default_factory=dict)
    memory: float = 0.0
    threads: float = 0.0
    files: float = 0.0
    oldest: float | None = None
    unreadable: int = 0
    unreadable_files: int = 0


def running_processes() -> Iterator[psutil.Process]:
    """Yield all processes, each looked at anew: psutil's own iterator keeps those whose pid came back."""
    for pid in psutil.pids():
        try:
            yield psutil.Process(pid)
        except psutil.Error:
            continue  # it has exited


def collect_processes(
    families: Families,
    matches: Sequence[Match],
    totals: ProcessTotals,
    *,
    processes: Callable[[], Iterable[psutil.Process]] = running_processes,
) -> None:
    """Add what each group uses. A process can be in several groups; a group without one reads 0."""
    if not matches:
        return
    everyone = list(processes())
    lines = [(process, line) for process in everyone if (line := _command_line(process))]
    for match in matches:
        # Arguments can hold line ends, which nobody thinks of who writes ".*".
        pattern = re.compile(match.match, re.DOTALL)
        group = _read_group(process for process, line in lines if pattern.search(line))
        _add(families, match.name, group, totals.update(match.name, group.seconds, frozenset(everyone)))


def collect_self(families: Families, process: psutil.Process | None = None) -> None:
    """Add the exporter's own CPU time, memory and start."""
    own = process or psutil.Process()
    with own.oneshot():
        families.add("ml_exporter_cpu_seconds_total", (), _cpu_seconds(own))
        families.add("ml_exporter_resident_memory_bytes", (), own.memory_info().rss)
        families.add("ml_exporter_start_time_seconds", (), own.create_time())


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""  # it has exited, is a zombie, or hides its command line


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _read_group(processes: Iterable[psutil.Process]) -> _Group:
    group = _Group()
    for process in processes:
        try:
            with process.oneshot():
                _read_process(group, process)
        except psutil.NoSuchProcess:
            continue  # it exited since it was listed
    return group


def _read_process(group: _Group, process: psutil.Process) -> None:
    started = process.create_time()
    group.instances += 1
    group.oldest = started if group.oldest is None else min(started, group.oldest)
    try:
        seconds, memory, threads = _cpu_seconds(process), process.memory_info().rss, process.num_threads()
    except psutil.AccessDenied:
        group.unreadable += 1
    else:
        group.seconds[process] = seconds
        group.memory += memory
        group.threads += threads
    try:
        group.files += process.num_fds()
    except psutil.AccessDenied:
        group.unreadable_files += 1


def _add(families: Families, name: str, group: _Group, seconds: float) -> None:
    labels = (name,)
    families.add("ml_process_cpu_seconds_total", labels, seconds)
    families.add("ml_process_instances", labels, group.instances)
    families.add("ml_process_unreadable", labels, group.unreadable + group.unreadable_files)
    # A sum without some of the processes would look like a fall, so it is left out.
    if not group.unreadable:
        families.add("ml_process_resident_memory_bytes", labels, group.memory)
        families.add("ml_process_threads", labels, group.threads)
    if not group.unreadable_files:
        families.add("ml_process_open_fds", labels, group.files)
    if group.oldest is not None:
        families.add("ml_process_oldest_start_time_seconds", labels, group.oldest)
