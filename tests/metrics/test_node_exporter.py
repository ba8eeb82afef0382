"""Host metrics beside those of Debian's node exporter, read at the same time."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from tests.tools import find_tool

from ml_exporter.metrics.families import Families
from ml_exporter.metrics.host import collect_host
from ml_exporter.metrics.pressure import collect_pressure

# Debian's and older defaults leave out more than today's, which ours are.
ALL_THAT_WE_SHOW = (
    "--collector.netdev.device-exclude=^$",
    "--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\\d+n\\d+p)\\d+$",
    "--collector.filesystem.fs-types-exclude=^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs"
    "|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs"
    "|erofs|sysfs|tracefs)$",
    "--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+"
    "|var/lib/containers/storage/.+)($|/)",
)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

SAME = {
    "ml_host_memory_total_bytes": "node_memory_MemTotal_bytes",
    "ml_host_memory_swap_total_bytes": "node_memory_SwapTotal_bytes",
    "ml_host_boot_time_seconds": "node_boot_time_seconds",
    "ml_host_filesystem_size_bytes": "node_filesystem_size_bytes",
    "ml_host_filesystem_readonly": "node_filesystem_readonly",
    "ml_host_network_receive_errs_total": "node_network_receive_errs_total",
    "ml_host_network_transmit_errs_total": "node_network_transmit_errs_total",
    "ml_host_network_receive_drop_total": "node_network_receive_drop_total",
    "ml_host_network_transmit_drop_total": "node_network_transmit_drop_total",
}
"""What does not change while both are asked."""
GROWING = {
    "ml_host_network_receive_bytes_total": "node_network_receive_bytes_total",
    "ml_host_network_transmit_bytes_total": "node_network_transmit_bytes_total",
    "ml_host_disk_read_bytes_total": "node_disk_read_bytes_total",
    "ml_host_disk_written_bytes_total": "node_disk_written_bytes_total",
    "ml_host_disk_io_time_seconds_total": "node_disk_io_time_seconds_total",
}
"""Counters with the same labels: ours, read between two of the other's, lies between them."""


def read(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def ours() -> Samples:
    families = Families()
    collect_host(families)
    collect_pressure(families)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families.collect()
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [str(find_tool("node_exporter")), f"--web.listen-address={address}", *ALL_THAT_WE_SHOW]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        url = f"http://{address}/metrics"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                requests.get(url, timeout=10).raise_for_status()
                break
            except requests.RequestException:
                time.sleep(0.1)
        yield url
        process.terminate()


@pytest.fixture(scope="module")
def readings(page: str) -> tuple[Samples, Samples, Samples]:
    before = read(requests.get(page, timeout=30).text)
    own = ours()
    return before, own, read(requests.get(page, timeout=30).text)


def named(samples: Samples, name: str) -> dict[frozenset[tuple[str, str]], float]:
    return {labels: value for (found, labels), value in samples.items() if found == name}


@pytest.mark.parametrize("name", SAME)
def test_what_does_not_change_is_the_same(readings: tuple[Samples, Samples, Samples], name: str) -> None:
    before, own, _ = readings
    assert named(own, name) == pytest.approx(named(before, SAME[name]), rel=1e-9)
    assert named(own, name)


@pytest.mark.parametrize("name", GROWING)
def test_counters_lie_between_two_of_the_others(
    readings: tuple[Samples, Samples, Samples], name: str
) -> None:
    first, own_samples, second = readings
    own = named(own_samples, name)
    before, after = (named(found, GROWING[name]) for found in (first, second))
    assert own.keys() == before.keys()
    assert all(before[labels] - 1e-6 <= own[labels] <= after[labels] + 1e-6 for labels in own)


def test_cpu_time_by_mode_is_the_sum_over_cpus(readings: tuple[Samples, Samples, Samples]) -> None:
    before, own, after = readings
    for labels, seconds in named(own, "ml_host_cpu_seconds_total").items():
        mode = dict(labels)["mode"]
        low, high = (
            sum(
                value
                for other, value in named(found, "node_cpu_seconds_total").items()
                if ("mode", mode) in other
            )
            for found in (before, after)
        )
        # Each CPU's time is rounded to hundredths, and idle time may fall by the kernel's rounding.
        assert low - 0.1 <= seconds <= high + 0.1, mode


def test_pressure_lies_between_two_of_the_others(readings: tuple[Samples, Samples, Samples]) -> None:
    if not Path("/proc/pressure").exists():
        assert not named(readings[1], "ml_host_pressure_waiting_seconds_total")
        return
    for kind, resources in (("waiting", ("cpu", "memory", "io")), ("stalled", ("memory", "io"))):
        own = named(readings[1], f"ml_host_pressure_{kind}_seconds_total")
        for resource in resources:
            key = (f"node_pressure_{resource}_{kind}_seconds_total", frozenset[tuple[str, str]]())
            value = own[frozenset({("resource", resource)})]
            assert readings[0][key] - 1e-6 <= value <= readings[2][key] + 1e-6


def test_load_and_memory_are_near(readings: tuple[Samples, Samples, Samples]) -> None:
    before, own, after = readings
    none = frozenset[tuple[str, str]]()
    for minutes in (1, 5, 15):
        low, high = sorted((before[f"node_load{minutes}", none], after[f"node_load{minutes}", none]))
        assert low - 0.5 <= own[f"ml_host_load{minutes}", none] <= high + 0.5
    total = own["ml_host_memory_total_bytes", none]
    available = before["node_memory_MemAvailable_bytes", none]
    assert own["ml_host_memory_available_bytes", none] == pytest.approx(available, abs=0.1 * total)
