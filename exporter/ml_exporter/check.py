"""`ml_exporter check`: every problem of a configuration with its remedy, and what it will export."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ml_exporter.config import Config, ConfigError, Model, load
from ml_exporter.drift import coarse, methods_of, reference_cells
from ml_exporter.engine import model_layouts
from ml_exporter.layout import Layout
from ml_exporter.metrics.drift import EXPORTED_BINS
from ml_exporter.metrics.models import CHECKS
from ml_exporter.profile import NumericColumn, Profile, ProfileError
from ml_exporter.profile import load as load_profile
from ml_exporter.sources.files import matches
from ml_exporter.stats.classification import BINARY_METRICS


def report_check(path: Path) -> int:
    """Print problems to stderr, or the series per family; returns the exit code."""
    try:
        config = load(path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    layouts: dict[str, dict[str, Layout]] = {}
    problems = list(_problems(config, layouts))
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return 1
    for note in (*config.without_effect(), *_notes(config)):
        print(f"note: {note}")
    _print_series(config, layouts)
    return 0


def _problems(config: Config, layouts: dict[str, dict[str, Layout]]) -> Iterator[str]:
    for model in config.models:
        try:
            layouts[model.name] = model_layouts(model, load_profile)
        except ProfileError as error:
            yield str(error)
            continue
        for version, layout in layouts[model.name].items():
            if layout.profile is not None:
                yield from _mismatches(config, model, version, layout.profile)


def _mismatches(config: Config, model: Model, version: str, profile: Profile) -> Iterator[str]:
    where = f"{config.path}: models.{model.name}.profile.{version}"
    if profile.model != model.name:
        yield f"{where}: is the profile of {profile.model}; build one with `ml_exporter profile --model {model.name}`"
    for column in (*model.drift.columns, *model.health.columns, *model.export_bins):
        if column not in profile.columns:
            yield f"{config.path}: models.{model.name}: column {column} is not in the profile; correct its name, or build the profile again"


def _notes(config: Config) -> Iterator[str]:
    for model in config.models:
        paths = [("predictions", model.predictions.path)]
        paths += [("labels", model.labels.path)] if model.labels else []
        for source, pattern in paths:
            if not matches(pattern):
                yield f"models.{model.name}.{source}.path: no file matches {pattern} yet"
        if not model.profile:
            yield f"models.{model.name}.profile: none, so there is no drift and no input health; build one with `ml_exporter profile`"


def _print_series(config: Config, layouts: dict[str, dict[str, Layout]]) -> None:
    table = Table("model", "family", "series", title="series of one version")
    total = 0
    for model in config.models:
        for family, number in _series(model, layouts[model.name]["default"]).items():
            table.add_row(model.name, family, str(number))
            total += number
    console = Console()
    console.print(table)
    console.print(f"{config.path}: fine; {total} of {config.exporter.series_limit} series", markup=False)


def _series(model: Model, layout: Layout) -> Counter[str]:
    """How many series the families that grow with the configuration will have, a version."""
    found: Counter[str] = Counter()
    found["ml_quality (and bounds)"] = 3 * len(BINARY_METRICS) * len(model.windows)
    for name, cells in layout.cells.items():
        column = cells.column
        for method in methods_of(column):
            found["ml_drift"] += 1
            found["ml_drift_noise"] += model.drift_limit(name, method.name) is not None
        if name != "label":
            checks = CHECKS[isinstance(column, NumericColumn)]
            found["ml_input_violations_total, ml_input_violation_ratio"] += 2 * len(checks)
        if name in (*EXPORTED_BINS, *model.export_bins):
            found["ml_bin_total, ml_reference_bin_ratio"] += 2 * coarse(column, reference_cells(column)).size
    return +found
