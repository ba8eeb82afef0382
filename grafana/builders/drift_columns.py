"""Drift of all of a model's columns: how many, which, since when, and how much it matters."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .links import IN_SERIES, to
from .names import BAD, DRIFT_UID, GOOD, NEUTRAL, UNKNOWN, WARNING
from .panels import About, Line, bars, graph, linked, timeline, words
from .promql import ON_DRIFT, ONE_MODEL, SHOWN, Moment, highest, of_champion, select
from .tables import Column, leading, rows

WINDOW = 'window="$window"'
VERSIONS = 'version=~"$version"'
METHOD = 'method=~"$method"'
TRAINING = 'reference="training"'
CHAMPION = of_champion(ONE_MODEL)
DRIFT_ALERTS = ("MLColumnDrift", "MLModelDrift", "MLPredictionDrift", "MLLabelDrift")
KEPT = ("job", "instance", "model", "version", "window")
VERDICT = words(
    {0: ("no", GOOD), 1: ("below limit", NEUTRAL), 2: ("in the noise", UNKNOWN), 3: ("drifted", BAD)}
)
NO_PROFILE = (
    "No profile to compare with, or too few rows in the window: the model's table of reasons says more."
)


def overview_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels on all columns together, with width and height."""
    return [(_verdicts(), 14, 9), (_share(), 10, 9)]


