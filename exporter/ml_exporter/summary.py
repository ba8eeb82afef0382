"""A snapshot in words and small numbers: what the status page shows of the logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ml_exporter.engine import Snapshot
from ml_exporter.evaluation import Accounts, ModelReport
from ml_exporter.metrics.health import unavailable, unavailable_columns
from ml_exporter.pipeline import SourceStatus
from ml_exporter.sources.outcomes import NOT_REJECTED
from ml_exporter.summary_columns import drifted_columns, exceeded_checks, worst_failures, worst_shifts
from ml_exporter.summary_quality import labels_of, measures, others, versions
from ml_exporter.troubles import alert_window, champion_of, troubles
from ml_exporter.troubles_columns import drifting, failing
from ml_exporter.web.status import (
    LEVELS,
    Level,
    LogStatus,
    Missing,
    ModelDetail,
    ModelStatus,
    Report,
    Trouble,
)

_SHOWN = 3
"""How many columns are shown of each model."""


def summarize(snapshot: Snapshot) -> Report:
    """Return what the page shows of a snapshot; models in their order, each with its worst trouble first."""
    reports = [report for report, _ in snapshot.reports]
    accounts = {report.model.name: report.accounts for report in reports}
    sources: dict[str, list[SourceStatus]] = {}
    for source in snapshot.sources:
        sources.setdefault(source.model, []).append(source)
    return Report(
        snapshot.time,
        lambda place: _detail(reports[place]),
        tuple(_model(report, sources.get(report.model.name, ())) for report in reports),
        tuple(_log(source, accounts[source.model], snapshot.time) for source in snapshot.sources),
    )


def _model(report: ModelReport, sources: Sequence[SourceStatus]) -> ModelStatus:
    model, champion = report.model, champion_of(report)
    alert = alert_window(report, champion) if champion else None
    drifted = drifted_columns(alert) if alert else []
    over = exceeded_checks(alert) if alert else []
    window = model.alert_window.name
    found = [*troubles(report, sources), *drifting(drifted, window), *failing(over, window)]
    found.sort(key=lambda trouble: LEVELS.index(trouble.level))
    level, reason = _standing(report, found)
    return ModelStatus(
        name=model.name,
        task=model.task,
        team=model.team,
        window=window,
        level=level,
        reason=reason,
        troubles=tuple(found),
        newest=report.accounts.newest,
        measures=tuple(measures(report, champion)) if champion else (),
        compared=len(champion.layout.cells) if champion else 0,
        drifted=len({shift.column for shift in drifted}),
        checked=len(alert.violations) if alert else 0,
        exceeded=len(over),
        coverage=alert.quality.coverage if alert else None,
    )


def _detail(report: ModelReport) -> ModelDetail:
    champion = champion_of(report)
    common = ModelDetail(
        labels=labels_of(report, champion),
        versions=tuple(versions(report)),
        missing=tuple(_missing(report)),
    )
    if champion is None:
        return common
    window = alert_window(report, champion)
    return replace(
        common,
        predictions=window.rows,
        others=tuple(others(report, champion)),
        shifts=tuple(worst_shifts(champion, window, _SHOWN)),
        failures=tuple(worst_failures(window, _SHOWN)),
    )


def _standing(report: ModelReport, found: list[Trouble]) -> tuple[Level, str]:
    """How a model stands, and why in a few words."""
    if found and found[0].level in ("failing", "warning"):
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        return found[0].level, found[0].title + more
    champion = champion_of(report)
    if champion is None:
        return "unjudged", "no version is known to answer"
    if not report.model.quality:
        return ("notice", found[0].title) if found else ("unjudged", "no target of quality is set")
    results = alert_window(report, champion).quality.metrics
    if all(getattr(results.get(metric), "reason", "") == "immature" for metric in report.model.quality):
        return "unjudged", "no prediction is old enough to be judged"
    if found:
        return found[0].level, found[0].title
    return "fine", "no target is surely missed, no limit exceeded"


def _missing(report: ModelReport) -> Iterator[Missing]:
    """What cannot be computed, windows together where all else is the same."""
    found: dict[tuple[str, str], tuple[list[str], int]] = {}
    columns = unavailable_columns(report)
    for missing in [*sorted(set(unavailable(report))), *sorted(columns)]:
        version, window, subject, reason = missing
        windows, count = found.get((f"{subject} of version {version}", reason), ([], 0))
        found[f"{subject} of version {version}", reason] = [*windows, window], count + columns[missing]
    for (subject, reason), (windows, count) in found.items():
        yield Missing(subject, tuple(windows), reason, count)


def _log(source: SourceStatus, accounts: Accounts, time: float) -> LogStatus:
    outcomes = accounts.lines.get(source.source, {})
    rejected = {name: count for name, count in outcomes.items() if name not in NOT_REJECTED and count}
    behind: float | None = 0.0
    if source.read_until is not None:
        # Nothing was read yet, so nobody knows how old the rest is.
        behind = None if source.read_until == 0 else max(0.0, time - source.read_until / 1e6)
    return LogStatus(
        source.model,
        source.source,
        source.path,
        "; ".join(source.problems),
        source.lag,
        behind,
        outcomes.get("accepted", 0),
        tuple(sorted(rejected.items(), key=lambda item: -item[1])),
    )
