"""The processes of the model servers: what each group of them takes of its host."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .links import to
from .names import BAD, GOOD, SERVING_UID
from .panels import About, Line, graph
from .promql import SCOPE, highest, select
from .tables import Column, leading, rows

CHOSEN = 'process=~"$process"'
NONE = "No processes are watched: name them in the config's host.processes."
BY = "instance, process"


def process_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on processes, with width and height."""
    graphs = (_cpu(), _memory(), _files(), _threads(), _read(), _written())
    return [(_table(), 24, 7), *((panel, 12, 7) for panel in graphs)]


def _table() -> Panel:
    about = About(
        "Which processes run, and since when?",
        "As many of each as there should be, none younger than its last release, none unreadable (the exporter "
        "needs its user, or CAP_SYS_PTRACE, to see open files).",
        ("MLModelServerDown", "MLModelServerRestarting"),
        NONE,
    )
    clock = select("ml_exporter_clock_timestamp_seconds", SCOPE)
    started = select("ml_process_oldest_start_time_seconds", SCOPE, CHOSEN)
    by = "by (job, instance, process)"
    cpu = f"rate({select('ml_process_cpu_seconds_total', SCOPE, CHOSEN)}[$__rate_interval])"
    values = [
        select("ml_process_instances", SCOPE, CHOSEN),
        f"{clock} - on (job, instance) group_right () ({started} > 0)",
        cpu,
        *(
            select(f"ml_process_{name}", SCOPE, CHOSEN)
            for name in ("resident_memory_bytes", "open_fds", "threads", "unreadable")
        ),
    ]
    columns = [
        Column("process", "Process", width=200),
        Column("instance", "Instance", width=180),
        Column("Value #A", "Running", color=True, steps=((None, BAD), (1, GOOD))),
        Column("Value #B", "Oldest", unit="s"),
        Column("Value #C", "Cores", decimals=2),
        Column("Value #D", "Memory", unit="bytes"),
        Column("Value #E", "Open files", unit="short"),
        Column("Value #F", "Threads", unit="short"),
        Column("Value #G", "Unreadable", unit="short"),
        Column("job", "Job"),
    ]
    exprs = [f"max {by} ({value})" for value in values]
    link = to(SERVING_UID, {"job": "job", "instance": "instance", "process": "process"})
    return rows(about, exprs, leading(columns, link, "Show this process"), sort="Running", descending=False)


def _cpu() -> Panel:
    about = About(
        "How many cores do the processes take?",
        "Steady for the traffic, and less than there are. The five groups that take most.",
        empty=NONE,
    )
    cpu = select("ml_process_cpu_seconds_total", SCOPE, CHOSEN)
    line = Line(
        highest(5, BY, lambda when: f"max by ({BY}) ({when.pace(cpu)})"),
        "{{process}} on {{instance}}",
    )
    return graph(about, [line], unit="none", decimals=2, low=0)


def _memory() -> Panel:
    about = About(
        "How much memory do the processes take?",
        "Steady. What only grows is a leak, and ends when the host's memory does. The five largest groups.",
        ("MLMemoryNearlyFull",),
        NONE,
    )
    return graph(about, [_gauge("ml_process_resident_memory_bytes")], unit="bytes", low=0)


def _files() -> Panel:
    about = About(
        "How many files do the processes have open?",
        "Steady. What only grows ends with too many open files. The five groups with most.",
        ("MLDescriptorsNearLimit",),
        NONE,
    )
    return graph(about, [_gauge("ml_process_open_fds")], unit="short", low=0)


def _threads() -> Panel:
    about = About(
        "How many threads do the processes have?",
        "Steady. The five groups with most.",
        empty=NONE,
    )
    return graph(about, [_gauge("ml_process_threads")], unit="short", low=0)


def _read() -> Panel:
    about = About(
        "How much do the processes read from disks?",
        "Little, once models are loaded. The five groups that read most.",
        empty=NONE,
    )
    return graph(about, [_bytes("read")], unit="Bps", low=0)


def _written() -> Panel:
    about = About(
        "How much do the processes write to disks?",
        "As much as they log. The five groups that write most.",
        empty=NONE,
    )
    return graph(about, [_bytes("written")], unit="Bps", low=0)


def _bytes(way: str) -> Line:
    selected = select(f"ml_process_{way}_bytes_total", SCOPE, CHOSEN)
    return Line(
        highest(5, BY, lambda when: f"max by ({BY}) ({when.pace(selected)})"), "{{process}} on {{instance}}"
    )


def _gauge(name: str) -> Line:
    selected = select(name, SCOPE, CHOSEN)
    return Line(
        highest(5, BY, lambda when: f"max by ({BY}) ({when.gauge(selected)})"), "{{process}} on {{instance}}"
    )
