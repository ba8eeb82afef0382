"""Predictions, errors, latency, and what became of every line of the logs."""

from __future__ import annotations

from ml_exporter.evaluation import ModelReport, VersionReport
from ml_exporter.metrics.families import Families
from ml_exporter.sources.outcomes import REASONS
from ml_exporter.state import ModelState
from ml_exporter.tally import LATENCY_BOUNDS


def collect(families: Families, report: ModelReport, state: ModelState, hold: float) -> None:
    """Add a model's traffic; a label set born less than `hold` seconds ago shows 0."""
    model = report.model
    shown = shows(state.born, report.time, hold)
    if state.newest is not None:
        newest = min(state.newest / 1e6, report.time)
        families.add("ml_last_prediction_timestamp_seconds", (model.name,), newest)
    families.add("ml_rows_outside_windows_total", (model.name,), shown * state.outside)
    for source, counts in state.outcomes.items():
        if source == "predictions" or model.labels is not None:
            for outcome in REASONS:
                families.add("ml_input_rows_total", (model.name, source, outcome), shown * counts[outcome])
    for version in report.versions:
        _version(families, model.name, version, shows(version.born, report.time, hold))


def shows(born: float | None, time: float, hold: float) -> int:
    """Tell whether counters show their value (1) or still 0, so that `increase()` sees the first burst."""
    return int(hold <= 0 or (born is not None and time - born >= hold))


def _version(families: Families, model: str, version: VersionReport, shown: int) -> None:
    labels, inputs = (model, version.name), version.inputs
    families.add("ml_model_version_info", (*labels, version.role), 1)
    families.add("ml_predictions_total", labels, shown * inputs.count("rows"))
    families.add("ml_prediction_errors_total", labels, shown * inputs.count("errors"))
    families.add("ml_slow_predictions_total", labels, shown * inputs.count("slow"))
    buckets, total = shown * inputs["latency"], shown * float(inputs["latency_sum"][0])
    families.add_histogram("ml_prediction_latency_seconds", labels, LATENCY_BOUNDS, buckets.tolist(), total)
