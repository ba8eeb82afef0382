"""The GPUs of the hosts."""

from __future__ import annotations

from collections.abc import Callable

from grafana_foundation_sdk.models.dashboard import Panel

from .panels import About, Line, graph
from .promql import SCOPE, Moment, highest, select

BY = "instance, gpu"
NO_GPU = "No host has a GPU that the exporter may ask: it takes the extra `gpu` and NVIDIA's driver."


def gpu_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on GPUs, with width and height."""
    return [(panel, 12, 7) for panel in (_busy(), _memory(), _temperature(), _power())]


def _five(build: Callable[[Moment], str]) -> Line:
    return Line(highest(5, BY, lambda when: f"max by ({BY}) ({build(when)})"), "{{gpu}} of {{instance}}")


def _gauge(name: str) -> Line:
    selected = select(f"ml_host_gpu_{name}", SCOPE)
    return _five(lambda when: when.gauge(selected))


def _busy() -> Panel:
    about = About(
        "How busy are the GPUs?",
        "As busy as the traffic makes them; at 100 % requests queue. The five busiest.",
        empty=NO_GPU,
    )
    return graph(about, [_gauge("utilization_ratio")], unit="percentunit", low=0)


def _memory() -> Panel:
    about = About(
        "How full is the GPUs' memory?",
        "Steady: a model that needs more than there is fails. The five fullest.",
        empty=NO_GPU,
    )
    used, total = (select(f"ml_host_gpu_memory_{name}_bytes", SCOPE) for name in ("used", "total"))
    line = _five(lambda when: f"{when.gauge(used)} / {when.gauge(total)}")
    return graph(about, [line], unit="percentunit", low=0)


def _temperature() -> Panel:
    about = About(
        "How hot are the GPUs?",
        "Well below what the maker allows, where the GPU slows itself down. The five hottest.",
        empty=NO_GPU,
    )
    return graph(about, [_gauge("temperature_celsius")], unit="celsius", low=0)


def _power() -> Panel:
    about = About(
        "How much power do the GPUs take?",
        "It goes with the work: an idle GPU that takes much is busy for somebody else. The five that take most.",
        empty=NO_GPU,
    )
    return graph(about, [_gauge("power_watts")], unit="watt", low=0)
