"""`ml_exporter check`: every problem of a configuration with its remedy, and what it will export."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_exporter.check_files import obstacles
from ml_exporter.config import Config, ConfigError, Model, load
from ml_exporter.config_checks import without_meaning
from ml_exporter.delta import OWN_COLUMNS
from ml_exporter.drift import PREVIOUS, coarse, methods_of, reference_cells, references_of
from ml_exporter.embeddings import CENTROID
from ml_exporter.engine import model_layouts
from ml_exporter.estimate import estimated_metrics
from ml_exporter.forms import class_slots, segment_slots
from ml_exporter.health import COMPARED, checks, limits_of, placed
from ml_exporter.layout import Layout
from ml_exporter.limits import columns_of, drift_limits
from ml_exporter.metrics.drift import EXPORTED_BINS
from ml_exporter.profile import NumericColumn, ProfileError
from ml_exporter.profile import load as load_profile
from ml_exporter.snapshot import config_families, series_of
from ml_exporter.sources.files import matches
from ml_exporter.stats import multivariate
from ml_exporter.targets import outlooks
from ml_exporter.tasks import task_of


def report_check(path: Path) -> int:
    """Print problems to stderr, or the series per family; returns the exit code."""
    try:
        config = load(path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    layouts: dict[str, dict[str, Layout]] = {}
    found = list(obstacles(config))
    problems = list(_problems(config, layouts))
    problems += [f"{config.path}: {obstacle.text}" for obstacle in found if not obstacle.personal]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return 1
    for note in (*_notes(config), *(obstacle.text for obstacle in found)):
        print(f"note: {note}")
    _print_columns(layouts)
    _print_targets(config, layouts)
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
    yield from _contradictions(where, model, layouts)
    known = {column for profile in profiles.values() for column in profile.columns}
    named = dict.fromkeys((*model.drift.columns, *model.health.columns, *model.export_bins))
    for column in named if profiles else ():
        if column not in known:
            yield f"{where}: column {column} is not in the profile; correct its name, or build the profile again"
    lacking = {
        method.name
        for profile in profiles.values()
        for name, column in profile.columns.items()
        for method in methods_of(model, name, column)
        if method.name not in column.noise
    }
    if lacking:
        methods = ", ".join(sorted(lacking))
        yield f"{where}.drift: the profile does not know the noise of {methods}, so no alarm can be raised; build it again with `ml_exporter profile`"
    if model.joint_window is not None and any(profile.joint is None for profile in profiles.values()):
        yield f"{where}.multivariate: the profile does not know how its columns go together; build it again with `ml_exporter profile` from data in which two of them vary"


def _contradictions(where: str, model: Model, layouts: Mapping[str, Layout]) -> Iterator[str]:
    """What a column's own section demands that its kind cannot be held to."""
    for name, layout in placed(layouts).items():
        own, column = model.columns.get(name), layout.cells[name].column
        if own is None or name in OWN_COLUMNS:
            continue
        numeric = isinstance(column, NumericColumn)
        listed = not numeric or column.taken_for == "numeric"
        numbers = all(_is_number(text) for text in own.allowed) or not numeric
        useless = {
            "min": own.min is not None and not numeric,
            "max": own.max is not None and not numeric,
            "allowed": bool(own.allowed) and not (listed and numbers),
            "regex": own.regex is not None and column.taken_for not in ("categorical", "text"),
        }
        for key in (key for key, wrong in useless.items() if wrong):
            yield f"{where}.columns.{name}.{key}: has no meaning for a column taken for {column.taken_for}; remove it, or give the column another kind and build the profile again"


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def _print_columns(layouts: Mapping[str, Mapping[str, Layout]]) -> None:
    """What each column was taken for, and why."""
    table = Table("model", "column", "taken for", "because", title="columns of the profiles")
    for model, own in layouts.items():
        for name, layout in placed(own).items():
            column = layout.cells[name].column
            because = escape(column.note) or ("the model's own" if name in OWN_COLUMNS else "not recorded")
            table.add_row(escape(model), escape(name), column.taken_for, because)
        ignored = {
            name: reason
            for layout in own.values()
            if layout.profile
            for name, reason in layout.profile.ignored.items()
        }
        for name, reason in ignored.items():
            table.add_row(escape(model), escape(name), "ignored", escape(reason))
    if table.row_count:
        Console().print(table)


