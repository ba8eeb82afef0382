"""The fleet: every model a row, the worst first, and the exporters they depend on."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from .dashboards import Row, dashboard
from .events import events
from .exporters import exporter_table
from .fleet_models import CHOSEN, STATE_WORDS, THIS, model_table
from .links import IN_SERIES, to
from .names import BAD, EXPORTER_UID, FLEET_UID, GOOD, MODEL_UID, NEUTRAL
from .panels import About, Line, linked, number, timeline, words
from .promql import MANY_MODELS, WATCHDOG, firing, select, state
from .tables import Column, leading, rows
from .variables import models_of_fleet, scope

NO_MODEL = 'model=""'
ZERO_IS_GOOD = ((None, GOOD), (1, BAD))


def fleet() -> Dashboard:
    """Return the dashboard of all models."""
    return dashboard(
        FLEET_UID,
        "Models: fleet",
        "Which models need attention, and are the exporters behind them well? A row leads to its model.",
        [*scope(), models_of_fleet()],
        events(MANY_MODELS, CHOSEN),
        [
            Row("", _summary()),
            Row("Models", [(model_table(), 24, 10), (_alerts(), 12, 8), (_states(), 12, 8)]),
            Row("Exporters and their hosts", [(exporter_table(), 24, 7), (_machinery(), 24, 5)]),
        ],
        "No model in the time shown: an exporter shows each configured model from its first scrape.",
    )


def _summary() -> list[tuple[Panel, int, int]]:
    info, states = select("ml_model_info", MANY_MODELS), state(MANY_MODELS, CHOSEN)
    watched = About("How many models are watched?", "As many as are configured.", ("MLModelGone",))
    attention = About(
        "How many models need attention?",
        "0. Counts models with a page or a ticket; the table below names them.",
        (
            "MLQualityBelowTarget",
            "MLQualityAboveTarget",
            "MLConceptDrift",
            "MLModelDrift",
            "MLInputViolations",
        ),
    )
    rules = About(
        "Do the alert rules run?",
        "yes. On no, a model without alerts is shown as unknown, not as fine.",
        ("MLWatchdog",),
    )
    down = About("How many exporters are down?", "0.", ("MLExporterDown", "MLExporterAbsent"))
    running = words({0: ("no", BAD), 1: ("yes", GOOD)})
    up = 'up{job=~"$job", job=~"ml_exporter.*", instance=~"$instance"}'
    return [
        (
            number(
                watched,
                f"count(count by (job, model) ({info})) or vector(0)",
                unit="none",
                steps=((None, NEUTRAL),),
            ),
            6,
            4,
        ),
        (number(attention, f"count(({states}) >= 3) or vector(0)", unit="none", steps=ZERO_IS_GOOD), 6, 4),
        (number(rules, f"group({WATCHDOG}) or vector(0)", unit="none", mappings=(running,)), 6, 4),
        (
            number(
                down,
                f"count({up} == 0) or 0 * count({up})",
                unit="none",
                steps=ZERO_IS_GOOD,
                no_value="none is scraped",
            ),
            6,
            4,
        ),
    ]


def _alerts() -> Panel:
    about = About(
        "Which alerts fire now?",
        "None. Alerts that concern no single model, such as a full disk, are in the last table.",
        ("MLWatchdog",),
        "No alert fires for the chosen models.",
    )
    expr = f"group by (job, model, instance, severity, alertname) ({firing(CHOSEN)})"
    link = to(MODEL_UID, THIS)
    columns = [
        Column("alertname", "Alert", width=200),
        Column("severity", "Severity"),
        Column("model", "Model"),
        Column("instance", "Instance"),
        Column("job", "Job"),
    ]
    return rows(about, [expr], leading(columns, link, "Show this model"), sort="Severity", descending=False)


def _machinery() -> Panel:
    about = About(
        "What is wrong with exporters and hosts?",
        "Nothing: no alert fires that concerns no single model.",
        ("MLExporterDown", "MLExporterNotReady", "MLDiskFillingUp", "MLMemoryNearlyFull"),
        "No alert fires for the chosen exporters and their hosts.",
    )
    expr = f"group by (job, instance, severity, alertname) ({firing(NO_MODEL)})"
    link = to(EXPORTER_UID, {"job": "job", "instance": "instance"})
    columns = [
        Column("alertname", "Alert", width=300),
        Column("severity", "Severity"),
        Column("instance", "Instance"),
        Column("job", "Job"),
    ]
    return rows(
        about, [expr], leading(columns, link, "Show this exporter"), sort="Severity", descending=False
    )


def _states() -> Panel:
    about = About(
        "How did each model's state change?",
        "All fine, all the time. A model is unknown while the alert rules do not run or after it is gone.",
        ("MLModelGone",),
    )
    panel = timeline(about, [Line(state(MANY_MODELS, CHOSEN), "{{model}}")], [STATE_WORDS])
    return linked(panel, "Show this model", to(MODEL_UID, THIS, where=IN_SERIES))
