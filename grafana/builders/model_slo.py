"""What was promised of a model's predictions: how much of it is left, and how fast it is used up."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .names import BAD, GOOD
from .panels import About, Line, graph, words
from .promql import ONE_MODEL, select
from .tables import Column, rows

ALERTS = ("MLQualityBudgetBurn", "MLLatencyBudgetBurn", "MLErrorBudgetBurn")
NOTHING_PROMISED = "Nothing was promised: the config's slo, latency and errors say what is; or the recording rules do not run."
ON_WINDOW = "on (job, instance, model, subject, window)"


def slo_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on what was promised, with width and height."""
    return [(_left(), 12, 8), (_pace(), 12, 8), (_windows(), 24, 8)]


def _left() -> Panel:
    about = About(
        "How much of what may be bad in 30 days is left?",
        "Above 0 %, below which the promise is broken. By subject: wrong answers, slow ones, failed ones.",
        ALERTS,
        NOTHING_PROMISED,
    )
    left = select("job_instance_model_subject:ml_budget_left:ratio30d", ONE_MODEL)
    return graph(about, [Line(f"min by (subject) ({left})", "{{subject}}")], unit="percentunit", decimals=0)


def _pace() -> Panel:
    about = About(
        "Is it used up too fast?",
        "Below 100 % of the limit. How many times faster than promised, over the limit of the window: of all windows "
        "the worst.",
        ALERTS,
        f"{NOTHING_PROMISED} Or no outage could use it up so fast.",
    )
    limit = select("ml_burn_rate_limit", ONE_MODEL)
    lines = [
        Line(f"max by (subject) ({_burn()} / {ON_WINDOW} {limit})", "{{subject}}"),
        Line(f"group({limit})", "limit", "limit"),
    ]
    return graph(about, lines, unit="percentunit", low=0)


def _burn() -> str:
    """Return how many times faster than promised the bad ones come, by subject and window."""
    bad = select("job_instance_model_subject_window:ml_bad_events:ratio", ONE_MODEL)
    objective = select("job_instance_model_subject:ml_objective:ratio", ONE_MODEL)
    return f"{bad} / on (job, instance, model, subject) group_left () (1 - {objective})"


def _windows() -> Panel:
    about = About(
        "Over which window is it used up too fast?",
        "Every burn rate is below its limit. Short windows page, long ones open a ticket; one without a limit could "
        "not be exceeded by any outage, or nobody wants to be paged.",
        ALERTS,
        NOTHING_PROMISED,
    )
    limit = select("ml_burn_rate_limit", ONE_MODEL)
    by = "by (subject, window, instance)"
    bad, judged = (
        select(f"job_instance_model_subject_window:ml_{name}", ONE_MODEL)
        for name in ("bad_events:ratio", "judged_events:increase")
    )
    exprs = [bad, _burn(), limit, f"{_burn()} > bool {ON_WINDOW} {limit}", judged]
    columns = [
        Column("subject", "Subject"),
        Column("window", "Window"),
        Column("Value #A", "Bad", unit="percentunit", decimals=2),
        Column("Value #B", "Burn rate", decimals=2),
        Column("Value #C", "Limit", decimals=1),
        Column(
            "Value #D", "Verdict", color=True, mappings=(words({0: ("kept", GOOD), 1: ("too fast", BAD)}),)
        ),
        Column("Value #E", "n", unit="short"),
        Column("instance", "Instance"),
    ]
    return rows(about, [f"max {by} ({expr})" for expr in exprs], columns, sort="Subject", descending=False)