def _notes(config: Config) -> Iterator[str]:
    for model in config.models:
        paths = [("predictions", model.predictions.path)]
        paths += [("labels", model.labels.path)] if model.labels else []
        for source, pattern in paths:
            if not matches(pattern) and not getattr(model, source).push:
                yield f"models.{model.name}.{source}.path: no file matches {pattern} yet"
        for text in without_meaning(model):
            yield f"models.{model.name}.{text}"
        if model.retrain is not None and model.retrain.secret_file is None:
            yield f"models.{model.name}.retrain.secret_file: none, so whoever is asked cannot tell by whom"
        if not model.profile:
            yield f"models.{model.name}.profile: none, so there is no drift and no input health; build one with `ml_exporter profile`"


def _print_targets(config: Config, layouts: Mapping[str, Mapping[str, Layout]]) -> None:
    """How sharp the alert window is, at the pace of the profile's rows."""
    table = Table(
        "model", "target", "expected rows", "bounds", title="targets in the alert window, rows independent"
    )
    notes = []
    for model in config.models:
        profile = layouts[model.name]["default"].profile
        for outlook in outlooks(model, profile) if profile else ():
            target = f"{outlook.metric} {outlook.bound} {outlook.target:g}"
            half = "not known beforehand" if outlook.half_width is None else f"± {outlook.half_width:.3g}"
            table.add_row(escape(model.name), target, str(outlook.rows), half)
            if not outlook.provable:
                notes.append(
                    f"models.{model.name}.quality.{outlook.metric}: {outlook.rows} rows can never prove it below or "
                    f"above {outlook.target:g}; use a longer alert_window"
                )
    if table.row_count:
        Console().print(table)
    for note in notes:
        print(f"note: {note}")


def _print_series(config: Config, layouts: dict[str, dict[str, Layout]]) -> None:
    table = Table("model", "family", "series", title="series of one version")
    total = 0
    for model in config.models:
        for family, number in _series(model, layouts[model.name]).items():
            table.add_row(escape(model.name), family, str(number))
            total += number
    Console().print(table)
    limit = config.exporter.series_limit
    if total > limit:
        print(f"note: {total} series are more than exporter.series_limit: whole columns will be left out")
    print(f"{config.path}: fine; {total} of {limit} series")


def _series(model: Model, layouts: Mapping[str, Layout]) -> Counter[str]:
    """How many series the families that grow with the configuration will have, a version."""
    found: Counter[str] = Counter()
    task = task_of(model, class_slots(model, layouts), layouts["default"])
    found["targets, limits and infos"] = series_of(config_families([(model, layouts)]))
    found["ml_quality (and bounds)"] = 3 * len(task.metrics) * len(model.windows)
    found["ml_quality_recent"] = len(task.recent_metrics) * len(model.windows) * (model.labels is not None)
    found["ml_quality_estimated (and bounds)"] = (
        3 * estimated_metrics(layouts["default"]) * len(model.windows)
    )
    values = sum(slots.size + 2 for slots in segment_slots(model, layouts).values())
    found["ml_segment_quality (and bounds), ml_segment_samples"] = values * (1 + 3 * len(model.quality))
    limits, health = drift_limits(model, columns_of(layouts)), limits_of(model, layouts)
    for name, layout in placed(layouts).items():
        column = layout.cells[name].column
        references = len(references_of(model)) - (name == "label" and PREVIOUS in references_of(model))
        for method in methods_of(model, name, column):
            found["ml_drift"] += references
            found["ml_drift_noise"] += references * ((name, method.name) in limits)
        found["ml_drift"] += name in layout.embeddings
        found["ml_drift_noise"] += (name, CENTROID) in limits
        found["ml_drift_impact"] += references * bool(column.losses)
        found["ml_drift_pvalue"] += references * model.drift.pvalues
        own = checks(layout, name)
        found["ml_input_violations_total, ml_input_violation_ratio"] += 2 * len(own)
        found["ml_input_violation_noise"] += sum(bool(health.get((name, check))) for check in own)
        found["ml_input_violation_reference"] += sum(check in COMPARED for check in own)
        found["ml_column_cardinality (and reference)"] += 2 * (name != "label")
        if name in (*EXPORTED_BINS, *model.export_bins):
            found["ml_bin_total, ml_reference_bin_ratio"] += 2 * coarse(column, reference_cells(column)).size
    if layouts["default"].coding and model.joint_window is not None:
        found["ml_multivariate_drift (and noise)"] = 2 * len(multivariate.METHODS)
    return +found
