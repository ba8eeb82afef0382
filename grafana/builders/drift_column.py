"""One column: how its values are spread now and in the reference, and what every method makes of it."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .distribution import distribution
from .drift_columns import CHAMPION, DRIFT_ALERTS, NO_PROFILE, WINDOW
from .names import NOTICE, UNKNOWN
from .panels import About, Line, for_each, graph
from .promql import ONE_MODEL, Moment, highest, of_champion, select

COLUMN = 'column="$column"'
ONE_METHOD = 'method=~"$method"'
NO_BINS = (
    "No bins of this column are exported: those of the score, the prediction and the columns in the config's "
    "export_bins are, for models with a profile."
)


def column_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels on the chosen column, with width and height."""
    return [
        (_distribution(), 12, 9),
        (_bins(), 12, 9),
        (for_each("method", _drift()), 24, 8),
        (_checks(), 24, 7),
    ]


def _distribution() -> Panel:
    about = About(
        "How is $column spread, now and in the reference?",
        "Both alike in every bin. Now: the champion's predictions in the shown time; reference: the profile. Bins "
        "are the profile's; what is missing, rare or was unseen there has a bin of its own.",
        DRIFT_ALERTS,
        NO_BINS,
    )
    now = _share_by_bin(f"increase({select('ml_bin_total', ONE_MODEL, COLUMN)}[$__range])")
    series = {"now": (now, NOTICE), "reference": (_reference(), UNKNOWN)}
    return distribution(about, "bin", series, unit="percentunit")


def _reference() -> str:
    return f"max by (bin) ({select('ml_reference_bin_ratio', ONE_MODEL, COLUMN)} {CHAMPION})"


def _share_by_bin(counts: str) -> str:
    mine = f"{counts} {CHAMPION}"
    return f"sum by (bin) ({mine}) / on () group_left () (sum({mine}) > 0)"


def _bins() -> Panel:
    about = About(
        "Which bins of $column have become more or less common, and since when?",
        "Near 0 in every bin: its share of the champion's predictions less its share in the reference. The five "
        "bins that moved most in the shown time; positive: more common now.",
        DRIFT_ALERTS,
        NO_BINS,
    )
    bins = select("ml_bin_total", ONE_MODEL, COLUMN)
    now = _share_by_bin(f"rate({bins}[$__rate_interval])")
    shown = _share_by_bin(f"increase({bins}[$__range] @ end())")
    expr = f"({now} - {_reference()}) and on (bin) topk(5, abs({shown} - {_reference()}))"
    return graph(about, [Line(expr, "{{bin}}")], unit="percentunit", decimals=1)


def _drift() -> Panel:
    about = About(
        "How far is $column from what it was, by $method?",
        "Below the limit, or below the noise, which is reached without any drift. Training is the profile, "
        "previous the window before, mature compares labelled rows with all mature ones.",
        DRIFT_ALERTS,
        f"This method does not fit this column. {NO_PROFILE}",
    )
    chosen = (COLUMN, ONE_METHOD, WINDOW)
    drift = f"max by (reference) ({select('ml_drift', ONE_MODEL, *chosen)} {CHAMPION})"
    training = select("ml_drift_noise", ONE_MODEL, *chosen, 'reference="training"')
    lines = [
        Line(drift, "against {{reference}}"),
        Line(f"max({training} {CHAMPION})", "noise (training)", "bound"),
        Line(f"min({select('ml_drift_limit', ONE_MODEL, *chosen)})", "limit", "limit"),
    ]
    return graph(about, lines, unit="none", decimals=3, low=0)


def _checks() -> Panel:
    about = About(
        "Which checks does $column fail?",
        "None more often than its limit. The share of the window's rows; the five checks that fail most.",
        ("MLInputViolations",),
        "Checks are made of features, and this column is none.",
    )
    ratio = select("ml_input_violation_ratio", ONE_MODEL, COLUMN, WINDOW)

    def failing(when: Moment) -> str:
        return f"max by (check) ({when.gauge(ratio)} {of_champion(ONE_MODEL, when)})"

    limit = select("ml_input_violation_limit", ONE_MODEL, COLUMN, WINDOW)
    lines = [
        Line(highest(4, "check", failing), "{{check}}"),
        Line(f"min({limit})", "lowest limit", "limit"),
    ]
    return graph(about, lines, unit="percentunit", low=0)
