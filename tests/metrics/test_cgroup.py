"""Control groups of watched processes, in a folder laid out as the kernel lays out version 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_exporter.metrics.cgroup import collect_cgroups, parse_cgroup, parse_flat, parse_limit, parse_quota
from ml_exporter.metrics.families import Families

POD = "kubepods.slice/pod1.slice"
CONTAINER = f"{POD}/container.scope"


class Host:
    """A made-up host: process 7 is in the container."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.sys = folder / "proc", folder / "sys"
        self.root = self.sys / "fs/cgroup"
        (self.root / CONTAINER).mkdir(parents=True)
        (self.root / "cgroup.controllers").write_text("cpu memory\n")
        self.place(7, f"/{CONTAINER}")
        self.write(CONTAINER, "memory.current", "300")
        self.write(POD, "memory.current", "500")
        self.write(CONTAINER, "cpu.stat", "usage_usec 2000000\nuser_usec 1\n")

    def place(self, pid: int, path: str) -> None:
        (self.proc / str(pid)).mkdir(parents=True, exist_ok=True)
        (self.proc / str(pid) / "cgroup").write_text(f"1:name=systemd:/other\n0::{path}\n")

    def write(self, group: str, name: str, text: str) -> None:
        (self.root / group / name).write_text(f"{text}\n")

    def values(self, leaders: dict[str, int] | None = None) -> dict[str, float]:
        families = Families()
        collect_cgroups(families, leaders or {"server": 7}, proc=self.proc, sys=self.sys)
        found = (sample for family in families.collect() for sample in family.samples)
        return {sample.name.removeprefix("ml_process_cgroup_"): sample.value for sample in found}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_without_limits_use_is_that_of_the_processs_own_group(host: Host) -> None:
    host.write(CONTAINER, "memory.max", "max")
    host.write(CONTAINER, "cpu.max", "max 100000")
    assert host.values() == {"memory_usage_bytes": 300, "cpu_seconds_total": 2.0}


def test_limits_throttling_and_kills_are_those_of_the_group_that_has_them(host: Host) -> None:
    host.write(CONTAINER, "memory.max", "1000")
    host.write(CONTAINER, "memory.events", "low 0\nmax 12\noom 3\noom_kill 2")
    host.write(CONTAINER, "cpu.max", "150000 100000")
    host.write(
        CONTAINER,
        "cpu.stat",
        "usage_usec 2000000\nnr_periods 100\nnr_throttled 25\nthrottled_usec 500000",
    )
    assert host.values() == {
        "memory_limit_bytes": 1000,
        "memory_usage_bytes": 300,
        "oom_kills_total": 2,
        "cpu_limit_cores": 1.5,
        "cpu_seconds_total": 2.0,
        "cpu_periods_total": 100,
        "cpu_throttled_periods_total": 25,
        "cpu_throttled_seconds_total": 0.5,
    }


def test_the_tightest_limit_on_the_way_up_counts(host: Host) -> None:
    host.write(CONTAINER, "memory.max", "1000")
    host.write(POD, "memory.max", "800")
    host.write(CONTAINER, "cpu.max", "max 100000")
    host.write(POD, "cpu.max", "50000 100000")
    host.write(POD, "cpu.stat", "usage_usec 3000000")
    found = host.values()
    assert (found["memory_limit_bytes"], found["memory_usage_bytes"]) == (800, 500)
    assert (found["cpu_limit_cores"], found["cpu_seconds_total"]) == (0.5, 3.0)


def test_a_limit_of_zero_is_a_limit(host: Host) -> None:
    host.write(POD, "memory.max", "0")
    assert host.values()["memory_limit_bytes"] == 0


def test_what_is_not_known_is_left_out(host: Host) -> None:
    # Seen from inside another container the place is not known.
    host.place(8, "/../../elsewhere")
    # Version 1 only, a process that has exited, a group that is gone.
    (host.proc / "9").mkdir()
    (host.proc / "9/cgroup").write_text("4:memory:/docker/abc\n")
    host.place(11, "/gone.scope")
    assert host.values({"a": 8, "b": 9, "c": 10, "d": 11}) == {}
    (host.root / "cgroup.controllers").unlink()
    assert host.values() == {}


def test_the_real_host_can_be_asked() -> None:
    collect_cgroups(Families(), {"self": 1})


def test_parsers_are_pure() -> None:
    assert parse_cgroup("0::/system.slice/a:b.service\n") == "/system.slice/a:b.service"
    assert parse_cgroup("") == ""
    assert (parse_limit("max"), parse_limit(""), parse_limit("4096")) == (None, None, 4096.0)
    assert (parse_quota("max 100000"), parse_quota(""), parse_quota("25000 100000")) == (None, None, 0.25)
    assert parse_flat("a 1\nb 2.5\n") == {"a": 1.0, "b": 2.5}
