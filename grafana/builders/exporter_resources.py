"""What an exporter costs, and what goes wrong in it."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .names import BAD, GOOD
from .panels import About, Line, graph, timeline, words
from .promql import SCOPE, Moment, highest, select


def resource_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on cost and errors, with width and height."""
    return [
        (_series(), 12, 7),
        (_memory(), 12, 7),
        (_cpu(), 12, 7),
        (_state(), 12, 7),
        (_errors(), 12, 7),
        (_set_aside(), 12, 7),
        (_collectors(), 12, 7),
        (_collecting(), 12, 7),
    ]


def _series() -> Panel:
    about = About(
        "Is there room for more series?",
        "None dropped, and room below the limit. Above it an exporter leaves out whole columns, those that matter "
        "least first. Of the exporter with most series.",
        ("MLSeriesDropped",),
    )
    series = f"max by (state) ({select('ml_exporter_series', SCOPE)})"
    limit = f"min({select('ml_exporter_series_limit', SCOPE)})"
    return graph(about, [Line(series, "{{state}}"), Line(limit, "limit", "limit")], unit="short", low=0)


def _memory() -> Panel:
    about = About(
        "How much memory do exporters take?",
        "Steady: it goes by models, columns and windows, not by rows. The five largest.",
        ("MLMemoryNearlyFull",),
    )
    return graph(about, [_by_instance("ml_exporter_resident_memory_bytes")], unit="bytes", low=0)


def _cpu() -> Panel:
    about = About(
        "How busy are exporters?",
        "Well under one core, but while a backlog is read. In cores; the five busiest.",
    )
    cpu = select("ml_exporter_cpu_seconds_total", SCOPE)

    def cores(when: Moment) -> str:
        return f"sum by (instance) ({when.pace(cpu)})"

    return graph(about, [Line(highest(5, "instance", cores), "{{instance}}")], unit="none", decimals=2, low=0)


def _state() -> Panel:
    about = About(
        "How large are the state files?",
        "Steady: traffic times maturity, and the longest wait for labels. 0 in memory; the five largest.",
        ("MLDiskFillingUp",),
    )
    return graph(about, [_by_instance("ml_exporter_state_size_bytes")], unit="bytes", low=0)


def _by_instance(metric: str) -> Line:
    selected = select(metric, SCOPE)
    return Line(
        highest(5, "instance", lambda when: f"max by (instance) ({when.gauge(selected)})"), "{{instance}}"
    )


def _errors() -> Panel:
    about = About(
        "Do exporters log errors?",
        "0 a second. Shown are the five areas with most errors in the shown time; each error is in the log.",
        ("MLExporterErrors", "MLSourceDown", "MLReloadFailed"),
    )
    errors = select("ml_exporter_errors_total", SCOPE)
    logged = f"sum by (area) (rate({errors}[$__rate_interval]))"
    most = f"topk(5, sum by (area) (increase({errors}[$__range] @ end())))"
    return graph(about, [Line(f"{logged} and on (area) {most}", "{{area}}")], unit="short", low=0)


def _set_aside() -> Panel:
    about = About(
        "Was a damaged state set aside?",
        "0. What a state file knew that could not be opened is gone but for the file under its new name.",
        ("MLStateSetAside",),
    )
    aside = f"sum(increase({select('ml_exporter_state_set_aside_total', SCOPE)}[$__range]))"
    return graph(about, [Line(aside, "set aside in the time before")], unit="short", low=0)


def _collectors() -> Panel:
    about = About(
        "Does every collector succeed?",
        "yes. One that fails leaves out its own families, and says why in the exporter's log.",
        ("MLCollectorFailing",),
    )
    mapping = words({0: ("failed", BAD), 1: ("yes", GOOD)})
    success = f"min by (collector) ({select('ml_exporter_collector_success', SCOPE)})"
    return timeline(about, [Line(success, "{{collector}}")], [mapping])


def _collecting() -> Panel:
    about = About(
        "How long do collectors take?",
        "Milliseconds. The five slowest.",
    )
    took = select("ml_exporter_collector_duration_seconds", SCOPE)
    line = Line(
        highest(5, "collector", lambda when: f"max by (collector) ({when.gauge(took)})"), "{{collector}}"
    )
    return graph(about, [line], unit="s", low=0)
