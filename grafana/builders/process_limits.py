"""How close the processes of the model servers are to what they may take."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .links import to
from .names import NEUTRAL, SERVING_UID, WARNING
from .panels import About, Line, graph
from .promql import SCOPE, Moment, highest, select
from .tables import Column, leading, rows

CHOSEN = 'process=~"$process"'
BY = "instance, process"
NO_LIMITS = "No process has such a limit, or no process is watched (host.processes)."


def limit_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels on limits, with width and height."""
    return [(_table(), 24, 7), (_memory(), 12, 7), (_throttled(), 12, 7)]


def _of(name: str) -> str:
    return select(f"ml_process_{name}", SCOPE, CHOSEN)


def _table() -> Panel:
    about = About(
        "Which process is closest to a limit?",
        "None is above 90 % of any, none was killed or restarted in the shown time. Descriptors: of the process that is "
        "nearest to its limit; memory and CPU: of the tightest control group around it (cgroup version 2); throttled: "
        "share of periods in which it had to wait for its CPU limit.",
        empty=NO_LIMITS,
    )
    by = "by (job, instance, process)"
    values = [
        _of("worst_fd_ratio"),
        _memory_of_limit(),
        f"{_rate('cgroup_cpu_seconds_total')} / {_of('cgroup_cpu_limit_cores')}",
        f"{_rate('cgroup_cpu_throttled_periods_total')} / ({_rate('cgroup_cpu_periods_total')} > 0)",
        f"round(increase({_of('cgroup_oom_kills_total')}[$__range]))",
        f"round(increase({_of('restarts_total')}[$__range]))",
    ]
    some = ((None, NEUTRAL), (1.0, WARNING))
    columns = [
        Column("process", "Process", width=200),
        Column("instance", "Instance", width=180),
        Column("Value #A", "Descriptors", unit="percentunit", decimals=0),
        Column("Value #B", "Memory", unit="percentunit", decimals=0),
        Column("Value #C", "CPU", unit="percentunit", decimals=0),
        Column("Value #D", "Throttled", unit="percentunit", decimals=1),
        Column("Value #E", "Killed", color=True, steps=some),
        Column("Value #F", "Restarts", color=True, steps=some),
        Column("job", "Job"),
    ]
    link = to(SERVING_UID, {"job": "job", "instance": "instance", "process": "process"})
    exprs = [f"max {by} ({value})" for value in values]
    return rows(about, exprs, leading(columns, link, "Show this process"), sort="Descriptors")


def _rate(name: str) -> str:
    return f"rate({_of(name)}[$__rate_interval])"


def _memory_of_limit() -> str:
    return f"{_of('cgroup_memory_usage_bytes')} / {_of('cgroup_memory_limit_bytes')}"


def _memory() -> Panel:
    about = About(
        "How much of the memory that they may take do the processes take?",
        "Below 90 %: at 100 % the kernel kills. Of the tightest control group; the five fullest.",
        empty=NO_LIMITS,
    )
    usage, limit = _of("cgroup_memory_usage_bytes"), _of("cgroup_memory_limit_bytes")

    def share(when: Moment) -> str:
        return f"max by ({BY}) ({when.gauge(usage)} / {when.gauge(limit)})"

    line = Line(highest(5, BY, share), "{{process}} on {{instance}}")
    return graph(about, [line], unit="percentunit", low=0)


def _throttled() -> Panel:
    about = About(
        "How often do the processes wait for their CPU limit?",
        "Hardly ever: each wait makes answers late though the host is idle. The five that wait most.",
        empty=NO_LIMITS,
    )
    throttled, periods = (_of(f"cgroup_cpu_{name}_total") for name in ("throttled_periods", "periods"))

    def share(when: Moment) -> str:
        return f"max by ({BY}) ({when.pace(throttled)} / ({when.pace(periods)} > 0))"

    line = Line(highest(5, BY, share), "{{process}} on {{instance}}")
    return graph(about, [line], unit="percentunit", low=0)
