"""`ml_exporter profile --compare`: how far one reference is from another, in the first one's bins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_exporter.config_model import Column as ColumnConfig
from ml_exporter.config_model import Model
from ml_exporter.delta import OWN_COLUMNS
from ml_exporter.drift import Column, comparison, floor_of
from ml_exporter.embeddings import CENTROID, embeddings_of
from ml_exporter.joint import Coding, tally_of
from ml_exporter.judged import Judged, label_codes
from ml_exporter.layout import Cells, Layout
from ml_exporter.profile import Embedding, NumericColumn, Profile
from ml_exporter.profile_cells import Counts, counts_of_profile
from ml_exporter.profile_data import Rows
from ml_exporter.profile_embeddings import NUMBERS
from ml_exporter.profile_joint import ROWS
from ml_exporter.profile_part import Feature, Part
from ml_exporter.sources.batch import ABSENT
from ml_exporter.stats import multivariate
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.centroid import centroid_distance, floor_at
from ml_exporter.stats.distance import METHODS, MINIMUM_ROWS, Method, distance, registered
from ml_exporter.stats.result import Unavailable, Value
from ml_exporter.tally import Tally
from ml_exporter.words import REASONS

TOGETHER = "columns together"
"""What stands for a column's name where several are looked at as one."""

_UNKNOWN = "the first one does not know them"

Limits = Callable[[str, str], float | None]
"""Gives the limit of a column by a method."""


@dataclass(frozen=True)
class Row:
    """One distance of one column; `note` says why there is none.

    `lost` are columns that the second reference does not have, or not as what they were.
    """

    column: str
    method: str = ""
    value: float | None = None
    limit: float | None = None
    floor: float | None = None
    rows: int = 0
    note: str = ""
    lost: bool = False

    @property
    def above(self) -> bool:
        """Whether it is beyond its limit and beyond chance. A column that is lost is."""
        if self.value is None or self.limit is None:
            return self.lost
        return self.value > max(self.limit, self.floor or 0.0)

    @property
    def unjudged(self) -> bool:
        """Whether there is a limit and nothing to compare with it."""
        return self.value is None and self.limit is not None

    @property
    def verdict(self) -> str:
        """What is to be said of it."""
        if self.value is None and not self.lost:
            return f"{'not judged' if self.unjudged else 'not compared'}: {self.note}"
        return self.note or ("above" if self.above else "")


@dataclass(frozen=True)
class Centroid:
    """The mean of a column's vectors, shape (d,), and of how many."""

    mean: FloatArray
    rows: int


@dataclass(frozen=True)
class Second:
    """What a second reference has, as the first one sees it.

    `counts` are in the first one's cells; `lost` says of a column that is not in them what has become of
    it; `together` are moments of the columns together, or why there are none; `new` are
    the columns that only the second one has.
    """

    counts: Mapping[str, Counts]
    lost: Mapping[str, str]
    together: Tally | str
    centroids: Mapping[str, Centroid] = field(default_factory=dict)
    new: Sequence[str] = ()


def compare(first: Profile, second: Second, limit: Limits) -> Iterator[Row]:
    """The distances of a second reference from the first.

    Each has its sampling noise at both numbers of rows.
    """
    embeddings = embeddings_of(first)
    for name, column in first.columns.items():
        if name in second.counts:
            for method in _methods(name, column, limit):
                yield _row(name, column, method, second.counts[name], limit(name, method.name))
            if name in embeddings:
                yield _centroid(name, embeddings[name], second.centroids.get(name), limit(name, CENTROID))
        elif name in OWN_COLUMNS and name not in second.lost:
            # New data have no labels yet, and data to train on no answers.
            yield Row(name, note="the second one has none")
        else:
            yield Row(name, note=second.lost.get(name, "is not in the second one"), lost=True)
    yield from _together(Layout(first).coding, second.together, limit)


def _methods(name: str, column: Column, limit: Limits) -> list[Method]:
    """Those whose noise the first reference knows, and those with a limit."""
    wanted = (*column.noise, *(method for method in METHODS if limit(name, method) is not None))
    return [found for method in dict.fromkeys(wanted) if (found := registered(method, column.kind))]


