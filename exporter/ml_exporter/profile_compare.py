"""`ml_exporter profile --compare`: how far one reference is from another, in the first one's bins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_exporter.config_model import Column as ColumnConfig
from ml_exporter.config_model import Model
from ml_exporter.delta import OWN_COLUMNS
from ml_exporter.drift import Column, comparison
from ml_exporter.judged import Judged, label_codes
from ml_exporter.layout import Cells, Layout
from ml_exporter.profile import CategoricalColumn, NumericColumn, Profile
from ml_exporter.profile_data import Rows
from ml_exporter.profile_part import Feature, Part
from ml_exporter.sources.batch import ABSENT
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.distance import METHODS, Method, distance, registered
from ml_exporter.stats.result import Value

Counts = FloatArray | IntArray
"""Rows by cell: bins, then `missing`."""


@dataclass(frozen=True)
class Row:
    """One distance of one column; `note` says what is to be said instead of it."""

    column: str
    method: str
    value: float | None
    limit: float | None
    floor: float | None
    rows: int
    note: str = ""

    @property
    def above(self) -> bool:
        """Whether it is beyond its limit and beyond chance. A column that is gone is."""
        if self.value is None:
            return self.limit is not None
        return self.limit is not None and self.value > max(self.limit, self.floor or 0.0)


def compare(
    first: Profile, second: Mapping[str, Counts], limit: Callable[[str, str], float | None]
) -> Iterator[Row]:
    """The distances of a second reference's columns, counted in the first one's cells.

    `limit` gives that of a column and method. Each distance has its sampling noise at both numbers of rows.
    """
    for name, column in first.columns.items():
        if name not in second:
            known = [found for method in column.noise if (found := limit(name, method)) is not None]
            yield Row(name, "", None, min(known, default=0.0), None, 0, "is not in the second one")
            continue
        for method in _methods(name, column, limit):
            yield _row(name, column, method, second[name], limit(name, method.name))


def _methods(name: str, column: Column, limit: Callable[[str, str], float | None]) -> list[Method]:
    """Those whose noise the first reference knows, and those with a limit."""
    wanted = (*column.noise, *(method for method in METHODS if limit(name, method) is not None))
    return [found for method in dict.fromkeys(wanted) if (found := registered(method, column.kind))]


def _row(name: str, column: Column, method: Method, counts: Counts, limit: float | None) -> Row:
    sides = comparison(column, method, np.rint(counts).astype(np.int64))
    result = distance(method, sides)
    rows = int(sides.current.sum())
    if not isinstance(result, Value):
        return Row(name, method.name, None, None, None, rows, f"cannot be computed: {result.reason}")
    noise = column.noise.get(method.name)
    floor = noise.table.at(rows, int(sides.reference.sum())) if noise else None
    return Row(name, method.name, result.value, limit, floor, rows)


def counts_of_profile(first: Profile, second: Profile) -> dict[str, Counts]:
    """Rows of the second profile in the first one's cells.

    Categories are told apart by name. Of a numeric bin that an edge of the first profile cuts, each side
    gets its share as if the rows lay evenly in it: at most the rows of the bins that are cut are misplaced,
    a twentieth at an edge.
    """
    found: dict[str, Counts] = {}
    for name, column in first.columns.items():
        other = second.columns.get(name)
        if isinstance(column, NumericColumn) and isinstance(other, NumericColumn):
            found[name] = _rebinned(column, other)
        elif isinstance(column, CategoricalColumn) and isinstance(other, CategoricalColumn):
            found[name] = _renamed(first, name, column, other)
    return found


def _rebinned(column: NumericColumn, other: NumericColumn) -> FloatArray:
    """Rows of another profile's column by cell; its end bins reach to its least and greatest value."""
    inner = np.asarray(other.edges) * other.scale + other.center
    low, high = min(other.minimum, inner[0]), max(other.maximum, inner[-1])
    bounds = np.concatenate([[low], inner, [high]])
    below = np.concatenate([[0], np.cumsum(other.counts)])
    edges = np.asarray(column.edges) * column.scale + column.center
    # A value on an edge is in the bin above it, so that up to an edge there are the rows below it.
    cut = np.concatenate([[0.0], np.interp(edges, bounds, below), [float(below[-1])]])
    return np.concatenate([np.diff(cut), [other.missing]])


def _renamed(first: Profile, name: str, column: CategoricalColumn, other: CategoricalColumn) -> IntArray:
    codes = Layout(first).category_codes(name, other.categories)[: len(other.categories)]
    counts = np.zeros(column.size + 1, np.int64)
    np.add.at(counts, codes, other.counts[: len(other.categories)])
    # The rare ones are told by name, not by number: what the first has not seen shares them evenly.
    rare = Layout(first).category_codes(name, other.rare)[: len(other.rare)]
    for code in rare:
        counts[code] += round(other.counts[other.rare_code] / len(rare))
    counts[column.size] = other.missing
    return counts


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
        if name in features:
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


def print_comparison(rows: Sequence[Row], only_second: Sequence[str], title: str) -> None:
    """Print the distances, what is beyond its limit first."""
    console = Console()
    table = Table("column", "method", "value", "limit", "noise", "rows", "", title=title)
    for row in sorted(rows, key=_rank):
        cells = (_number(value) for value in (row.value, row.limit, row.floor))
        told = row.note or ("above" if row.above else "")
        table.add_row(escape(row.column), row.method, *cells, str(row.rows), told)
    console.print(table)
    if only_second:
        console.print(f"only in the second one: {', '.join(only_second)}", markup=False, highlight=False)
    above = dict.fromkeys(row.column for row in rows if row.above)
    console.print(
        f"above the limits: {', '.join(above)}" if above else "no column is above its limits",
        markup=False,
        highlight=False,
    )


def _rank(row: Row) -> tuple[bool, float]:
    ratio = row.value / row.limit if row.value is not None and row.limit else 0.0
    return not row.above, -ratio


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"
