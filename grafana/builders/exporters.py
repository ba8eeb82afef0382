"""Every exporter a row: the machinery behind the models, and how its host does."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .links import to
from .names import BAD, EXPORTER_UID, GOOD, NEUTRAL, SERVING_UID, WARNING
from .panels import About, words
from .promql import MANY_MODELS, SCOPE, cpu_busy, disk_used, memory_used, select
from .tables import Column, leading, rows

EXPORTERS = 'up{job=~"$job", job=~"ml_exporter.*", instance=~"$instance"}'
THIS = {"job": "job", "instance": "instance"}
SOME_ARE_BAD = ((None, NEUTRAL), (1, WARNING))
STATE = words({0: ("down", BAD), 1: ("not ready", BAD), 2: ("ready", GOOD)})
LOADED = words({0: ("failed", WARNING), 1: ("yes", NEUTRAL)})


def exporter_table() -> Panel:
    """Return the table of exporters, the worst first."""
    about = About(
        "Which exporter needs attention first?",
        "Every one is ready. Age: of the newest evaluation; behind: of the log furthest behind; dropped: series "
        "above the limit; loaded: whether it runs on its newest config; errors: in the shown time; CPU, "
        "memory, disk: shares in use of its host, of the fullest disk that can be written.",
        (
            "MLExporterDown",
            "MLExporterAbsent",
            "MLExporterNotReady",
            "MLEvaluationOld",
            "MLSeriesDropped",
            "MLReloadFailed",
            "MLExporterErrors",
            "MLMemoryNearlyFull",
            "MLDiskFillingUp",
        ),
        "Prometheus has no exporter to scrape.",
    )
    return rows(about, _queries(), _columns(), sort="State", descending=False)


def _queries() -> list[str]:
    by = "by (job, instance)"
    clock, evaluated = (
        select(f"ml_exporter_{name}_timestamp_seconds", SCOPE) for name in ("clock", "evaluation")
    )
    dropped = select("ml_exporter_series", SCOPE, 'state="dropped"')
    errors = f"increase({select('ml_exporter_errors_total', SCOPE)}[$__range])"
    return [
        f"group by (job, instance, version) ({select('ml_exporter_build_info', SCOPE)})",
        f"{EXPORTERS} + on (job, instance) {select('ml_exporter_ready', SCOPE)} or {EXPORTERS}",
        f"count {by} ({select('ml_model_info', MANY_MODELS)})",
        f"{clock} - on (job, instance) {evaluated}",
        f"max {by} ({select('ml_exporter_source_lag_seconds', MANY_MODELS)})",
        f"sum {by} ({dropped})",
        select("ml_exporter_config_last_reload_successful", SCOPE),
        f"round(sum {by} ({errors}))",
        cpu_busy(),
        memory_used(),
        f"max {by} ({disk_used()})",
    ]


def _columns() -> list[Column]:
    of_exporter = [
        Column("instance", "Instance", width=150),
        Column("Value #B", "State", color=True, mappings=(STATE,)),
        Column("Value #C", "Models", unit="short"),
        Column("Value #D", "Age", unit="s"),
        Column("Value #E", "Behind", unit="s"),
        Column("Value #F", "Dropped", color=True, steps=SOME_ARE_BAD),
        Column("Value #G", "Loaded", color=True, mappings=(LOADED,)),
        Column("Value #H", "Errors", color=True, steps=SOME_ARE_BAD),
    ]
    of_host = [
        Column("Value #I", "CPU", unit="percentunit", decimals=0),
        Column("Value #J", "Memory", unit="percentunit", decimals=0),
        Column("Value #K", "Disk", unit="percentunit", decimals=0),
    ]
    about = [Column("version", "Version"), Column("job", "Job")]
    return [
        *leading(of_exporter, to(EXPORTER_UID, THIS), "Show this exporter"),
        *leading(of_host, to(SERVING_UID, THIS), "Show this host"),
        *leading(about, to(EXPORTER_UID, THIS), "Show this exporter"),
    ]
