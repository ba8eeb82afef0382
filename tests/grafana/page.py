"""A page of metrics as an exporter with one model serves it, made up, for dashboards to be tried on."""

from __future__ import annotations

from prometheus_client import generate_latest

from ml_exporter.metrics.catalogue import Families

MODEL = "flight-delay"
WINDOWS = ("1m", "5m", "15m")
JUDGED = "15m"
VERSIONS = ("1", "2")
METRICS = ("accuracy", "brier_score", "roc_auc")
COLUMNS = ("carrier", "distance", "score", "seats", "wind_speed", "hour", "label")


def page(seconds: float, now: float) -> bytes:
    """Return the page after so many seconds of traffic, at Unix time `now`."""
    families = Families()
    for fill in (_model, _traffic, _labels, _quality, _drift, _violations):
        fill(families, seconds, now)
    _exporter(families, seconds, now)
    _host(families, seconds)
    return bytes(generate_latest(families))


def _model(families: Families, seconds: float, now: float) -> None:
    del seconds
    families.add("ml_model_info", (MODEL, "binary", "flight-ops"), 1)
    for version, role in zip(VERSIONS, ("champion", "shadow"), strict=True):
        families.add("ml_model_version_info", (MODEL, version, role), 1)
        families.add("ml_profile_info", (MODEL, version, "flights.json@0123"), 1)
    families.add("ml_last_prediction_timestamp_seconds", (MODEL,), now - 2)
    families.add("ml_prediction_age_limit_seconds", (MODEL,), 60)
    families.add("ml_unavailable", (MODEL, "2", "1m", "quality:roc_auc", "too_few_rows"), 1)
    families.add("ml_unavailable", (MODEL, "1", "1m", "drift:psi", "too_few_rows"), 1)
    families.add("ml_unavailable_columns", (MODEL, "1", "1m", "drift:psi", "too_few_rows"), 4)


def _traffic(families: Families, seconds: float, now: float) -> None:
    del now
    for version in VERSIONS:
        families.add("ml_predictions_total", (MODEL, version), 30 * seconds)
        families.add("ml_prediction_errors_total", (MODEL, version), seconds)
        families.add("ml_slow_predictions_total", (MODEL, version), 2 * seconds)
        counts = (10 * seconds, 15 * seconds, 4 * seconds, seconds)
        families.add_histogram(
            "ml_prediction_latency_seconds", (MODEL, version), (0.01, 0.1, 1), counts, seconds
        )
    for outcome, pace in (("accepted", 60), ("malformed", 1), ("no_id", 0.5)):
        families.add("ml_input_rows_total", (MODEL, "predictions", outcome), pace * seconds)


def _labels(families: Families, seconds: float, now: float) -> None:
    del now
    outcomes = ("matched", "early", "orphan", "foreign", "duplicate", "late", "expired")
    for pace, outcome in zip((28, 0, 0.2, 0, 0.1, 0.3, 0), outcomes, strict=True):
        families.add("ml_labels_total", (MODEL, outcome), pace * seconds)
    families.add_histogram("ml_label_delay_seconds", (MODEL,), (60, 600), (seconds, seconds, 0), 90 * seconds)
    families.add("ml_labels_pending", (MODEL,), 450)
    families.add("ml_label_coverage_limit", (MODEL,), 0.8)
    for version in VERSIONS:
        for window in WINDOWS:
            families.add("ml_label_coverage_ratio", (MODEL, version, window), 0.97)


