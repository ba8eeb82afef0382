"""A model's quality with its bounds, targets and reference, and its versions side by side."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .names import BAD, GOOD, NEUTRAL
from .panels import About, Line, graph, words
from .promql import ON_TARGET, ONE_MODEL, of_champion, rate, select
from .tables import Column, rows

CHOSEN = ('metric=~"$metric"', 'window="$window"')
VERSIONS = 'version=~"$version"'
TARGET_ALERTS = ("MLQualityBelowTarget", "MLQualityAboveTarget")
CHAMPION = of_champion(ONE_MODEL)


def quality_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on quality, with width and height."""
    return [(_over_time(), 12, 8), (_now(), 16, 9), (_mistakes(), 8, 9)]


def version_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row that compares versions, with width and height."""
    return [
        (_by_version(), 12, 7),
        (_matrix(), 10, 7),
        (_differences(), 14, 7),
        (_right(), 12, 7),
        (_samples(), 12, 7),
    ]


def _over_time() -> Panel:
    about = About(
        "Is $metric as good as it has to be?",
        "The champion's bounds are on the right side of the target: a min target is missed when the upper "
        "bound is below it, a max target when the lower bound is above it. Dots: the reference's value.",
        (*TARGET_ALERTS, "MLQualityUnknown"),
    )
    quality, lower, upper = (
        select(f"ml_quality{end}", ONE_MODEL, *CHOSEN) for end in ("", "_lower", "_upper")
    )
    reference = select("ml_quality_reference", ONE_MODEL, CHOSEN[0])
    panel = graph(
        about,
        [
            Line(f"{quality} {CHAMPION}", "version {{version}} {{instance}}"),
            Line(f"{lower} {CHAMPION}", "lower bound {{instance}}", "bound"),
            Line(f"{upper} {CHAMPION}", "upper bound {{instance}}", "bound"),
            Line(
                f"max by (bound) ({select('ml_quality_target', ONE_MODEL, *CHOSEN)})",
                "target ({{bound}})",
                "limit",
            ),
            Line(f"max by (version) ({reference} {CHAMPION})", "reference", "reference"),
        ],
        unit="none",
        decimals=3,
    )
    return _repeated(panel)


def _now() -> Panel:
    window = 'window="$window"'
    quality, lower, upper = (
        select(f"ml_quality{end}", ONE_MODEL, VERSIONS, window) for end in ("", "_lower", "_upper")
    )
    least, most = (select("ml_quality_target", ONE_MODEL, window, f'bound="{end}"') for end in ("min", "max"))
    recent = select("ml_quality_recent", ONE_MODEL, VERSIONS, window)
    samples = select("ml_quality_samples", ONE_MODEL, VERSIONS, window)
    reference = select("ml_quality_reference", ONE_MODEL, VERSIONS)
    met = (
        f"{upper} >= bool {ON_TARGET} group_left (bound) {least}"
        f" or {lower} <= bool {ON_TARGET} group_left (bound) {most}"
    )
    by, replica = "by (instance, version, metric)", "job, instance, model"
    exprs = [
        f"max {by} ({quality})",
        f"max {by} ({lower})",
        f"max {by} ({upper})",
        f"min {by} ({met})",
        f"max {by} ({reference})",
        f"max {by} ({recent})",
        f"max {by} ({samples} * on ({replica}, version, window) group_right () ({quality} * 0 + 1))",
    ]
    about = About(
        "What does every metric say now, and how surely?",
        "Every target is met. Lower and upper are 95 % bounds, n the labelled predictions behind them; "
        "recent is of the rows that already have a label, biased by which labels come first.",
        TARGET_ALERTS,
    )
    return rows(about, exprs, _quality_columns(), sort="Version", descending=False)


def _quality_columns() -> list[Column]:
    verdict = words({0: ("missed", BAD), 1: ("met", GOOD)})
    return [
        Column("version", "Version"),
        Column("metric", "Metric"),
        Column("Value #A", "Value", decimals=4),
        Column("Value #B", "Lower", decimals=4),
        Column("Value #C", "Upper", decimals=4),
        Column("Value #D", "Target", color=True, mappings=(verdict,)),
        Column("Value #E", "Reference", decimals=4),
        Column("Value #F", "Recent", decimals=4),
        Column("Value #G", "n", unit="short"),
        Column("instance", "Instance"),
    ]


def _mistakes() -> Panel:
    about = About(
        "Which mistakes does the champion make?",
        "Most predictions on the diagonal. Rows are labels, columns predictions; counts over the shown time.",
    )
    counts = f"increase({select('ml_confusion_total', ONE_MODEL)}[$__range])"
    expr = f"round(sum by (actual, predicted) ({counts} {CHAMPION}))"
    return rows(about, [expr], [], sort="actual\\predicted", descending=False, matrix=("actual", "predicted"))


def _by_version() -> Panel:
    about = About(
        "Which version does better in $metric?",
        "The champion is not behind. Different versions may have scored different predictions: "
        "the table of differences is the fair comparison.",
    )
    quality = select("ml_quality", ONE_MODEL, VERSIONS, *CHOSEN)
    return _repeated(
        graph(about, [Line(quality, "version {{version}} {{instance}}")], unit="none", decimals=3)
    )


def _matrix() -> Panel:
    about = About(
        "What does each metric say of each version?", "No version is clearly ahead of the champion."
    )
    quality = select("ml_quality", ONE_MODEL, VERSIONS, 'window="$window"')
    expr = f"max by (version, metric) ({quality})"
    return rows(about, [expr], [], sort="metric\\version", descending=False, matrix=("metric", "version"))


def _differences() -> Panel:
    about = About(
        "Is a candidate surely better than its baseline?",
        "Not worse. Positive is better for the candidate; the 95 % bounds hold at every look since its first "
        "prediction. Better: the lower bound is above 0; worse: the upper bound is below 0.",
    )
    difference, lower, upper = (
        select(f"ml_version_difference{end}", ONE_MODEL, 'candidate=~"$version"')
        for end in ("", "_lower", "_upper")
    )
    exprs = [difference, lower, upper, f"({lower} > bool 0) - ({upper} < bool 0)"]
    by = "max by (instance, metric, baseline, candidate, pairing)"
    verdict = words({-1: ("worse", BAD), 0: ("not sure", NEUTRAL), 1: ("better", GOOD)})
    columns = [
        Column("metric", "Metric"),
        Column("baseline", "Baseline"),
        Column("candidate", "Candidate"),
        Column("pairing", "Pairing"),
        Column("Value #A", "Difference", decimals=5),
        Column("Value #B", "Lower", decimals=5),
        Column("Value #C", "Upper", decimals=5),
        Column("Value #D", "Candidate is", color=True, mappings=(verdict,)),
        Column("instance", "Instance"),
    ]
    return rows(about, [f"{by} ({expr})" for expr in exprs], columns, sort="Metric", descending=False)


def _right() -> Panel:
    about = About(
        "What share of labelled predictions is right?",
        "Steady, and not lower for the champion than for the others.",
    )
    good, labelled = (
        f"sum by (version) ({rate(f'ml_{kind}_predictions_total', ONE_MODEL, VERSIONS)})"
        for kind in ("good", "labeled")
    )
    return graph(
        about, [Line(f"{good} / ({labelled} > 0)", "version {{version}}")], unit="percentunit", low=0
    )


def _samples() -> Panel:
    about = About(
        "How many labelled predictions is quality computed from?",
        "Hundreds or more: few rows make wide bounds, and below 10 of a class there is no value at all.",
        ("MLQualityUnknown",),
    )
    samples = select("ml_quality_samples", ONE_MODEL, VERSIONS, 'window="$window"')
    return graph(about, [Line(f"sum by (version) ({samples})", "version {{version}}")], unit="short", low=0)


def _repeated(panel: Panel) -> Panel:
    """Show the panel once for each chosen metric, two side by side."""
    panel.repeat, panel.repeat_direction, panel.max_per_row = "metric", "h", 2
    return panel
