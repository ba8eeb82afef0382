"""Quality, labels and versions of one model for the status page."""

from __future__ import annotations

from collections.abc import Iterator

from ml_exporter.config_model import Target
from ml_exporter.evaluation import ModelReport, VersionReport
from ml_exporter.stats.result import Result, Unavailable, Value
from ml_exporter.troubles import alert_window, champion_of, decided, missed
from ml_exporter.web.status import LabelStatus, Level, Measure, Number, VersionStatus
from ml_exporter.words import listed

_NO_TARGET = Target()


def measures(report: ModelReport, version: VersionReport) -> list[Measure]:
    """The metrics that have a target."""
    return [_measure(report, version, metric, target) for metric, target in report.model.quality.items()]


def others(report: ModelReport, version: VersionReport) -> Iterator[Measure]:
    """The metrics without a target that have a value."""
    for metric, result in alert_window(report, version).quality.metrics.items():
        if metric not in report.model.quality and isinstance(result, Value):
            yield _measure(report, version, metric, _NO_TARGET)


def labels_of(report: ModelReport, version: VersionReport | None) -> LabelStatus | None:
    """What is known of the labels, None where none are expected."""
    labels = report.model.labels
    if labels is None and report.model.label_field is None:
        return None
    found = alert_window(report, version).quality if version else None
    return LabelStatus(
        found.mature if found else 0,
        found.labelled if found else 0,
        labels.min_coverage if labels and labels.silence == "unknown" else None,
        report.pending,
        tuple((name, count) for name, count in report.accounts.labels.items() if count),
    )


def versions(report: ModelReport) -> Iterator[VersionStatus]:
    """Every version, the champion first."""
    champion = champion_of(report)
    verdicts = {candidate: verdict for (_, candidate), verdict in decided(report).items()}
    for version in sorted(report.versions, key=lambda version: version is not champion):
        path = report.model.profile_path(version.name)
        profile = path.name if path is not None and version.layout.profile is not None else ""
        verdict = "" if version is champion else _verdict(verdicts.get(version.name))
        rows = alert_window(report, version).rows
        yield VersionStatus(version.name, version.role, rows, profile, verdict)


def _verdict(found: tuple[list[str], list[str]] | None) -> str:
    better, worse = found or ([], [])
    parts = [
        f"surely {word} by {listed(names)}" for word, names in (("better", better), ("worse", worse)) if names
    ]
    return ", ".join(parts) or "not decided"


def _measure(report: ModelReport, version: VersionReport, metric: str, target: Target) -> Measure:
    window, profile = alert_window(report, version), version.layout.profile
    result = window.quality.metrics.get(metric)
    reference = profile.quality.get(metric) if profile else None
    return Measure(
        metric,
        _number(result),
        result.reason if isinstance(result, Unavailable) else "",
        target.min,
        target.max,
        reference.value if reference else None,
        _number(window.estimated.get(metric)),
        _level(target, result),
    )


def _number(result: Result | None) -> Number | None:
    if not isinstance(result, Value):
        return None
    return Number(result.value, result.lower, result.upper, result.n)


def _level(target: Target, result: Result | None) -> Level:
    """Whether a target is surely missed, surely met, or neither."""
    if not isinstance(result, Value) or target == _NO_TARGET:
        return "unjudged"
    if missed(target, result):
        return "failing"
    low, high = result.lower, result.upper
    enough = target.min is None or (low is not None and low >= target.min)
    return (
        "fine" if enough and (target.max is None or (high is not None and high <= target.max)) else "unjudged"
    )
