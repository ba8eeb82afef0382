"""Whether a model's answers still mean what they meant: concept, calibration, season."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .names import CONCEPT_STATES
from .panels import About, Line, graph, timeline, words
from .promql import ONE_MODEL, of_champion, select
from .tables import Column, rows

WINDOW = 'window="$window"'
VERSIONS = 'version=~"$version"'
CHAMPION = of_champion(ONE_MODEL)
STATE = words({float(value): look for value, look in CONCEPT_STATES.items()})
NO_DETECTOR = "No detector runs: it needs labels and a profile that knows what losses to expect."


def concept_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on concept, calibration and season, with width and height."""
    return [(_state(), 14, 7), (_detectors(), 10, 7), (_calibration(), 12, 7), (_season(), 12, 7)]


def _state() -> Panel:
    about = About(
        "Do answers still mean what they meant?",
        "stable. Drift: losses are higher than such answers were wont to have, surely so for ecusum, whose "
        "false alarms are bounded and which alone alerts.",
        ("MLConceptDrift",),
        NO_DETECTOR,
    )
    state = select("ml_concept_drift_state", ONE_MODEL, VERSIONS)
    return timeline(about, [Line(state, "{{detector}}, version {{version}} {{instance}}")], [STATE])


def _detectors() -> Panel:
    about = About(
        "How often did a detector begin to see drift?",
        "Never in the shown time. Only ecusum bounds its false alarms: the others are for a second look.",
        ("MLConceptDrift",),
        NO_DETECTOR,
    )
    by = "by (detector, version, instance)"
    begun = f"increase({select('ml_concept_drift_total', ONE_MODEL, VERSIONS)}[$__range])"
    columns = [
        Column("detector", "Detector"),
        Column("version", "Version"),
        Column("Value #A", "State", color=True, mappings=(STATE,)),
        Column("Value #B", "Times begun"),
        Column("instance", "Instance"),
    ]
    exprs = [
        f"max {by} ({select('ml_concept_drift_state', ONE_MODEL, VERSIONS)})",
        f"round(sum {by} ({begun}))",
    ]
    return rows(about, exprs, columns, sort="State")


def _calibration() -> Panel:
    about = About(
        "Are the champion's scores the probabilities they seem to be?",
        "Below the noise, which perfect scores stay below in 99 % of such windows, or below the limit. Shown "
        "is the expected calibration error; without a limit in the config nobody is alerted.",
        ("MLCalibrationOff",),
        "Only binary models with scores have a calibration, and it needs labels.",
    )
    error, noise = (
        f"{select(f'ml_calibration_error{end}', ONE_MODEL, WINDOW)} {CHAMPION}" for end in ("", "_noise")
    )
    lines = [
        Line(error, "version {{version}} {{instance}}"),
        Line(noise, "noise {{instance}}", "bound"),
        Line(f"min({select('ml_calibration_error_limit', ONE_MODEL)})", "limit", "limit"),
    ]
    return graph(about, lines, unit="none", decimals=3, low=0)


def _season() -> Panel:
    about = About(
        "How far is the last hour from the same hour of earlier weeks?",
        "Between the limits, in standard errors: predictions made, share of positive ones, share of errors "
        "(of the last mature hour).",
        ("MLSeasonalDeviation",),
        "Not known before three weeks of history.",
    )
    limit = select("ml_seasonal_limit", ONE_MODEL)
    lines = [
        Line(select("ml_seasonal_deviation", ONE_MODEL), "{{subject}} {{instance}}"),
        Line(f"min({limit})", "limit", "limit"),
        Line(f"-min({limit})", "lower limit", "limit"),
    ]
    return graph(about, lines, unit="none", decimals=1)
