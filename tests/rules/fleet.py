"""A fleet without a fault, as series of promtool: two exporters with one model each share of it, a champion
and a candidate, three windows and two references.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

STEPS = 11
"""Steps of four minutes: more than half an hour, which is the longest that alerts wait."""
WINDOWS, REFERENCES = ("1h", "1d", "7d"), ("training", "previous")
COLUMNS = ("x", "score", "label")
STEP = 240

Series = dict[str, str]


def same(value: float) -> str:
    """Return the values of a gauge that never moves."""
    return f"{value:g}x{STEPS}"


def rising(each: float, begin: float = 0) -> str:
    """Return the values of a counter, or of a clock."""
    return f"{begin:g}+{each:g}x{STEPS}"


def sound() -> Series:
    """Return all series of the fleet and their values."""
    instances = (f'job="ml_exporter",instance="{instance}"' for instance in ("a", "b"))
    return {name: values for on in instances for name, values in _exporter(on)}


def with_fault(changes: Mapping[str, str]) -> Series:
    """Return the fleet with other values where a pattern matches; one that matches nothing is an error."""
    series = sound()
    for pattern, values in changes.items():
        matched = [name for name in series if re.fullmatch(pattern, name)]
        assert matched, f"no series is like {pattern}"
        series |= dict.fromkeys(matched, values)
    return series


def _exporter(on: str) -> Iterator[tuple[str, str]]:
    yield f"up{{{on}}}", same(1)
    yield f"ml_exporter_ready{{{on}}}", same(1)
    yield f"ml_exporter_clock_timestamp_seconds{{{on}}}", rising(STEP, 1_000_000)
    yield f"ml_exporter_evaluation_timestamp_seconds{{{on}}}", rising(STEP, 1_000_000)
    yield f"ml_exporter_evaluation_interval_seconds{{{on}}}", same(15)
    yield f"ml_exporter_config_last_reload_successful{{{on}}}", same(1)
    yield f"ml_exporter_state_set_aside_total{{{on}}}", same(0)
    yield f'ml_exporter_series{{{on},state="dropped"}}', same(0)
    yield f'ml_exporter_collector_success{{{on},collector="host"}}', same(1)
    yield f'ml_exporter_errors_total{{{on},area="push"}}', same(0)
    yield from _host(on)
    yield from _model(f'{on},model="m"')
    for version in "12":
        yield from _version(f'{on},model="m",version="{version}"')


def _host(on: str) -> Iterator[tuple[str, str]]:
    disk = f'{on},device="/dev/sda1",fstype="ext4",mountpoint="/"'
    yield f"ml_host_cpus{{{on}}}", same(2)
    yield f"ml_host_load5{{{on}}}", same(1)
    yield f'ml_host_cpu_seconds_total{{{on},mode="idle"}}', rising(STEP)
    yield f"ml_host_memory_total_bytes{{{on}}}", same(100)
    yield f"ml_host_memory_available_bytes{{{on}}}", same(50)
    yield f"ml_host_filesystem_size_bytes{{{disk}}}", same(100)
    yield f"ml_host_filesystem_avail_bytes{{{disk}}}", same(50)
    yield f"ml_host_filesystem_readonly{{{disk}}}", same(0)
    yield f'ml_process_instances{{{on},process="server"}}', same(4)
    yield f'ml_process_restarts_total{{{on},process="server"}}', same(0)
    yield f'ml_process_worst_fd_ratio{{{on},process="server"}}', same(0.5)
    for direction in ("receive", "transmit"):
        yield f'ml_host_network_{direction}_errs_total{{{on},device="eth0"}}', same(0)


def _model(on: str) -> Iterator[tuple[str, str]]:
    yield f'ml_model_info{{{on},task="binary",team="t"}}', same(1)
    yield f'ml_model_version_info{{{on},version="1",role="champion"}}', same(1)
    yield f'ml_model_version_info{{{on},version="2",role="candidate"}}', same(1)
    yield f"ml_last_prediction_timestamp_seconds{{{on}}}", rising(STEP, 1_000_000 - 1)
    yield f"ml_prediction_age_limit_seconds{{{on}}}", same(3600)
    yield f"ml_labels_pending{{{on}}}", same(100)
    yield f"ml_label_coverage_limit{{{on}}}", same(0.9)
    yield f"ml_label_delay_limit_seconds{{{on}}}", same(86_400)
    yield f'ml_label_delay_seconds_bucket{{{on},le="3600.0"}}', rising(100)
    yield f'ml_label_delay_seconds_bucket{{{on},le="172800.0"}}', rising(100)
    yield f'ml_label_delay_seconds_bucket{{{on},le="+Inf"}}', rising(100)
    yield f"ml_label_delay_seconds_count{{{on}}}", rising(100)
    yield f'ml_labels_total{{{on},outcome="matched"}}', rising(100)
    yield f'ml_labels_total{{{on},outcome="orphan"}}', same(0)
    yield f'ml_schema_columns{{{on},status="missing"}}', same(0)
    yield f'ml_model_process_info{{{on},process="server"}}', same(1)
    yield f"ml_model_max_age_seconds{{{on}}}", same(2_000_000)
    for source in ("predictions", "labels"):
        yield f'ml_exporter_clock_skew_seconds{{{on},source="{source}"}}', same(0)
        yield f'ml_exporter_source_up{{{on},source="{source}"}}', same(1)
        yield f'ml_exporter_source_lag_seconds{{{on},source="{source}"}}', same(0)
        yield f'ml_input_rows_total{{{on},source="{source}",outcome="accepted"}}', rising(200)
        yield f'ml_input_rows_total{{{on},source="{source}",outcome="malformed"}}', same(0)
    yield f"ml_slo_objective_ratio{{{on}}}", same(0.95)
    for subject in ("latency", "errors"):
        yield f'ml_serving_objective_ratio{{{on},subject="{subject}"}}', same(0.99)
    for subject in ("quality", "latency", "errors"):
        for window, limit in {"1h": 14.4, "6h": 6, "1d": 3, "3d": 1}.items():
            yield f'ml_burn_rate_limit{{{on},subject="{subject}",window="{window}"}}', same(limit)
    yield f'ml_quality_target{{{on},metric="roc_auc",window="1d",bound="min"}}', same(0.7)
    yield f'ml_quality_target{{{on},metric="brier_score",window="1d",bound="max"}}', same(0.2)
    yield f"ml_calibration_error_limit{{{on}}}", same(0.1)
    yield f"ml_seasonal_limit{{{on}}}", same(6)
    yield f'ml_seasonal_deviation{{{on},subject="volume"}}', same(1)
    for bound, value in {"": 0.0, "_lower": -0.1, "_upper": 0.1}.items():
        pair = f'{on},metric="accuracy",baseline="1",candidate="2",pairing="paired"'
        yield f"ml_version_difference{bound}{{{pair}}}", same(value)
    yield f"ml_drifted_columns_limit{{{on}}}", same(0.3)
    yield f'ml_input_violation_limit{{{on},column="x",check="missing",window="1d"}}', same(0.1)
    for column in COLUMNS:
        for reference in REFERENCES:
            labels = f'{on},column="{column}",method="psi",window="1d",reference="{reference}"'
            yield f"ml_drift_limit{{{labels}}}", same(0.2)
    for window in WINDOWS:
        joint = f'{on},version="1",method="pca",window="{window}",reference="training"'
        yield f"ml_multivariate_drift_limit{{{joint}}}", same(0.5)


def _version(on: str) -> Iterator[tuple[str, str]]:
    yield f"ml_predictions_total{{{on}}}", rising(100)
    yield f"ml_prediction_errors_total{{{on}}}", same(0)
    yield f"ml_duplicate_predictions_total{{{on}}}", same(0)
    yield f"ml_model_trained_timestamp_seconds{{{on}}}", same(500_000)
    yield f"ml_slow_predictions_total{{{on}}}", same(0)
    yield f"ml_labeled_predictions_total{{{on}}}", rising(100)
    yield f"ml_good_predictions_total{{{on}}}", rising(99)
    yield f'ml_concept_drift_state{{{on},detector="ecusum"}}', same(0)
    for metric, value in {"roc_auc": 0.8, "brier_score": 0.1}.items():
        for bound in ("", "_lower", "_upper"):
            yield f'ml_quality_reference{bound}{{{on},metric="{metric}"}}', same(value)
    for window in WINDOWS:
        yield from _window(f'{on},window="{window}"')


def _window(on: str) -> Iterator[tuple[str, str]]:
    yield f"ml_label_coverage_ratio{{{on}}}", same(0.95)
    yield f"ml_quality_samples{{{on}}}", same(5000)
    yield f"ml_calibration_error{{{on}}}", same(0.02)
    yield f"ml_calibration_error_noise{{{on}}}", same(0.03)
    yield f'ml_input_violation_ratio{{{on},column="x",check="missing"}}', same(0.01)
    yield f"ml_constant_columns{{{on}}}", same(0)
    yield f'ml_multivariate_drift{{{on},method="pca",reference="training"}}', same(0.1)
    yield f'ml_multivariate_drift_noise{{{on},method="pca",reference="training"}}', same(0.05)
    for metric, value in {"roc_auc": 0.8, "brier_score": 0.1}.items():
        for family in ("ml_quality", "ml_quality_estimated"):
            for bound, off in {"": 0, "_lower": -0.01, "_upper": 0.01}.items():
                yield f'{family}{bound}{{{on},metric="{metric}"}}', same(value + off)
        for bound, off in {"_lower": -0.05, "_upper": 0.05}.items():
            segment = f'{on},metric="{metric}",segment="s",value="v"'
            yield f"ml_segment_quality{bound}{{{segment}}}", same(value + off)
    for reference in REFERENCES:
        yield f'ml_drifted_columns_ratio{{{on},reference="{reference}"}}', same(0)
        for column in COLUMNS:
            labels = f'{on},column="{column}",method="psi",reference="{reference}"'
            yield f"ml_drift{{{labels}}}", same(0.05)
            yield f"ml_drift_noise{{{labels}}}", same(0.02)
