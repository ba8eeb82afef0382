"""What labels tell of the made-up models: quality, segments, versions, concept, calibration, season."""

from __future__ import annotations

from itertools import product

from tests.grafana.models import JUDGED, WINDOWS, Made

from ml_exporter.metrics.families import Families

HALF_WIDTH = 0.02


def quality(families: Families, made: Made, seconds: float) -> None:
    """Add a model's targets, reference and estimates, and where it has labels its quality."""
    for (metric, bound), value in made.targets.items():
        families.add("ml_quality_target", (made.name, metric, JUDGED, bound), value)
    for version, (metric, value) in product(made.versions, made.metrics.items()):
        bounded(families, "ml_quality_reference", (made.name, version, metric), value)
        for window in WINDOWS:
            bounded(families, "ml_quality_estimated", (made.name, version, window, metric), value)
    counters(families, made, seconds)
    promises(families, made)
    if made.labelled:
        for part in (_measured, _classes, _segments, _versions, _calibration):
            part(families, made)
    else:
        for version, window in product(made.versions, WINDOWS):
            families.add("ml_unavailable", (made.name, version, window, "quality:accuracy", "immature"), 1)
    _over_time(families, made)


def bounded(families: Families, name: str, labels: tuple[str, ...], value: float) -> None:
    """Add a value and its two bounds."""
    for end, number in (("", value), ("_lower", value - HALF_WIDTH), ("_upper", value + HALF_WIDTH)):
        families.add(name + end, labels, number)


def counters(families: Families, made: Made, seconds: float) -> None:
    """Add what counts labelled predictions; without labels the counters stand at 0."""
    labelled = seconds * made.labelled
    for version in made.versions:
        families.add("ml_labeled_predictions_total", (made.name, version), 28 * labelled)
        families.add("ml_good_predictions_total", (made.name, version), 21 * labelled)
        for actual, predicted in product(made.classes, repeat=2):
            families.add("ml_confusion_total", (made.name, version, actual, predicted), 7 * labelled)


def _measured(families: Families, made: Made) -> None:
    for version, window in product(made.versions, WINDOWS):
        families.add("ml_quality_samples", (made.name, version, window), 12_000)
        families.add("ml_quality_effective_samples", (made.name, version, window), 8_000)
        for metric, value in made.metrics.items():
            bounded(families, "ml_quality", (made.name, version, window, metric), value)
            families.add("ml_quality_recent", (made.name, version, window, metric), value)


def _classes(families: Families, made: Made) -> None:
    if made.task == "multiclass":
        for (index, name), metric in product(enumerate(made.classes), ("precision", "recall", "f1")):
            families.add("ml_class_quality", (made.name, "1", JUDGED, metric, name), 0.2 * (index + 1))


def _segments(families: Families, made: Made) -> None:
    for version, ((segment, value), apart) in product(made.versions, made.segments.items()):
        families.add("ml_segment_samples", (made.name, version, JUDGED, segment, value), 900)
        for metric, _ in made.targets:
            labels = (made.name, version, JUDGED, metric, segment, value)
            bounded(families, "ml_segment_quality", labels, made.metrics[metric] + apart)


def _versions(families: Families, made: Made) -> None:
    for metric, difference in made.compared.items():
        labels = (made.name, metric, "1", "2", "paired")
        for end, apart in (("", 0.0), ("_lower", -0.005), ("_upper", 0.005)):
            families.add(f"ml_version_difference{end}", labels, difference + apart)


def _calibration(families: Families, made: Made) -> None:
    if made.scored:
        for version, window in product(made.versions, WINDOWS):
            families.add("ml_calibration_error", (made.name, version, window), 0.05)
            families.add("ml_calibration_error_noise", (made.name, version, window), 0.03)


def promises(families: Families, made: Made) -> None:
    """Add what was promised of a model, and how fast it may be used up."""
    families.add("ml_slo_objective_ratio", (made.name,), 0.9)
    for subject in ("latency", "errors"):
        families.add("ml_serving_objective_ratio", (made.name, subject), 0.9)
    for subject, (window, limit) in product(("quality", "latency", "errors"), (("1d", 3), ("3d", 1))):
        families.add("ml_burn_rate_limit", (made.name, subject, window), limit)


def _over_time(families: Families, made: Made) -> None:
    if made.scored:
        families.add("ml_calibration_error_limit", (made.name,), 0.04)
    for version, (detector, state) in product(made.versions, (("ecusum", 2), ("page_hinkley", 1))):
        # It is the champion's concept that has drifted; without labels nothing is known of it.
        seen = state if version == "1" and made.labelled else 0
        families.add("ml_concept_drift_state", (made.name, version, detector), seen)
        families.add("ml_concept_drift_total", (made.name, version, detector), float(seen > 0))
    families.add("ml_seasonal_limit", (made.name,), 6)
    if made.labelled:
        for index, subject in enumerate(("volume", "positive_rate", "error_rate")):
            families.add("ml_seasonal_deviation", (made.name, subject), 2.0 * index - 1)
