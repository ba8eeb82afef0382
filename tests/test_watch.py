"""Collectors that fail, hang or are switched off, and what the others show all the same."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ml_exporter.config_model import Host, ProcessMatch
from ml_exporter.metrics.families import Families
from ml_exporter.watch import COLLECTORS, NEEDS, HostPaths, Watch

SERVER = Host(processes=(ProcessMatch(name="server", match="model-server"),))


@pytest.fixture(autouse=True)
def own_proc() -> Iterator[None]:
    yield
    psutil.PROCFS_PATH = "/proc"


def samples(watch: Watch, host: Host | None = None) -> dict[str, float]:
    families = Families()
    watch.collect(families, host or Host())
    found = (sample for family in families.collect() for sample in family.samples)
    return {f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value for sample in found}


def make(*disabled: str, errors: list[Exception] | None = None, deadline: float = 10.0) -> Watch:
    told = [] if errors is None else errors
    return Watch(HostPaths(), frozenset(disabled), told.append, deadline)


def test_every_collector_tells_how_it_did() -> None:
    found = samples(make())
    for name in COLLECTORS:
        assert found[f"ml_exporter_collector_success{{{name}}}"] == 1
        assert 0 <= found[f"ml_exporter_collector_duration_seconds{{{name}}}"] < 10
    assert found["ml_host_cpus{}"] >= 1
    assert found["ml_exporter_resident_memory_bytes{}"] > 0


@pytest.mark.parametrize("name", COLLECTORS)
def test_each_can_be_switched_off(name: str) -> None:
    found = samples(make(name))
    assert f"ml_exporter_collector_success{{{name}}}" not in found
    off = {name, *(other for other, needed in NEEDS.items() if needed == name)}
    assert sum(key.startswith("ml_exporter_collector_success") for key in found) == len(COLLECTORS) - len(off)


def test_one_that_finds_nothing_without_another_goes_with_it() -> None:
    assert NEEDS == {"cgroup": "process"}
    assert "ml_exporter_collector_success{cgroup}" not in samples(make("process"))


def test_a_host_that_is_not_to_be_watched_is_not() -> None:
    found = samples(make(), Host(enabled=False))
    assert not [key for key in found if key.startswith("ml_host_")]
    assert found["ml_exporter_collector_success{self}"] == 1


def test_one_that_fails_shows_nothing_and_the_rest_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def half(families: Families, **_: object) -> None:
        families.add("ml_host_load1", (), 1.0)
        raise OSError("no such device")

    monkeypatch.setattr("ml_exporter.watch.collect_host", half)
    errors: list[Exception] = []
    found = samples(make(errors=errors))
    assert [str(error) for error in errors] == ["no such device"]
    assert found["ml_exporter_collector_success{host}"] == 0
    assert "ml_host_load1{}" not in found
    assert found["ml_exporter_collector_success{self}"] == 1


def test_one_that_hangs_is_left_behind_and_asked_again_once_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free, begun = threading.Event(), []

    def hanging(families: Families, **_: object) -> None:
        begun.append(1)
        free.wait(30)
        families.add("ml_host_load1", (), 1.0)

    monkeypatch.setattr("ml_exporter.watch.collect_host", hanging)
    errors: list[Exception] = []
    watch = make(errors=errors, deadline=0.5)
    for _ in range(2):
        found = samples(watch)
        assert found["ml_exporter_collector_success{host}"] == 0
        assert "ml_host_load1{}" not in found
    assert "has taken more than 0.5 s" in str(errors[0])
    assert "still busy" in str(next(error for error in errors if "still" in str(error)))
    assert len(begun) == 1
    free.set()
    watch._running["host"].join(10)
    assert samples(watch)["ml_host_load1{}"] == 1
    assert len(begun) == 2


def test_those_that_hang_are_waited_for_together(tmp_path: Path) -> None:
    for name in ("stat", "pressure/cpu", "1/stat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        os.mkfifo(tmp_path / name)
    watch = Watch(HostPaths(tmp_path), frozenset(), lambda _: None, 0.5)
    started = time.monotonic()
    found = samples(watch, SERVER)
    assert time.monotonic() - started < 1
    success = {name: found[f"ml_exporter_collector_success{{{name}}}"] for name in COLLECTORS}
    assert success == {"host": 0, "pressure": 0, "process": 0, "cgroup": 0, "gpu": 1, "self": 1}
    assert found["ml_exporter_collector_duration_seconds{host}"] >= 0.5


def test_a_group_that_is_not_watched_any_more_is_gone(tmp_path: Path) -> None:
    watch = host_with_a_server(tmp_path)
    group = "ml_process_cgroup_memory_limit_bytes{server}"
    assert samples(watch, SERVER)[group] == 4096
    assert group not in samples(watch)


def host_with_a_server(tmp_path: Path) -> Watch:
    """A made-up host with one process and its control group."""
    pid = 4_000_123
    own = tmp_path / "proc" / str(pid)
    own.mkdir(parents=True)
    (own / "cgroup").write_text("0::/model.scope\n")
    (own / "limits").write_text("Max open files            100                  200                  files\n")
    for name in ("stat", "status", "statm", "cmdline", "io"):
        (own / name).write_bytes(Path("/proc/self", name).read_bytes())
    (own / "cmdline").write_bytes(b"model-server\0--port\x001")
    (own / "fd").mkdir()
    (own / "fd/0").touch()
    (tmp_path / "proc/stat").write_bytes(Path("/proc/stat").read_bytes())
    (tmp_path / "proc/uptime").write_bytes(Path("/proc/uptime").read_bytes())
    group = tmp_path / "sys/fs/cgroup/model.scope"
    group.mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").touch()
    (group / "memory.max").write_text("4096\n")
    return Watch(HostPaths(tmp_path / "proc", tmp_path / "sys"), frozenset({"host"}), lambda _: None, 10.0)


def test_files_of_the_host_are_read_where_they_are_mounted(tmp_path: Path) -> None:
    found = samples(host_with_a_server(tmp_path), SERVER)
    assert found["ml_process_instances{server}"] == 1
    assert found["ml_process_worst_fd_ratio{server}"] == 0.01
    assert found["ml_process_cgroup_memory_limit_bytes{server}"] == 4096
    assert found["ml_exporter_collector_success{self}"] == 1
