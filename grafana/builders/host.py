"""The hosts in detail: where CPU time goes, swap, disk and network traffic."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .panels import About, Line, graph
from .promql import SCOPE, Moment, highest, select


def host_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on hosts, with width and height."""
    panels = (_modes(), _swap(), _written(), _read(), _received(), _sent(), _lost())
    return [(panel, 12, 7) for panel in panels]


def _modes() -> Panel:
    about = About(
        "What do CPUs spend their time on?",
        "Mostly user. Much iowait is a slow disk, steal a neighbour on the same machine, softirq the network. In "
        "cores over the chosen hosts; the five commonest modes but for idle.",
    )
    cpu = select("ml_host_cpu_seconds_total", SCOPE, 'mode!="idle"')

    def cores(when: Moment) -> str:
        return f"sum by (mode) ({when.pace(cpu)})"

    return graph(about, [Line(highest(5, "mode", cores), "{{mode}}")], unit="none", decimals=2, low=0)


def _swap() -> Panel:
    about = About(
        "How much is swapped out?",
        "Nothing, and not growing: a model whose memory is swapped answers late. The five hosts with most.",
        ("MLMemoryNearlyFull",),
    )
    total, free = (select(f"ml_host_memory_swap_{part}_bytes", SCOPE) for part in ("total", "free"))
    line = Line(
        highest(5, "instance", lambda when: f"max by (instance) ({when.gauge(total)} - {when.gauge(free)})"),
        "{{instance}}",
    )
    return graph(about, [line], unit="bytes", low=0)


def _written() -> Panel:
    about = About(
        "How much is written to disks?",
        "As much as the servers log and the exporter keeps. The five disks with most.",
        ("MLDiskFillingUp",),
        "The hosts tell nothing of disks.",
    )
    return graph(about, [_devices("disk_written_bytes")], unit="Bps", low=0)


def _read() -> Panel:
    about = About(
        "How much is read from disks?",
        "Little, once models are loaded. The five disks with most.",
        empty="The hosts tell nothing of disks.",
    )
    return graph(about, [_devices("disk_read_bytes")], unit="Bps", low=0)


def _received() -> Panel:
    about = About(
        "How much comes in over the network?", "It goes with the traffic. The five devices with most."
    )
    return graph(about, [_devices("network_receive_bytes")], unit="Bps", low=0)


def _sent() -> Panel:
    about = About(
        "How much goes out over the network?", "It goes with the traffic. The five devices with most."
    )
    return graph(about, [_devices("network_transmit_bytes")], unit="Bps", low=0)


def _devices(name: str) -> Line:
    selected = select(f"ml_host_{name}_total", SCOPE)
    by = "instance, device"
    return Line(
        highest(5, by, lambda when: f"max by ({by}) ({when.pace(selected)})"),
        "{{device}} of {{instance}}",
    )


def _lost() -> Panel:
    about = About(
        "Does the network lose packets?",
        "0 a second, sent or received, damaged or dropped. Over all devices of the chosen hosts.",
        ("MLNetworkErrors",),
    )
    lines = [
        Line(f"sum(rate({select(f'ml_host_network_{name}_total', SCOPE)}[$__rate_interval]))", legend)
        for name, legend in (
            ("receive_errs", "received, damaged"),
            ("receive_drop", "received, dropped"),
            ("transmit_errs", "sent, damaged"),
            ("transmit_drop", "sent, dropped"),
        )
    ]
    return graph(about, lines, unit="short", low=0)
