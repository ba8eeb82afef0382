"""The exporter about itself: versions, readiness, sources, evaluations, reloads, errors."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from ml_exporter import __version__
from ml_exporter.metrics.families import Families
from ml_exporter.pipeline import SourceStatus

AREAS = (
    "evaluation",
    "source",
    "reload",
    "collector",
    "watch",
    "pending_limit",
    "dead_letter",
    "web_config",
    "web",
    "push",
)
"""Where errors are counted."""


@dataclass(frozen=True)
class Vitals:
    """How the exporter does. Times are Unix seconds, None where there was none yet."""

    clock: float
    ready: bool
    interval: float
    evaluated: float | None
    duration: float | None
    sources: tuple[SourceStatus, ...]
    exported: int
    dropped: int
    series_limit: int
    reload_successful: bool
    reloaded: float
    errors: Mapping[str, int]
    set_aside: int
    state_size: int


def collect(families: Families, vitals: Vitals) -> None:
    """Add the exporter's own state."""
    versions = (__version__, platform.python_version(), duckdb.__version__)
    families.add("ml_exporter_build_info", versions, 1)
    families.add("ml_exporter_clock_timestamp_seconds", (), vitals.clock)
    families.add("ml_exporter_ready", (), vitals.ready)
    families.add("ml_exporter_evaluation_interval_seconds", (), vitals.interval)
    if vitals.evaluated is not None and vitals.duration is not None:
        families.add("ml_exporter_evaluation_timestamp_seconds", (), vitals.evaluated)
        families.add("ml_exporter_evaluation_duration_seconds", (), vitals.duration)
    families.add("ml_exporter_series", ("exported",), vitals.exported)
    families.add("ml_exporter_series", ("dropped",), vitals.dropped)
    families.add("ml_exporter_series_limit", (), vitals.series_limit)
    families.add("ml_exporter_config_last_reload_successful", (), vitals.reload_successful)
    families.add("ml_exporter_config_last_reload_success_timestamp_seconds", (), vitals.reloaded)
    for area in AREAS:
        families.add("ml_exporter_errors_total", (area,), vitals.errors.get(area, 0))
    families.add("ml_exporter_state_set_aside_total", (), vitals.set_aside)
    families.add("ml_exporter_state_size_bytes", (), vitals.state_size)
    for source in vitals.sources:
        _source(families, source, vitals.clock)


def _source(families: Families, source: SourceStatus, clock: float) -> None:
    labels = (source.model, source.source)
    families.add("ml_exporter_source_up", labels, not source.problems)
    families.add("ml_exporter_source_lag_bytes", labels, source.lag)
    if source.read_until != 0:  # nothing was read yet, so nobody knows how old the rest is
        behind = 0.0 if source.read_until is None else max(0.0, clock - source.read_until / 1e6)
        families.add("ml_exporter_source_lag_seconds", labels, behind)
    families.add("ml_exporter_source_truncations_total", labels, source.truncations)
    if source.ahead is not None:
        families.add("ml_exporter_clock_skew_seconds", labels, source.ahead / 1e6)
