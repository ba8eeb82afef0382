"""`ml_exporter check`: every problem of a configuration with its remedy, and what it will export."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_exporter.config import Config, ConfigError, Model, load
from ml_exporter.drift import Column, coarse, methods_of, reference_cells
from ml_exporter.engine import model_layouts
from ml_exporter.layout import Layout
from ml_exporter.metrics.drift import EXPORTED_BINS
from ml_exporter.metrics.models import CHECKS, columns
from ml_exporter.profile import NumericColumn, ProfileError
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
    state = config.exporter.state
    if state is not None and state.is_dir():
        yield f"{config.path}: exporter.state: {state} is a folder; name a file in it"
    for model in config.models:
        try:
            layouts[model.name] = model_layouts(model, load_profile)
        except ProfileError as error:
            yield str(error)
            continue
        yield from _mismatches(config, model, layouts[model.name])


def _mismatches(config: Config, model: Model, layouts: Mapping[str, Layout]) -> Iterator[str]:
    where = f"{config.path}: models.{model.name}"
    profiles = {version: layout.profile for version, layout in layouts.items() if layout.profile}
    for version, profile in profiles.items():
        if profile.model != model.name:
            yield f"{where}.profile.{version}: is the profile of {profile.model}; build one with `ml_exporter profile --model {model.name}`"
    known = {column for profile in profiles.values() for column in profile.columns}
    named = dict.fromkeys((*model.drift.columns, *model.health.columns, *model.export_bins))
    for column in named if profiles else ():
        if column not in known:
            yield f"{where}: column {column} is not in the profile; correct its name, or build the profile again"


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
        for family, number in _series(model, columns(layouts[model.name])).items():
            table.add_row(escape(model.name), family, str(number))
            total += number
    Console().print(table)
    limit = config.exporter.series_limit
    if total > limit:
        print(f"note: {total} series are more than exporter.series_limit: whole columns will be left out")
    print(f"{config.path}: fine; {total} of {limit} series")


def _series(model: Model, known: Mapping[str, Column]) -> Counter[str]:
    """How many series the families that grow with the configuration will have, a version."""
    found: Counter[str] = Counter()
    found["ml_quality (and bounds)"] = 3 * len(BINARY_METRICS) * len(model.windows)
    for name, column in known.items():
        for method in methods_of(column):
            found["ml_drift"] += 1
            found["ml_drift_noise"] += model.drift_limit(name, method.name) is not None
        if name != "label":
            checks = CHECKS[isinstance(column, NumericColumn)]
            found["ml_input_violations_total, ml_input_violation_ratio"] += 2 * len(checks)
        if name in (*EXPORTED_BINS, *model.export_bins):
            found["ml_bin_total, ml_reference_bin_ratio"] += 2 * coarse(column, reference_cells(column)).size
    return +found
