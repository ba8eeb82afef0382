"""What goes into a model: drift of its columns, and values that fail the checks."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .names import BAD, NEUTRAL, UNKNOWN, WARNING
from .panels import About, Line, bars, graph, words
from .promql import ON_CHECK, ON_DRIFT, ONE_MODEL, of_champion, rate, select
from .tables import Column, rows

WINDOW = 'window="$window"'
VERSIONS = 'version=~"$version"'
METHOD = 'method="$method"'
CHAMPION = of_champion(ONE_MODEL)
DRIFT_ALERTS = ("MLColumnDrift", "MLModelDrift")


def drift_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on drift, with width and height."""
    return [(_closest(), 8, 9), (_drift_table(), 16, 9), (_drift_over_time(), 12, 8), (_bins(), 12, 8)]


def violation_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on input checks, with width and height."""
    return [(_violation_table(), 12, 8), (_violations_over_time(), 12, 8)]


def _closest() -> Panel:
    about = About(
        "Which columns of the champion come closest to their limit?",
        "All below 1: the drift divided by the column's own limit. Only columns above the noise are shown, since "
        "smaller distances come about without any drift; the ten closest, by the chosen method.",
        DRIFT_ALERTS,
    )
    drift, noise = (select(name, ONE_MODEL, METHOD, WINDOW) for name in ("ml_drift", "ml_drift_noise"))
    above_noise = f"({drift} > {noise}) {CHAMPION}"
    expr = f"topk(10, max by (column) ({_of_limit(above_noise, METHOD)}))"
    return bars(about, expr, "{{column}}", unit="none", steps=((None, NEUTRAL), (1, WARNING)))


def _of_limit(drift: str, *matchers: str) -> str:
    """Divide drift by the limit of its column: above 1 it is above the limit."""
    return f"({drift}) / {ON_DRIFT} group_left () {select('ml_drift_limit', ONE_MODEL, WINDOW, *matchers)}"


def _drift_table() -> Panel:
    drift, noise = (select(name, ONE_MODEL, VERSIONS, WINDOW) for name in ("ml_drift", "ml_drift_noise"))
    limit = select("ml_drift_limit", ONE_MODEL, WINDOW)
    labels = "instance, version, column, method, reference"
    worst = f"topk(30, max by ({labels}) ({_of_limit(drift)}))"
    over_noise, over_limit = f"({drift} > bool {noise})", f"({_of_limit(drift)} > bool 1)"
    shown = (
        drift,
        noise,
        f"{drift} * 0 + {ON_DRIFT} group_left () {limit}",
        _of_limit(drift),
        f"{drift} / {noise}",
        f"{over_noise} + 2 * {over_limit}",
    )
    exprs = [f"max by ({labels}) ({expr}) and on ({labels}) {worst}" for expr in shown]
    about = About(
        "Which columns have drifted, and by how much?",
        "No column is drifted: above its limit and above the noise. Shown are the 30 closest to their limits.",
        DRIFT_ALERTS,
    )
    return rows(about, exprs, _drift_columns(), sort="Of limit")


def _drift_columns() -> list[Column]:
    verdict = words(
        {0: ("no", NEUTRAL), 1: ("below limit", NEUTRAL), 2: ("in the noise", UNKNOWN), 3: ("drifted", BAD)}
    )
    return [
        Column("column", "Column"),
        Column("method", "Method"),
        Column("version", "Version"),
        Column("Value #A", "Drift", decimals=3),
        Column("Value #B", "Noise", decimals=3),
        Column("Value #C", "Limit", decimals=3),
        Column("Value #D", "Of limit", unit="percentunit", decimals=0),
        Column("Value #E", "Over noise", decimals=1),
        Column("Value #F", "Verdict", color=True, mappings=(verdict,)),
        Column("reference", "Reference"),
        Column("instance", "Instance"),
    ]


def _drift_over_time() -> Panel:
    drift = select("ml_drift", ONE_MODEL, METHOD, WINDOW)
    limit = select("ml_drift_limit", ONE_MODEL, METHOD, WINDOW)
    now = f"({drift} {CHAMPION}) / {ON_DRIFT} group_left () {limit}"
    at_end = f"({drift} @ end() {CHAMPION}) / {ON_DRIFT} group_left () {limit} @ end()"
    about = About(
        "Since when have the worst columns drifted?",
        "All below 100 %: the drift as a share of the column's own limit. Shown are the four columns that are "
        "closest to it at the end of the shown time.",
        DRIFT_ALERTS,
    )
    expr = f"max by (column) ({now}) and on (column) topk(4, max by (column) ({at_end}))"
    lines = [Line(expr, "{{column}}"), Line(f"group({limit})", "limit", "limit")]
    return graph(about, lines, unit="percentunit", low=0)


def _bins() -> Panel:
    about = About(
        "Which answers have become more or less common?",
        "Near 0 in every bin: the champion's share of predictions in a bin of the score, less that bin's "
        "share in the reference; of the prediction where a model has no scores. Shown are the five bins that "
        "moved most; positive: more common now.",
        DRIFT_ALERTS,
        "No profile to compare with.",
    )
    scores, predictions = (_shifts(f'column="{name}"') for name in ("score", "prediction"))
    return graph(about, [Line(f"{scores} or on () {predictions}", "{{bin}}")], unit="percentunit", decimals=1)


def _shifts(column: str) -> str:
    bins = select("ml_bin_total", ONE_MODEL, column)
    reference = f"max by (bin) ({select('ml_reference_bin_ratio', ONE_MODEL, column)} {CHAMPION})"
    now = _share_by_bin(rate("ml_bin_total", ONE_MODEL, column))
    shown = _share_by_bin(f"increase({bins}[$__range] @ end())")
    return f"(({now} - {reference}) and on (bin) topk(5, abs({shown} - {reference})))"


def _share_by_bin(counts: str) -> str:
    mine = f"{counts} {CHAMPION}"
    return f"sum by (bin) ({mine}) / on () group_left () (sum({mine}) > 0)"


def _violation_table() -> Panel:
    ratio = select("ml_input_violation_ratio", ONE_MODEL, VERSIONS, WINDOW)
    limit = select("ml_input_violation_limit", ONE_MODEL, WINDOW)
    by = "by (instance, version, column, check)"
    worst = f"topk(30, max {by} ({ratio}) > 0)"
    on_worst = "and on (instance, version, column, check)"
    exprs = [
        worst,
        f"max {by} ({ratio} * 0 + {ON_CHECK} group_left () {limit}) {on_worst} {worst}",
        f"max {by} ({ratio} > bool {ON_CHECK} group_left () {limit}) {on_worst} {worst}",
    ]
    verdict = words({0: ("no", NEUTRAL), 1: ("above limit", BAD)})
    columns = [
        Column("column", "Column"),
        Column("check", "Check"),
        Column("version", "Version"),
        Column("Value #A", "Share of rows", unit="percentunit", decimals=2),
        Column("Value #B", "Limit", unit="percentunit", decimals=2),
        Column("Value #C", "Verdict", color=True, mappings=(verdict,)),
        Column("instance", "Instance"),
    ]
    about = About(
        "Which columns fail which input check?",
        "None above its limit. Shown are the 30 largest shares; a check without a limit raises no alert.",
        ("MLInputViolations",),
    )
    return rows(about, exprs, columns, sort="Share of rows")


def _violations_over_time() -> Panel:
    failed = rate("ml_input_violations_total", ONE_MODEL, VERSIONS)
    everything = _increase_over_range()
    about = About(
        "When did values begin to fail the checks?",
        "0 a second. The five columns and checks that failed most in the shown time.",
        ("MLInputViolations",),
    )
    by = "sum by (column, check)"
    expr = f"{by} ({failed}) and on (column, check) topk(5, {by} ({everything}) > 0)"
    return graph(about, [Line(expr, "{{column}}: {{check}}")], unit="short", low=0)


def _increase_over_range() -> str:
    return f"increase({select('ml_input_violations_total', ONE_MODEL, VERSIONS)}[$__range] @ end())"
