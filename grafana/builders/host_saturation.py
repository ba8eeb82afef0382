"""What of a host runs out first: CPU, memory, disk, and how long a disk still lasts."""

from __future__ import annotations

from collections.abc import Callable

from grafana_foundation_sdk.models.dashboard import Panel

from .links import to
from .names import SERVING_UID
from .panels import About, Line, graph
from .promql import SCOPE, Moment, cpu_busy, disk_used, highest, memory_used, select
from .tables import Column, leading, rows

YEAR = 365 * 86400


def saturation_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on saturation, with width and height."""
    return [(_cpu(), 12, 7), (_memory(), 12, 7), (_busy(), 12, 7), (_load(), 12, 7), (_disks(), 24, 7)]


def _cpu() -> Panel:
    about = About(
        "How busy are the hosts' CPUs?",
        "Below 80 % but for moments: a server that waits for a CPU answers late. The five busiest hosts.",
        ("MLCpuSaturated",),
    )
    return graph(about, [_hosts(cpu_busy)], unit="percentunit", low=0)


def _memory() -> Panel:
    about = About(
        "How full is the hosts' memory?",
        "Below 90 %. The five fullest hosts; what can be given back, such as caches, counts as free.",
        ("MLMemoryNearlyFull",),
    )
    return graph(about, [_hosts(memory_used)], unit="percentunit", low=0)


def _hosts(build: Callable[[Moment], str]) -> Line:
    return Line(highest(5, "job, instance", build), "{{instance}}")


def _busy() -> Panel:
    about = About(
        "How busy are the disks?",
        "Below 80 % but for moments. The share of time in which a disk had something to do; the five busiest.",
        empty="The hosts tell nothing of disks.",
    )
    io = select("ml_host_disk_io_time_seconds_total", SCOPE)
    by = "instance, device"
    line = Line(
        highest(5, by, lambda when: f"max by ({by}) ({when.pace(io)})"),
        "{{device}} of {{instance}}",
    )
    return graph(about, [line], unit="percentunit", low=0)


def _load() -> Panel:
    about = About(
        "How many tasks are there for each CPU?",
        "Below 1: above it, tasks wait. The load of the last 5 minutes over the number of CPUs; the five highest.",
        ("MLCpuSaturated",),
    )
    load, cpus = select("ml_host_load5", SCOPE), select("ml_host_cpus", SCOPE)
    return graph(
        about,
        [_hosts(lambda when: f"{when.gauge(load)} / {when.gauge(cpus)}")],
        unit="none",
        decimals=2,
        low=0,
    )


def _disks() -> Panel:
    about = About(
        "Which disk is full first, and when?",
        "No disk in the next days. At the pace of the last 6 hours, at most a year; read-only disks are left out.",
        ("MLDiskFillingUp",),
    )
    by = "by (job, instance, device, mountpoint)"
    avail, size = (select(f"ml_host_filesystem_{part}_bytes", SCOPE) for part in ("avail", "size"))
    writable = f"unless {select('ml_host_filesystem_readonly', SCOPE)} == 1"
    # A disk that does not fill loses less than a byte a second.
    full_in = f"clamp_max({avail} / clamp_min(-deriv({avail}[6h]), 1), {YEAR})"
    exprs = [
        f"min {by} ({full_in} {writable})",
        f"max {by} ({disk_used()})",
        f"min {by} ({avail} {writable})",
        f"min {by} ({size} {writable})",
    ]
    columns = [
        Column("instance", "Instance", width=180),
        Column("mountpoint", "Mounted at", width=180),
        Column("device", "Device", width=140),
        Column("Value #A", "Full in", unit="s", decimals=1),
        Column("Value #B", "In use", unit="percentunit", decimals=1),
        Column("Value #C", "Free", unit="bytes"),
        Column("Value #D", "Size", unit="bytes"),
        Column("job", "Job"),
    ]
    link = to(SERVING_UID, {"job": "job", "instance": "instance"})
    return rows(
        about, exprs, leading(columns, link, "Show this host alone"), sort="Full in", descending=False
    )
