"""Model quality per version and window, its bounds, the reference's quality, and versions compared."""

from __future__ import annotations

from ml_exporter.evaluation import ModelReport, VersionReport, WindowReport
from ml_exporter.metrics.families import Families
from ml_exporter.metrics.traffic import shows
from ml_exporter.stats.result import Result, Value
from ml_exporter.tasks.regression import regression_evidence


def collect(families: Families, report: ModelReport, hold: float) -> None:
    """Add a model's quality; counters born less than `hold` seconds ago show 0."""
    model = report.model.name
    for version in report.versions:
        shown = shows(version.born, report.time, hold)
        _counters(families, model, version, shown)
        _detectors(families, model, version, shown)
        for window in version.windows:
            _window(families, (model, version.name, window.window.name), window)
        _reference(families, model, version)
    for found in report.differences:
        labels = (model, found.metric, found.baseline, found.candidate, found.pairing)
        _bounded(families, "ml_version_difference", labels, found.result)
    for deviation in report.deviations:
        _bounded(families, "ml_seasonal_deviation", (model, deviation.subject), deviation.result)


def _counters(families: Families, model: str, version: VersionReport, shown: int) -> None:
    judged, labels = version.judged, (model, version.name)
    families.add("ml_labeled_predictions_total", labels, shown * judged.count("labelled"))
    families.add("ml_good_predictions_total", labels, shown * judged.count("good"))
    if version.task.name == "regression":
        families.add("ml_zero_labels_total", labels, shown * regression_evidence(judged).zero_labels)
    found = version.task.confusion(judged)
    if found is None:
        return
    names, confusion = found
    for actual, row in zip(names, (shown * confusion).tolist(), strict=True):
        for predicted, count in zip(names, row, strict=True):
            families.add("ml_confusion_total", (*labels, actual, predicted), count)


def _detectors(families: Families, model: str, version: VersionReport, shown: int) -> None:
    for name, detector in version.detectors.items():
        families.add("ml_concept_drift_state", (model, version.name, name), detector.level)
        families.add("ml_concept_drift_total", (model, version.name, name), shown * detector.alarms)


def _window(families: Families, labels: tuple[str, str, str], window: WindowReport) -> None:
    found = window.quality
    if found.mature:
        families.add("ml_quality_samples", labels, found.labelled)
    if found.effective is not None:
        families.add("ml_quality_effective_samples", labels, found.effective)
    for metric, result in found.metrics.items():
        _bounded(families, "ml_quality", (*labels, metric), result)
    for (metric, name), result in found.classes.items():
        if isinstance(result, Value):
            families.add("ml_class_quality", (*labels, metric, name), result.value)
    for part in found.segments:
        families.add("ml_segment_samples", (*labels, part.segment, part.value), part.rows)
        for metric, result in part.quality.items():
            _bounded(families, "ml_segment_quality", (*labels, metric, part.segment, part.value), result)
    if isinstance(found.calibration, Value):
        families.add("ml_calibration_error", labels, found.calibration.value)
    if found.calibration_noise is not None:
        families.add("ml_calibration_error_noise", labels, found.calibration_noise)
    for metric, value in window.recent.items():
        families.add("ml_quality_recent", (*labels, metric), value)
    for metric, result in window.estimated.items():
        _bounded(families, "ml_quality_estimated", (*labels, metric), result)


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