def columns_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels that compare columns, with width and height."""
    return [
        (_over_noise(), 12, 8),
        (closest_columns(), 12, 8),
        (_impact_over_time(), 12, 8),
        (_impact(), 12, 8),
        (_table(), 24, 10),
    ]


def to_column(panel: Panel) -> Panel:
    """Let a click on a series lead to its column."""
    return linked(panel, "Show this column", to(DRIFT_UID, {"column": "column"}, kept=KEPT, where=IN_SERIES))


def _share() -> Panel:
    about = About(
        "What share of the columns has drifted?",
        "Below the limit: of the columns with a limit, those above limit and noise. Against the profile and, "
        "where it is configured, against the window before.",
        ("MLManyColumnsDrifted",),
        NO_PROFILE,
    )
    share = f"{select('ml_drifted_columns_ratio', ONE_MODEL, WINDOW)} {CHAMPION}"
    lines = [
        Line(f"max by (reference) ({share})", "against {{reference}}"),
        Line(f"min({select('ml_drifted_columns_limit', ONE_MODEL)})", "limit", "limit"),
    ]
    return graph(about, lines, unit="percentunit", low=0)


def _verdicts() -> Panel:
    about = About(
        "Which columns drifted, and since when?",
        "No column is drifted, by any method that has a limit. In the noise: above the limit, but no further than "
        "chance goes. Shown are the 20 columns that were furthest above their noise.",
        DRIFT_ALERTS,
        NO_PROFILE,
    )
    limit = select("ml_drift_limit", ONE_MODEL, WINDOW, METHOD)
    drift, noise = (select(name, ONE_MODEL, WINDOW, METHOD) for name in ("ml_drift", "ml_drift_noise"))
    over_noise = f"({drift} > bool {noise})"
    over_limit = f"({drift} > bool {ON_DRIFT} group_left () {limit})"
    verdict = f"max by (column) (({over_noise} + 2 * {over_limit}) {CHAMPION})"
    worst = f"topk(20, {_of_noise(SHOWN)})"
    panel = timeline(about, [Line(f"{verdict} and on (column) {worst}", "{{column}}")], [VERDICT])
    return to_column(panel)


def closest_columns(method: str = METHOD) -> Panel:
    """Return the bars of the columns that are closest to their limits."""
    about = About(
        "Which columns of the champion come closest to their limit?",
        "All below 1: the drift divided by the column's own limit. Only columns above the noise are shown, since "
        "smaller distances come about without any drift; the ten closest, by the chosen methods.",
        DRIFT_ALERTS,
    )
    drift, noise = (select(name, ONE_MODEL, method, WINDOW) for name in ("ml_drift", "ml_drift_noise"))
    above_noise = f"({drift} > {noise}) {CHAMPION}"
    expr = f"topk(10, max by (column) ({_of_limit(above_noise, method)}))"
    panel = bars(about, expr, "{{column}}", unit="none", steps=((None, NEUTRAL), (1, WARNING)))
    return to_column(panel)


def _of_limit(drift: str, *matchers: str) -> str:
    """Divide drift by the limit of its column: above 1 it is above the limit."""
    return f"({drift}) / {ON_DRIFT} group_left () {select('ml_drift_limit', ONE_MODEL, WINDOW, *matchers)}"


def _impact() -> Panel:
    about = About(
        "Which columns' changes cost most?",
        "All near 0: by how much the change of a column's shares moves the mean loss of the champion if each bin "
        "keeps the loss it has in the profile. Columns overlap, so their impacts never add up; the ten largest.",
        empty="The profile has no labels, so nobody knows what its bins cost.",
    )
    impact = f"{select('ml_drift_impact', ONE_MODEL, WINDOW, TRAINING)} {CHAMPION}"
    expr = f"topk(10, max by (column) ({impact}))"
    return to_column(bars(about, expr, "{{column}}", unit="none", steps=((None, NEUTRAL),)))


def _impact_over_time() -> Panel:
    about = About(
        "Since when do they cost so much?",
        "Near 0 all the time. The five columns with the largest impact, up or down, at the end of the time.",
        empty="The profile has no labels, so nobody knows what its bins cost.",
    )
    impact = select("ml_drift_impact", ONE_MODEL, WINDOW, TRAINING)
    now = f"max by (column) ({impact} {CHAMPION})"
    newest = f"abs(last_over_time({impact}[$__range] @ end()))"
    at_end = f"max by (column) ({newest} {of_champion(ONE_MODEL, SHOWN)})"
    return graph(
        about, [Line(f"{now} and on (column) topk(5, {at_end})", "{{column}}")], unit="none", decimals=4
    )


def _over_noise() -> Panel:
    about = About(
        "How far above its noise is each column?",
        "At most 1: what a column's drift reaches without any drift. The four columns that were furthest above, by the "
        "chosen methods; a column alerts where it is above its limit as well.",
        DRIFT_ALERTS,
        "No noise is known: it is computed for columns with a limit.",
    )
    noise = select("ml_drift_noise", ONE_MODEL, WINDOW, METHOD)
    lines = [
        Line(highest(4, "column", _of_noise), "{{column}}"),
        Line(f"group({noise})", "noise", "bound"),
    ]
    return to_column(graph(about, lines, unit="none", decimals=1, low=0))


def _of_noise(when: Moment) -> str:
    drift, noise = (
        when.gauge(select(name, ONE_MODEL, WINDOW, METHOD)) for name in ("ml_drift", "ml_drift_noise")
    )
    return f"max by (column) ({drift} / {noise} {of_champion(ONE_MODEL, when)})"


def _table() -> Panel:
    drift, noise = (select(name, ONE_MODEL, VERSIONS, WINDOW) for name in ("ml_drift", "ml_drift_noise"))
    pvalue = select("ml_drift_pvalue", ONE_MODEL, VERSIONS, WINDOW)
    limit = select("ml_drift_limit", ONE_MODEL, WINDOW)
    labels = "instance, version, column, method, reference"
    # Without a limit no noise is computed.
    worst = f"topk(50, max by ({labels}) ({drift} / {noise} or {drift} * 0))"
    over_noise, over_limit = f"({drift} > bool {noise})", f"({_of_limit(drift)} > bool 1)"
    shown = (
        drift,
        noise,
        f"{drift} * 0 + {ON_DRIFT} group_left () {limit}",
        _of_limit(drift),
        f"{drift} / {noise}",
        f"{over_noise} + 2 * {over_limit}",
        pvalue,
    )
    exprs = [f"max by ({labels}) ({expr}) and on ({labels}) {worst}" for expr in shown]
    about = About(
        "What does every method say of every column?",
        "No column is drifted: above its limit and above the noise. The 50 furthest above their noise, of all "
        "methods and references; a click on a column shows it below.",
        DRIFT_ALERTS,
        NO_PROFILE,
    )
    return rows(about, exprs, _drift_columns(), sort="Of limit")


def _drift_columns() -> list[Column]:
    columns = [
        Column("column", "Column", width=160),
        Column("method", "Method"),
        Column("version", "Version"),
        Column("Value #A", "Drift", decimals=3),
        Column("Value #B", "Noise", decimals=3),
        Column("Value #C", "Limit", decimals=3),
        Column("Value #D", "Of limit", unit="percentunit", decimals=0),
        Column("Value #E", "Over noise", decimals=1),
        Column("Value #F", "Verdict", color=True, mappings=(VERDICT,)),
        Column("Value #G", "p-value", decimals=4),
        Column("reference", "Reference"),
        Column("instance", "Instance"),
    ]
    link = to(DRIFT_UID, {"column": "column"}, kept=KEPT)
    return leading(columns, link, "Show this column")
