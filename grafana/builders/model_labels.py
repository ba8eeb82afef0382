"""Labels: whether they come, when, and what becomes of them."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .panels import About, Line, graph
from .promql import ONE_MODEL, of_champion, rate, select


def label_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on labels, with width and height."""
    wide = [(panel, 12, 7) for panel in (_coverage(), _selection())]
    return [*wide, *((panel, 8, 7) for panel in (_delay(), _outcomes(), _pending()))]


def _coverage() -> Panel:
    about = About(
        "What share of the champion's mature predictions has a label?",
        "Above the limit, below which no quality is computed (low_coverage).",
        ("MLLabelCoverageLow", "MLLabelsStopped", "MLQualityUnknown"),
        "No prediction is mature yet.",
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
        "Steady, and well within the configured maturity: later labels are not used. The limit is the config's.",
        ("MLLabelsDelayed", "MLLabelsStopped"),
        "No label has come yet.",
    )
    by_bound = f"sum by (le) ({rate('ml_label_delay_seconds_bucket', ONE_MODEL)})"
    lines = [
        Line(f"histogram_quantile({share}, {by_bound})", name)
        for share, name in ((0.5, "half of them"), (0.9, "90 %"), (0.99, "99 %"))
    ]
    limit = f"min({select('ml_label_delay_limit_seconds', ONE_MODEL)})"
    return graph(about, [*lines, Line(limit, "limit", "limit")], unit="s", low=0)


def _outcomes() -> Panel:
    everything = f"increase({select('ml_labels_total', ONE_MODEL)}[$__range] @ end())"
    about = About(
        "What becomes of the labels?",
        "Nearly all are matched. Early labels wait for their prediction, late ones came after maturity, "
        "orphans have no known prediction. Shown are the five commonest outcomes.",
        ("MLLabelsOrphaned", "MLLabelsStopped"),
        "No label came in the time shown.",
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
