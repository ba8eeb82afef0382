"""The host's numbers: against psutil at the same moment, and against a proc folder that is made up."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ml_exporter.metrics.families import Families
from ml_exporter.metrics.filesystem import MountProbe, chosen_mounts, parse_mountinfo
from ml_exporter.metrics.host import HostState, collect_host, parse_meminfo, parse_net_dev, parse_stat

STAT = """cpu  1000 20 300 40000 50 6 7 8 900 10
cpu0 500 10 150 20000 25 3 4 4 450 5
cpu1 500 10 150 20000 25 3 3 4 450 5
intr 5 6
btime 1700000000
"""
MEMINFO = """MemTotal:        1000 kB
MemAvailable:     400 kB
SwapTotal:        200 kB
SwapFree:         150 kB
HugePages_Total:    7
"""
NET_DEV = """Inter-|   Receive                                   |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop
    lo: 100 1 2 3 0 0 0 0 200 4 5 6 0 0 0 0
eth0:1:     7 0 0 0 0 0 0 0 8 0 0 0 0 0 0 0
"""
DISKSTATS = """   8       0 sda 10 0 20 30 40 0 50 60 0 7000 80
   8       1 sda1 1 0 1 1 1 0 1 1 0 1 1
   7       0 loop0 1 0 1 1 1 0 1 1 0 1 1
 252       0 zram0 1 0 1 1 1 0 1 1 0 1 1
 259       0 nvme0n1 1 0 2 1 1 0 3 1 0 4 1
 259       1 nvme0n1p1 1 0 1 1 1 0 1 1 0 1 1
 253       0 dm-0 1 0 1 1 1 0 1 1 0 1 1
"""
MOUNTINFO = """22 1 0:21 / /proc rw - proc proc rw
23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
24 23 8:1 /var/lib /srv/bind rw,relatime - ext4 /dev/sda1 rw
25 23 0:40 / /tmp rw - tmpfs tmpfs rw
26 23 0:41 / /run/shm rw - tmpfs tmpfs rw
27 23 8:2 / /media/a\\040disk ro,nosuid - vfat /dev/sdb1 rw
28 23 8:3 / /mnt/hidden rw - ext4 /dev/sdc1 rw
29 23 8:4 / /mnt/hidden rw - xfs /dev/sdd1 ro
30 23 0:50 / /var/lib/docker/overlay2/x rw - ext4 /dev/sde rw
31 23 0:51 / /images rw - squashfs /dev/loop0 ro
32 23 0:52 / /process rw - nfs4 server:/export rw
garbage
"""


class Space:
    """Space as os.statvfs would tell it."""

    f_frsize = 4096
    f_blocks = 100
    f_bavail = 25


def made_up_proc(folder: Path) -> Path:
    files = {
        "stat": STAT,
        "loadavg": "0.50 1.25 2.00 1/234 5678\n",
        "meminfo": MEMINFO,
        "diskstats": DISKSTATS,
        "1/net/dev": NET_DEV,
        "1/mountinfo": MOUNTINFO,
    }
    for name, text in files.items():
        path = folder / "proc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "proc"


def registry_of(families: Families) -> CollectorRegistry:
    """Return the families as a registry, which makes sure that they can be served."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(families)
    assert generate_latest(registry)
    return registry


def read_host(state: HostState | None = None, **folders: Path) -> CollectorRegistry:
    families = Families()
    collect_host(families, state=state, **folders)
    return registry_of(families)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    found = registry.get_sample_value(name, labels)
    assert found is not None, (name, labels)
    return found


def test_cpu_time_is_the_kernels() -> None:
    before, registry, after = psutil.cpu_times(), read_host(), psutil.cpu_times()
    for mode in ("user", "nice", "system", "idle", "irq", "softirq", "steal"):
        read = value(registry, "ml_host_cpu_seconds_total", mode=mode)
        assert getattr(before, mode) - 0.011 <= read <= getattr(after, mode) + 0.011, mode
    assert value(registry, "ml_host_cpus") == psutil.cpu_count()
    assert value(registry, "ml_host_boot_time_seconds") == pytest.approx(psutil.boot_time(), abs=1)


