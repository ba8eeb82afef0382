"""Model quality per version and window, its bounds, the reference's quality, and versions compared."""

from __future__ import annotations

from ml_exporter.evaluation import ModelReport, VersionReport
from ml_exporter.metrics.catalogue import Families
from ml_exporter.metrics.traffic import shows
from ml_exporter.stats.result import Result, Value


def collect(families: Families, report: ModelReport, hold: float) -> None:
    """Add a model's quality; counters born less than `hold` seconds ago show 0."""
    for version in report.versions:
        _counters(families, report.model.name, version, shows(version.born, report.time, hold))
        _windows(families, report.model.name, version)
        _reference(families, report.model.name, version)
    for difference in report.differences:
        labels = (report.model.name, difference.metric, difference.baseline, difference.candidate, "paired")
        _bounded(families, "ml_version_difference", labels, difference.result)


def _counters(families: Families, model: str, version: VersionReport, shown: int) -> None:
    judged, labels = version.judged, (model, version.name)
    confusion = (shown * judged["confusion"]).tolist()
    families.add("ml_labeled_predictions_total", labels, shown * judged.count("labelled"))
    families.add("ml_good_predictions_total", labels, confusion[0][0] + confusion[1][1])
    for actual, row in zip(("negative", "positive"), confusion, strict=True):
        for predicted, count in zip(("negative", "positive"), row, strict=True):
            families.add("ml_confusion_total", (*labels, actual, predicted), count)


def _windows(families: Families, model: str, version: VersionReport) -> None:
    for window in version.windows:
        labels = (model, version.name, window.window.name)
        if window.mature:
            families.add("ml_quality_samples", labels, window.labelled)
        for metric, result in window.quality.items():
            _bounded(families, "ml_quality", (*labels, metric), result)
        for metric, value in window.recent.items():
            families.add("ml_quality_recent", (*labels, metric), value)


def _reference(families: Families, model: str, version: VersionReport) -> None:
    profile = version.layout.profile
    for metric, found in profile.quality.items() if profile else ():
        result = Value(found.value, found.lower, found.upper, found.n)
        _bounded(families, "ml_quality_reference", (model, version.name, metric), result)


def _bounded(families: Families, name: str, labels: tuple[str, ...], result: Result) -> None:
    if not isinstance(result, Value):
        return
    families.add(name, labels, result.value)
    for suffix, bound in (("_lower", result.lower), ("_upper", result.upper)):
        if bound is not None:
            families.add(name + suffix, labels, bound)
