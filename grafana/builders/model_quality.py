"""A model's quality: against its targets, against the reference, as expected before labels come, by class."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from .links import to
from .names import BAD, GOOD, MODEL_UID
from .panels import About, Line, for_each, graph, words
from .promql import ON_TARGET, ONE_MODEL, bounded, of_champion, select, targets
from .tables import Column, leading, rows

WINDOW = 'window="$window"'
CHOSEN = ('metric=~"$metric"', WINDOW)
VERSIONS = 'version=~"$version"'
TARGET_ALERTS = ("MLQualityBelowTarget", "MLQualityAboveTarget")
CHAMPION = of_champion(ONE_MODEL)
TARGET = Line(
    f"max by (bound) ({select('ml_quality_target', ONE_MODEL, *CHOSEN)})", "target ({{bound}})", "limit"
)
TO_METRIC = to(MODEL_UID, {"metric": "metric"}, kept=("job", "instance", "model", "version", "window"))
NO_LABELS_YET = "No quality yet: labels must come and predictions be mature; the table of reasons says more."


def quality_panels() -> list[tuple[Panel, int, int]]:
    """Return the panels of the row on quality, with width and height."""
    return [
        (for_each("metric", _over_time()), 24, 8),
        (_now(), 24, 9),
        (for_each("metric", _since_reference()), 24, 8),
        (for_each("metric", _expected()), 24, 8),
        (_mistakes(), 8, 8),
        (_classes(), 8, 8),
        (_samples(), 8, 8),
    ]


def _of_champion(expr: str, legend: str, style: str = "") -> Line:
    return Line(f"{expr} {CHAMPION}", f"{legend} {{{{instance}}}}", style)


def _over_time() -> Panel:
    about = About(
        "Is $metric as good as it has to be?",
        "The champion's bounds are on the right side of the target: a min target is missed when the upper "
        "bound is below it, a max target when the lower bound is above it. Dots: what is expected without "
        "labels, up to now; the lines end one maturity ago.",
        (*TARGET_ALERTS, "MLQualityUnknown"),
        NO_LABELS_YET,
    )
    value, lower, upper = bounded("ml_quality", ONE_MODEL, *CHOSEN)
    lines = [
        _of_champion(value, "version {{version}}"),
        _of_champion(lower, "lower bound", "bound"),
        _of_champion(upper, "upper bound", "bound"),
        TARGET,
        _of_champion(select("ml_quality_estimated", ONE_MODEL, *CHOSEN), "estimate", "estimate"),
    ]
    return graph(about, lines, unit="none", decimals=3)


def _since_reference() -> Panel:
    about = About(
        "Has $metric changed since the reference?",
        "Measured and reference are no further apart than their bounds together. Recent is of the rows that "
        "already have a label: ahead of the measured line, but biased by which labels come first.",
        ("MLQualityDropped",),
        "Neither labels nor a profile with labels to compare with.",
    )
    reference = bounded("ml_quality_reference", ONE_MODEL, CHOSEN[0])
    value, lower, upper = (f"max by (version) ({one} {CHAMPION})" for one in reference)
    lines = [
        _of_champion(select("ml_quality", ONE_MODEL, *CHOSEN), "measured, version {{version}}"),
        _of_champion(select("ml_quality_recent", ONE_MODEL, *CHOSEN), "recent"),
        Line(value, "reference", "reference"),
        Line(lower, "reference, lower bound", "bound"),
        Line(upper, "reference, upper bound", "bound"),
    ]
    return graph(about, lines, unit="none", decimals=3)


def _expected() -> Panel:
    about = About(
        "What is $metric expected to be, before its labels come?",
        "The estimate's bounds are on the right side of the target. It takes answers to mean what they meant "
        "in the profile: after concept drift or label shift it is wrong, and only labels show that.",
        ("MLEstimatedQualityLow",),
        "No estimate: the profile has too few labelled rows, or this metric is not estimated.",
    )
    value, lower, upper = bounded("ml_quality_estimated", ONE_MODEL, *CHOSEN)
    lines = [
        _of_champion(value, "estimate, version {{version}}", "estimate"),
        _of_champion(lower, "lower bound", "bound"),
        _of_champion(upper, "upper bound", "bound"),
        TARGET,
        _of_champion(select("ml_quality_recent", ONE_MODEL, *CHOSEN), "recent"),
    ]
    return graph(about, lines, unit="none", decimals=3)


def _now() -> Panel:
    about = About(
        "What does every metric say now, and how surely?",
        "Every target is met. Lower and upper are 95 % bounds, n the labelled predictions behind them, worth "
        "as many independent ones; estimate is without labels, recent of the rows that already have one.",
        TARGET_ALERTS,
        NO_LABELS_YET,
    )
    columns = leading(_quality_columns(), TO_METRIC, "Show this metric")
    return rows(about, _quality_queries(), columns, sort="Version", descending=False)


def _quality_queries() -> list[str]:
    value, lower, upper = bounded("ml_quality", ONE_MODEL, VERSIONS, WINDOW)
    least, most = targets(ONE_MODEL, WINDOW)
    met = (
        f"{upper} >= bool {ON_TARGET} group_left (bound) {least}"
        f" or {lower} <= bool {ON_TARGET} group_left (bound) {most}"
    )
    reference = select("ml_quality_reference", ONE_MODEL, VERSIONS)
    recent, estimate = (
        select(f"ml_quality_{name}", ONE_MODEL, VERSIONS, WINDOW) for name in ("recent", "estimated")
    )
    samples, worth = (
        f"{select(f'ml_quality_{name}samples', ONE_MODEL, VERSIONS, WINDOW)}"
        f" * on (job, instance, model, version, window) group_right () ({value} * 0 + 1)"
        for name in ("", "effective_")
    )
    by = "by (instance, version, metric)"
    measured, others = (value, lower, upper), (reference, recent, estimate, samples, worth)
    return [
        *(f"max {by} ({expr})" for expr in measured),
        # Of a metric with two targets the one that is missed is shown.
        f"min {by} ({met})",
        *(f"max {by} ({expr})" for expr in others),
    ]


def _quality_columns() -> list[Column]:
    verdict = words({0: ("missed", BAD), 1: ("met", GOOD)})
    return [
        Column("version", "Version"),
        Column("metric", "Metric", width=170),
        Column("Value #A", "Value", decimals=4),
        Column("Value #B", "Lower", decimals=4),
        Column("Value #C", "Upper", decimals=4),
        Column("Value #D", "Target", color=True, mappings=(verdict,)),
        Column("Value #E", "Reference", decimals=4),
        Column("Value #F", "Recent", decimals=4),
        Column("Value #G", "Estimate", decimals=4),
        Column("Value #H", "n", unit="short"),
        Column("Value #I", "Worth", unit="short"),
        Column("instance", "Instance"),
    ]


def _mistakes() -> Panel:
    about = About(
        "Which mistakes does the champion make?",
        "Most predictions on the diagonal. Rows are labels, columns predictions; counts over the shown time.",
        empty="No labelled predictions, or a model of numbers: its errors have no classes.",
    )
    counts = f"increase({select('ml_confusion_total', ONE_MODEL)}[$__range])"
    expr = f"round(sum by (actual, predicted) ({counts} {CHAMPION}))"
    return rows(about, [expr], [], sort="actual\\predicted", descending=False, matrix=("actual", "predicted"))


def _classes() -> Panel:
    about = About(
        "Which class does the champion know worst?",
        "No class is far behind the others. The class with the lowest F1 comes first; labels are those of the "
        "shown time.",
        empty="Only models of several classes have quality by class; binary ones have theirs in the table above.",
    )
    f1, precision, recall = (
        f"max by (class) ({select('ml_class_quality', ONE_MODEL, WINDOW, matcher)} {CHAMPION})"
        for matcher in ('metric="f1"', 'metric="precision"', 'metric="recall"')
    )
    labels = f"increase({select('ml_confusion_total', ONE_MODEL)}[$__range]) {CHAMPION}"
    named = f'label_join(sum by (actual) ({labels}), "class", "", "actual")'
    counts = f"round(sum by (class) ({named})) and on (class) {f1}"
    columns = [
        Column("class", "Class"),
        Column("Value #A", "F1", decimals=3),
        Column("Value #B", "Precision", decimals=3),
        Column("Value #C", "Recall", decimals=3),
        Column("Value #D", "Labels", unit="short"),
    ]
    return rows(about, [f1, precision, recall, counts], columns, sort="F1", descending=False)


def _samples() -> Panel:
    about = About(
        "How many labelled predictions is quality computed from?",
        "Hundreds or more: few rows make wide bounds, and below 10 of a class there is no value at all. Rows "
        "that come together err together, so they are worth fewer independent ones.",
        ("MLQualityUnknown",),
        NO_LABELS_YET,
    )
    labelled, worth = (
        f"sum by (version) ({select(f'ml_quality_{name}samples', ONE_MODEL, WINDOW)} {CHAMPION})"
        for name in ("", "effective_")
    )
    lines = [Line(labelled, "version {{version}}"), Line(worth, "worth as independent ones", "estimate")]
    return graph(about, lines, unit="short", low=0)