def test_memory_and_load_are_the_kernels() -> None:
    registry = read_host()
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    assert value(registry, "ml_host_memory_total_bytes") == memory.total
    available = value(registry, "ml_host_memory_available_bytes")
    assert available == pytest.approx(memory.available, abs=0.1 * memory.total)
    assert value(registry, "ml_host_memory_swap_total_bytes") == swap.total
    assert value(registry, "ml_host_memory_swap_free_bytes") == pytest.approx(swap.free, abs=2**26)
    for minutes, load in zip((1, 5, 15), psutil.getloadavg(), strict=True):
        assert value(registry, f"ml_host_load{minutes}") == pytest.approx(load, abs=0.5)


def test_network_is_the_kernels() -> None:
    before, registry, after = (
        psutil.net_io_counters(pernic=True, nowrap=False),
        read_host(),
        psutil.net_io_counters(pernic=True, nowrap=False),
    )
    pairs = {
        "receive_bytes": "bytes_recv",
        "transmit_bytes": "bytes_sent",
        "receive_errs": "errin",
        "transmit_errs": "errout",
        "receive_drop": "dropin",
        "transmit_drop": "dropout",
    }
    for device in before:
        for name, attribute in pairs.items():
            read = value(registry, f"ml_host_network_{name}_total", device=device)
            assert getattr(before[device], attribute) <= read <= getattr(after[device], attribute)


def test_disks_are_the_kernels() -> None:
    before = psutil.disk_io_counters(perdisk=True, nowrap=False)
    registry = read_host()
    after = psutil.disk_io_counters(perdisk=True, nowrap=False)
    for device in {label["device"] for label in samples(registry, "ml_host_disk_read_bytes_total")}:
        read = value(registry, "ml_host_disk_read_bytes_total", device=device)
        written = value(registry, "ml_host_disk_written_bytes_total", device=device)
        busy = value(registry, "ml_host_disk_io_time_seconds_total", device=device)
        assert before[device].read_bytes <= read <= after[device].read_bytes
        assert before[device].write_bytes <= written <= after[device].write_bytes
        assert before[device].busy_time <= busy * 1000 + 1e-6 <= after[device].busy_time + 1e-3


def test_filesystems_are_those_that_df_shows() -> None:
    registry = read_host()
    shown = samples(registry, "ml_host_filesystem_size_bytes")
    assert shown
    for labels in shown:
        usage = psutil.disk_usage(labels["mountpoint"])
        assert value(registry, "ml_host_filesystem_size_bytes", **labels) == usage.total
        free = value(registry, "ml_host_filesystem_avail_bytes", **labels)
        assert free == pytest.approx(usage.free, abs=2**30)
        assert labels["fstype"] not in {"proc", "sysfs", "overlay", "cgroup2", "devtmpfs"}


def samples(registry: CollectorRegistry, name: str) -> list[dict[str, str]]:
    return [
        sample.labels for family in registry.collect() for sample in family.samples if sample.name == name
    ]


