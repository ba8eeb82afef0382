"""Which model runs where, and how it does there."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .links import to
from .names import MODEL_UID, SERVING_UID
from .panels import About
from .promql import MANY_MODELS, SCOPE, cpu_busy, memory_used, of_champion, prediction_age, rate, select
from .tables import Column, leading, rows

BY = "by (job, instance, model)"
ON = "* on (job, instance) group_right ()"


def placement() -> Panel:
    """Return the table of models beside the state of their hosts."""
    about = About(
        "Which model runs where, and how does it do there?",
        "Traffic as usual, no errors, a host with room. A model stands beside the host of the exporter that reads "
        "its log. Processes, cores and memory: of the config's `processes` of the model. Slowest: the 99th percentile of the champion's latency; newest: age of the newest prediction.",
        ("MLNoPredictions", "MLModelGone", "MLMemoryNearlyFull"),
        "No model yet: an exporter shows each configured model from its first scrape.",
    )
    return rows(about, _queries(), _columns(), sort="Errors")


def _queries() -> list[str]:
    info = select("ml_model_info", MANY_MODELS)
    served = f"sum {BY} ({rate('ml_predictions_total', MANY_MODELS)})"
    failed = f"sum {BY} ({rate('ml_prediction_errors_total', MANY_MODELS)})"
    buckets = rate("ml_prediction_latency_seconds_bucket", MANY_MODELS)
    by_bound = f"sum by (job, instance, model, le) ({buckets} {of_champion(MANY_MODELS)})"
    info_of_processes = select("ml_model_process_info", MANY_MODELS)
    of_process = "* on (job, instance, process) group_left ()"
    instances, memory = (
        select(f"ml_process_{name}", SCOPE) for name in ("instances", "resident_memory_bytes")
    )
    cores = rate("ml_process_cpu_seconds_total", SCOPE)
    here = f"group {BY} ({info})"
    return [
        f"group by (job, instance, model, task, team) ({info})",
        served,
        f"{failed} / ({served} > 0)",
        f"histogram_quantile(0.99, {by_bound})",
        prediction_age(MANY_MODELS),
        *(f"sum {BY} ({info_of_processes} {of_process} {value})" for value in (instances, cores, memory)),
        f"({cpu_busy()}) {ON} {here}",
        f"({memory_used()}) {ON} {here}",
    ]


def _columns() -> list[Column]:
    model = to(MODEL_UID, {"job": "job", "instance": "instance", "model": "model"})
    host = to(SERVING_UID, {"job": "job", "instance": "instance"})
    of_model = [
        Column("model", "Model", width=170),
        Column("Value #B", "Served", unit="reqps"),
        Column("Value #C", "Errors", unit="percentunit", decimals=2),
        Column("Value #D", "Slowest", unit="s"),
        Column("Value #E", "Newest", unit="s"),
    ]
    of_processes = [
        Column("Value #F", "Processes", unit="short"),
        Column("Value #G", "Cores", decimals=2),
        Column("Value #H", "Memory", unit="bytes"),
    ]
    of_host = [
        Column("instance", "Instance", width=180),
        Column("Value #I", "Host CPU", unit="percentunit", decimals=0),
        Column("Value #J", "Host memory", unit="percentunit", decimals=0),
    ]
    about = [Column("task", "Task"), Column("team", "Team"), Column("job", "Job")]
    return [
        *leading(of_model, model, "Show this model"),
        *leading(of_processes, host, "Show this host alone"),
        *leading(of_host, host, "Show this host alone"),
        *leading(about, model, "Show this model"),
    ]
