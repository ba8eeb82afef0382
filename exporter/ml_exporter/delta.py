"""What reading a block adds: `read(block, now)` is pure, and the engine only merges what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np

from ml_exporter.config import Model
from ml_exporter.counting import count_inputs
from ml_exporter.embeddings import read_as
from ml_exporter.forms import label_form, prediction_form
from ml_exporter.groups import Counts
from ml_exporter.layout import Layout
from ml_exporter.profile import NumericColumn
from ml_exporter.sources import sql
from ml_exporter.sources.batch import Labels, Outcomes, Predictions
from ml_exporter.sources.blocks import Block
from ml_exporter.sources.database import Database
from ml_exporter.sources.decode import Fields, LabelDecoder, PredictionDecoder
from ml_exporter.sources.files import Position
from ml_exporter.sources.names import LONGEST
from ml_exporter.sources.outcomes import Letter
from ml_exporter.stats.arrays import IntArray
from ml_exporter.windows import step_of

OWN_COLUMNS = ("score", "prediction", "label")
"""Columns of a profile that are no features."""


@dataclass(frozen=True)
class Delta:
    """What one block adds.

    `counts` are tallies by version as the log names it, `outside` the accepted predictions that are
    in no window, `unexpected` the features that no profile knows, `newest` the latest accepted time stamp (microseconds), `ahead` how far time stamps are ahead of the clock, `position` how far the
    file is read. `predictions` (without features) and `labels` are the rows that wait, `letters` what
    was rejected if that is to be kept.
    """

    source: str
    position: Position
    outcomes: Outcomes
    newest: int | None
    counts: Mapping[str, Counts]
    outside: int = 0
    predictions: Predictions | None = None
    labels: Labels | None = None
    letters: Sequence[Letter] = ()
    unexpected: Sequence[str] = ()
    ahead: int = 0


class PredictionReader:
    """Reads a model's prediction log: blocks of lines in, deltas out."""

    def __init__(self, model: Model, layouts: Mapping[str, Layout], database: Database | None = None) -> None:
        self._steps = [step_of(window.seconds) for window in model.windows]
        self._kept = model.kept_panes
        self._joint = model.joint_window
        self._alert = model.windows.index(model.alert_window)
        self._layouts = layouts
        self._latency_limit = model.latency.limit if model.latency else None
        self._keep_letters = model.dead_letter is not None
        self._segment_names = model.segments
        self._features = _features(model, layouts)
        self._expected = expected_names(model, layouts)
        paths = feature_paths(model, layouts.values())
        self._decoder = PredictionDecoder(
            _fields(model),
            prediction_form(model, layouts),
            paths.numbers,
            paths.categories,
            paths.values,
            _known_versions(model, layouts),
            model.predictions.format,
            {name: feature_path(model, name) for name in model.segments if name not in paths.categories},
            database,
            paths.texts,
            paths.stamps,
            {
                name: column.regex
                for name, column in model.columns.items()
                if column.regex and name not in OWN_COLUMNS
            },
            paths.lists,
            model.predictions.where,
        )

    def read(self, block: Block, wall: int, clock: int | None, until: int | None = None) -> Delta:
        """Decode and count a block.

        `wall` is the wall clock, which `future` is judged by; `clock` is the time that windows are
        counted for, None for the newest row's own; rows after `until` are left unread. All in
        microseconds.
        """
        rows, outcomes = self._decoder.decode(block, wall)
        letters = self._decoder.letters() if self._keep_letters else ()
        if until is not None:
            outcomes["accepted"] -= int(np.count_nonzero(rows.times > until))
            rows = rows.take(rows.times <= until)
        newest = int(rows.times.max()) if len(rows) else None
        counts, outside = self._count(rows, clock if clock is not None else newest or 0)
        rows = replace(rows.without_features(), segments=self._segments(rows))
        return Delta(
            "predictions",
            block.end,
            +outcomes,
            newest,
            counts,
            outside,
            rows,
            letters=letters,
            unexpected=self._unexpected() if len(rows) else (),
            ahead=self._decoder.ahead,
        )

    def _unexpected(self) -> list[str]:
        """Features of a sample of the block's records that no profile knows."""
        if self._features is None:
            return []
        names = self._decoder.names(self._features) - self._expected
        return sorted(name for name in names if len(name) <= LONGEST)

    def _segments(self, rows: Predictions) -> dict[str, tuple[IntArray, Sequence[str]]]:
        """Values of all segments, those among them that are categories of the profile."""
        own = {
            name: (rows.categories[name], rows.category_values[name])
            for name in self._segment_names
            if name in rows.categories
        }
        return {**rows.segments, **own}

    def _count(self, rows: Predictions, clock: int) -> tuple[dict[str, Counts], int]:
        codes: dict[Layout, list[int]] = {}
        for code in np.flatnonzero(np.bincount(rows.versions)).tolist():
            layout = self._layouts.get(rows.version_names[code], self._layouts["default"])
            codes.setdefault(layout, []).append(code)
        counts: dict[str, Counts] = {}
        outside = 0
        for layout, own in codes.items():
            part = rows if len(codes) == 1 else rows.take(np.isin(rows.versions, own))
            found, out = count_inputs(
                part,
                layout,
                self._steps,
                clock,
                self._latency_limit,
                self._kept,
                self._joint,
                self._alert,
            )
            counts |= {rows.version_names[code]: item for code, item in found.items()}
            outside += out
        return counts, outside


