"""CPU, memory, load, disks and network of the host, as node_exporter means them.

The values are read from a proc folder that is handed over, not by psutil: in a container the host's
is mounted elsewhere, its network is that of the host's process 1, and psutil knows one folder a process.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ml_exporter.metrics.families import Families
from ml_exporter.metrics.filesystem import MountProbe, collect_filesystems

_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_MEMORY = (
    ("MemTotal", "ml_host_memory_total_bytes"),
    ("MemAvailable", "ml_host_memory_available_bytes"),
    ("SwapTotal", "ml_host_memory_swap_total_bytes"),
    ("SwapFree", "ml_host_memory_swap_free_bytes"),
)
# The columns of /proc/net/dev after the device's name.
_NETWORK = (
    (0, "ml_host_network_receive_bytes_total"),
    (2, "ml_host_network_receive_errs_total"),
    (3, "ml_host_network_receive_drop_total"),
    (8, "ml_host_network_transmit_bytes_total"),
    (10, "ml_host_network_transmit_errs_total"),
    (11, "ml_host_network_transmit_drop_total"),
)
# The columns of /proc/diskstats (Documentation/admin-guide/iostats.rst), and what one of each is worth:
# a sector there has 512 bytes whatever the disk says.
_DISK = (
    (5, "ml_host_disk_read_bytes_total", 512.0),
    (9, "ml_host_disk_written_bytes_total", 512.0),
    (12, "ml_host_disk_io_time_seconds_total", 0.001),
)
# node_exporter's default (collector/diskstats_linux.go): memory, loops, floppies and partitions.
_NO_DISK = re.compile(r"(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+")
# A fall of more than this is a new count and not the kernel's rounding, as in node_exporter.
_FALL_SECONDS = 3.0


class HostState:
    """What must be remembered between two collections: the highest CPU times, and mounts that hang."""

    def __init__(self, probe: MountProbe | None = None) -> None:
        self.probe = probe or MountProbe()
        self._highest: dict[str, float] = {}

    def never_down(self, mode: str, seconds: float) -> float:
        """Return the CPU time of a mode without the small falls that idle and iowait can have."""
        highest = self._highest.get(mode, 0.0)
        if not 0 <= highest - seconds < _FALL_SECONDS:
            self._highest[mode] = highest = seconds
        return highest


def collect_host(
    families: Families, *, proc: Path = Path("/proc"), root: Path = Path("/"), state: HostState | None = None
) -> None:
    """Add the host's CPU, load, memory, filesystems, disks and network.

    `proc` is the host's proc folder, `root` the folder where its root is mounted. Raises OSError when
    a file of the proc folder cannot be read.
    """
    state = state or HostState()
    _add_cpu(families, (proc / "stat").read_text(), state)
    _add_load(families, (proc / "loadavg").read_text())
    _add_memory(families, (proc / "meminfo").read_text())
    _add_network(families, _of_init(proc, "net/dev"))
    _add_disks(families, (proc / "diskstats").read_text())
    collect_filesystems(families, _of_init(proc, "mountinfo"), root, state.probe)


def _of_init(proc: Path, name: str) -> str:
    """Return a file as the host's first process sees it, not as this one's container does."""
    try:
        return (proc / "1" / name).read_text(errors="replace")
    except OSError:
        return (proc / "self" / name).read_text(errors="replace")


def _add_cpu(families: Families, text: str, state: HostState) -> None:
    times, cpus, boot = parse_stat(text)
    for mode, seconds in times.items():
        families.add("ml_host_cpu_seconds_total", (mode,), state.never_down(mode, seconds))
    families.add("ml_host_cpus", (), cpus)
    families.add("ml_host_boot_time_seconds", (), boot)


def parse_stat(text: str, ticks: int = os.sysconf("SC_CLK_TCK")) -> tuple[dict[str, float], int, float]:
    """Return seconds by mode, the number of CPUs and the boot's Unix time from a text as /proc/stat.

    As in node_exporter `user` and `nice` hold the time of guests, which is not shown apart.
    """
    rows = [line.split() for line in text.splitlines() if line]
    total = next(row for row in rows if row[0] == "cpu")
    times = {mode: int(count) / ticks for mode, count in zip(_MODES, total[1:], strict=False)}
    cpus = sum(bool(re.fullmatch(r"cpu\d+", row[0])) for row in rows)
    boot = next(float(row[1]) for row in rows if row[0] == "btime")
    return times, cpus, boot


def _add_load(families: Families, text: str) -> None:
    for minutes, load in zip((1, 5, 15), text.split(), strict=False):
        families.add(f"ml_host_load{minutes}", (), float(load))


def _add_memory(families: Families, text: str) -> None:
    values = parse_meminfo(text)
    for key, name in _MEMORY:
        if key in values:
            families.add(name, (), values[key])


def parse_meminfo(text: str) -> dict[str, float]:
    """Return bytes by name from a text as /proc/meminfo."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: float(rest.split()[0]) * 1024 for key, _, rest in pairs if rest.strip().endswith("kB")}


def _add_network(families: Families, text: str) -> None:
    for device, counts in parse_net_dev(text).items():
        for column, name in _NETWORK:
            families.add(name, (device,), counts[column])


def parse_net_dev(text: str) -> dict[str, list[int]]:
    """Return the 16 counts of each device from a text as /proc/net/dev."""
    devices = {}
    for line in text.splitlines()[2:]:
        device, _, counts = line.rpartition(":")
        devices[device.strip()] = [int(count) for count in counts.split()]
    return devices


def _add_disks(families: Families, text: str) -> None:
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 12 and not _NO_DISK.fullmatch(fields[2]):
            for column, name, unit in _DISK:
                families.add(name, (fields[2],), int(fields[column]) * unit)
