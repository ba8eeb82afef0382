"""Pressure: for what share of the time work waits for CPU, memory or disk."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .panels import About, Line, graph
from .promql import SCOPE, highest, select

NO_PRESSURE = "The hosts tell nothing of pressure: Linux does since 4.20, unless it is switched off (psi=1)."
BY = "instance, resource"


def pressure_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels on pressure, with width and height."""
    return [(_waiting(), 12, 7), (_stalled(), 12, 7)]


def _waiting() -> Panel:
    about = About(
        "What does work wait for?",
        "Hardly ever for anything. The share of time in which some task waited for CPU, memory or disk: it tells "
        "of a full machine better than how busy it is. The five highest.",
        empty=NO_PRESSURE,
    )
    return graph(about, [_share("waiting")], unit="percentunit", low=0)


def _stalled() -> Panel:
    about = About(
        "When did all work stand still?",
        "Never. The share of time in which every task waited for memory or disk; the five highest.",
        empty=NO_PRESSURE,
    )
    return graph(about, [_share("stalled")], unit="percentunit", low=0)


def _share(kind: str) -> Line:
    seconds = select(f"ml_host_pressure_{kind}_seconds_total", SCOPE)
    line = highest(5, BY, lambda when: f"max by ({BY}) ({when.pace(seconds)})")
    return Line(line, "{{resource}} of {{instance}}")
