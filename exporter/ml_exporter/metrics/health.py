"""Input health: values that failed a check, and statistics that cannot be computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ml_exporter.delta import OWN_COLUMNS
from ml_exporter.drift import MATURE
from ml_exporter.evaluation import Health, ModelReport, VersionReport, WindowReport
from ml_exporter.health import COMPARED, checks, reference_cardinalities, reference_share, violations
from ml_exporter.metrics.families import Families
from ml_exporter.metrics.traffic import shows
from ml_exporter.stats.result import Reason, Unavailable, Value

Missing = tuple[str, str, str, str]
"""Version, window, subject, reason."""


def collect(families: Families, report: ModelReport, hold: float) -> None:
    """Add a model's violations and reasons; counters born less than `hold` seconds ago show 0."""
    model = report.model.name
    for version in report.versions:
        own = (model, version.name)
        shown = shows(version.born, report.time, hold)
        for found in violations(version.layout, version.inputs):
            labels = (*own, found.column, found.check)
            families.add("ml_input_violations_total", labels, shown * found.count)
        if report.model.labels is not None:
            families.add("ml_duplicate_predictions_total", own, shown * version.duplicates)
        _reference(families, own, version)
        for window in version.windows:
            if window.health is not None and version.layout.profile is not None:
                _window(families, own, window.window.name, window.health)
    _schema(families, report)
    for missing in sorted(set(unavailable(report))):
        families.add("ml_unavailable", (model, *missing), 1)
    for missing, columns in sorted(unavailable_columns(report).items()):
        families.add("ml_unavailable", (model, *missing), 1)
        families.add("ml_unavailable_columns", (model, *missing), columns)


def _window(families: Families, own: tuple[str, str], window: str, health: Health) -> None:
    for found in health.violations:
        if found.rows:
            labels = (*own, found.column, found.check, window)
            families.add("ml_input_violation_ratio", labels, found.count / found.rows)
            if found.noise is not None:
                families.add("ml_input_violation_noise", labels, found.noise)
    for column, cardinality in health.cardinalities.items():
        families.add("ml_column_cardinality", (*own, column, window), cardinality)
    families.add("ml_constant_columns", (*own, window), len(health.constants))


def _reference(families: Families, own: tuple[str, str], version: VersionReport) -> None:
    layout = version.layout
    for name, cells in layout.cells.items():
        for check in checks(layout, name):
            if check in COMPARED:
                share = reference_share(cells.column, check)
                families.add("ml_input_violation_reference", (*own, name, check), share)
    for name, cardinality in reference_cardinalities(layout).items():
        families.add("ml_column_reference_cardinality", (*own, name), cardinality)


def _schema(families: Families, report: ModelReport) -> None:
    """Features by what became of them; what is missing or unexpected only where that can be told."""
    layouts = [version.layout for version in report.versions if version.layout.profile]
    if not layouts:
        return
    model = report.model.name
    expected = {name for layout in layouts for name in layout.cells if name not in OWN_COLUMNS}
    families.add("ml_schema_columns", (model, "expected"), len(expected))
    missing = missing_columns(report)
    if missing is not None:
        families.add("ml_schema_columns", (model, "missing"), len(missing))
    if isinstance(report.model.predictions.fields.features, str):
        families.add("ml_schema_columns", (model, "unexpected"), len(report.unexpected))


def missing_columns(report: ModelReport) -> list[str] | None:
    """Features that no row of a version has, in its shortest window that tells; None where none does."""
    told = [
        next((window.absent for window in version.windows if window.absent is not None), None)
        for version in report.versions
        if version.layout.profile
    ]
    if all(absent is None for absent in told):
        return None
    return sorted({name for absent in told for name in absent or ()})


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
