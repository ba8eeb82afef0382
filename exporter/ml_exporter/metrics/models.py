"""What comes from the configuration: infos, targets and limits. Served even when logs cannot be read."""

from __future__ import annotations

from collections.abc import Mapping

from ml_exporter.burn import budgets, limits
from ml_exporter.config import Model
from ml_exporter.drift import PREVIOUS, Column, methods_of, references_of
from ml_exporter.health import limits_of, placed
from ml_exporter.layout import Layout
from ml_exporter.metrics.catalogue import Families

Layouts = Mapping[str, Layout]


def collect(families: Families, model: Model, layouts: Layouts) -> None:
    """Add a model's info, targets and limits."""
    families.add("ml_model_info", (model.name, model.task, model.team), 1)
    families.add("ml_prediction_age_limit_seconds", (model.name,), model.prediction_age_limit)
    if model.oldest is not None:
        families.add("ml_model_max_age_seconds", (model.name,), model.oldest)
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
    _limits(families, model, columns(layouts))
    for (column, check), limit in limits_of(model, layouts).items():
        families.add("ml_input_violation_limit", (model.name, column, check, model.alert_window.name), limit)


def _targets(families: Families, model: Model) -> None:
    window = model.alert_window.name
    for metric, target in model.quality.items():
        for bound, value in (("min", target.min), ("max", target.max)):
            if value is not None:
                families.add("ml_quality_target", (model.name, metric, window, bound), value)


def columns(layouts: Layouts) -> dict[str, Column]:
    """Return the columns of all profiles of a model: limits are the same for all of its versions."""
    return {name: layout.cells[name].column for name, layout in placed(layouts).items()}


def _limits(families: Families, model: Model, known: Mapping[str, Column]) -> None:
    window = model.alert_window.name
    for name, column in known.items():
        for method in methods_of(model, name, column):
            limit = model.drift_limit(name, method.name)
            for reference in references_of(model):
                if limit is not None and (name != "label" or reference != PREVIOUS):
                    families.add("ml_drift_limit", (model.name, name, method.name, window, reference), limit)
