"""The template variables: what the reader can choose at the top of a dashboard."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import (
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
    VariableType,
)

from .names import DATASOURCE_UID
from .panels import DATASOURCE
from .promql import ONE_MODEL, SCOPE, select

ALL = VariableOption(selected=True, text=["All"], value=["$__all"])


def datasource() -> VariableModel:
    """Return the choice of a Prometheus; the provisioned one at first."""
    return VariableModel(
        type_val=VariableType.DATASOURCE,
        name="datasource",
        label="Data source",
        query="prometheus",
        regex="",
        refresh=VariableRefresh.ON_DASHBOARD_LOAD,
        current=VariableOption(selected=True, text="Prometheus", value=DATASOURCE_UID),
        include_all=False,
        multi=False,
    )


def scope() -> list[VariableModel]:
    """Return the variables that every dashboard has: data source, job and instance."""
    return [
        datasource(),
        many("job", "Job", "label_values(ml_exporter_build_info, job)"),
        many("instance", "Instance", 'label_values(ml_exporter_build_info{job=~"$job"}, instance)'),
    ]


def many(name: str, label: str, query: str, regex: str = "") -> VariableModel:
    """Return a variable with any number of values, all of them at first."""
    variable = _query_variable(name, label, query, regex)
    variable.multi, variable.include_all, variable.all_value, variable.current = True, True, ".+", ALL
    variable.sort = VariableSort.ALPHABETICAL_ASC
    return variable


def one(name: str, label: str, query: str, regex: str = "") -> VariableModel:
    """Return a variable with one value, at first the first that the query returns."""
    variable = _query_variable(name, label, query, regex)
    variable.multi, variable.include_all, variable.sort = False, False, VariableSort.DISABLED
    return variable


def models_of_fleet() -> VariableModel:
    """Return the choice of models on the fleet's dashboard."""
    return many("model", "Model", f"label_values({select('ml_model_info', SCOPE)}, model)")


def processes() -> VariableModel:
    """Return the choice of watched groups of processes."""
    return many("process", "Process", f"label_values({select('ml_process_instances', SCOPE)}, process)")


def of_one_model() -> list[VariableModel]:
    """Return what can be chosen on a model's dashboard: model, versions, window, metrics, drift method."""
    return [
        one("model", "Model", f"label_values({select('ml_model_info', SCOPE)}, model)"),
        many("version", "Version", f"label_values({select('ml_model_version_info', ONE_MODEL)}, version)"),
        one("window", "Window", _windows(), '/window="([^"]+)"/'),
        many("metric", "Metric", _judged_metrics(), '/metric="([^"]+)"/'),
        one("method", "Drift method", _methods(), '/method="([^"]+)"/'),
    ]


def of_drift() -> list[VariableModel]:
    """Return what can be chosen on a model's dashboard of drift: as for the model, and one column."""
    model, version, window, _, _ = of_one_model()
    return [
        model,
        version,
        window,
        many("method", "Method", f"label_values({select('ml_drift', ONE_MODEL)}, method)"),
        one("column", "Column", _columns(), '/column="([^"]+)"/'),
    ]


def _columns() -> str:
    """Order the columns so that those with bins come first, the furthest above their noise before the others."""
    drift, noise = (select(name, ONE_MODEL) for name in ("ml_drift", "ml_drift_noise"))
    bins = f"group by (column) ({select('ml_reference_bin_ratio', ONE_MODEL)})"
    over_noise = f"(max by (column) ({drift} / {noise}) or 0 * group by (column) ({drift}))"
    return f"query_result(sort_desc(1e6 * {bins} + on (column) {over_noise} or {over_noise} or 0 * {bins}))"


def _windows() -> str:
    """Order the windows so that the one with thresholds, which alerts judge, comes first."""
    limits = ("ml_quality_target", "ml_drift_limit", "ml_input_violation_limit")
    judged = " or ".join(select(name, ONE_MODEL) for name in limits)
    every = select("ml_label_coverage_ratio", ONE_MODEL)
    return f"query_result(sort_desc(count by (window) ({judged}) or 0 * count by (window) ({every})))"


def _judged_metrics() -> str:
    """List the metrics that have a target; all metrics where none has."""
    target, quality = select("ml_quality_target", ONE_MODEL), select("ml_quality", ONE_MODEL)
    return (
        f"query_result(count by (metric) ({target}) or (count by (metric) ({quality}) unless on () {target}))"
    )


def _methods() -> str:
    """Order the drift methods so that the ones with a limit come first."""
    limit, drift = select("ml_drift_limit", ONE_MODEL), select("ml_drift", ONE_MODEL)
    return f"query_result(sort_desc(count by (method) ({limit}) or 0 * count by (method) ({drift})))"


def _query_variable(name: str, label: str, query: str, regex: str) -> VariableModel:
    return VariableModel(
        type_val=VariableType.QUERY,
        name=name,
        label=label,
        datasource=DATASOURCE,
        query={
            "query": query,
            "refId": "PrometheusVariableQueryEditor-VariableQuery",
            "qryType": _QUERY_TYPES[query.split("(")[0]],
        },
        definition=query,
        regex=regex,
        refresh=VariableRefresh.ON_TIME_RANGE_CHANGED,
    )


# How Grafana's variable editor numbers the kinds of variable queries.
_QUERY_TYPES = {"label_values": 1, "query_result": 3}
