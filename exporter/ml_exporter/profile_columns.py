"""The columns of a profile: what features and answers are taken for, and their rows by cell."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from ml_exporter.config import Model
from ml_exporter.drift import Column, methods_of
from ml_exporter.judged import Judged
from ml_exporter.profile import CategoricalColumn, Embedding, NumericColumn
from ml_exporter.profile_answers import digits
from ml_exporter.profile_bins import cut
from ml_exporter.profile_counts import (
    Counted,
    CountedCategories,
    CountedNumbers,
    Counter,
    Stretches,
    Take,
)
from ml_exporter.profile_data import CATEGORY_LIMIT, Rows
from ml_exporter.profile_embeddings import NUMBERS, embedding
from ml_exporter.profile_noise import MINIMUM_CHUNK_ROWS, Floors, noise_of, worst_shares
from ml_exporter.profile_part import Feature, Part
from ml_exporter.sources.batch import ABSENT, INVALID
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray

T = TypeVar("T")

_MOST_WORKERS = 4
RARE = 0.01
"""Share of the values below which categories are counted together."""
_FEW = 20
"""So few whole numbers may be codes, and so few texts are never too many for categories."""


@dataclass(frozen=True)
class Made:
    """A column without noise, its rows by stretch and cell, and what gives the cells of some rows."""

    column: Column
    counts: IntArray
    codes: Callable[[Any], IntArray]


class Maker:
    """Makes columns of the rows."""

    def __init__(self, model: Model, rows: Rows, stretches: Stretches) -> None:
        self._model, self._rows, self.stretches = model, rows, stretches
        self._counter = Counter(rows, stretches)
        self._floors = Floors()

    def features(self, complete: Callable[[str, Made], T]) -> Iterator[tuple[str, T | str]]:
        """What is made of each feature, or why it is ignored; a few are made at a time."""

        def made(feature: Feature) -> tuple[str, T | str]:
            found = self._feature(feature)
            if isinstance(found, str):
                return feature.name, found
            return feature.name, complete(feature.name, self._made([found])[0])

        # DuckDB and numpy let go of the interpreter where they work.
        workers = min(_MOST_WORKERS, os.cpu_count() or 1)
        with ThreadPoolExecutor(workers) as pool:
            for start in range(0, len(self._rows.features), 4 * workers):
                yield from pool.map(made, self._rows.features[start : start + 4 * workers])

    def own_columns(self) -> dict[str, Made | str]:
        """Columns of the model itself: score, prediction and label."""
        found = dict(_own_columns(self._rows))
        counted = [column for column in found.values() if not isinstance(column, str)]
        made = iter(self._made(counted, lambda part: part.judged()))
        return {name: column if isinstance(column, str) else next(made) for name, column in found.items()}

    def complete(self, name: str, made: Made, losses: tuple[float | None, ...]) -> Column:
        """A column with its losses, and what it shows without drift."""
        tables = {window: self.stretches.by_chunk(window, made.counts) for window in self.stretches.chunks}
        chunks = {window: table[table.sum(axis=1) >= MINIMUM_CHUNK_ROWS] for window, table in tables.items()}
        methods = methods_of(self._model, name, made.column)
        noise = noise_of(name, made.column, methods, chunks, self._floors)
        shares = {window: worst_shares(made.column, counts) for window, counts in chunks.items()}
        worst = {window: found for window, found in shares.items() if found}
        return made.column.model_copy(update={"losses": losses, "noise": noise, "worst": worst})

    def embedding(self, feature: Feature, seconds: Mapping[str, float]) -> Embedding | None:
        """Where the vectors of a column of embeddings lie."""
        vectors, times = self._rows.sample.vectors(feature, NUMBERS // feature.size)
        return embedding(vectors, times, seconds, self._rows.first, self._rows.last)

    def _made(
        self, columns: Sequence[Counted], view: Callable[[Part], Any] = lambda part: part
    ) -> list[Made]:
        counts = self._counter.count(columns, view)
        return [
            Made(column.column(rows.sum(axis=0)), rows, column.codes)
            for column, rows in zip(columns, counts, strict=True)
        ]

    def _feature(self, feature: Feature) -> Counted | str:
        if feature.kind == "categorical":
            return _categories(self._rows, feature)
        return _numbers(self._rows, feature) if feature.kind else feature.note


def _numbers(rows: Rows, feature: Feature) -> Counted | str:
    """A column of numbers, of lengths of texts or of ages."""
    values, missing = rows.sample.numbers(feature)
    finish = partial(_described, feature, values[~missing])
    return _cut(values, rows.ends(feature), partial(_numbers_of, feature), finish, fenced=True)


def _described(feature: Feature, sample: FloatArray, column: NumericColumn) -> NumericColumn:
    """The column with what it was taken for, and why; `sample` are some of its numbers."""
    note = feature.note
    if feature.kind == "text":
        empty = digits(np.count_nonzero(sample == 0.0) / sample.size)
        return column.model_copy(update={"source": "text", "note": note, "empty": empty})
    if feature.kind == "embedding":
        return column.model_copy(update={"source": "embedding", "note": note})
    if feature.kind == "timestamp":
        return column.model_copy(update={"source": "timestamp", "note": note})
    few = np.unique(sample).size
    if not feature.sure and few <= _FEW and not np.any(sample % 1):
        note += f"; {few} whole ones: if they are codes, configure it as integer_category"
    return column.model_copy(update={"note": note})


def _numbers_of(feature: Feature, part: Part) -> tuple[FloatArray, BoolArray]:
    return part.numbers(feature)


def _cut(
    sample: FloatArray,
    ends: tuple[float, float] | None,
    take: Take,
    finish: Callable[[NumericColumn], NumericColumn] = lambda column: column,
    fenced: bool = False,
) -> Counted | str:
    """A numeric column that is cut by some of its values."""
    finite = sample[np.isfinite(sample)]
    if ends is None or not finite.size:
        return "has no number"
    return CountedNumbers(cut(finite, *ends, fenced=fenced), take, finish)


def _probability(column: NumericColumn) -> NumericColumn:
    return column.model_copy(update={"minimum": 0.0, "maximum": 1.0})


def _own_columns(rows: Rows) -> Iterator[tuple[str, Counted | str]]:
    """Columns of the model itself, to be counted from judged rows."""
    sample, ends = rows.sample.judged(), _Ends()
    for block in rows.blocks():
        ends.add(block.judged())
    if not rows.classes:
        yield "prediction", _cut(sample.scores, ends.scores, _scores, fenced=True)
        if rows.labelled:
            # A row without a label is no row of the labels' distribution.
            yield "label", _cut(sample.labels, ends.labels, _labels)
        return
    if ends.scores is not None:
        yield "score", _cut(sample.scores, ends.scores, _scores, _probability)
    if ends.predicted:
        yield "prediction", _classes(rows.classes, _predicted)
    if rows.labelled:
        yield "label", _classes(rows.classes, _labelled)


@dataclass
class _Ends:
    """The least and the greatest score and label, and whether any row is decided."""

    scores: tuple[float, float] | None = None
    labels: tuple[float, float] | None = None
    predicted: bool = False

    def add(self, rows: Judged) -> None:
        """Look at more rows."""
        self.scores = _wider(self.scores, rows.scores)
        self.labels = _wider(self.labels, rows.labels)
        self.predicted |= bool(np.any(rows.classes >= 0))


def _wider(ends: tuple[float, float] | None, values: FloatArray) -> tuple[float, float] | None:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return ends
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if ends is None else (min(low, ends[0]), max(high, ends[1]))


def _scores(rows: Judged) -> tuple[FloatArray, BoolArray]:
    return rows.scores, np.isnan(rows.scores)


def _labels(rows: Judged) -> tuple[FloatArray, BoolArray]:
    return np.where(rows.labelled, rows.labels, np.inf), np.zeros(len(rows), np.bool_)


def _categories(rows: Rows, feature: Feature) -> Counted | str:
    found, number = rows.category_counts(feature, CATEGORY_LIMIT)
    if not found:
        return "has no value"
    total, singletons = sum(count for _, count in found), sum(count == 1 for _, count in found)
    if not feature.sure and (number > CATEGORY_LIMIT or (number > _FEW and 2 * singletons > total)):
        note = f"text with {number} different values, watched by its length"
        return _numbers(rows, replace(feature, kind="text", note=note))
    if number > CATEGORY_LIMIT:
        return f"has {number} categories, more than {CATEGORY_LIMIT}"
    frequent = tuple(name for name, count in found if count >= RARE * total)
    rare = sorted(name for name, count in found if count < RARE * total)
    column = _empty(frequent, rare).model_copy(update={"note": feature.note, "singletons": singletons})

    def take(part: Part) -> IntArray:
        codes = part.category_codes(feature, frequent)
        # What is not frequent is rare here, as the reference has seen it all.
        codes = np.where(codes == len(frequent), column.rare_code, codes)
        return np.where(codes == len(frequent) + 1, column.size, codes)

    return CountedCategories(column, take)


def _classes(classes: Sequence[str], take: Callable[[Judged], IntArray]) -> Counted:
    """A column of classes from codes; one that is INVALID is not counted."""
    column = _empty(classes, ())

    def cells(rows: Judged) -> IntArray:
        codes = take(rows)
        found = codes.copy()
        found[codes == ABSENT] = column.size
        found[codes < ABSENT] = column.size + 1
        return found

    return CountedCategories(column, cells)


def _predicted(rows: Judged) -> IntArray:
    return rows.classes.astype(np.int64)


def _labelled(rows: Judged) -> IntArray:
    return np.where(rows.labelled, rows.labels, INVALID).astype(np.int64)


def _empty(categories: Sequence[str], rare: Sequence[str]) -> CategoricalColumn:
    return CategoricalColumn(
        kind="categorical",
        categories=tuple(categories),
        rare=tuple(rare),
        counts=(0,) * (len(categories) + 2),
        missing=0,
    )