def _row(name: str, column: Column, method: Method, counts: Counts, limit: float | None) -> Row:
    sides = comparison(column, method, np.rint(counts).astype(np.int64))
    rows = int(sides.current.sum())
    result = distance(method, sides)
    if not isinstance(result, Value):
        return _unknown(name, method.name, result, limit, rows)
    noise = column.noise.get(method.name)
    floor = floor_of(column, noise.table, rows, int(sides.reference.sum())) if noise else None
    return Row(name, method.name, result.value, limit, floor, rows)


def _unknown(name: str, method: str, why: Unavailable, limit: float | None, rows: int) -> Row:
    return Row(name, method, limit=limit, rows=rows, note=REASONS[why.reason])


def _centroid(name: str, own: Embedding, other: Centroid | None, limit: float | None) -> Row:
    if other is None or other.rows < MINIMUM_ROWS:
        return _unknown(name, CENTROID, Unavailable("too_few_rows"), limit, other.rows if other else 0)
    known = np.asarray(own.centroid)
    if other.mean.shape != known.shape:
        note = f"vectors have {other.mean.size} numbers in the second one, {known.size} in the first"
        return Row(name, CENTROID, rows=other.rows, note=note, lost=True)
    value = centroid_distance(other.mean, known, own.deviation)
    return Row(name, CENTROID, value, limit, floor_at(own.floor, other.rows, own.rows), other.rows)


def _together(coding: Coding | None, found: Tally | str, limit: Limits) -> Iterator[Row]:
    if coding is None or isinstance(found, str):
        limits = (limit(TOGETHER, method) for method in multivariate.METHODS)
        known = [value for value in limits if value is not None]
        yield Row(
            TOGETHER, limit=min(known, default=None), note=found if isinstance(found, str) else _UNKNOWN
        )
        return
    rows = found.count("weight")
    for drift in coding.drifts(found, ""):
        own = limit(TOGETHER, drift.method)
        if isinstance(drift.result, Value):
            yield Row(TOGETHER, drift.method, drift.result.value, own, drift.noise, rows)
        else:
            yield _unknown(TOGETHER, drift.method, drift.result, own, rows)


def of_profile(first: Profile, second: Profile) -> Second:
    """What a second profile has."""
    counts = counts_of_profile(first, second)
    lost = {
        name: f"is {column.taken_for} in the second one"
        for name, column in second.columns.items()
        if name not in counts
    }
    lost |= {
        name: f"is ignored in the second one: {reason}"
        for name, reason in second.ignored.items()
        if name not in OWN_COLUMNS
    }
    return Second(
        counts,
        lost,
        "only data tell, not a profile",
        {name: Centroid(np.asarray(own.centroid), own.rows) for name, own in embeddings_of(second).items()},
        [name for name in second.columns if name not in first.columns],
    )


def of_rows(first: Profile, rows: Rows) -> Second:
    """What rows have, which are read with their columns taken for what the first profile took them for."""
    features = {feature.name: feature for feature in rows.features}
    counted = counts_of_rows(first, rows)
    counts = {name: found for name, found in counted.items() if found.any()}
    lost = {
        name: f"is not {column.taken_for} in the second one"
        for name, column in first.columns.items()
        if name in features and name not in counts
    }
    centroids = {
        name: found
        for name in embeddings_of(first)
        if name in counts and (found := _mean_vector(features[name], rows))
    }
    new = [name for name, feature in features.items() if feature.kind and name not in first.columns]
    return Second(counts, lost, _moments(first, features, rows, lost), centroids, new)


