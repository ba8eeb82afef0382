"""Input health: values that failed a check, and statistics that cannot be computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ml_exporter.drift import MATURE
from ml_exporter.evaluation import ModelReport, VersionReport, WindowReport, violations
from ml_exporter.metrics.catalogue import Families
from ml_exporter.metrics.traffic import shows
from ml_exporter.stats.result import Reason, Unavailable, Value

Missing = tuple[str, str, str, str]
"""Version, window, subject, reason."""


def collect(families: Families, report: ModelReport, hold: float) -> None:
    """Add a model's violations and reasons; counters born less than `hold` seconds ago show 0."""
    model = report.model.name
    for version in report.versions:
        shown = shows(version.born, report.time, hold)
        for found in violations(version.layout, version.inputs):
            labels = (model, version.name, found.column, found.check)
            families.add("ml_input_violations_total", labels, shown * found.count)
        for window in version.windows:
            for found in window.violations:
                if found.rows:
                    labels = (model, version.name, found.column, found.check)
                    ratio = found.count / found.rows
                    families.add("ml_input_violation_ratio", (*labels, window.window.name), ratio)
    for missing in sorted(set(unavailable(report))):
        families.add("ml_unavailable", (model, *missing), 1)
    for missing, columns in sorted(unavailable_columns(report).items()):
        families.add("ml_unavailable", (model, *missing), 1)
        families.add("ml_unavailable_columns", (model, *missing), columns)


def unavailable(report: ModelReport) -> Iterator[Missing]:
    """Statistics of a whole version that cannot be computed, and why."""
    for version in report.versions:
        for window in version.windows:
            where = (version.name, window.window.name)
            for metric, result in window.quality.metrics.items():
                if isinstance(result, Unavailable):
                    yield *where, f"quality:{metric}", result.reason
            if isinstance(window.quality.calibration, Unavailable):
                yield *where, "quality:expected_calibration_error", window.quality.calibration.reason
            yield from ((*where, "estimate", reason) for reason in _no_estimate(window))
            yield from ((*where, *found) for found in dict.fromkeys(_no_joint(window)))
    window_name = report.model.alert_window.name
    for difference in report.differences:
        if isinstance(difference.result, Unavailable):
            yield difference.candidate, window_name, "difference", difference.result.reason
    for version in report.versions:
        if version.layout.profile is None:
            yield version.name, window_name, "drift", "no_profile"


def _no_joint(window: WindowReport) -> Iterator[tuple[str, Reason]]:
    """Why drift of columns together, or its noise, is not known."""
    for drift in window.joint:
        if isinstance(drift.result, Unavailable):
            yield f"multivariate:{drift.method}", drift.result.reason
        elif drift.short_reference:
            yield "multivariate:noise", "short_reference"


def _no_estimate(window: WindowReport) -> set[Reason]:
    """Why nothing is estimated; where something is, the rest has its reason in the rows themselves."""
    results = window.estimated.values()
    if any(isinstance(result, Value) for result in results):
        return set()
    return {result.reason for result in results if isinstance(result, Unavailable)}


def unavailable_columns(report: ModelReport) -> Counter[Missing]:
    """Statistics of columns that cannot be computed, and of how many columns."""
    columns: Counter[Missing] = Counter()
    for version in report.versions:
        columns.update(_of_version(version))
    return columns


def _of_version(version: VersionReport) -> Iterator[Missing]:
    for window in version.windows:
        for drift in window.drift:
            where = (version.name, window.window.name)
            if isinstance(drift.result, Unavailable):
                yield *where, f"drift:{drift.method}", drift.result.reason
            elif drift.noise is None and drift.reference != MATURE:
                yield *where, "noise", "no_profile"
            elif drift.short_reference:
                yield *where, "noise", "short_reference"
