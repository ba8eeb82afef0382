"""Labels: whether they come, when, and what becomes of them; and the logs that all of it is read from."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .names import BAD, GOOD
from .panels import About, Line, graph, timeline, words
from .promql import ONE_MODEL, of_champion, rate, select


def label_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on labels, with width and height."""
    wide = [(panel, 12, 7) for panel in (_coverage(), _selection())]
    return [*wide, *((panel, 8, 7) for panel in (_delay(), _outcomes(), _pending()))]


def source_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on log sources, with width and height."""
    return [(_up(), 8, 7), (_lag(), 8, 7), (_rejected(), 8, 7)]


def _coverage() -> Panel:
    about = About(
        "What share of the champion's mature predictions has a label?",
        "Above the limit, below which no quality is computed (low_coverage).",
        ("MLLabelsStopped", "MLQualityUnknown"),
    )
    coverage = select("ml_label_coverage_ratio", ONE_MODEL, 'window="$window"')
    return graph(
        about,
        [
            Line(f"{coverage} {of_champion(ONE_MODEL)}", "version {{version}} {{instance}}"),
            Line(f"max({select('ml_label_coverage_limit', ONE_MODEL)})", "limit", "limit"),
        ],
        unit="percentunit",
        low=0,
    )


def _selection() -> Panel:
    about = About(
        "Are labelled predictions a fair sample of all?",
        "Near 0: the scores of the champion's labelled predictions are spread as those of all mature ones. "
        "Far from 0, quality is that of the predictions somebody chose to label.",
        empty="Only models with scores are compared, and only with labels.",
    )
    distance = select("ml_drift", ONE_MODEL, 'reference="mature"', 'window="$window"')
    line = Line(f"{distance} {of_champion(ONE_MODEL)}", "{{column}}: {{method}} {{instance}}")
    return graph(about, [line], unit="none", decimals=3, low=0)


def _delay() -> Panel:
    about = About(
        "How long do labels take to arrive?",
        "Steady, and well within the configured maturity: later labels are not used.",
        ("MLLabelsStopped",),
    )
    by_bound = f"sum by (le) ({rate('ml_label_delay_seconds_bucket', ONE_MODEL)})"
    lines = [
        Line(f"histogram_quantile({share}, {by_bound})", name)
        for share, name in ((0.5, "half of them"), (0.9, "90 %"), (0.99, "99 %"))
    ]
    return graph(about, lines, unit="s", low=0)


def _outcomes() -> Panel:
    everything = f"increase({select('ml_labels_total', ONE_MODEL)}[$__range] @ end())"
    about = About(
        "What becomes of the labels?",
        "Nearly all are matched. Early labels wait for their prediction, late ones came after maturity, "
        "orphans have no known prediction. Shown are the five commonest outcomes.",
        ("MLLabelsStopped",),
    )
    by = "sum by (outcome)"
    expr = f"{by} ({rate('ml_labels_total', ONE_MODEL)}) and on (outcome) topk(5, {by} ({everything}) > 0)"
    return graph(about, [Line(expr, "{{outcome}}")], unit="short", low=0)


def _pending() -> Panel:
    about = About(
        "How many predictions wait for their maturity?",
        "Steady: traffic times maturity. It grows without end only while a label log cannot be read.",
        ("MLSourceDown",),
    )
    return graph(
        about, [Line(f"sum({select('ml_labels_pending', ONE_MODEL)})", "waiting")], unit="short", low=0
    )


def _up() -> Panel:
    about = About("Can the logs be read?", "yes, for predictions and labels.", ("MLSourceDown",))
    mapping = words({0: ("no", BAD), 1: ("yes", GOOD)})
    return timeline(
        about, [Line(select("ml_exporter_source_up", ONE_MODEL), "{{source}} {{instance}}")], [mapping]
    )


def _lag() -> Panel:
    about = About(
        "How far is reading behind the logs?",
        "0 s: read to the end. It falls steadily while a backlog is read.",
        ("MLSourceDown",),
    )
    lag = f"max by (source) ({select('ml_exporter_source_lag_seconds', ONE_MODEL)})"
    return graph(about, [Line(lag, "{{source}}")], unit="s", low=0)


def _rejected() -> Panel:
    chosen = 'outcome!="accepted"'
    everything = f"increase({select('ml_input_rows_total', ONE_MODEL, chosen)}[$__range] @ end())"
    rejected = rate("ml_input_rows_total", ONE_MODEL, chosen)
    about = About(
        "Which log lines are rejected, and why?",
        "None. Shown are the sum and the four commonest reasons in the shown time.",
    )
    by = "sum by (source, outcome)"
    reasons = f"{by} ({rejected}) and on (source, outcome) topk(4, {by} ({everything}) > 0)"
    lines = [Line(f"sum({rejected})", "all"), Line(reasons, "{{source}}: {{outcome}}")]
    return graph(about, lines, unit="short", low=0)
