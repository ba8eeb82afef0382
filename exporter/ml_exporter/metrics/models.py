"""What comes from the configuration: infos, targets and limits. Served even when logs cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ml_exporter.burn import budgets, limits
from ml_exporter.config import Model
from ml_exporter.drift import PREVIOUS, REFERENCE, Column, methods_of, references_of
from ml_exporter.embeddings import CENTROID
from ml_exporter.health import limits_of
from ml_exporter.layout import Layout
from ml_exporter.limits import columns_of, drift_limits
from ml_exporter.metrics.families import Families

Layouts = Mapping[str, Layout]


def collect(families: Families, model: Model, layouts: Layouts) -> None:
    """Add a model's info, targets and limits."""
    families.add("ml_model_info", (model.name, model.task, model.team), 1)
    for process in model.processes:
        families.add("ml_model_process_info", (model.name, process), 1)
    families.add("ml_prediction_age_limit_seconds", (model.name,), model.prediction_age_limit)
    if model.oldest is not None:
        families.add("ml_model_max_age_seconds", (model.name,), model.oldest)
    for version, time in sorted(_trained(layouts).items()):
        families.add("ml_model_trained_timestamp_seconds", (model.name, version), time)
    if model.slo is not None:
        families.add("ml_slo_objective_ratio", (model.name,), model.slo.objective)
    for budget in budgets(model):
        if budget.subject != "quality":
            families.add("ml_serving_objective_ratio", (model.name, budget.subject), budget.objective)
        for name, factor in limits(budget, model.cadence).items():
            families.add("ml_burn_rate_limit", (model.name, budget.subject, name), factor)
    if model.label_delay_limit is not None:
        families.add("ml_label_delay_limit_seconds", (model.name,), model.label_delay_limit)
    if model.labels is not None and model.labels.silence == "unknown":
        families.add("ml_label_coverage_limit", (model.name,), model.labels.min_coverage)
    if model.seasonal is not None:
        families.add("ml_seasonal_limit", (model.name,), model.seasonal.max)
    if model.calibration is not None:
        families.add("ml_calibration_error_limit", (model.name,), model.calibration.max)
    if model.drift_limited():
        families.add("ml_drifted_columns_limit", (model.name,), model.drifted_columns_limit)
    _targets(families, model)
    _limits(families, model, columns_of(layouts))
    for (column, check), limit in limits_of(model, layouts).items():
        families.add("ml_input_violation_limit", (model.name, column, check, model.alert_window.name), limit)


def _trained(layouts: Layouts) -> dict[str, float]:
    """When versions were trained, as the profiles have it; a version's own profile comes first."""
    profiles = [(version, layout.profile) for version, layout in layouts.items() if layout.profile]
    known = {version: time for _, profile in profiles for version, time in profile.trained_at.items()}
    for version, profile in profiles:
        known |= {version: profile.trained_at[version]} if version in profile.trained_at else {}
    return {version: datetime.fromisoformat(time).timestamp() for version, time in known.items()}


def _targets(families: Families, model: Model) -> None:
    window = model.alert_window.name
    for metric, target in model.quality.items():
        for bound, value in (("min", target.min), ("max", target.max)):
            if value is not None:
                families.add("ml_quality_target", (model.name, metric, window, bound), value)


def _limits(families: Families, model: Model, known: Mapping[str, Column]) -> None:
    window, limits = model.alert_window.name, drift_limits(model, known)
    for name, column in known.items():
        for method in methods_of(model, name, column):
            limit = limits.get((name, method.name))
            for reference in references_of(model):
                if limit is not None and (name != "label" or reference != PREVIOUS):
                    families.add("ml_drift_limit", (model.name, name, method.name, window, reference), limit)
        if (name, CENTROID) in limits:
            labels = (model.name, name, CENTROID, window, REFERENCE)
            families.add("ml_drift_limit", labels, limits[name, CENTROID])
