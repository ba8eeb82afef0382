"""Drift of every column against its reference, with its noise, and bins to compute it elsewhere."""

from __future__ import annotations

from ml_exporter.drift import REFERENCE, coarse, reference_cells
from ml_exporter.evaluation import ModelReport, VersionReport
from ml_exporter.metrics.catalogue import Families
from ml_exporter.metrics.traffic import shows
from ml_exporter.stats.result import Value

EXPORTED_BINS = ("score", "prediction")
"""Columns whose bins are always exported."""


def collect(families: Families, report: ModelReport, hold: float) -> None:
    """Add a model's drift; counters born less than `hold` seconds ago show 0."""
    model = report.model
    for version in report.versions:
        for window in version.windows:
            for drift in window.drift:
                if not isinstance(drift.result, Value):
                    continue
                names = (drift.column, drift.method, window.window.name, drift.reference)
                families.add("ml_drift", (model.name, version.name, *names), drift.result.value)
                limit = model.drift_limit(drift.column, drift.method)
                limited = limit is not None and drift.reference == REFERENCE
                if limited and drift.noise is not None:
                    families.add("ml_drift_noise", (model.name, version.name, *names), drift.noise)
        exported = (*EXPORTED_BINS, *model.export_bins)
        _bins(families, model.name, version, exported, shows(version.born, report.time, hold))
        _profile(families, report, version)


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
