"""Columns of one version for the status page: which moved most, and which break their expectations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ml_exporter.drift import MATURE, REFERENCE, Drift, coarse, reference_cells
from ml_exporter.evaluation import VersionReport, WindowReport
from ml_exporter.health import Violation
from ml_exporter.layout import Cells
from ml_exporter.stats.arrays import IntArray
from ml_exporter.stats.result import Value
from ml_exporter.web.status import Failure, Histogram, Shift


def drifted_columns(window: WindowReport) -> list[Shift]:
    """The distances that exceed their limit and their noise, the worst first."""
    found = [_shift(drift) for drift in window.drift if drift.reference != MATURE and exceeded(drift)]
    return sorted(found, key=_excess, reverse=True)


def worst_shifts(version: VersionReport, window: WindowReport, most: int) -> list[Shift]:
    """The worst distance of each of the columns that moved most, with a picture where it is one from the profile.

    Those that exceed limit and noise come first, by how many times they exceed the limit; then the
    others by how close they come to it; then those without a limit, by how far they are above noise.
    """
    found = [
        _shift(drift)
        for drift in window.drift
        if drift.reference != MATURE and isinstance(drift.result, Value)
    ]
    first: dict[str, Shift] = {}
    for shift in sorted(found, key=_closeness, reverse=True):
        first.setdefault(shift.column, shift)
    return [_pictured(shift, version, window) for shift in list(first.values())[:most]]


def exceeded_checks(window: WindowReport) -> list[Failure]:
    """The checks that fail more often than their limit allows, the worst first."""
    found = [failure for item in window.violations if item.count and (failure := _failure(item)).over]
    return sorted(found, key=lambda failure: failure.share, reverse=True)


def worst_failures(window: WindowReport, most: int) -> list[Failure]:
    """The checks that fail most often, those that exceed their limit first, and all of these."""
    found = [_failure(item) for item in window.violations if item.count]
    found.sort(key=lambda failure: (failure.over, failure.share), reverse=True)
    return found[: max(most, sum(failure.over for failure in found))]


def exceeded(drift: Drift) -> bool:
    """Whether a distance exceeds its limit, and what there is without drift."""
    if drift.limit is None or drift.noise is None or not isinstance(drift.result, Value):
        return False
    return drift.result.value > max(drift.limit, drift.noise)


def _excess(shift: Shift) -> float:
    return shift.value / shift.limit if shift.limit else shift.value


def _closeness(shift: Shift) -> tuple[bool, bool, float]:
    if shift.drifted:
        return True, True, _excess(shift)
    most = max(shift.limit or 0.0, shift.noise or 0.0)
    return False, shift.limit is not None, shift.value / most if most else 0.0


def _shift(drift: Drift) -> Shift:
    assert isinstance(drift.result, Value)
    value, over = drift.result.value, exceeded(drift)
    return Shift(drift.column, drift.method, drift.reference, value, drift.noise, drift.limit, over)


def _failure(item: Violation) -> Failure:
    return Failure(item.column, item.check, item.count, item.rows, item.limit, item.noise)


def _pictured(shift: Shift, version: VersionReport, window: WindowReport) -> Shift:
    if window.cells is None or shift.reference != REFERENCE:
        return shift
    return replace(shift, histogram=_histogram(version.layout.cells[shift.column], window.cells))


def _histogram(cells: Cells, current: IntArray) -> Histogram:
    """The column's shares by the PSI's bins; the bins that have nothing on either side are left out."""
    now = coarse(cells.column, cells.of(current)[: cells.bins])
    reference = coarse(cells.column, reference_cells(cells.column))
    shown = (now + reference > 0) | (np.arange(now.size) == now.size - 1)
    names = [name for name, keep in zip(cells.column.bin_names(), shown, strict=True) if keep]
    shares = (counts[shown] / max(int(counts.sum()), 1) for counts in (now, reference))
    return Histogram(tuple(names), *(tuple(side.tolist()) for side in shares))
