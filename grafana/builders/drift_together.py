"""Drift of columns together: whether they still go with each other as they did."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .drift_columns import VERDICT
from .panels import About, Line, graph
from .promql import ONE_MODEL, of_champion, select
from .tables import Column, rows

WINDOW = 'window="$window"'
NOT_ASKED = "The config asks for no multivariate drift, or the profile was made without it."


def together_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels on columns together, with width and height."""
    return [(_over_time(), 12, 8), (_now(), 12, 8)]


def _over_time() -> Panel:
    about = About(
        "Do columns still go with each other as they did?",
        "Below 100 % of the limit, by principal components and by correlations. It shows what no column shows by "
        "itself, and the champion's inputs only; whether it is more than noise is in the table.",
        ("MLMultivariateDrift",),
        NOT_ASKED,
    )
    drift, limit = (select(f"ml_multivariate_drift{end}", ONE_MODEL, WINDOW) for end in ("", "_limit"))
    lines = [
        Line(f"max by (method) ({drift} / {limit} {of_champion(ONE_MODEL)})", "{{method}}"),
        Line(f"group({limit})", "limit", "limit"),
    ]
    return graph(about, lines, unit="percentunit", low=0)


def _now() -> Panel:
    about = About(
        "Is it more than noise?",
        "No method is drifted: above its limit and above the noise, which is reached without any drift.",
        empty=NOT_ASKED,
    )
    drift, noise, limit = (
        select(f"ml_multivariate_drift{end}", ONE_MODEL, WINDOW, 'version=~"$version"')
        for end in ("", "_noise", "_limit")
    )
    exprs = [drift, noise, limit, f"({drift} > bool {noise}) + 2 * ({drift} > bool {limit})"]
    columns = [
        Column("method", "Method", width=150),
        Column("version", "Version"),
        Column("Value #A", "Drift", decimals=3),
        Column("Value #B", "Noise", decimals=3),
        Column("Value #C", "Limit", decimals=3),
        Column("Value #D", "Verdict", color=True, mappings=(VERDICT,)),
        Column("instance", "Instance"),
    ]
    by = "max by (instance, version, method)"
    return rows(about, [f"{by} ({expr})" for expr in exprs], columns, sort="Method", descending=False)