def test_made_up_host_reads_as_it_was_made(tmp_path: Path) -> None:
    asked: list[Path] = []

    def statvfs(path: Path) -> Space:
        asked.append(path)
        return Space()

    state = HostState(MountProbe(statvfs=statvfs))
    registry = read_host(state, proc=made_up_proc(tmp_path), root=tmp_path / "rootfs")
    assert value(registry, "ml_host_load15") == 2.0
    assert value(registry, "ml_host_memory_available_bytes") == 400 * 1024
    assert value(registry, "ml_host_network_transmit_errs_total", device="lo") == 5
    assert value(registry, "ml_host_network_receive_bytes_total", device="eth0:1") == 7
    assert value(registry, "ml_host_disk_written_bytes_total", device="sda") == 50 * 512
    assert value(registry, "ml_host_disk_io_time_seconds_total", device="sda") == 7.0
    disks = {labels["device"] for labels in samples(registry, "ml_host_disk_read_bytes_total")}
    assert disks == {"sda", "nvme0n1", "dm-0"}
    labels = {"device": "/dev/sdb1", "fstype": "vfat", "mountpoint": "/media/a disk"}
    assert value(registry, "ml_host_filesystem_avail_bytes", **labels) == 25 * 4096
    assert value(registry, "ml_host_filesystem_size_bytes", **labels) == 100 * 4096
    assert value(registry, "ml_host_filesystem_readonly", **labels) == 1
    assert tmp_path / "rootfs" / "media/a disk" in asked
    assert all(path.is_relative_to(tmp_path / "rootfs") for path in asked)


def test_each_real_filesystem_is_listed_once() -> None:
    chosen = [
        (mount.mountpoint, mount.fstype, mount.readonly)
        for mount in chosen_mounts(parse_mountinfo(MOUNTINFO))
    ]
    assert chosen == [
        ("/", "ext4", False),
        ("/tmp", "tmpfs", False),
        ("/process", "nfs4", False),
        ("/run/shm", "tmpfs", False),
        ("/mnt/hidden", "xfs", True),
        ("/media/a disk", "vfat", True),
    ]


def test_mount_that_hangs_or_fails_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    asked: list[str] = []
    hang = {"process": True}

    def statvfs(path: Path) -> Space:
        asked.append(path.name)
        if path.name == "tmp":
            raise PermissionError
        while path.name == "process" and hang["process"]:
            time.sleep(0.01)
        return Space()

    probe = MountProbe(timeout=0.1, statvfs=statvfs)
    folders = {"proc": made_up_proc(tmp_path), "root": tmp_path}

    def mounts() -> set[str]:
        registry = read_host(HostState(probe), **folders)
        return {labels["mountpoint"] for labels in samples(registry, "ml_host_filesystem_size_bytes")}

    others = {"/", "/run/shm", "/mnt/hidden", "/media/a disk"}
    assert mounts() == others
    assert mounts() == others
    # The mount that hangs is not asked again: threads would pile up.
    assert asked.count("process") == 1
    hang["process"] = False
    time.sleep(0.1)
    assert mounts() == {*others, "/process"}


def test_cpu_time_does_not_fall_by_the_kernels_rounding(tmp_path: Path) -> None:
    proc, state = made_up_proc(tmp_path), HostState(MountProbe(statvfs=lambda _: Space()))
    read = []
    for ticks in (5000, 4990, 5010, 100):
        (proc / "stat").write_text(STAT.replace("40000 50 6", f"40000 {ticks} 6"))
        read.append(value(read_host(state, proc=proc), "ml_host_cpu_seconds_total", mode="iowait"))
    assert read == [50.0, 50.0, 50.1, 1.0]


def test_own_files_stand_in_where_those_of_init_cannot_be_read(tmp_path: Path) -> None:
    proc = made_up_proc(tmp_path)
    (proc / "1").rename(proc / "self")
    state = HostState(MountProbe(statvfs=lambda _: Space()))
    assert value(read_host(state, proc=proc), "ml_host_network_receive_bytes_total", device="lo") == 100


def test_missing_proc_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        collect_host(Families(), proc=tmp_path)


def test_parsers_are_pure() -> None:
    times, cpus, boot = parse_stat(STAT, ticks=100)
    assert times == {
        "user": 10.0,
        "nice": 0.2,
        "system": 3.0,
        "idle": 400.0,
        "iowait": 0.5,
        "irq": 0.06,
        "softirq": 0.07,
        "steal": 0.08,
    }
    assert (cpus, boot) == (2, 1_700_000_000.0)
    assert "HugePages_Total" not in parse_meminfo(MEMINFO)
    assert parse_net_dev(NET_DEV)["lo"][8] == 200
