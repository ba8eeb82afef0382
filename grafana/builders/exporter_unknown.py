"""What exporters cannot compute now, and why."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .links import to
from .names import MODEL_UID
from .panels import About, Line, graph
from .promql import MANY_MODELS, highest, select
from .tables import Column, leading, rows

TO_MODEL = to(MODEL_UID, {"model": "model"}, kept=("job", "instance"))


def unknown_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on what is unknown, with width and height."""
    return [(_reasons(), 12, 9), (_subjects(), 12, 9)]


def _reasons() -> Panel:
    about = About(
        "For which reasons are statistics unavailable?",
        "Few, and only immature or too_few_rows, which pass by themselves. Counted by model, version, window "
        "and subject; the five commonest reasons.",
        ("MLQualityUnknown",),
        "Everything can be computed.",
    )
    missing = select("ml_unavailable", MANY_MODELS)
    reasons = highest(5, "reason", lambda when: f"count by (reason) ({when.gauge(missing)})")
    return graph(about, [Line(reasons, "{{reason}}")], unit="short", low=0)


def _subjects() -> Panel:
    about = About(
        "Which models lack most statistics?",
        "None, or for a reason that passes. A row leads to the model, which lists them one by one.",
        ("MLQualityUnknown",),
        "Everything can be computed.",
    )
    by = "by (job, model, reason)"
    missing, of_columns = (select(name, MANY_MODELS) for name in ("ml_unavailable", "ml_unavailable_columns"))
    columns = [
        Column("model", "Model"),
        Column("reason", "Reason"),
        Column("Value #A", "Statistics", unit="short"),
        Column("Value #B", "Of columns", unit="short"),
    ]
    return rows(
        about,
        [f"count {by} ({missing})", f"sum {by} ({of_columns})"],
        leading(columns, TO_MODEL, "Show this model"),
        sort="Statistics",
    )
