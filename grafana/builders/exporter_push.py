"""Records that are pushed instead of logged: how they are answered, and how many wait on the disk."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .links import IN_SERIES, to
from .names import DRIFT_UID
from .panels import About, Line, graph, linked
from .promql import MANY_MODELS, highest, select

TO_DATA = to(DRIFT_UID, {"model": "model"}, kept=("job", "instance"), where=IN_SERIES)
NOTHING = "No model's records are pushed: the config's push says whose are."


def push_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels on pushed records, with width and height."""
    return [(_answers(), 12, 7), (_waiting(), 12, 7)]


def _answers() -> Panel:
    about = About(
        "How are pushed records answered?",
        "By 202 alone: they are on the disk. 429 and 503: the sender is to wait and come again; others: it is to change something.",
        empty=NOTHING,
    )
    requests = select("ml_exporter_push_requests_total", MANY_MODELS)
    codes = highest(5, "code", lambda when: f"sum by (code) ({when.pace(requests)})")
    return graph(about, [Line(codes, "{{code}}")], unit="reqps", low=0)


def _waiting() -> Panel:
    about = About(
        "How many pushed records are on the disk?",
        "Steady: they go when they are counted and no longer needed. The five largest.",
        ("MLDiskFillingUp",),
        NOTHING,
    )
    spool = select("ml_exporter_push_spool_bytes", MANY_MODELS)
    by = "model, source"
    line = Line(highest(5, by, lambda when: f"max by ({by}) ({when.gauge(spool)})"), "{{model}}: {{source}}")
    return linked(graph(about, [line], unit="bytes", low=0), "Show this model's data", TO_DATA)
