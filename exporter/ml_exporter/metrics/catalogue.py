"""Every metric family that the exporter serves: name, kind, labels and help.

Nothing else names a family's labels or help. Collectors add samples to `Families`, which are made from
it, as the README's table and the tests are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One family. `name` is the name on the page; labels are in the order samples give them."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


def _entry(kind: Kind, name: str, labels: str, text: str) -> Entry:
    return Entry(name, kind, tuple(labels.split()), text)


def _gauge(name: str, labels: str, text: str) -> Entry:
    return _entry("gauge", name, labels, text)


def _counter(name: str, labels: str, text: str) -> Entry:
    return _entry("counter", name, labels, text)


def _histogram(name: str, labels: str, text: str) -> Entry:
    return _entry("histogram", name, labels, text)


_QUALITY = "model version window metric"
_DRIFT = "model version column method window reference"
_MATURE = "Judged on mature predictions: those made in the window that ended one maturity ago"
_UNIT = "units differ by metric, so never aggregate over metric"

MODELS = (
    _gauge("ml_model_info", "model task team", "A configured model and the team that owns it; always 1."),
    _gauge(
        "ml_model_process_info",
        "model process",
        "A group of processes in host.processes that serves the model; always 1.",
    ),
    _gauge(
        "ml_model_version_info",
        "model version role",
        "A version seen in the prediction log and its role: champion, candidate or shadow; always 1.",
    ),
    _gauge(
        "ml_model_trained_timestamp_seconds",
        "model version",
        "When the version was trained (the end of its training data), as its profile was told.",
    ),
    _gauge(
        "ml_model_max_age_seconds",
        "model",
        "Configured age of the champion above which it is to be retrained.",
    ),
    _gauge(
        "ml_profile_info",
        "model version profile",
        "The reference profile that the version is compared with (file name and content hash); always 1.",
    ),
)

TRAFFIC = (
    _counter("ml_predictions_total", "model version", "Accepted predictions in the log."),
    _counter("ml_prediction_errors_total", "model version", "Predictions whose log record carries an error."),
    _counter(
        "ml_slow_predictions_total",
        "model version",
        "Predictions that took longer than the configured latency limit.",
    ),
    _histogram(
        "ml_prediction_latency_seconds", "model version", "Time the model server took, as its log says."
    ),
    _gauge(
        "ml_last_prediction_timestamp_seconds",
        "model",
        "Newest accepted prediction's own time stamp as a Unix time, never ahead of the exporter's clock.",
    ),
    _gauge(
        "ml_prediction_age_limit_seconds",
        "model",
        "Configured age of the newest prediction above which the model counts as silent.",
    ),
    _counter(
        "ml_rows_outside_windows_total",
        "model",
        "Accepted predictions older than the longest window: counted and joined, but in no window.",
    ),
    _counter(
        "ml_input_rows_total",
        "model source outcome",
        "Non-blank log lines by their one outcome: accepted, skipped by `where`, or the reason of rejection.",
    ),
)

LABELS = (
    _counter(
        "ml_labels_total",
        "model outcome",
        "Labels by outcome, by their time stamps: matched, early (before its prediction), late (after maturity), "
        "duplicate, orphan (no such prediction), foreign (another shard's), expired (older than ids are kept).",
    ),
    _histogram("ml_label_delay_seconds", "model", "Time from a prediction to its label, of matched labels."),
    _gauge("ml_labels_pending", "model", "Predictions that wait for their maturity, labelled or not."),
    _gauge(
        "ml_label_coverage_ratio",
        "model version window",
        f"Share of mature predictions that have a label. {_MATURE}.",
    ),
    _gauge(
        "ml_label_coverage_limit",
        "model",
        "Configured coverage below which no quality is computed (low_coverage).",
    ),
    _gauge("ml_label_delay_limit_seconds", "model", "Configured limit of the label delay."),
)

QUALITY = (
    _gauge(
        "ml_quality", _QUALITY, f"Model quality under scikit-learn's name of the metric; {_UNIT}. {_MATURE}."
    ),
    _gauge(
        "ml_quality_lower",
        _QUALITY,
        "Lower 95 % bound of ml_quality for these rows; a max target is breached when this is above it.",
    ),
    _gauge(
        "ml_quality_upper",
        _QUALITY,
        "Upper 95 % bound of ml_quality for these rows; a min target is breached when this is below it.",
    ),
    _gauge(
        "ml_quality_recent",
        _QUALITY,
        "Quality of the window's rows that already have a label; biased by which labels come first; where more than "
        f"262,144 labels wait, those that wait are sampled by the hash of the id; {_UNIT}.",
    ),
    _gauge(
        "ml_quality_samples", "model version window", f"Labelled predictions behind ml_quality. {_MATURE}."
    ),
    _gauge(
        "ml_quality_effective_samples",
        "model version window",
        "What these correlated rows are worth as independent ones for bounds: ml_quality_samples over the design "
        "effect (of the Brier score, the share of errors or the absolute error), measured over 12 blocks of time; "
        "where a window has too few of them that of the next longer one is taken, else of the next shorter one, else none.",
    ),
    _gauge(
        "ml_quality_estimated",
        _QUALITY,
        "Quality that is expected of the window's rows without their labels, from what such answers have meant in "
        f"the profile; wrong after concept drift and label shift, which only labels show; {_UNIT}.",
    ),
    _gauge(
        "ml_quality_estimated_lower",
        _QUALITY,
        "Lower 95 % bound of what the labels of these rows will show, if answers mean what they meant.",
    ),
    _gauge(
        "ml_quality_estimated_upper",
        _QUALITY,
        "Upper 95 % bound of what the labels of these rows will show, if answers mean what they meant.",
    ),
    _gauge(
        "ml_class_quality",
        f"{_QUALITY} class",
        f"Precision, recall and F1 of one class of a multiclass model against all others. {_MATURE}.",
    ),
    _gauge(
        "ml_segment_quality",
        f"{_QUALITY} segment value",
        f"Quality of the rows with one value of a segment, for metrics that have a target; {_UNIT}. {_MATURE}.",
    ),
    _gauge(
        "ml_segment_quality_lower",
        f"{_QUALITY} segment value",
        "Lower bound of ml_segment_quality; the bounds of all segments hold together with 95 % (Bonferroni).",
    ),
    _gauge(
        "ml_segment_quality_upper",
        f"{_QUALITY} segment value",
        "Upper bound of ml_segment_quality; the worst segment is the one whose upper bound is lowest.",
    ),
    _gauge(
        "ml_segment_samples",
        "model version window segment value",
        f"Labelled predictions with the value of the segment. {_MATURE}.",
    ),
    _gauge(
        "ml_calibration_error",
        "model version window",
        f"Expected calibration error: how far scores are from the share of positives, over 15 bins. {_MATURE}.",
    ),
    _gauge(
        "ml_calibration_error_noise",
        "model version window",
        "What ml_calibration_error stays below in 99 % of windows like this one if scores are perfectly calibrated.",
    ),
    _gauge("ml_calibration_error_limit", "model", "Configured limit of ml_calibration_error."),
    _gauge(
        "ml_concept_drift_state",
        "model version detector",
        "What a detector makes of the losses since it began: 0 stable, 1 warning, 2 drift.",
    ),
    _counter(
        "ml_concept_drift_total",
        "model version detector",
        "How often a detector has begun to see drift; only ecusum bounds its false alarms.",
    ),
    _gauge(
        "ml_seasonal_deviation",
        "model subject",
        "Last complete hour against the same hour of earlier weeks, in standard errors: volume, positive_rate of "
        "the predictions, error_rate of the mature ones.",
    ),
    _gauge("ml_seasonal_limit", "model", "Configured limit of the size of ml_seasonal_deviation."),
    _gauge("ml_quality_target", "model metric window bound", f"Configured target of ml_quality; {_UNIT}."),
    _gauge(
        "ml_quality_reference", "model version metric", f"ml_quality of the rows behind the profile; {_UNIT}."
    ),
    _gauge("ml_quality_reference_lower", "model version metric", "Lower 95 % bound of ml_quality_reference."),
    _gauge("ml_quality_reference_upper", "model version metric", "Upper 95 % bound of ml_quality_reference."),
    _counter("ml_labeled_predictions_total", "model version", "Mature predictions that have a label."),
    _counter(
        "ml_good_predictions_total",
        "model version",
        "Mature predictions that have a label and were correct, or within the tolerance of a regression.",
    ),
    _counter(
        "ml_zero_labels_total",
        "model version",
        "Mature labels of 0, which the mean absolute percentage error of a regression leaves out.",
    ),
    _gauge("ml_slo_objective_ratio", "model", "Configured share of good among labelled predictions."),
    _gauge(
        "ml_serving_objective_ratio",
        "model subject",
        "Configured share of predictions that are not slow (subject latency), or have no error (errors).",
    ),
    _gauge(
        "ml_burn_rate_limit",
        "model subject window",
        "How many times faster than promised what may be bad of quality, latency or errors may be used up over the "
        "window; only where a total outage could exceed it.",
    ),
    _counter(
        "ml_confusion_total",
        "model version actual predicted",
        "Mature labelled predictions by label and prediction.",
    ),
    _gauge(
        "ml_version_difference",
        "model metric baseline candidate pairing",
        f"How much better the candidate is than the baseline since its first prediction (positive: better); {_UNIT}.",
    ),
    _gauge(
        "ml_version_difference_lower",
        "model metric baseline candidate pairing",
        "Lower 95 % bound of ml_version_difference, valid at every look (of roc_auc and f1 at this one only); above 0 "
        "the candidate is better. Unpaired, rows must be assigned to the versions at random.",
    ),
    _gauge(
        "ml_version_difference_upper",
        "model metric baseline candidate pairing",
        "Upper 95 % bound of ml_version_difference, valid at every look (of roc_auc and f1 at this one only); below 0 "
        "the candidate is worse. Unpaired, rows must be assigned to the versions at random.",
    ),
)

DRIFT = (
    _gauge(
        "ml_drift",
        _DRIFT,
        "Distance of the window's values from the reference: training (the profile), previous (the window before), or "
        "mature (labelled rows against all mature ones: whether labels are a fair sample); units differ by method.",
    ),
    _gauge(
        "ml_drift_noise",
        _DRIFT,
        "What ml_drift reaches without drift: the larger of the 1e-4 sampling quantile at these sample sizes and "
        "the training reference's own largest chunk.",
    ),
    _gauge(
        "ml_drift_pvalue",
        _DRIFT,
        "Chance of so large a distance without drift, for independent rows (ks: Smirnov's limit, cramers_v: chi-squared), "
        "adjusted for all columns by Benjamini and Hochberg; for dashboards, no alert looks at it.",
    ),
    _gauge(
        "ml_drift_limit",
        "model column method window reference",
        "Limit of ml_drift, as configured or as the default profile suggests it (drift.limits: auto).",
    ),
    _gauge(
        "ml_drift_impact",
        "model version column window reference",
        "By how much the change of the column's shares moves the mean loss (Brier score, share of errors or absolute "
        "error) if each bin keeps the loss it has in the profile; columns overlap, so never add them up.",
    ),
    _gauge(
        "ml_drifted_columns_ratio",
        "model version window reference",
        "Share of the columns with a limit whose first method that has one (psi unless configured) exceeds limit and noise.",
    ),
    _gauge("ml_drifted_columns_limit", "model", "Configured limit of ml_drifted_columns_ratio."),
    _gauge(
        "ml_multivariate_drift",
        "model version method window reference",
        "Drift of the columns together: relative change of the error with which the reference's principal components "
        "rebuild the rows (pca), largest or mean change of the columns' correlations; units differ by method.",
    ),
    _gauge(
        "ml_multivariate_drift_noise",
        "model version method window reference",
        "What ml_multivariate_drift reaches without drift: the larger of the 1e-4 sampling quantile at this sample size and "
        "the reference's own largest chunk.",
    ),
    _gauge(
        "ml_multivariate_drift_limit",
        "model version method window reference",
        "Configured limit of ml_multivariate_drift.",
    ),
    _counter(
        "ml_bin_total",
        "model version column bin",
        "Predictions by the profile's bin of the column; they add up over replicas.",
    ),
    _gauge(
        "ml_reference_bin_ratio",
        "model version column bin",
        "Share of the bin in the reference, with + 1/2 on every bin, as the PSI uses it.",
    ),
)

HEALTH = (
    _counter(
        "ml_input_violations_total",
        "model version column check",
        "Values that failed a check: missing, wrong_type, out_of_range (of the reference or configuration), outlier, unseen, empty, not_allowed, pattern.",
    ),
    _gauge(
        "ml_input_violation_ratio",
        "model version column check window",
        "Share of the window's rows that failed the check.",
    ),
    _gauge(
        "ml_input_violation_noise",
        "model version column check window",
        "Share of failing values that as many rows as the window has exceed by chance once in 10,000 times, by what the profile's rows had; where there is a limit above 0.",
    ),
    _gauge(
        "ml_input_violation_limit",
        "model column check window",
        "Limit of ml_input_violation_ratio: configured, 0 for what a column must be, or from the profile.",
    ),
    _gauge(
        "ml_input_violation_reference",
        "model version column check",
        "Share of the profile's rows that failed the check; beside ml_input_violation_ratio it shows the skew between training and serving.",
    ),
    _gauge(
        "ml_column_cardinality",
        "model version column window",
        "Bins or categories that the window's values are in: rare categories are one, unseen ones too; missing values are none.",
    ),
    _gauge("ml_column_reference_cardinality", "model version column", "The same of the profile's values."),
    _gauge(
        "ml_constant_columns",
        "model version window",
        "Columns whose values in the window are all in one bin, though neither chance nor the profile's own stretches of that length explain it.",
    ),
    _counter(
        "ml_duplicate_predictions_total",
        "model version",
        "Predictions that repeat the id of another of their version within 10 minutes; counted when they are mature.",
    ),
    _gauge(
        "ml_schema_columns",
        "model status",
        "Features that the profiles expect, that no row of the shortest window with rows enough has (missing), and that no profile knows (unexpected, of a sample of the alert window's rows).",
    ),
)

REASONS = (
    _gauge(
        "ml_unavailable",
        "model version window subject reason",
        "A statistic that cannot be computed now, and why; 1 while it is so, absent otherwise.",
    ),
    _gauge(
        "ml_unavailable_columns",
        "model version window subject reason",
        "Columns for which the statistic cannot be computed now, for this reason.",
    ),
)

HOST = (
    _counter("ml_host_cpu_seconds_total", "mode", "CPU time of the host by mode, summed over its CPUs."),
    _gauge("ml_host_cpus", "", "Logical CPUs of the host."),
    _gauge("ml_host_load1", "", "Load average over 1 minute."),
    _gauge("ml_host_load5", "", "Load average over 5 minutes."),
    _gauge("ml_host_load15", "", "Load average over 15 minutes."),
    _gauge("ml_host_memory_total_bytes", "", "Memory of the host."),
    _gauge("ml_host_memory_available_bytes", "", "Memory that can be had without swapping."),
    _gauge("ml_host_memory_swap_total_bytes", "", "Swap space of the host."),
    _gauge("ml_host_memory_swap_free_bytes", "", "Swap space that is free."),
    _gauge("ml_host_filesystem_size_bytes", "device fstype mountpoint", "Size of the filesystem."),
    _gauge(
        "ml_host_filesystem_avail_bytes",
        "device fstype mountpoint",
        "Space that unprivileged users can still write.",
    ),
    _gauge(
        "ml_host_filesystem_readonly",
        "device fstype mountpoint",
        "1 where the filesystem is mounted read-only.",
    ),
    _counter("ml_host_disk_read_bytes_total", "device", "Bytes read from the disk."),
    _counter("ml_host_disk_written_bytes_total", "device", "Bytes written to the disk."),
    _counter("ml_host_disk_io_time_seconds_total", "device", "Time the disk was busy."),
    _counter("ml_host_network_receive_bytes_total", "device", "Bytes received."),
    _counter("ml_host_network_transmit_bytes_total", "device", "Bytes sent."),
    _counter("ml_host_network_receive_errs_total", "device", "Receive errors."),
    _counter("ml_host_network_transmit_errs_total", "device", "Transmit errors."),
    _counter("ml_host_network_receive_drop_total", "device", "Received packets that were dropped."),
    _counter("ml_host_network_transmit_drop_total", "device", "Packets to send that were dropped."),
    _counter(
        "ml_host_pressure_waiting_seconds_total",
        "resource",
        "Time for which some work waited for cpu, memory or io.",
    ),
    _counter(
        "ml_host_pressure_stalled_seconds_total",
        "resource",
        "Time for which all work waited for memory or io.",
    ),
    _gauge("ml_host_boot_time_seconds", "", "Unix time at which the host was started."),
    _counter(
        "ml_process_cpu_seconds_total", "process", "CPU time of the processes that match, user and system."
    ),
    _gauge("ml_process_resident_memory_bytes", "process", "Resident memory of the processes that match."),
    _gauge("ml_process_threads", "process", "Threads of the processes that match."),
    _gauge("ml_process_open_fds", "process", "Open file descriptors of the processes that match."),
    _gauge("ml_process_instances", "process", "Processes that match the configured pattern."),
    _gauge(
        "ml_process_oldest_start_time_seconds",
        "process",
        "Unix time at which the oldest process that matches was started.",
    ),
    _gauge(
        "ml_process_unreadable", "process", "Values of matching processes that the exporter may not read."
    ),
    _counter(
        "ml_process_read_bytes_total", "process", "Bytes that the processes that match had read from disks."
    ),
    _counter(
        "ml_process_written_bytes_total",
        "process",
        "Bytes that the processes that match had written to disks.",
    ),
    _counter(
        "ml_process_restarts_total",
        "process",
        "How often the oldest process that matches ended and another took its place, as far as was seen.",
    ),
    _gauge(
        "ml_process_worst_fd_ratio",
        "process",
        "Open descriptors over the soft limit, of the process that matches and is nearest to it.",
    ),
    _gauge(
        "ml_process_cgroup_memory_limit_bytes",
        "process",
        "Tightest memory limit of the control groups (version 2) around the oldest process that matches.",
    ),
    _gauge(
        "ml_process_cgroup_memory_usage_bytes",
        "process",
        "Memory used in the control group that has this limit, or in the process's own where none has one.",
    ),
    _counter(
        "ml_process_cgroup_oom_kills_total",
        "process",
        "Processes in that control group that were killed for want of memory.",
    ),
    _gauge(
        "ml_process_cgroup_cpu_limit_cores",
        "process",
        "Tightest CPU limit of the control groups around the oldest process that matches.",
    ),
    _counter(
        "ml_process_cgroup_cpu_seconds_total",
        "process",
        "CPU time used in the control group that has this limit, or in the process's own.",
    ),
    _counter("ml_process_cgroup_cpu_periods_total", "process", "Periods for which that limit was enforced."),
    _counter(
        "ml_process_cgroup_cpu_throttled_periods_total",
        "process",
        "Periods in which that limit let work wait.",
    ),
    _counter(
        "ml_process_cgroup_cpu_throttled_seconds_total", "process", "Time for which that limit let work wait."
    ),
)

GPU = (
    _gauge(
        "ml_host_gpu_utilization_ratio",
        "gpu",
        "Share of the last sample period in which the GPU was at work, as its driver says.",
    ),
    _gauge("ml_host_gpu_memory_used_bytes", "gpu", "Memory of the GPU in use."),
    _gauge("ml_host_gpu_memory_total_bytes", "gpu", "Memory of the GPU."),
    _gauge("ml_host_gpu_temperature_celsius", "gpu", "Temperature of the GPU."),
    _gauge("ml_host_gpu_power_watts", "gpu", "Power that the GPU takes."),
)
"""What only a host with the package nvidia-ml-py and a GPU has."""

EXPORTER = (
    _gauge("ml_exporter_build_info", "version pythonversion duckdbversion", "Versions in use; always 1."),
    _gauge("ml_exporter_clock_timestamp_seconds", "", "The clock that ages are judged by, as a Unix time."),
    _gauge(
        "ml_exporter_ready", "", "1 when config and profiles are loaded and the newest evaluation is fresh."
    ),
    _gauge(
        "ml_exporter_evaluation_timestamp_seconds",
        "",
        "When the numbers from the logs were computed, as a Unix time.",
    ),
    _gauge(
        "ml_exporter_evaluation_duration_seconds",
        "",
        "How long reading, judging, computing and committing took.",
    ),
    _gauge("ml_exporter_evaluation_interval_seconds", "", "Configured time between evaluations."),
    _gauge(
        "ml_exporter_source_up",
        "model source",
        "1 when the log could be listed and read to its end or a full batch.",
    ),
    _gauge("ml_exporter_source_lag_bytes", "model source", "Bytes in the log that are not read yet."),
    _gauge(
        "ml_exporter_source_lag_seconds",
        "model source",
        "How far the read position is behind the clock; 0 at the log's end.",
    ),
    _counter(
        "ml_exporter_source_truncations_total",
        "model source",
        "Files that became shorter, so that lines may be lost.",
    ),
    _gauge(
        "ml_exporter_clock_skew_seconds",
        "model source",
        "How far the newest time stamp was ahead of the exporter's clock when rows were last read, up to a day; 0 when none was.",
    ),
    _gauge(
        "ml_exporter_series", "state", "Series of the newest page: exported, and dropped by the series limit."
    ),
    _gauge(
        "ml_exporter_series_limit", "", "Configured number of series above which whole columns are dropped."
    ),
    _counter("ml_exporter_errors_total", "area", "Errors logged by the exporter."),
    _counter(
        "ml_exporter_push_requests_total",
        "model source code",
        "Pushes of records by the HTTP status that they were answered with; 202: on the disk.",
    ),
    _gauge(
        "ml_exporter_push_spool_bytes",
        "model source",
        "Pushed records on the disk, counted already or not.",
    ),
    _gauge("ml_exporter_collector_success", "collector", "1 when the collector's newest run succeeded."),
    _gauge(
        "ml_exporter_collector_duration_seconds", "collector", "How long the collector's newest run took."
    ),
    _gauge(
        "ml_exporter_config_last_reload_successful",
        "",
        "1 when the newest attempt to load the config succeeded.",
    ),
    _gauge(
        "ml_exporter_config_last_reload_success_timestamp_seconds",
        "",
        "When the config was last loaded, as a Unix time.",
    ),
    _counter(
        "ml_exporter_state_set_aside_total", "", "State files that could not be opened and were renamed."
    ),
    _gauge("ml_exporter_state_size_bytes", "", "Size of the state file; 0 in memory."),
    _counter("ml_exporter_cpu_seconds_total", "", "CPU time of the exporter itself."),
    _gauge("ml_exporter_resident_memory_bytes", "", "Resident memory of the exporter itself."),
    _gauge("ml_exporter_start_time_seconds", "", "When the exporter was started, as a Unix time."),
)

RETRAINING = (
    _counter(
        "ml_retrain_requests_total",
        "model result",
        "What became of alerts that ask for retraining: success, refused, failed, or not asked for because "
        "unconfirmed, duplicate, cooldown, weekly_limit or dry_run. Served by `ml_exporter hook`.",
    ),
    _gauge(
        "ml_retrain_last_request_timestamp_seconds",
        "model",
        "When retraining was last asked for and accepted, as a Unix time. Served by `ml_exporter hook`.",
    ),
)
"""What the hook serves on a page of its own."""

CATALOGUE: tuple[Entry, ...] = (
    MODELS + TRAFFIC + LABELS + QUALITY + DRIFT + HEALTH + REASONS + HOST + GPU + EXPORTER + RETRAINING
)
