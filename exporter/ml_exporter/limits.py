"""Limits of drift: as configured, or as the reference's own chunks suggest them."""

from __future__ import annotations

from collections.abc import Mapping

from ml_exporter.config_model import Model
from ml_exporter.drift import Column, methods_of
from ml_exporter.embeddings import CENTROID
from ml_exporter.layout import Layout
from ml_exporter.profile import NumericColumn


def columns_of(layouts: Mapping[str, Layout]) -> dict[str, Column]:
    """The columns of all profiles of a model, by version: limits are the same for all of its versions."""
    default = layouts["default"]
    every = (default, *(layout for layout in layouts.values() if layout is not default))
    return {name: cells.column for layout in reversed(every) for name, cells in layout.cells.items()}


def drift_limits(model: Model, columns: Mapping[str, Column]) -> dict[tuple[str, str], float]:
    """Limits by column and method, as configured or else as the profile suggests where that is wanted."""
    found = {}
    for name, column in columns.items():
        for method in methods_of(model, name, column):
            limit = model.drift_limit(name, method.name)
            noise = column.noise.get(method.name)
            if limit is None and noise is not None and model.drift.limits == "auto":
                limit = noise.limits.get(model.alert_window.name)
            if limit is not None:
                found[name, method.name] = limit
        limit = _of_embedding(model, name, column)
        if limit is not None:
            found[name, CENTROID] = limit
    return found


def _of_embedding(model: Model, name: str, column: Column) -> float | None:
    own = column.embedding if isinstance(column, NumericColumn) else None
    if own is None:
        return None
    suggested = own.limits.get(model.alert_window.name) if model.drift.limits == "auto" else None
    limit = model.drift_limit(name, CENTROID)
    return suggested if limit is None else limit
