"""Whether a model is asked and answers: rate, errors, latency, silence."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .panels import About, Line, graph
from .promql import ONE_MODEL, of_champion, prediction_age, rate, select

VERSIONS = 'version=~"$version"'


def traffic_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on traffic, with width and height."""
    return [(panel, 12, 7) for panel in (_rate(), _age(), _failures(), _latency())]


def _rate() -> Panel:
    about = About(
        "How many predictions does each version make?",
        "Its usual daily rhythm, without gaps.",
        ("MLNoPredictions",),
    )
    expr = f"sum by (version) ({rate('ml_predictions_total', ONE_MODEL, VERSIONS)})"
    return graph(about, [Line(expr, "version {{version}}")], unit="reqps", low=0)


def _age() -> Panel:
    about = About(
        "How old is the newest prediction?",
        "Well below the limit, above which the model counts as silent. Ages are by the exporter's clock.",
        ("MLNoPredictions",),
    )
    limit = select("ml_prediction_age_limit_seconds", ONE_MODEL)
    return graph(
        about,
        [Line(f"max({prediction_age(ONE_MODEL)})", "age"), Line(f"min({limit})", "limit", "limit")],
        unit="s",
        low=0,
    )


def _failures() -> Panel:
    about = About(
        "What share of predictions fails or is slow?",
        "0 %. Failed: the log's record carries an error; slow: above the configured latency limit.",
    )
    made, failed, slow = (
        f"sum({rate(name, ONE_MODEL, VERSIONS)})"
        for name in ("ml_predictions_total", "ml_prediction_errors_total", "ml_slow_predictions_total")
    )
    lines = [Line(f"{failed} / ({made} > 0)", "failed"), Line(f"{slow} / ({made} > 0)", "slow")]
    return graph(about, lines, unit="percentunit", low=0)


def _latency() -> Panel:
    about = About(
        "How long does the champion take to answer?",
        "The 99th percentile is below the latency limit of the config.",
        empty="No prediction in the time shown, or the log has no latency.",
    )
    buckets = rate("ml_prediction_latency_seconds_bucket", ONE_MODEL)
    by_bound = f"sum by (le) ({buckets} {of_champion(ONE_MODEL)})"
    lines = [
        Line(f"histogram_quantile({share}, {by_bound})", name)
        for share, name in ((0.5, "half of them"), (0.9, "90 %"), (0.99, "99 %"))
    ]
    return graph(about, lines, unit="s", low=0)
