"""Whether an exporter keeps up: the age of its numbers, the time it takes, the lines it reads."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .links import IN_SERIES, to
from .names import DRIFT_UID
from .panels import About, Line, graph, linked
from .promql import MANY_MODELS, NOW, SCOPE, Moment, highest, select

TO_DATA = to(DRIFT_UID, {"model": "model"}, kept=("job", "instance"), where=IN_SERIES)


def work_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on evaluations, with width and height."""
    return [(_age(), 12, 7), (_duration(), 12, 7)]


def reading_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on reading, with width and height."""
    panels = (_throughput(), _lag(), _unread(), _truncated(), _skew())
    return [(panel, 12, 7) for panel in panels]


def _age() -> Panel:
    clock = select("ml_exporter_clock_timestamp_seconds", SCOPE)
    evaluated = select("ml_exporter_evaluation_timestamp_seconds", SCOPE)
    interval = select("ml_exporter_evaluation_interval_seconds", SCOPE)
    about = About(
        "How old are the numbers?",
        "About one evaluation interval. Shown are the four oldest; the limit is the alert's.",
        ("MLEvaluationOld",),
    )

    def age(when: Moment) -> str:
        return f"max by (instance) ({when.gauge(clock)} - on (job, instance) {when.gauge(evaluated)})"

    lines = [
        Line(highest(4, "instance", age), "{{instance}}"),
        Line(f"max(clamp_min(4 * {interval}, 60))", "limit", "limit"),
    ]
    return graph(about, lines, unit="s", low=0)


def _duration() -> Panel:
    took, interval = (
        select(f"ml_exporter_evaluation_{name}_seconds", SCOPE) for name in ("duration", "interval")
    )
    about = About(
        "Is there time enough for an evaluation?",
        "It takes well under the interval; above it the exporter falls behind its logs. The four slowest.",
        ("MLEvaluationOld",),
    )
    lines = [
        Line(highest(4, "instance", lambda when: f"max by (instance) ({when.gauge(took)})"), "{{instance}}"),
        Line(f"min({interval})", "interval", "limit"),
    ]
    return graph(about, lines, unit="s", low=0)


def _throughput() -> Panel:
    about = About(
        "How many log lines are read?",
        "As many a second as the model server writes; far more while a backlog is read. Shown are all models "
        "together and the four that write most.",
    )
    rows = select("ml_input_rows_total", MANY_MODELS)

    def pace(when: Moment) -> str:
        return f"sum by (model) ({when.pace(rows)})"

    lines = [Line(f"sum({pace(NOW)})", "all"), Line(highest(4, "model", pace), "{{model}}")]
    return graph(about, lines, unit="cps", low=0)


def _lag() -> Panel:
    about = About(
        "How far is reading behind the logs?",
        "0 s: read to the end. It falls steadily while a backlog is read. The five logs furthest behind.",
        ("MLSourceLagGrowing", "MLBackfill", "MLSourceDown"),
    )
    return linked(graph(about, [_sources("lag_seconds")], unit="s", low=0), "Show this model's data", TO_DATA)


def _unread() -> Panel:
    about = About(
        "How much is not read yet?",
        "Next to nothing. The five logs with most unread bytes.",
        ("MLSourceLagGrowing", "MLBackfill"),
    )
    return linked(
        graph(about, [_sources("lag_bytes")], unit="bytes", low=0), "Show this model's data", TO_DATA
    )


def _sources(name: str) -> Line:
    lag = select(f"ml_exporter_source_{name}", MANY_MODELS)
    by = "model, source"
    return Line(highest(5, by, lambda when: f"max by ({by}) ({when.gauge(lag)})"), "{{model}}: {{source}}")


def _truncated() -> Panel:
    about = About(
        "Were logs cut off before they were read?",
        "0. A log that becomes shorter may have lost lines: rotate by renaming. The five cut most often in "
        "the shown time.",
    )
    cut = select("ml_exporter_source_truncations_total", MANY_MODELS)
    by = "model, source"

    cuts, most = (f"sum by ({by}) (increase({cut}[$__range]{end}))" for end in ("", " @ end()"))
    line = Line(f"{cuts} and on ({by}) topk(5, {most})", "{{model}}: {{source}}")
    return graph(about, [line], unit="short", low=0)


def _skew() -> Panel:
    about = About(
        "Is a clock of a log ahead of the exporter's?",
        "0 s, or a moment. Time stamps more than an hour ahead are rejected as future. The five furthest ahead.",
        ("MLClockSkew",),
    )
    return linked(graph(about, [_ahead()], unit="s", low=0), "Show this model's data", TO_DATA)


def _ahead() -> Line:
    skew = select("ml_exporter_clock_skew_seconds", MANY_MODELS)
    by = "model, source"
    return Line(highest(5, by, lambda when: f"max by ({by}) ({when.gauge(skew)})"), "{{model}}: {{source}}")
