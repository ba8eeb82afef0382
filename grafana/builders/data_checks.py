"""Values that fail the input checks, by column and check."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .links import to
from .names import BAD, DRIFT_UID, NEUTRAL
from .panels import About, Line, graph, words
from .promql import ON_CHECK, ONE_MODEL, select
from .tables import Column, leading, rows

WINDOW = 'window="$window"'
VERSIONS = 'version=~"$version"'
ALERTS = ("MLInputViolations",)
NONE_FAILS = "No value fails a check, or no prediction is in the window."
KEPT = ("job", "instance", "model", "version", "window")
TO_COLUMN = to(DRIFT_UID, {"column": "column"}, kept=KEPT)


def check_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on input checks, with width and height."""
    return [(violation_table(), 12, 9), (_over_time(), 12, 9), (_matrix(), 24, 9)]


def violation_table() -> Panel:
    """Return the table of the columns and checks that fail most."""
    about = About(
        "Which columns fail which input check?",
        "None above its limit. Shown are the 30 largest shares; a check without a limit raises no alert. Reference: the share in the profile.",
        ALERTS,
        NONE_FAILS,
    )
    columns = [
        Column("column", "Column"),
        Column("check", "Check"),
        Column("version", "Version"),
        Column("Value #A", "Share of rows", unit="percentunit", decimals=2),
        Column("Value #D", "Reference", unit="percentunit", decimals=2),
        Column("Value #B", "Limit", unit="percentunit", decimals=2),
        Column("Value #C", "Verdict", color=True, mappings=(_VERDICT,)),
        Column("instance", "Instance"),
    ]
    return rows(about, _worst(), leading(columns, TO_COLUMN, "Show this column"), sort="Share of rows")


_VERDICT = words({0: ("no", NEUTRAL), 1: ("above limit", BAD)})


def _worst() -> list[str]:
    ratio = select("ml_input_violation_ratio", ONE_MODEL, VERSIONS, WINDOW)
    limit = select("ml_input_violation_limit", ONE_MODEL, WINDOW)
    reference = select("ml_input_violation_reference", ONE_MODEL, VERSIONS)
    by = "by (instance, version, column, check)"
    worst = f"topk(30, max {by} ({ratio}) > 0)"
    on_worst = "and on (instance, version, column, check)"
    return [
        worst,
        f"max {by} ({ratio} * 0 + {ON_CHECK} group_left () {limit}) {on_worst} {worst}",
        f"max {by} ({ratio} > bool {ON_CHECK} group_left () {limit}) {on_worst} {worst}",
        f"max {by} ({reference}) {on_worst} {worst}",
    ]


def _over_time() -> Panel:
    about = About(
        "When did values begin to fail the checks?",
        "0 a second. The five columns and checks that failed most in the shown time.",
        ALERTS,
        NONE_FAILS,
    )
    violations = select("ml_input_violations_total", ONE_MODEL, VERSIONS)
    by = "sum by (column, check)"
    failed = f"{by} (rate({violations}[$__rate_interval]))"
    most = f"topk(5, {by} (increase({violations}[$__range] @ end())) > 0)"
    expr = f"{failed} and on (column, check) {most}"
    return graph(about, [Line(expr, "{{column}}: {{check}}")], unit="short", low=0)


def _matrix() -> Panel:
    about = About(
        "Which checks fail where?",
        "Empty or near 0. Columns that fail one check together often have one cause, such as a join that found "
        "nothing. Shares of the window's rows, of the champion and the other chosen versions the largest.",
        ALERTS,
        NONE_FAILS,
    )
    ratio = select("ml_input_violation_ratio", ONE_MODEL, VERSIONS, WINDOW)
    expr = f"max by (column, check) ({ratio}) > 0"
    return rows(
        about,
        [expr],
        [],
        sort="column\\check",
        descending=False,
        matrix=("column", "check"),
        unit="percentunit",
    )