def _mean_vector(feature: Feature, rows: Rows) -> Centroid | None:
    vectors, _ = rows.sample.vectors(feature, NUMBERS // feature.size)
    return Centroid(vectors.mean(axis=0), len(vectors)) if len(vectors) else None


def as_in(model: Model, first: Profile) -> Model:
    """The model with its columns taken for what the first profile took them for."""
    columns = dict(model.columns)
    for name, column in first.columns.items():
        if name not in OWN_COLUMNS:
            own = columns.get(name, ColumnConfig())
            columns[name] = own.model_copy(update={"kind": column.taken_for})
    return model.model_copy(update={"columns": columns})


def counts_of_rows(first: Profile, rows: Rows) -> dict[str, Counts]:
    """Rows in the first profile's cells."""
    layout = Layout(first)
    features = {feature.name: feature for feature in rows.features}
    found: dict[str, Counts] = {}
    for name, cells in layout.cells.items():
        if name in OWN_COLUMNS:
            continue
        if name in features and features[name].kind:
            found[name] = _counted(rows, cells, partial(_feature_codes, layout, features[name]))
    answers = {name: cells for name, cells in layout.cells.items() if name in OWN_COLUMNS}
    for name, cells in answers.items():
        counts = _counted(rows, cells, partial(_answer_codes, layout, rows.classes, name))
        if counts[:-1].any():
            found[name] = counts
    return found


def _counted(rows: Rows, cells: Cells, codes: Callable[[Cells, Part], IntArray]) -> IntArray:
    total = np.zeros(cells.size, np.int64)
    for block in rows.blocks():
        total += np.bincount(codes(cells, block), minlength=cells.size)
    return total[: cells.bins]


def _feature_codes(layout: Layout, feature: Feature, cells: Cells, part: Part) -> IntArray:
    column = cells.column
    if isinstance(column, NumericColumn):
        return cells.numeric_codes(*part.numbers(feature))
    values = (*column.categories, *column.rare)
    codes: IntArray = layout.category_codes(cells.name, values)[part.category_codes(feature, values)]
    return codes


def _moments(
    first: Profile, features: Mapping[str, Feature], rows: Rows, lost: Mapping[str, str]
) -> Tally | str:
    """Moments of the columns together, of about 100,000 rows at most, or why there are none."""
    layout = Layout(first)
    coding = layout.coding
    if coding is None:
        return _UNKNOWN
    gone = [name for name in coding.tables if name not in features or name in lost]
    if gone:
        return f"the second one lacks {', '.join(gone)}"
    part = rows.sample
    every = max(1, -(-len(part) // ROWS))
    values = np.zeros((coding.size, -(-len(part) // every)))
    for name, tables in coding.tables.items():
        codes = _feature_codes(layout, features[name], layout.cells[name], part)[::every]
        for place, table in tables:
            values[place] = table[codes]
    return tally_of(values)


def _answer_codes(layout: Layout, classes: Sequence[str], name: str, cells: Cells, part: Part) -> IntArray:
    rows = part.judged()
    if name == "label":
        labelled = rows.labelled
        codes = np.full(len(rows), cells.invalid, np.int64)
        codes[labelled] = label_codes(layout, cells, rows.labels[labelled], classes)
        return codes
    if isinstance(cells.column, NumericColumn):
        return cells.numeric_codes(rows.scores, np.isnan(rows.scores))
    return _class_codes(layout, cells, rows, classes)


def _class_codes(layout: Layout, cells: Cells, rows: Judged, classes: Sequence[str]) -> IntArray:
    """Cells of what was decided: known classes, another one, none, and what is no class."""
    known = layout.category_codes(cells.name, classes)
    codes = known[np.clip(rows.classes, 0, len(classes))]
    codes[rows.classes == ABSENT] = cells.missing
    codes[rows.classes < ABSENT] = cells.invalid
    return codes


def print_comparison(rows: Sequence[Row], new: Sequence[str], title: str) -> None:
    """Print the distances, what is beyond its limit first, then what is not judged; `new` columns by name."""
    console = Console()
    table = Table("column", "method", "value", "limit", "noise", "rows", "", title=title)
    for row in sorted(rows, key=_rank):
        cells = (_number(value) for value in (row.value, row.limit, row.floor))
        table.add_row(escape(row.column), row.method, *cells, str(row.rows or ""), escape(row.verdict))
    console.print(table)
    for line in _conclusion(rows, new):
        console.print(line, markup=False, highlight=False)


def _conclusion(rows: Sequence[Row], new: Sequence[str]) -> Iterator[str]:
    above = dict.fromkeys(row.column for row in rows if row.above)
    unjudged = dict.fromkeys(row.column for row in rows if row.unjudged)
    left_out = [row.column for row in rows if not (row.method or row.lost or row.unjudged)]
    if new:
        yield f"only in the second one: {', '.join(new)}"
    if left_out:
        yield f"not compared: {', '.join(left_out)}"
    if above:
        yield f"above the limits: {', '.join(above)}"
    if unjudged:
        yield f"not judged: {', '.join(unjudged)}"
    if not above and not unjudged:
        yield "no column is above its limits"


def _rank(row: Row) -> tuple[bool, bool, float]:
    ratio = row.value / row.limit if row.value is not None and row.limit else 0.0
    return not row.above, not row.unjudged, -ratio


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