def _quality(families: Families, seconds: float, now: float) -> None:
    del now
    families.add("ml_quality_target", (MODEL, "brier_score", JUDGED, "max"), 0.18)
    families.add("ml_quality_target", (MODEL, "roc_auc", JUDGED, "min"), 0.7)
    for version in VERSIONS:
        families.add("ml_labeled_predictions_total", (MODEL, version), 28 * seconds)
        families.add("ml_good_predictions_total", (MODEL, version), 21 * seconds)
        for actual in ("negative", "positive"):
            for predicted in ("negative", "positive"):
                families.add("ml_confusion_total", (MODEL, version, actual, predicted), 7 * seconds)
        for metric in METRICS:
            # The champion misses its Brier target for sure, and meets the other.
            value = 0.25 if metric == "brier_score" else 0.74
            bounds = (("", value), ("_lower", value - 0.02), ("_upper", value + 0.02))
            for window in WINDOWS:
                for end, number in bounds:
                    families.add(f"ml_quality{end}", (MODEL, version, window, metric), number)
                families.add("ml_quality_recent", (MODEL, version, window, metric), value)
            for end, number in bounds:
                families.add(f"ml_quality_reference{end}", (MODEL, version, metric), number)
        for window in WINDOWS:
            families.add("ml_quality_samples", (MODEL, version, window), 12_000)
    for metric in ("brier_score", "error_rate", "log_loss"):
        for end, number in (("", 0.01), ("_lower", 0.002), ("_upper", 0.02)):
            families.add(f"ml_version_difference{end}", (MODEL, metric, "1", "2", "paired"), number)


def _drift(families: Families, seconds: float, now: float) -> None:
    del now
    for index, column in enumerate(COLUMNS):
        for method in ("psi", "wasserstein"):
            families.add("ml_drift_limit", (MODEL, column, method, JUDGED, "training"), 0.2)
            for version in VERSIONS:
                names = (MODEL, version, column, method, JUDGED, "training")
                families.add("ml_drift", names, 0.05 * (index + 1))
                families.add("ml_drift_noise", names, 0.04)
    for version in VERSIONS:
        for bin_ in range(8):
            cell = (MODEL, version, "score", f"{bin_:02d} [0.{bin_}, 0.{bin_ + 1})")
            families.add("ml_bin_total", cell, (bin_ + 1) * seconds)
            families.add("ml_reference_bin_ratio", cell, 1 / 8)


def _violations(families: Families, seconds: float, now: float) -> None:
    del now
    for column in COLUMNS:
        families.add("ml_input_violation_limit", (MODEL, column, "missing", JUDGED), 0.05)
        for version in VERSIONS:
            families.add("ml_input_violations_total", (MODEL, version, column, "missing"), 3 * seconds)
            for window in WINDOWS:
                families.add("ml_input_violation_ratio", (MODEL, version, column, "missing", window), 0.1)


def _exporter(families: Families, seconds: float, now: float) -> None:
    families.add("ml_exporter_build_info", ("0.1.0", "3.11.7", "2.0.0"), 1)
    families.add("ml_exporter_ready", (), 1)
    families.add("ml_exporter_clock_timestamp_seconds", (), now)
    families.add("ml_exporter_evaluation_timestamp_seconds", (), now - 1)
    families.add("ml_exporter_evaluation_interval_seconds", (), 5)
    families.add("ml_exporter_evaluation_duration_seconds", (), 0.4)
    families.add("ml_exporter_config_last_reload_successful", (), 1)
    families.add("ml_exporter_config_last_reload_success_timestamp_seconds", (), now - seconds)
    for state, number in (("exported", 900), ("dropped", 0)):
        families.add("ml_exporter_series", (state,), number)
    for area in ("source", "web"):
        families.add("ml_exporter_errors_total", (area,), seconds)
    families.add("ml_exporter_state_set_aside_total", (), 0)
    for source in ("predictions", "labels"):
        families.add("ml_exporter_source_up", (MODEL, source), 1)
        families.add("ml_exporter_source_lag_seconds", (MODEL, source), 0)


def _host(families: Families, seconds: float) -> None:
    families.add("ml_host_cpu_seconds_total", ("idle",), seconds)
    families.add("ml_host_cpu_seconds_total", ("user",), seconds)
    families.add("ml_host_cpus", (), 2)
    families.add("ml_host_memory_total_bytes", (), 8e9)
    families.add("ml_host_memory_available_bytes", (), 3e9)
    for name, value in (("size_bytes", 1e11), ("avail_bytes", 4e10), ("readonly", 0)):
        families.add(f"ml_host_filesystem_{name}", ("/dev/sda1", "ext4", "/"), value)
