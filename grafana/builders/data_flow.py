"""Whether data come: fresh, as many as usual, readable, and none rejected."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .names import BAD, GOOD
from .panels import About, Line, graph, timeline, words
from .promql import ONE_MODEL, prediction_age, rate, select


def flow_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on freshness and volume, with width and height."""
    return [(_volume(), 12, 8), (_season(), 12, 8), (_age(), 12, 7), (_outside(), 12, 7)]


def source_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on logs, with width and height."""
    return [(_rejected(), 12, 7), (_share_rejected(), 12, 7), (_up(), 12, 7), (_lag(), 12, 7)]


def _volume() -> Panel:
    about = About(
        "How much traffic is there, and how much was there a week ago?",
        "Both lines alike, at every hour of the day. Predictions of all versions.",
        ("MLNoPredictions", "MLSeasonalDeviation"),
    )
    total = select("ml_predictions_total", ONE_MODEL)
    lines = [
        Line(f"sum(rate({total}[$__rate_interval]))", "now"),
        Line(f"sum(rate({total}[$__rate_interval] offset 1w))", "a week ago", "reference"),
    ]
    return graph(about, lines, unit="reqps", low=0)


def _season() -> Panel:
    about = About(
        "Is there more or less traffic than at this hour of earlier weeks?",
        "Between the limits, in standard errors: the predictions of the last complete hour.",
        ("MLSeasonalDeviation",),
        "Not known before three weeks of history.",
    )
    limit = select("ml_seasonal_limit", ONE_MODEL)
    deviation = select("ml_seasonal_deviation", ONE_MODEL, 'subject="volume"')
    lines = [
        Line(deviation, "{{instance}}"),
        Line(f"min({limit})", "limit", "limit"),
        Line(f"-min({limit})", "lower limit", "limit"),
    ]
    return graph(about, lines, unit="none", decimals=1)


def _age() -> Panel:
    about = About(
        "How old is the newest prediction?",
        "Well below the limit, above which the model counts as silent. Ages are by the exporter's clock.",
        ("MLNoPredictions", "MLStaleData"),
    )
    limit = select("ml_prediction_age_limit_seconds", ONE_MODEL)
    lines = [
        Line(f"max({prediction_age(ONE_MODEL)})", "age"),
        Line(f"min({limit})", "limit", "limit"),
    ]
    return graph(about, lines, unit="s", low=0)


def _outside() -> Panel:
    about = About(
        "Do predictions come too late for any window?",
        "0 a second, but while an old backlog is read: such rows are counted and joined, and in no window.",
    )
    outside = f"sum({rate('ml_rows_outside_windows_total', ONE_MODEL)})"
    return graph(about, [Line(outside, "older than the longest window")], unit="cps", low=0)


def _rejected() -> Panel:
    chosen = 'outcome!~"accepted|skipped"'
    everything = f"increase({select('ml_input_rows_total', ONE_MODEL, chosen)}[$__range] @ end())"
    rejected = rate("ml_input_rows_total", ONE_MODEL, chosen)
    about = About(
        "Which log lines are rejected, and why?",
        "None. Shown are the sum and the four commonest reasons in the shown time.",
    )
    by = "sum by (source, outcome)"
    reasons = f"{by} ({rejected}) and on (source, outcome) topk(4, {by} ({everything}) > 0)"
    lines = [Line(f"sum({rejected})", "all"), Line(reasons, "{{source}}: {{outcome}}")]
    return graph(about, lines, unit="cps", low=0)


def _share_rejected() -> Panel:
    about = About(
        "What share of the log lines is rejected?",
        "0 %, in both logs. With a dead-letter file in the config the lines themselves are kept there.",
        ("MLRowsRejected",),
    )
    rejected, read = (
        f"sum by (source) ({rate('ml_input_rows_total', ONE_MODEL, outcome)})"
        for outcome in ('outcome!~"accepted|skipped"', 'outcome!="skipped"')
    )
    return graph(about, [Line(f"{rejected} / ({read} > 0)", "{{source}}")], unit="percentunit", low=0)


def _up() -> Panel:
    about = About("Can the logs be read?", "yes, for predictions and labels.", ("MLSourceDown",))
    mapping = words({0: ("no", BAD), 1: ("yes", GOOD)})
    up = select("ml_exporter_source_up", ONE_MODEL)
    return timeline(about, [Line(up, "{{source}} {{instance}}")], [mapping])


def _lag() -> Panel:
    about = About(
        "How far is reading behind the logs?",
        "0 s: read to the end. It falls steadily while a backlog is read.",
        ("MLSourceLagGrowing", "MLBackfill"),
    )
    lag = f"max by (source) ({select('ml_exporter_source_lag_seconds', ONE_MODEL)})"
    return graph(about, [Line(lag, "{{source}}")], unit="s", low=0)
