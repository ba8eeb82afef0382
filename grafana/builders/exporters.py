"""The exporters and their hosts, as far as the fleet depends on them."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .names import BAD, GOOD
from .panels import About, Line, graph, timeline, words
from .promql import SCOPE, rate, select


def exporter_panels() -> list[Panel]:
    """Return six panels: readiness, age of the numbers, evaluation time, host, series, errors."""
    return [_ready(), _age(), _duration(), _host(), _series(), _errors()]


def _ready() -> Panel:
    about = About(
        "Is every exporter ready?",
        "ready: config and profiles are loaded and the newest evaluation is fresh.",
        ("MLExporterNotReady", "MLExporterDown"),
    )
    mapping = words({0: ("not ready", BAD), 1: ("ready", GOOD)})
    return timeline(about, [Line(select("ml_exporter_ready", SCOPE), "{{instance}}")], [mapping])


def _age() -> Panel:
    clock = select("ml_exporter_clock_timestamp_seconds", SCOPE)
    evaluated = select("ml_exporter_evaluation_timestamp_seconds", SCOPE)
    interval = select("ml_exporter_evaluation_interval_seconds", SCOPE)
    about = About(
        "How old are the numbers?",
        "About one evaluation interval. Shown is the oldest of all exporters; the limit is the alert's.",
        ("MLEvaluationOld",),
    )
    return graph(
        about,
        [
            Line(f"max({clock} - on (job, instance) {evaluated})", "oldest evaluation"),
            Line(f"max(clamp_min(4 * {interval}, 60))", "limit", "limit"),
        ],
        unit="s",
        low=0,
    )


def _duration() -> Panel:
    took, interval = (
        select(f"ml_exporter_evaluation_{name}_seconds", SCOPE) for name in ("duration", "interval")
    )
    about = About(
        "Is there time enough for an evaluation?",
        "The slowest evaluation takes well under the interval; above it the exporter falls behind its logs.",
        ("MLEvaluationOld",),
    )
    lines = [Line(f"max({took})", "slowest evaluation"), Line(f"min({interval})", "interval", "limit")]
    return graph(about, lines, unit="s", low=0)


def _host() -> Panel:
    idle_seconds = rate("ml_host_cpu_seconds_total", SCOPE, 'mode="idle"')
    idle = f"sum by (job, instance) ({idle_seconds})"
    cpus = select("ml_host_cpus", SCOPE)
    memory = " / ".join(select(f"ml_host_memory_{part}_bytes", SCOPE) for part in ("available", "total"))
    writable = f"unless {select('ml_host_filesystem_readonly', SCOPE)} == 1"
    disk = " / ".join(select(f"ml_host_filesystem_{part}_bytes", SCOPE) for part in ("avail", "size"))
    about = About(
        "How full is the fullest host?",
        "Memory under 90 %, disk under 85 %. The highest share in use of all hosts, without read-only disks.",
        ("MLMemoryNearlyFull", "MLDiskFillingUp"),
    )
    return graph(
        about,
        [
            Line(f"1 - min({idle} / on (job, instance) {cpus})", "CPU"),
            Line(f"1 - min({memory})", "memory"),
            Line(f"1 - min({disk} {writable})", "disk"),
        ],
        unit="percentunit",
        low=0,
    )


def _series() -> Panel:
    about = About(
        "Are series left out?",
        "None dropped. Above its series limit an exporter leaves out whole columns.",
        ("MLSeriesDropped",),
    )
    return graph(
        about,
        [Line(f"sum by (state) ({select('ml_exporter_series', SCOPE)})", "{{state}}")],
        unit="short",
        low=0,
    )


def _errors() -> Panel:
    per_area = f"sum by (area) ({rate('ml_exporter_errors_total', SCOPE)})"
    worst = (
        f"topk(3, sum by (area) (increase({select('ml_exporter_errors_total', SCOPE)}[$__range] @ end())))"
    )
    failed = f"count({select('ml_exporter_config_last_reload_successful', SCOPE)} == 0) or vector(0)"
    aside = f"sum(increase({select('ml_exporter_state_set_aside_total', SCOPE)}[$__range]))"
    about = About(
        "Do exporters log errors?",
        "0 a second in every area, no exporter on an old config after a failed reload, no state that was set aside.",
        ("MLReloadFailed", "MLStateSetAside"),
    )
    return graph(
        about,
        [
            Line(f"{per_area} and on (area) {worst}", "errors in {{area}}"),
            Line(failed, "failed reloads", "limit"),
            Line(aside, "damaged states"),
        ],
        unit="short",
        low=0,
    )