class LabelReader:
    """Reads a model's label log: blocks of lines in, deltas out."""

    def __init__(self, model: Model, layouts: Mapping[str, Layout], database: Database | None = None) -> None:
        assert model.labels is not None
        self._keep_letters = model.dead_letter is not None
        fields = model.labels.fields
        self._decoder = LabelDecoder(
            Fields(id=fields.id, timestamp=fields.timestamp),
            label_form(model, layouts),
            model.labels.format,
            database,
            model.labels.where,
        )

    def read(self, block: Block, wall: int, until: int | None = None) -> Delta:
        """Decode a block; `wall` and `until` as in PredictionReader.read."""
        rows, outcomes = self._decoder.decode(block, wall)
        letters = self._decoder.letters() if self._keep_letters else ()
        if until is not None:
            outcomes["accepted"] -= int(np.count_nonzero(rows.times > until))
            rows = rows.take(rows.times <= until)
        newest = int(rows.times.max()) if rows.times.size else None
        ahead = self._decoder.ahead
        return Delta("labels", block.end, +outcomes, newest, {}, labels=rows, letters=letters, ahead=ahead)


class FeaturePaths(NamedTuple):
    """Where features stand in a record: numbers, texts and time stamps, categories with their values, and
    lists of numbers with their lengths.
    """

    numbers: dict[str, str]
    texts: dict[str, str]
    stamps: dict[str, str]
    categories: dict[str, str]
    values: dict[str, list[str]]
    lists: dict[str, tuple[str, int]]


def feature_paths(model: Model, layouts: Iterable[Layout]) -> FeaturePaths:
    """Return where the columns of profiles stand in a record; versions may differ in a column's kind."""
    found = FeaturePaths({}, {}, {}, {}, {}, {})
    sources = {"number": found.numbers, "text": found.texts, "timestamp": found.stamps}
    for layout in layouts:
        for name, cells in layout.cells.items():
            if name in OWN_COLUMNS:
                continue
            if isinstance(cells.column, NumericColumn) and cells.column.embedding is not None:
                own = cells.column.embedding
                found.lists[read_as(name, own)] = (feature_path(model, name), len(own.centroid))
            elif isinstance(cells.column, NumericColumn):
                sources[cells.column.source][name] = feature_path(model, name)
            else:
                found.categories[name] = feature_path(model, name)
                allowed = layout.constraint(name).allowed
                known = chain(found.values.get(name, ()), cells.column.categories, cells.column.rare, allowed)
                found.values[name] = list(dict.fromkeys(known))
    return found


def _features(model: Model, layouts: Mapping[str, Layout]) -> str | None:
    """Where the object of features stands; None where its names are listed, or no profile tells what they are."""
    features = model.predictions.fields.features
    known = any(layout.profile for layout in layouts.values())
    return features if known and isinstance(features, str) else None


def expected_names(model: Model, layouts: Mapping[str, Layout]) -> frozenset[str]:
    """Names of features that profiles or the configuration know, watched or not."""
    profiles = [layout.profile for layout in layouts.values() if layout.profile]
    known = (name for profile in profiles for name in (*profile.columns, *profile.ignored))
    return frozenset((*known, *model.columns, *model.segments))


def feature_path(model: Model, name: str) -> str:
    """Return the dotted path of a feature: below the object of features, or the path so named."""
    features = model.predictions.fields.features
    if isinstance(features, str):
        return f"{features}.{sql.escaped(name)}"
    if isinstance(features, Mapping):
        return features.get(name, sql.escaped(name))
    return next((path for path in features if sql.parts(path)[-1] == name), sql.escaped(name))


def _known_versions(model: Model, layouts: Iterable[str]) -> list[str]:
    """Versions that keep their name however many others the log has."""
    named = (model.champion, *model.shadow, *layouts)
    return list(dict.fromkeys(name for name in named if name and name != "default"))


def _fields(model: Model) -> Fields:
    fields = model.predictions.fields
    return Fields(
        timestamp=fields.timestamp,
        id=fields.id if model.labels else None,
        version=fields.version,
        latency_seconds=fields.latency_seconds,
        error=fields.error,
    )
