"""The parts of a model's traffic: which of them is answered worst."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .names import BAD, GOOD
from .panels import About, for_each, words
from .promql import ONE_MODEL, bounded, missed_for_sure, of_champion, room, select
from .tables import Column, rows

METRIC = 'metric=~"$metric"'
CHAMPION = of_champion(ONE_MODEL)
BY = "by (instance, segment, value)"


def segment_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on segments, with width and height."""
    return [(for_each("metric", _worst()), 24, 9)]


def _worst() -> Panel:
    about = About(
        "Which segments are worst in $metric?",
        "None is missed: the bound that decides is on the right side of the target. Room is how far it is, the "
        "least first: of a min target the lowest upper bound, of a max target the highest lower bound. Shown "
        "are the 20 worst; the bounds of all segments hold together.",
        ("MLSegmentQualityLow",),
        "No segments are configured, this metric has no target, or no value of a segment has rows enough.",
    )
    return rows(about, _queries(), _columns(), sort="Room", descending=False)


def _queries() -> list[str]:
    worst = f"bottomk(20, min {BY} ({room('ml_segment_quality', ONE_MODEL, METRIC)} {CHAMPION}))"
    value, lower, upper = bounded("ml_segment_quality", ONE_MODEL, METRIC)
    samples = select("ml_segment_samples", ONE_MODEL)
    missed = missed_for_sure("ml_segment_quality", ONE_MODEL, METRIC)
    shown = (value, lower, upper, samples, missed)
    return [
        worst,
        *(f"max {BY} ({expr} {CHAMPION}) and on (instance, segment, value) {worst}" for expr in shown),
    ]


def _columns() -> list[Column]:
    verdict = words({0: ("met", GOOD), 1: ("missed", BAD)})
    return [
        Column("segment", "Segment"),
        Column("value", "Value"),
        Column("Value #B", "Measured", decimals=3),
        Column("Value #C", "Lower", decimals=3),
        Column("Value #D", "Upper", decimals=3),
        Column("Value #E", "n", unit="short"),
        Column("Value #A", "Room", decimals=3),
        Column("Value #F", "Target", color=True, mappings=(verdict,)),
        Column("instance", "Instance"),
    ]
