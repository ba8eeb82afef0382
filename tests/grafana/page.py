"""A page of metrics as an exporter with models of every task serves it, made up, for dashboards to be tried on."""

from __future__ import annotations

from itertools import product

from prometheus_client import generate_latest
from tests.grafana.models import JUDGED, MODELS, WINDOWS, Made
from tests.grafana.page_machinery import machinery
from tests.grafana.page_quality import quality

from ml_exporter.metrics.families import Families


def page(seconds: float, now: float) -> bytes:
    """Return the page after so many seconds of traffic, at Unix time `now`."""
    families = Families()
    for made in MODELS:
        _model(families, made, now)
        _retraining(families, made, seconds, now)
        for fill in (_traffic, _labels, quality, _drift, _violations):
            fill(families, made, seconds)
    machinery(families, seconds, now)
    return bytes(generate_latest(families))


def _model(families: Families, made: Made, now: float) -> None:
    families.add("ml_model_info", (made.name, made.task, "flight-ops"), 1)
    for version, role in zip(made.versions, ("champion", "shadow"), strict=False):
        families.add("ml_model_version_info", (made.name, version, role), 1)
        families.add("ml_profile_info", (made.name, version, "flights.json@0123"), 1)
    families.add("ml_last_prediction_timestamp_seconds", (made.name,), now - 2)
    families.add("ml_model_process_info", (made.name, "model-server"), 1)
    families.add("ml_prediction_age_limit_seconds", (made.name,), 60)
    families.add("ml_unavailable", (made.name, "1", "1m", "quality:roc_auc", "too_few_rows"), 1)
    families.add("ml_unavailable", (made.name, "1", "1m", "drift:psi", "too_few_rows"), 1)
    families.add("ml_unavailable_columns", (made.name, "1", "1m", "drift:psi", "too_few_rows"), 4)


def _traffic(families: Families, made: Made, seconds: float) -> None:
    for version in made.versions:
        families.add("ml_predictions_total", (made.name, version), 30 * seconds)
        families.add("ml_prediction_errors_total", (made.name, version), seconds)
        families.add("ml_slow_predictions_total", (made.name, version), 2 * seconds)
        counts = (10 * seconds, 15 * seconds, 4 * seconds, seconds)
        families.add_histogram(
            "ml_prediction_latency_seconds", (made.name, version), (0.01, 0.1, 1), counts, seconds
        )
    for outcome, pace in (("accepted", 60), ("malformed", 1), ("no_id", 0.5)):
        families.add("ml_input_rows_total", (made.name, "predictions", outcome), pace * seconds)
    for source in ("predictions", "labels"):
        families.add("ml_exporter_source_up", (made.name, source), 1)
        families.add("ml_exporter_source_lag_seconds", (made.name, source), 0)
        families.add("ml_exporter_source_lag_bytes", (made.name, source), 0)
        families.add("ml_exporter_source_truncations_total", (made.name, source), 0)
        families.add("ml_exporter_clock_skew_seconds", (made.name, source), 0)
        families.add("ml_exporter_push_requests_total", (made.name, source, "202"), seconds)
        families.add("ml_exporter_push_spool_bytes", (made.name, source), 1000)
    families.add("ml_rows_outside_windows_total", (made.name,), seconds)


def _retraining(families: Families, made: Made, seconds: float, now: float) -> None:
    families.add("ml_model_trained_timestamp_seconds", (made.name, "1"), now - 86400)
    families.add("ml_model_max_age_seconds", (made.name,), 7 * 86400)
    for result in ("success", "duplicate", "failed"):
        families.add("ml_retrain_requests_total", (made.name, result), seconds)
    families.add("ml_retrain_last_request_timestamp_seconds", (made.name,), now - 60)


def _labels(families: Families, made: Made, seconds: float) -> None:
    came = seconds * made.labelled
    outcomes = ("matched", "early", "orphan", "foreign", "duplicate", "late", "expired")
    for pace, outcome in zip((28, 0, 0.2, 0, 0.1, 0.3, 0), outcomes, strict=True):
        families.add("ml_labels_total", (made.name, outcome), pace * came)
    families.add_histogram("ml_label_delay_seconds", (made.name,), (60, 600), (came, came, 0), 90 * came)
    families.add("ml_labels_pending", (made.name,), 450)
    families.add("ml_label_coverage_limit", (made.name,), 0.8)
    families.add("ml_label_delay_limit_seconds", (made.name,), 300)
    if made.labelled:
        for version, window in product(made.versions, WINDOWS):
            families.add("ml_label_coverage_ratio", (made.name, version, window), 0.97)


def _drift(families: Families, made: Made, seconds: float) -> None:
    for (index, column), method in product(enumerate(made.columns), ("psi", "wasserstein")):
        families.add("ml_drift_limit", (made.name, column, method, JUDGED, "training"), 0.2)
        for version in made.versions:
            names = (made.name, version, column, method, JUDGED)
            families.add("ml_drift", (*names, "training"), 0.05 * (index + 1))
            families.add("ml_drift_noise", (*names, "training"), 0.04)
            families.add("ml_drift_pvalue", (*names, "training"), 0.5)
            if column == "score" and made.labelled:
                families.add("ml_drift", (*names, "mature"), 0.01)
    for version, method in product(made.versions, ("pca", "correlation_max", "correlation_mean")):
        for end, value in (("", 0.3), ("_noise", 0.1), ("_limit", 0.2)):
            labels = (made.name, version, method, JUDGED, "training")
            families.add(f"ml_multivariate_drift{end}", labels, value)
    families.add("ml_drifted_columns_limit", (made.name,), 0.3)
    for version in made.versions:
        families.add("ml_drifted_columns_ratio", (made.name, version, JUDGED, "training"), 0.4)
    for version, (index, column) in product(made.versions, enumerate(made.columns)):
        impact = 0.01 * index * (-1) ** index
        families.add("ml_drift_impact", (made.name, version, column, JUDGED, "training"), impact)
    for version, bin_ in product(made.versions, range(8)):
        cell = (made.name, version, made.answer, f"{bin_:02d} [0.{bin_}, 0.{bin_ + 1})")
        families.add("ml_bin_total", cell, (bin_ + 1) * seconds)
        families.add("ml_reference_bin_ratio", cell, 1 / 8)


def _violations(families: Families, made: Made, seconds: float) -> None:
    for status, number in (("expected", 20), ("missing", 1), ("unexpected", 0)):
        families.add("ml_schema_columns", (made.name, status), number)
    for version in made.versions:
        families.add("ml_constant_columns", (made.name, version, JUDGED), 1)
        families.add("ml_duplicate_predictions_total", (made.name, version), seconds)
    for column in made.columns:
        families.add("ml_input_violation_limit", (made.name, column, "missing", JUDGED), 0.05)
        for version in made.versions:
            families.add("ml_input_violation_reference", (made.name, version, column, "missing"), 0.01)
            families.add("ml_column_cardinality", (made.name, version, column, JUDGED), 8)
            families.add("ml_column_reference_cardinality", (made.name, version, column), 10)
            families.add("ml_input_violations_total", (made.name, version, column, "missing"), 3 * seconds)
            for window in WINDOWS:
                families.add("ml_input_violation_ratio", (made.name, version, column, "missing", window), 0.1)
