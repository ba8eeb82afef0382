"""Whether records have the columns they should, with as many different values, and each only once."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .data_checks import TO_COLUMN
from .panels import About, Line, graph
from .promql import ONE_MODEL, of_champion, rate, select
from .tables import Column, leading, rows

WINDOW = 'window="$window"'
CHAMPION = of_champion(ONE_MODEL)
NO_PROFILE = "No profile to compare with, or too few rows in the window."


def schema_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on the schema, with width and height."""
    return [(_schema(), 12, 8), (_values(), 12, 8), (_constant(), 12, 7), (_duplicates(), 12, 7)]


def _schema() -> Panel:
    about = About(
        "Do records have the features that the profile expects?",
        "As many as expected; none missing (in no row of the window), none unexpected (known to no profile).",
        ("MLSchemaChanged",),
        NO_PROFILE,
    )
    columns = f"max by (status) ({select('ml_schema_columns', ONE_MODEL)})"
    return graph(about, [Line(columns, "{{status}}")], unit="short", low=0)


def _values() -> Panel:
    about = About(
        "Which columns have fewer or more different values than they had?",
        "About as many bins or categories as in the reference. Those that lost most come first.",
        empty=NO_PROFILE,
    )
    now = f"max by (column) ({select('ml_column_cardinality', ONE_MODEL, WINDOW)} {CHAMPION})"
    reference = f"max by (column) ({select('ml_column_reference_cardinality', ONE_MODEL)} {CHAMPION})"
    columns = [
        Column("column", "Column", width=200),
        Column("Value #A", "Of reference", unit="percentunit", decimals=0),
        Column("Value #B", "Now", unit="short"),
        Column("Value #C", "Reference", unit="short"),
    ]
    return rows(
        about,
        [f"{now} / {reference}", now, reference],
        leading(columns, TO_COLUMN, "Show this column"),
        sort="Of reference",
        descending=False,
    )


def _constant() -> Panel:
    about = About(
        "How many columns have become constant?",
        "0. All of the window's values in one bin, which neither chance nor the profile explains.",
        ("MLConstantColumns",),
        NO_PROFILE,
    )
    constant = f"max by (version) ({select('ml_constant_columns', ONE_MODEL, WINDOW)})"
    return graph(about, [Line(constant, "version {{version}}")], unit="short", low=0)


def _duplicates() -> Panel:
    about = About(
        "What share of predictions is logged twice?",
        "0 %. An id that comes again within ten minutes, known when predictions are mature.",
        ("MLDuplicates",),
    )
    twice, made = (
        f"sum by (version) ({rate(name, ONE_MODEL)})"
        for name in ("ml_duplicate_predictions_total", "ml_predictions_total")
    )
    return graph(about, [Line(f"{twice} / ({made} > 0)", "version {{version}}")], unit="percentunit", low=0)
