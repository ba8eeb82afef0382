"""The fleet: every model a row, the worst first, and the exporters they depend on."""

from __future__ import annotations

from dataclasses import replace

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from .dashboards import Row, dashboard
from .events import events
from .exporters import exporter_panels
from .names import BAD, CONCEPT_STATES, FLEET_UID, GOOD, MODEL_UID, NEUTRAL, STATES, UNKNOWN, WARNING
from .panels import About, Line, number, timeline, words
from .promql import (
    MANY_MODELS,
    WATCHDOG,
    breaches,
    drifted,
    expected_misses,
    firing,
    known_models,
    of_champion,
    prediction_age,
    rate,
    select,
    state,
    unjudged,
    violating,
)
from .tables import Column, rows
from .variables import models_of_fleet, scope

CHOSEN = 'model=~"$model"'
STATE_WORDS = words({float(value): look for value, look in STATES.items()})
ZERO_IS_GOOD = ((None, GOOD), (1, BAD))
SOME_ARE_BAD = ((None, NEUTRAL), (1, WARNING))
CONCEPT_WORDS = words({float(value): look for value, look in CONCEPT_STATES.items()})
SELECTION = "var-datasource=${datasource}&var-job=${__data.fields.job:percentencode}"
TO_MODEL = (
    f"/d/{MODEL_UID}?{SELECTION}&var-model=${{__data.fields.model:percentencode}}&${{__url_time_range}}"
)


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
            Row("Models", [(_models(), 24, 10), (_alerts(), 12, 8), (_states(), 12, 8)]),
            Row("Exporters and their hosts", [(panel, 8, 7) for panel in exporter_panels()]),
        ],
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
        (number(down, f"count({up} == 0) or vector(0)", unit="none", steps=ZERO_IS_GOOD), 6, 4),
    ]


def _models() -> Panel:
    about = About(
        "Which model needs attention first?",
        "Every state is fine. The worst model comes first; a cell leads to the model. Missed: targets whose "
        "95 % bound is on the wrong side; unknown: targets that cannot be judged now; expected: what the estimate "
        "without labels says of those; concept: whether answers still mean what they meant; drifted: columns "
        "above limit and noise; violating: columns above a limit of input checks; labelled: the champion's "
        "share of mature predictions with a label, in the windows that targets judge.",
        (
            "MLQualityBelowTarget",
            "MLQualityAboveTarget",
            "MLQualityUnknown",
            "MLEstimatedQualityLow",
            "MLConceptDrift",
            "MLColumnDrift",
            "MLInputViolations",
            "MLNoPredictions",
            "MLModelGone",
            "MLLabelsStopped",
        ),
        "No model yet: an exporter shows each configured model from its first scrape.",
    )
    return rows(about, _model_queries(), _model_columns(), sort="State")


def _model_queries() -> list[str]:
    by = "by (job, model)"
    targets = select("ml_quality_target", MANY_MODELS)
    limits = select("ml_drift_limit", MANY_MODELS)
    checks = select("ml_input_violation_limit", MANY_MODELS)
    coverage = select("ml_label_coverage_ratio", MANY_MODELS)
    served = f"sum {by} ({rate('ml_predictions_total', MANY_MODELS)})"
    concept = select("ml_concept_drift_state", MANY_MODELS, 'detector="ecusum"')
    failed = f"sum {by} ({rate('ml_prediction_errors_total', MANY_MODELS)})"
    return [
        known_models(MANY_MODELS),
        state(MANY_MODELS, CHOSEN),
        f"count {by} ({firing(CHOSEN)}) or 0 * group {by} ({select('ml_model_info', MANY_MODELS)})",
        f"count {by} ({breaches(MANY_MODELS)}) or 0 * group {by} ({targets})",
        f"count {by} ({unjudged(MANY_MODELS)}) or 0 * group {by} ({targets})",
        f"count {by} (group by (job, model, column) ({drifted(MANY_MODELS)})) or 0 * group {by} ({limits})",
        f"count {by} (group by (job, model, column) ({violating(MANY_MODELS)})) or 0 * group {by} ({checks})",
        f"min {by} ({coverage} {of_champion(MANY_MODELS)} and on (job, instance, model, window) {targets})",
        served,
        f"{failed} / ({served} > 0)",
        f"min {by} ({prediction_age(MANY_MODELS)})",
        f"max {by} ({expected_misses(MANY_MODELS)})",
        f"max {by} ({concept} {of_champion(MANY_MODELS)})",
    ]


def _model_columns() -> list[Column]:
    unknown = ((None, NEUTRAL), (1.0, UNKNOWN))
    expected = words({0: ("met", NEUTRAL), 1: ("missed", WARNING)})
    columns = [
        Column("model", "Model", width=140),
        Column("Value #B", "State", color=True, mappings=(STATE_WORDS,)),
        Column("Value #C", "Alerts", color=True, steps=SOME_ARE_BAD),
        Column("Value #D", "Missed", color=True, steps=((None, NEUTRAL), (1, BAD))),
        Column("Value #E", "Unknown", color=True, steps=unknown),
        Column("Value #L", "Expected", color=True, mappings=(expected,)),
        Column("Value #M", "Concept", color=True, mappings=(CONCEPT_WORDS,)),
        Column("Value #F", "Drifted", color=True, steps=SOME_ARE_BAD),
        Column("Value #G", "Violating", color=True, steps=SOME_ARE_BAD),
        Column("Value #H", "Labelled", unit="percentunit", decimals=1),
        Column("Value #I", "Served", unit="reqps"),
        Column("Value #J", "Errors", unit="percentunit", decimals=2),
        Column("Value #K", "Newest", unit="s"),
        Column("team", "Team"),
        Column("job", "Job"),
    ]
    return [_linked(column) for column in columns]


def _linked(column: Column) -> Column:
    return replace(column, link=TO_MODEL, link_title="Show this model")


def _alerts() -> Panel:
    about = About(
        "Which alerts fire now?",
        "None. Alerts that concern no single model, such as a full disk, are not listed here.",
        ("MLWatchdog",),
        "No alert fires for the chosen models.",
    )
    expr = f"group by (job, model, instance, severity, alertname) ({firing(CHOSEN)})"
    columns = [
        Column("alertname", "Alert"),
        Column("severity", "Severity"),
        Column("model", "Model", link=TO_MODEL),
        Column("instance", "Instance"),
        Column("job", "Job"),
    ]
    return rows(about, [expr], columns, sort="Severity", descending=False)


def _states() -> Panel:
    about = About(
        "How did each model's state change?",
        "All fine, all the time. A model is unknown while the alert rules do not run or after it is gone.",
        ("MLModelGone",),
    )
    return timeline(about, [Line(state(MANY_MODELS, CHOSEN), "{{model}}")], [STATE_WORDS])
