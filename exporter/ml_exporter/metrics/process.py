"""Resources of groups of processes, as process-exporter means them, and of the exporter itself."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil

from ml_exporter.metrics.command_line import command_line, lines_with
from ml_exporter.metrics.families import Families

_TOTALS = {
    "cpu": "ml_process_cpu_seconds_total",
    "read": "ml_process_read_bytes_total",
    "written": "ml_process_written_bytes_total",
}


class Match(Protocol):
    """A group of processes: its name, and the regular expression found in their command lines."""

    @property
    def name(self) -> str:
        """The value of the label `process`."""

    @property
    def match(self) -> str:
        """In RE2's syntax; searched for in the command line, its arguments joined by blanks."""


class ProcessTotals:
    """What groups of processes have used, which never goes down: it stays counted when they exit.

    `leaders` has the pid of each group's oldest process, as the newest collection found it.
    """

    def __init__(self) -> None:
        self._gone: dict[tuple[str, str], float] = {}
        self._known: dict[tuple[str, str], dict[psutil.Process, float]] = {}
        self._oldest: dict[str, psutil.Process] = {}
        self._restarts: Counter[str] = Counter()
        self.leaders: dict[str, int] = {}

    def update(
        self, name: str, what: str, used: dict[psutil.Process, float], alive: frozenset[psutil.Process]
    ) -> float:
        """Return what the group has used, with that read now; `alive` are all processes there are."""
        key = (name, what)
        known = self._known.setdefault(key, {})
        for process, value in used.items():
            known[process] = max(value, known.get(process, 0.0))
        # Processes compare by pid and start, so one that took over a pid is another one.
        for process in [process for process in known if process not in alive]:
            self._gone[key] = self._gone.get(key, 0.0) + known.pop(process)
        return self._gone.get(key, 0.0) + sum(known.values())

    def restarts(self, name: str, oldest: psutil.Process | None, alive: frozenset[psutil.Process]) -> int:
        """Return how often the group's oldest process has ended and another was there in its place."""
        if oldest is not None:
            before = self._oldest.get(name)
            self._restarts[name] += before is not None and before not in alive
            self._oldest[name] = oldest
        return self._restarts[name]


@dataclass
class _Group:
    """What was read of one group; `used` by process, under the names of its totals."""

    instances: int = 0
    used: dict[str, dict[psutil.Process, float]] = field(
        default_factory=lambda: {name: {} for name in _TOTALS}
    )
    memory: float = 0.0
    threads: float = 0.0
    files: float = 0.0
    worst_files: float = 0.0
    oldest: tuple[float, psutil.Process] | None = None
    unreadable: Counter[str] = field(default_factory=Counter)


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
    proc: Path = Path("/proc"),
    processes: Callable[[], Iterable[psutil.Process]] = running_processes,
) -> None:
    """Add what each group uses. A process can be in several groups; a group without one reads 0."""
    totals.leaders = {}
    if not matches:
        return
    everyone = list(processes())
    lines = [(process, line) for process in everyone if (line := command_line(proc, process.pid))]
    distinct = frozenset(line for _, line in lines)
    alive = frozenset(everyone)
    for match in matches:
        found = lines_with(match.match, distinct)
        group = _read_group((process for process, line in lines if line in found), proc)
        _add(families, match.name, group)
        for what, family in _TOTALS.items():
            total = totals.update(match.name, what, group.used[what], alive)
            families.add(family, (match.name,), total)
        oldest = group.oldest[1] if group.oldest else None
        if oldest is not None:
            totals.leaders[match.name] = oldest.pid
        families.add("ml_process_restarts_total", (match.name,), totals.restarts(match.name, oldest, alive))


def collect_self(families: Families) -> None:
    """Add the exporter's own CPU time, memory and start; its own /proc has them wherever the host's is."""
    families.add("ml_exporter_cpu_seconds_total", (), time.process_time())
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    families.add("ml_exporter_resident_memory_bytes", (), resident * os.sysconf("SC_PAGE_SIZE"))
    # The name of the program, in brackets, may hold blanks; the start is field 22, in ticks since the boot.
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    since_boot = ticks / os.sysconf("SC_CLK_TCK")
    # Not psutil's: that is the host's, which may hang.
    boot = parse_boot_time(Path("/proc/stat").read_text())
    families.add("ml_exporter_start_time_seconds", (), boot + since_boot)


def parse_boot_time(text: str) -> float:
    """Return the boot's Unix time from a text as /proc/stat."""
    return float(next(line for line in text.splitlines() if line.startswith("btime ")).split()[1])


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _read_group(processes: Iterable[psutil.Process], proc: Path) -> _Group:
    group = _Group()
    for process in processes:
        try:
            with process.oneshot():
                _read_process(group, process, proc)
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue  # it exited since it was listed
    return group


def _read_process(group: _Group, process: psutil.Process, proc: Path) -> None:
    started = process.create_time()
    group.instances += 1
    if group.oldest is None or started < group.oldest[0]:
        group.oldest = started, process
    readings: dict[str, Callable[[], None]] = {
        "usage": lambda: _read_usage(group, process),
        "files": lambda: _read_files(group, process, proc),
        "disks": lambda: _read_disks(group, process),
    }
    for name, read in readings.items():
        try:
            read()
        except (psutil.AccessDenied, PermissionError):
            group.unreadable[name] += 1


def _read_usage(group: _Group, process: psutil.Process) -> None:
    seconds, memory, threads = _cpu_seconds(process), process.memory_info().rss, process.num_threads()
    group.used["cpu"][process] = seconds
    group.memory += memory
    group.threads += threads


def _read_files(group: _Group, process: psutil.Process, proc: Path) -> None:
    files = process.num_fds()
    limit = parse_open_files((proc / str(process.pid) / "limits").read_text())
    group.files += files
    group.worst_files = max(group.worst_files, files / limit)


def _read_disks(group: _Group, process: psutil.Process) -> None:
    counts = process.io_counters()
    group.used["read"][process] = counts.read_bytes
    group.used["written"][process] = counts.write_bytes


def parse_open_files(text: str) -> float:
    """Return the soft limit of open files in a text as /proc/PID/limits, infinity for none."""
    row = next(line for line in text.splitlines() if line.startswith("Max open files"))
    soft = row.removeprefix("Max open files").split()[0]
    return float("inf") if soft == "unlimited" else float(soft)


def _add(families: Families, name: str, group: _Group) -> None:
    labels = (name,)
    families.add("ml_process_instances", labels, group.instances)
    families.add("ml_process_unreadable", labels, group.unreadable.total())
    # A sum without some of the processes would look like a fall, so it is left out.
    if not group.unreadable["usage"]:
        families.add("ml_process_resident_memory_bytes", labels, group.memory)
        families.add("ml_process_threads", labels, group.threads)
    if not group.unreadable["files"]:
        families.add("ml_process_open_fds", labels, group.files)
        families.add("ml_process_worst_fd_ratio", labels, group.worst_files)
    if group.oldest is not None:
        families.add("ml_process_oldest_start_time_seconds", labels, group.oldest[0])
