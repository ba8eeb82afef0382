"""Every model a row: what it is short of, how good it is, what goes in, who asks and how it answers."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .links import to
from .names import (
    BAD,
    CONCEPT_STATES,
    DRIFT_UID,
    GOOD,
    MODEL_UID,
    NEUTRAL,
    SERVING_UID,
    STATES,
    UNKNOWN,
    WARNING,
)
from .panels import About, words
from .promql import (
    MANY_MODELS,
    ON_METRIC,
    bounded,
    breaches,
    closest,
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
from .tables import Column, leading, rows

CHOSEN = 'model=~"$model"'
BY = "by (job, model)"
STATE_WORDS = words({float(value): look for value, look in STATES.items()})
SOME_ARE_BAD = ((None, NEUTRAL), (1, WARNING))
THIS = {"job": "job", "model": "model"}


def model_table() -> Panel:
    """Return the table of models, the worst first."""
    about = About(
        "Which model needs attention first?",
        "Every state is fine. The worst model comes first; a cell leads to its evidence. Targets: missed where a "
        "95 % bound is on the wrong side, expected where only the estimate without labels says so, unknown "
        "where nobody can. Metric, value, bounds and target: of the target closest to being missed. Concept: "
        "whether answers still mean what they meant; drifted, violating: columns above their limits; "
        "labelled: share of the champion's mature predictions; slowest: the champion's 99th percentile; "
        "newest: age of the newest prediction.",
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
    return rows(about, [*_states(), *_quality(), *_inputs(), *_traffic()], _columns(), sort="State")


def _states() -> list[str]:
    targets = select("ml_quality_target", MANY_MODELS)
    no_alert = f"0 * group {BY} ({select('ml_model_info', MANY_MODELS)})"
    verdict = (
        f"3 * group {BY} ({breaches(MANY_MODELS)}) or 2 * group {BY} (({expected_misses(MANY_MODELS)}) == 1)"
        f" or 1 * group {BY} ({unjudged(MANY_MODELS)}) or 0 * group {BY} ({targets})"
    )
    concept = select("ml_concept_drift_state", MANY_MODELS, 'detector="ecusum"')
    return [
        known_models(MANY_MODELS),
        state(MANY_MODELS, CHOSEN),
        f"count {BY} ({firing(CHOSEN)}) or {no_alert}",
        verdict,
        f"max {BY} ({concept} {of_champion(MANY_MODELS)})",
    ]


def _quality() -> list[str]:
    """Return the metric closest to missing its target: its value, bounds and target."""
    worst = closest(MANY_MODELS)
    by = "max by (job, model, metric)"
    target = select("ml_quality_target", MANY_MODELS)
    return [
        *(f"{by} ({one} and {ON_METRIC} {worst})" for one in bounded("ml_quality", MANY_MODELS)),
        f"{by} ({target} and on (job, instance, model, metric, window, bound) {worst})",
    ]


def _inputs() -> list[str]:
    coverage, targets = (
        select(name, MANY_MODELS) for name in ("ml_label_coverage_ratio", "ml_quality_target")
    )
    limits, checks = (
        f"0 * group {BY} ({select(name, MANY_MODELS)})"
        for name in ("ml_drift_limit", "ml_input_violation_limit")
    )
    columns = "group by (job, model, column)"
    return [
        f"count {BY} ({columns} ({drifted(MANY_MODELS)})) or {limits}",
        f"count {BY} ({columns} ({violating(MANY_MODELS)})) or {checks}",
        f"min {BY} ({coverage} {of_champion(MANY_MODELS)} and on (job, instance, model, window) {targets})",
    ]


def _traffic() -> list[str]:
    served, failed = (
        f"sum {BY} ({rate(name, MANY_MODELS)})"
        for name in ("ml_predictions_total", "ml_prediction_errors_total")
    )
    buckets = f"{rate('ml_prediction_latency_seconds_bucket', MANY_MODELS)} {of_champion(MANY_MODELS)}"
    return [
        served,
        f"{failed} / ({served} > 0)",
        f"histogram_quantile(0.99, sum by (job, model, le) ({buckets}))",
        f"min {BY} ({prediction_age(MANY_MODELS)})",
    ]


def _columns() -> list[Column]:
    verdict = words({0: ("met", GOOD), 1: ("unknown", UNKNOWN), 2: ("expected", WARNING), 3: ("missed", BAD)})
    concept = words({float(value): look for value, look in CONCEPT_STATES.items()})
    first = [
        Column("model", "Model", width=120),
        Column("Value #B", "State", color=True, mappings=(STATE_WORDS,)),
        Column("Value #C", "Alerts", color=True, steps=SOME_ARE_BAD),
        Column("Value #D", "Targets", color=True, mappings=(verdict,)),
        Column("metric", "Metric", width=90),
        Column("Value #F", "Value", decimals=3),
        Column("Value #G", "Lower", decimals=3),
        Column("Value #H", "Upper", decimals=3),
        Column("Value #I", "Target", decimals=3),
        Column("Value #E", "Concept", color=True, mappings=(concept,)),
    ]
    inputs = [
        Column("Value #J", "Drifted", color=True, steps=SOME_ARE_BAD),
        Column("Value #K", "Violating", color=True, steps=SOME_ARE_BAD),
    ]
    traffic = [
        Column("Value #M", "Served", unit="reqps"),
        Column("Value #N", "Errors", unit="percentunit", decimals=2),
        Column("Value #O", "Slowest", unit="s"),
        Column("Value #P", "Newest", unit="s"),
    ]
    last = [Column("Value #L", "Labelled", unit="percentunit", decimals=1), Column("team", "Team")]
    return [
        *leading(first, to(MODEL_UID, THIS), "Show this model"),
        *leading(inputs, to(DRIFT_UID, THIS), "Show this model's drift and data"),
        *leading(traffic, to(SERVING_UID, THIS), "Show how this model is served"),
        *leading(last, to(MODEL_UID, THIS), "Show this model"),
        # Where one model is watched by two jobs it has two rows.
        *leading([Column("job", "Job")], to(MODEL_UID, THIS), "Show this model"),
    ]
