"""Whether a model is old, and what became of alerts that ask for a new one."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .panels import About, Line, graph, number
from .promql import HOOK_OF_MODEL, ONE_MODEL, SCOPE, of_champion, select
from .tables import Column, rows

NO_HOOK = "Nobody asks: no `ml_exporter hook` is scraped, or the model's config has no retrain."


def retraining_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on retraining, with width and height."""
    return [(_age(), 12, 7), (_requests(), 6, 7), (_asked(), 6, 7)]


def _age() -> Panel:
    about = About(
        "How old is the champion?",
        "Below the limit of the config: time since the data it was trained on.",
        ("MLModelOld",),
        "The profile does not tell when the model was trained.",
    )
    clock = select("ml_exporter_clock_timestamp_seconds", SCOPE)
    trained = f"({select('ml_model_trained_timestamp_seconds', ONE_MODEL)} {of_champion(ONE_MODEL)})"
    lines = [
        Line(
            f"max by (version) ({clock} - on (job, instance) group_right () {trained})", "version {{version}}"
        ),
        Line(f"min({select('ml_model_max_age_seconds', ONE_MODEL)})", "limit", "limit"),
    ]
    return graph(about, lines, unit="s", low=0)


def _requests() -> Panel:
    about = About(
        "What became of alerts that ask for retraining?",
        "Mostly success. Refused and failed: the pipeline did not take it. The others were not asked for: duplicate, "
        "cooldown and weekly_limit spare the pipeline, unconfirmed ones no page showed. In the shown time.",
        ("MLRetrainingWanted", "MLRetrainingFailed", "MLHookDown"),
        NO_HOOK,
    )
    requests = f"increase({select('ml_retrain_requests_total', HOOK_OF_MODEL)}[$__range])"
    columns = [Column("result", "Result"), Column("Value", "Alerts", unit="short")]
    return rows(about, [f"round(sum by (result) ({requests}))"], columns, sort="Alerts")


def _asked() -> Panel:
    about = About(
        "How long ago was retraining asked for?",
        "As long as the champion is old, about: a new version followed.",
        empty=NO_HOOK,
    )
    last = select("ml_retrain_last_request_timestamp_seconds", HOOK_OF_MODEL)
    return number(about, f"time() - max({last})", unit="s", no_value="never")
