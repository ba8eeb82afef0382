"""One model: is it good, which version is best, is its input what it was, does it answer, do labels arrive, what is unknown."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from .dashboards import Row, dashboard
from .data_checks import violation_table
from .drift_columns import closest_columns
from .events import events
from .links import to
from .model_concept import concept_panels
from .model_labels import label_panels
from .model_quality import quality_panels
from .model_retraining import retraining_panels
from .model_segments import segment_panels
from .model_slo import slo_panels
from .model_traffic import traffic_panels
from .model_versions import version_panels
from .names import MODEL_UID, STATES
from .panels import About, number, words
from .promql import ONE_MODEL, select, state
from .tables import Column, leading, rows
from .variables import of_one_model, scope

CHOSEN = 'model="$model"'


def model() -> Dashboard:
    """Return the dashboard of one model."""
    return dashboard(
        MODEL_UID,
        "Models: one model",
        "How good is one model, on which inputs, how does it answer, and what cannot be known now?",
        [*scope(), *of_one_model()],
        events(ONE_MODEL, CHOSEN),
        [
            Row("", [(_state(), 4, 6), (_versions(), 10, 6), (_unavailable(), 10, 6)]),
            Row("Quality", quality_panels()),
            Row("What was promised", slo_panels()),
            Row("Segments", segment_panels()),
            Row("Versions side by side", version_panels()),
            Row("Concept, calibration and season", concept_panels()),
            Row("Input, scores and labels", [(closest_columns(), 12, 9), (violation_table(), 12, 9)]),
            Row("Traffic", traffic_panels()),
            Row("Labels", label_panels()),
            Row("Retraining", retraining_panels()),
        ],
        "No prediction in the time shown: is the log written, and read? The dashboard of drift and data tells.",
    )


def _state() -> Panel:
    about = About(
        "Does this model need attention?",
        "fine. The worst alert that fires for the model; unknown while the alert rules do not run.",
        (
            "MLQualityBelowTarget",
            "MLQualityAboveTarget",
            "MLConceptDrift",
            "MLModelDrift",
            "MLInputViolations",
            "MLNoPredictions",
        ),
    )
    mapping = words({float(value): look for value, look in STATES.items()})
    return number(
        about, f"max({state(ONE_MODEL, CHOSEN)})", unit="none", mappings=(mapping,), no_value="unknown"
    )


def _versions() -> Panel:
    about = About(
        "Which versions are there, and who owns the model?",
        "One champion, the version that pages are about, and a profile for every version that is compared.",
        empty="No version yet: each is known from its first prediction on.",
    )
    versions = select("ml_model_version_info", ONE_MODEL, 'version=~"$version"')
    owner = select("ml_model_info", ONE_MODEL)
    profile = select("ml_profile_info", ONE_MODEL, 'version=~"$version"')
    exprs = [
        f"{versions} * on (job, instance, model) group_left (team, task) {owner}",
        f"group by (job, instance, model, version, profile) ({profile})",
    ]
    columns = [
        Column("version", "Version"),
        Column("role", "Role"),
        Column("profile", "Profile"),
        Column("team", "Team"),
        Column("task", "Task"),
        Column("instance", "Instance"),
    ]
    link = to(MODEL_UID, {"version": "version"}, kept=("job", "instance", "model", "window", "metric"))
    return rows(about, exprs, leading(columns, link, "Show this version"), sort="Version", descending=False)


def _unavailable() -> Panel:
    about = About(
        "What cannot be computed now, and why?",
        "Nothing. A subject is a statistic: quality by metric, drift by method, the estimate, the difference of "
        "versions. immature and too_few_rows pass by themselves; low_coverage and no_labels are about labels; "
        "no_profile and short_reference want another profile; error stands in the exporter's log.",
        ("MLQualityUnknown",),
        "Everything can be computed.",
    )
    missing, of_columns = (
        select(name, ONE_MODEL, 'version=~"$version"')
        for name in ("ml_unavailable", "ml_unavailable_columns")
    )
    columns = [
        Column("subject", "Statistic"),
        Column("reason", "Reason"),
        Column("Value #B", "Columns"),
        Column("window", "Window"),
        Column("version", "Version"),
        Column("instance", "Instance"),
    ]
    by = "by (subject, reason, window, version, instance)"
    return rows(
        about,
        [f"group {by} ({missing})", f"max {by} ({of_columns})"],
        columns,
        sort="Statistic",
        descending=False,
    )
