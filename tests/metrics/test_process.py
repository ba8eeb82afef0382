"""Groups of processes: real ones that the test starts, and their totals after they exit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
from prometheus_client import CollectorRegistry

from ml_exporter.metrics.families import Families
from ml_exporter.metrics.process import (
    ProcessTotals,
    collect_processes,
    collect_self,
    parse_boot_time,
    parse_open_files,
    running_processes,
)

MARK = "a-mark-that-only-this-test-has"
BURN = "import sys, time\nend = time.process_time() + .1\nwhile time.process_time() < end: pass\n"
WAIT = "print('ready', flush=True)\nsys.stdin.read()\n"


@dataclass(frozen=True)
class Match:
    """A group as the configuration has it."""

    name: str
    match: str


GROUPS = (Match("burners", f"python.* {MARK}$"), Match("none", "nothing-has-this-\x7f"))


def start_burner() -> subprocess.Popen[str]:
    command = [sys.executable, "-IS", "-c", BURN + WAIT, MARK]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end_burner(process: subprocess.Popen[str]) -> None:
    process.communicate("", timeout=10)


@pytest.fixture
def burners() -> Iterator[list[subprocess.Popen[str]]]:
    processes = [start_burner(), start_burner()]
    yield processes
    for process in processes:
        end_burner(process)


def read(totals: ProcessTotals) -> dict[str, float]:
    """Return the values of the group of burners by the name of their family."""
    families = Families()
    collect_processes(families, GROUPS, totals)
    return values(families, "burners")


def values(families: Families, group: str) -> dict[str, float]:
    found = (sample for family in families.collect() for sample in family.samples)
    return {sample.name: sample.value for sample in found if sample.labels.get("process") == group}


def test_group_adds_up_its_processes(burners: list[subprocess.Popen[str]]) -> None:
    known = [psutil.Process(process.pid) for process in burners]
    got = read(ProcessTotals())
    assert got["ml_process_instances"] == 2
    cpu = sum(process.cpu_times().user + process.cpu_times().system for process in known)
    assert got["ml_process_cpu_seconds_total"] == pytest.approx(cpu, abs=0.05)
    assert got["ml_process_cpu_seconds_total"] >= 0.2 - 0.02
    memory = sum(process.memory_info().rss for process in known)
    assert got["ml_process_resident_memory_bytes"] == pytest.approx(memory, rel=0.05)
    assert got["ml_process_threads"] == sum(process.num_threads() for process in known)
    assert got["ml_process_open_fds"] == sum(process.num_fds() for process in known)
    assert got["ml_process_unreadable"] == 0
    oldest = min(process.create_time() for process in known)
    assert got["ml_process_oldest_start_time_seconds"] == pytest.approx(oldest, abs=0.02)


def test_cpu_time_stays_when_processes_exit(burners: list[subprocess.Popen[str]]) -> None:
    totals = ProcessTotals()
    first = read(totals)["ml_process_cpu_seconds_total"]
    end_burner(burners[0])
    second = read(totals)
    assert second["ml_process_instances"] == 1
    assert second["ml_process_cpu_seconds_total"] >= first
    burners[0] = start_burner()
    third = read(totals)
    assert third["ml_process_instances"] == 2
    assert third["ml_process_cpu_seconds_total"] >= first + 0.1 - 0.02


def test_group_without_processes_reads_zero() -> None:
    families = Families()
    collect_processes(families, GROUPS, ProcessTotals())
    got = values(families, "none")
    assert got == {
        "ml_process_cpu_seconds_total": 0,
        "ml_process_resident_memory_bytes": 0,
        "ml_process_threads": 0,
        "ml_process_open_fds": 0,
        "ml_process_instances": 0,
        "ml_process_unreadable": 0,
        "ml_process_read_bytes_total": 0,
        "ml_process_written_bytes_total": 0,
        "ml_process_restarts_total": 0,
        "ml_process_worst_fd_ratio": 0,
    }


def test_totals_never_fall_and_know_a_pid_that_came_back() -> None:
    old, new = Mock(spec=psutil.Process), Mock(spec=psutil.Process)
    totals = ProcessTotals()
    assert totals.update("g", "cpu", {old: 5.0}, frozenset({old})) == 5.0
    # Unreadable for once: alive, but without a value.
    assert totals.update("g", "cpu", {}, frozenset({old})) == 5.0
    assert totals.update("g", "cpu", {old: 6.0}, frozenset({old})) == 6.0
    assert totals.update("g", "cpu", {new: 1.0}, frozenset({new})) == 7.0
    assert totals.update("g", "cpu", {}, frozenset()) == 7.0
    assert totals.update("other", "cpu", {new: 1.0}, frozenset({new})) == 1.0
    assert totals.update("g", "read", {new: 1.0}, frozenset({new})) == 1.0


def test_a_restart_is_the_oldest_process_replaced() -> None:
    first, worker, second = (Mock(spec=psutil.Process, pid=pid) for pid in (10, 11, 12))
    totals = ProcessTotals()
    assert totals.restarts("g", None, frozenset()) == 0
    assert totals.restarts("g", first, frozenset({first, worker})) == 0
    # A worker comes and goes below the first.
    assert totals.restarts("g", first, frozenset({first, second})) == 0
    assert totals.restarts("g", None, frozenset()) == 0
    assert totals.restarts("g", second, frozenset({second})) == 1
    # Another one matches that is older and was there all the time.
    assert totals.restarts("g", worker, frozenset({second, worker})) == 1


def test_restarts_of_real_processes(burners: list[subprocess.Popen[str]]) -> None:
    totals = ProcessTotals()
    assert read(totals)["ml_process_restarts_total"] == 0
    oldest = min(burners, key=lambda process: psutil.Process(process.pid).create_time())
    burners.remove(oldest)
    end_burner(oldest)
    assert read(totals)["ml_process_restarts_total"] == 1
    assert read(totals)["ml_process_restarts_total"] == 1


def test_leaders_are_those_of_the_newest_groups(burners: list[subprocess.Popen[str]]) -> None:
    totals = ProcessTotals()
    read(totals)
    oldest = min(burners, key=lambda process: psutil.Process(process.pid).create_time())
    assert totals.leaders == {"burners": oldest.pid}
    collect_processes(Families(), GROUPS[1:], totals)
    assert totals.leaders == {}
    read(totals)
    collect_processes(Families(), (), totals)
    assert totals.leaders == {}


def test_disks_and_descriptors_are_the_kernels(burners: list[subprocess.Popen[str]]) -> None:
    got = read(ProcessTotals())
    known = [psutil.Process(process.pid) for process in burners]
    assert got["ml_process_read_bytes_total"] == sum(process.io_counters().read_bytes for process in known)
    assert got["ml_process_written_bytes_total"] == sum(
        process.io_counters().write_bytes for process in known
    )
    soft = known[0].rlimit(psutil.RLIMIT_NOFILE)[0]
    assert got["ml_process_worst_fd_ratio"] == max(process.num_fds() for process in known) / soft


def test_a_limit_of_open_files_may_be_none() -> None:
    header = "Limit                     Soft Limit           Hard Limit           Units     \n"
    assert (
        parse_open_files(
            f"{header}Max open files            1024                 4096                 files\n"
        )
        == 1024
    )
    assert parse_open_files(
        f"{header}Max open files            unlimited            unlimited            files\n"
    ) == float("inf")


class Hidden(psutil.Process):
    """A process of somebody else: its files cannot be counted."""

    def num_fds(self) -> int:
        raise psutil.AccessDenied(self.pid)


class Invisible(Hidden):
    """A process of which nothing but its start can be read."""

    def num_threads(self) -> int:
        raise psutil.AccessDenied(self.pid)


class Exited(psutil.Process):
    """A process that exits after it was listed."""

    def create_time(self) -> float:
        raise psutil.NoSuchProcess(self.pid)


@pytest.mark.parametrize(
    ("kind", "instances", "unreadable", "absent"),
    [
        (Hidden, 2, 1, {"ml_process_open_fds", "ml_process_worst_fd_ratio"}),
        (
            Invisible,
            2,
            2,
            {
                "ml_process_open_fds",
                "ml_process_worst_fd_ratio",
                "ml_process_resident_memory_bytes",
                "ml_process_threads",
            },
        ),
        (Exited, 1, 0, set()),
    ],
)
def test_what_cannot_be_read_is_counted_and_not_guessed(
    burners: list[subprocess.Popen[str]],
    kind: type[psutil.Process],
    instances: int,
    unreadable: int,
    absent: set[str],
) -> None:
    listed = [psutil.Process(burners[0].pid), kind(burners[1].pid)]
    families = Families()
    collect_processes(families, GROUPS[:1], ProcessTotals(), processes=lambda: listed)
    got = values(families, "burners")
    assert got["ml_process_instances"] == instances
    assert got["ml_process_unreadable"] == unreadable
    assert not absent & got.keys()
    assert len(got) == 11 - len(absent)


def test_all_processes_are_looked_at() -> None:
    assert psutil.Process() in set(running_processes())


def test_self_is_this_process() -> None:
    families = Families()
    before = psutil.Process().cpu_times()
    collect_self(families)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(families)
    cpu = registry.get_sample_value("ml_exporter_cpu_seconds_total")
    assert cpu is not None
    assert before.user + before.system <= cpu <= before.user + before.system + 1
    memory = registry.get_sample_value("ml_exporter_resident_memory_bytes")
    assert memory == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    start = registry.get_sample_value("ml_exporter_start_time_seconds")
    assert start == pytest.approx(psutil.Process().create_time(), abs=0.02)


def test_self_does_not_need_the_hosts_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    families = Families()
    collect_self(families)
    found = {family.name for family in families.collect()}
    assert "ml_exporter_start_time_seconds" in found
    assert parse_boot_time("cpu 1 2\nbtime 1795976087\nprocesses 3\n") == 1795976087
