"""A snapshot in words: what the landing page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from ml_exporter.drift import REFERENCE, Drift
from ml_exporter.engine import Snapshot
from ml_exporter.evaluation import ModelReport, VersionReport
from ml_exporter.metrics.health import unavailable, unavailable_columns
from ml_exporter.stats.result import Value
from ml_exporter.web.pages import ModelStatus, SourceStatus, Status


def summarize(snapshot: Snapshot, base: Status) -> Status:
    """Fill a status with a snapshot's models, sources and reasons."""
    reasons: Counter[str] = Counter()
    for report, _ in snapshot.reports:
        reasons.update(reason for *_, reason in unavailable(report))
        for (*_, reason), columns in unavailable_columns(report).items():
            reasons[reason] += columns
    return replace(
        base,
        evaluated=snapshot.time,
        models=tuple(_model(report) for report, _ in snapshot.reports),
        sources=tuple(
            SourceStatus(
                source.model,
                source.source,
                source.path,
                not source.problems,
                "; ".join(source.problems) or _lag(source.lag),
            )
            for source in snapshot.sources
        ),
        unavailable=tuple(sorted(reasons.items())),
    )


def _lag(lag: int) -> str:
    return f"{lag} bytes to read" if lag else "read to its end"


def _model(report: ModelReport) -> ModelStatus:
    model = report.model
    versions = tuple(f"{version.name} ({version.role})" for version in report.versions)
    lines = [line for version in report.versions for line in _version(report, version)]
    return ModelStatus(model.name, model.task, model.team, versions, tuple(lines))


def _version(report: ModelReport, version: VersionReport) -> Iterator[tuple[str, str]]:
    alert = next(window for window in version.windows if window.window == report.model.alert_window)
    where = f"version {version.name}, {alert.window.name}"
    yield (
        where,
        f"{alert.rows} predictions, {alert.quality.labelled} of {alert.quality.mature} mature ones labelled",
    )
    for metric in report.model.quality:
        result = alert.quality.metrics.get(metric)
        if isinstance(result, Value):
            both = result.lower is not None and result.upper is not None
            bounds = f" ({result.lower:.4g} to {result.upper:.4g})" if both else ""
            yield f"{where}, {metric}", f"{result.value:.4g}{bounds}"
        elif result is not None:
            yield f"{where}, {metric}", f"unknown: {result.reason}"
    drifted = sorted((text for drift in alert.drift if (text := _drifted(report, drift))), reverse=True)
    names = ", ".join(text for _, text in drifted[:3])
    yield f"{where}, drift", names or "no column over its limit and its noise"


def _drifted(report: ModelReport, drift: Drift) -> tuple[float, str] | None:
    limit = report.model.drift_limit(drift.column, drift.method)
    if limit is None or drift.reference != REFERENCE or not isinstance(drift.result, Value):
        return None
    value = drift.result.value
    if value <= max(limit, drift.noise or 0.0):
        return None
    return value / limit if limit else value, f"{drift.column} ({drift.method} {value:.3g})"
