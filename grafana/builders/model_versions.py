"""A model's versions side by side: which is best, and how surely."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .model_quality import NO_LABELS_YET, TO_METRIC
from .names import BAD, GOOD, NEUTRAL
from .panels import About, Line, for_each, graph, words
from .promql import ONE_MODEL, bounded, rate, select
from .tables import Column, leading, rows

CHOSEN = ('metric=~"$metric"', 'window="$window"')
VERSIONS = 'version=~"$version"'
CANDIDATES = 'candidate=~"$version"'
# Bounds of all other metrics hold at every look, so only these must not be watched until they please.
AT_ONE_LOOK = 'metric=~"roc_auc|f1"'
ALERTS = ("MLCandidateBetter", "MLCandidateWorse")
ALONE = "Only one version answers: there is nothing to compare it with."


def version_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row that compares versions, with width and height."""
    return [
        (_best(), 24, 8),
        (for_each("metric", _difference()), 24, 7),
        (for_each("metric", _by_version()), 24, 7),
        (_matrix(), 12, 7),
        (_right(), 12, 7),
    ]


def _best() -> Panel:
    about = About(
        "Which version is best, and how surely?",
        "No candidate is worse. Better: the lower bound of the difference is above 0, positive being better "
        "whatever the metric; worse: the upper bound is below 0. Bounds that hold always may be looked at as "
        "often as you like; those of ROC AUC and F1 hold at one look, and nobody is alerted for them. "
        "Unpaired versions must have got their rows at random, and alert from their second day on.",
        ALERTS,
        f"{ALONE} Or too few rows of both are mature yet.",
    )
    by = "max by (instance, metric, baseline, candidate, pairing)"
    exprs = [f"{by} ({expr})" for expr in _evidence()]
    columns = leading(_evidence_columns(), TO_METRIC, "Show this metric")
    return rows(about, exprs, columns, sort="Candidate", descending=False)


def _evidence() -> list[str]:
    difference, lower, upper = bounded("ml_version_difference", ONE_MODEL, CANDIDATES)
    verdict = f"({lower} > bool 0) - ({upper} < bool 0)"
    one_look = select("ml_version_difference", ONE_MODEL, CANDIDATES, AT_ONE_LOOK)
    return [difference, lower, upper, verdict, f"{one_look} * 0 or {difference} * 0 + 1"]


def _evidence_columns() -> list[Column]:
    verdict = words({-1: ("worse", BAD), 0: ("not decided", NEUTRAL), 1: ("better", GOOD)})
    holds = words({0: ("at one look", NEUTRAL), 1: ("always", NEUTRAL)})
    return [
        Column("candidate", "Candidate"),
        Column("Value #D", "Is", color=True, mappings=(verdict,)),
        Column("baseline", "Than"),
        Column("metric", "By metric"),
        Column("Value #A", "Difference", decimals=5),
        Column("Value #B", "Lower", decimals=5),
        Column("Value #C", "Upper", decimals=5),
        Column("Value #E", "Bounds hold", mappings=(holds,)),
        Column("pairing", "Rows"),
        Column("instance", "Instance"),
    ]


def _difference() -> Panel:
    about = About(
        "Does the difference in $metric become certain?",
        "The bounds narrow until 0 is outside them. Shown is the candidate whose lower bound is highest at "
        "the end of the shown time; choose another above.",
        ALERTS,
        f"{ALONE} Or this metric is not compared.",
    )
    difference, lower, upper = bounded("ml_version_difference", ONE_MODEL, CHOSEN[0], CANDIDATES)
    by = "max by (instance, baseline, candidate, pairing)"
    best = f"and on (instance, baseline, candidate, pairing) topk(1, {by} (last_over_time({lower}[$__range] @ end())))"
    legend = "{{candidate}} against {{baseline}}, {{pairing}}"
    lines = [
        Line(f"{by} ({difference}) {best}", legend),
        Line(f"{by} ({lower}) {best}", "lower bound", "bound"),
        Line(f"{by} ({upper}) {best}", "upper bound", "bound"),
        Line(f"group({difference}) * 0", "no difference", "reference"),
    ]
    return graph(about, lines, unit="none", decimals=4)


def _by_version() -> Panel:
    about = About(
        "Which version does better in $metric?",
        "The champion is not behind. Different versions may have scored different predictions: "
        "the table of differences is the fair comparison.",
        empty=NO_LABELS_YET,
    )
    quality = select("ml_quality", ONE_MODEL, VERSIONS, *CHOSEN)
    return graph(about, [Line(quality, "version {{version}} {{instance}}")], unit="none", decimals=3)


def _matrix() -> Panel:
    about = About(
        "What does each metric say of each version?",
        "No version is clearly ahead of the champion.",
        empty=NO_LABELS_YET,
    )
    quality = select("ml_quality", ONE_MODEL, VERSIONS, 'window="$window"')
    expr = f"max by (version, metric) ({quality})"
    return rows(about, [expr], [], sort="metric\\version", descending=False, matrix=("metric", "version"))


def _right() -> Panel:
    about = About(
        "What share of labelled predictions is right?",
        "Steady, and not lower for the champion than for the others.",
        empty=NO_LABELS_YET,
    )
    good, labelled = (
        f"sum by (version) ({rate(f'ml_{kind}_predictions_total', ONE_MODEL, VERSIONS)})"
        for kind in ("good", "labeled")
    )
    return graph(
        about, [Line(f"{good} / ({labelled} > 0)", "version {{version}}")], unit="percentunit", low=0
    )
