"""Drift of every column against its reference, with its noise, and bins to compute it elsewhere."""

from __future__ import annotations

from ml_exporter.config_model import Model
from ml_exporter.drift import REFERENCE, coarse, drifted, reference_cells, references_of
from ml_exporter.evaluation import ModelReport, VersionReport, WindowReport
from ml_exporter.joint import JointDrift
from ml_exporter.metrics.families import Families
from ml_exporter.metrics.traffic import shows
from ml_exporter.stats.result import Value

EXPORTED_BINS = ("score", "prediction")
"""Columns whose bins are always exported."""


def collect(families: Families, report: ModelReport, hold: float) -> None:
    """Add a model's drift; counters born less than `hold` seconds ago show 0."""
    model = report.model
    for version in report.versions:
        for window in version.windows:
            _window(families, model, version.name, window)
        exported = (*EXPORTED_BINS, *model.export_bins)
        _bins(families, model.name, version, exported, shows(version.born, report.time, hold))
        _profile(families, report, version)


def _window(families: Families, model: Model, version: str, report: WindowReport) -> None:
    window = report.window.name
    for drift in report.drift:
        if not isinstance(drift.result, Value):
            continue
        labels = (model.name, version, drift.column, drift.method, window, drift.reference)
        families.add("ml_drift", labels, drift.result.value)
        if drift.limit is not None and drift.noise is not None:
            families.add("ml_drift_noise", labels, drift.noise)
    for chance in report.chances:
        labels = (model.name, version, chance.column, chance.method, window, chance.reference)
        families.add("ml_drift_pvalue", labels, chance.value)
    for impact in report.impacts:
        families.add(
            "ml_drift_impact", (model.name, version, impact.column, window, impact.reference), impact.value
        )
    for together in report.joint:
        _together(families, model, (model.name, version, together.method, window, REFERENCE), together)
    for reference in references_of(model):
        ratio = drifted(report.drift, reference)
        if ratio is not None:
            families.add("ml_drifted_columns_ratio", (model.name, version, window, reference), ratio)


def _together(
    families: Families, model: Model, labels: tuple[str, str, str, str, str], drift: JointDrift
) -> None:
    limit = model.multivariate_limit(drift.method)
    if limit is not None:
        families.add("ml_multivariate_drift_limit", labels, limit)
    if isinstance(drift.result, Value):
        families.add("ml_multivariate_drift", labels, drift.result.value)
        if drift.noise is not None:
            families.add("ml_multivariate_drift_noise", labels, drift.noise)


def _bins(
    families: Families, model: str, version: VersionReport, exported: tuple[str, ...], shown: int
) -> None:
    for name, cells in version.layout.cells.items():
        if name not in exported:
            continue
        counts = coarse(cells.column, cells.of(version.inputs["cells"])[: cells.bins])
        reference = coarse(cells.column, reference_cells(cells.column))
        ratios = (reference + 0.5) / (reference.sum() + reference.size / 2)
        for bin_name, count, ratio in zip(cells.column.bin_names(), counts, ratios, strict=True):
            labels = (model, version.name, name, bin_name)
            families.add("ml_bin_total", labels, shown * int(count))
            families.add("ml_reference_bin_ratio", labels, float(ratio))


def _profile(families: Families, report: ModelReport, version: VersionReport) -> None:
    profile, path = version.layout.profile, report.model.profile_path(version.name)
    if profile is not None and path is not None:
        name = f"{path.name}@{profile.digest}"
        families.add("ml_profile_info", (report.model.name, version.name, name), 1)
