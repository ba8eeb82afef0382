"""Builds a profile from rows: bins, the reference's counts, its own chunks and what noise does to it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ml_exporter.config import Model
from ml_exporter.drift import Column, comparison, methods_of, reference_cells
from ml_exporter.layout import Cells, grid_codes, grid_value
from ml_exporter.profile import (
    CategoricalColumn,
    Chunks,
    Floor,
    Noise,
    NumericColumn,
    Profile,
    ProfileError,
    Reference,
)
from ml_exporter.profile_data import CATEGORY_LIMIT, Feature, Rows
from ml_exporter.sources.batch import ABSENT, NEGATIVE, POSITIVE
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.classification import BINARY_METRICS, BinaryEvidence
from ml_exporter.stats.distance import METHODS
from ml_exporter.stats.noise import simulate_floor
from ml_exporter.stats.result import Value

FINE_BINS, COARSE_BINS = 20, 10
MINIMUM_CHUNKS, MINIMUM_CHUNK_ROWS = 10, 50
_STEPS_OUTSIDE = (0.0, 0.5, 1.0, 2.0, 4.0)  # standard deviations beyond the reference's ends
_RARE = 0.01
_DISCRETE = 32


def build(
    model: Model, rows: Rows, time_scale: float = 1.0, progress: Callable[[str], object] = str
) -> Profile:
    """Build a model's profile.

    Chunks are as long as the windows, times `time_scale` (for logs that are replayed faster than
    they were made). Raises ProfileError where there are no rows. `progress` is told each column.
    """
    if not len(rows):
        raise ProfileError(
            "the data have no rows with a time stamp; compare them with predictions.fields and the times given"
        )
    times, labels = rows.times(), rows.classes("label")
    chunks = {window.name: _chunks(times, window.seconds * time_scale) for window in model.windows}
    columns: dict[str, Column] = {}
    ignored: dict[str, str] = {}
    for name, made in _columns(rows, labels):
        progress(name)
        if isinstance(made, str):
            ignored[name] = made
        else:
            columns[name] = _with_noise(name, *made, chunks)
    return Profile(
        format=1,
        model=model.name,
        task="binary",
        rows=len(rows),
        labelled=int(np.count_nonzero(labels >= NEGATIVE)),
        first=_text(times[0]),
        last=_text(times[-1]),
        windows={
            window.name: Chunks(
                seconds=window.seconds * time_scale, chunks=int(chunks[window.name].max()) + 1
            )
            for window in model.windows
        },
        columns=columns,
        ignored=ignored,
        quality=_quality(rows.scores(), rows.classes("class"), labels),
    )


Made = tuple[Column, IntArray]
"""A column without noise, and each row's cell."""


def _columns(rows: Rows, labels: Any) -> Iterator[tuple[str, Made | str]]:
    for feature in rows.features:
        if feature.kind == "numeric":
            yield feature.name, numeric(*rows.numbers(feature))
        elif feature.kind == "categorical":
            yield feature.name, _categorical(rows, feature)
        else:
            yield feature.name, feature.note
    scores = rows.scores()
    if np.isfinite(scores).any():
        yield "score", _score(scores)
    classes = rows.classes("class")
    if (classes >= NEGATIVE).any():
        yield "prediction", _classes(classes)
    if (labels >= NEGATIVE).any():
        yield "label", _classes(labels[labels >= NEGATIVE], cells=labels)


def numeric(values: FloatArray, missing: BoolArray) -> Made | str:
    """Bin a numeric column of n rows; a text says why it cannot be."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "has no number"
    center, scale = _center_and_scale(finite)
    distinct, counts = np.unique(finite, return_counts=True)
    fine = _edges(distinct, counts, FINE_BINS if distinct.size > _DISCRETE else distinct.size)
    coarse = _edges(distinct, counts, COARSE_BINS)
    snapped = [_snap(edges, center, scale) for edges in (fine, coarse)]
    inner = np.concatenate(snapped)
    low, high = _outer_edges(distinct, finite.std() or scale, center, scale)
    edges = np.unique(np.concatenate([low, inner[(inner > low[-1]) & (inner < high[0])], high]))
    deviation = float(finite.std())
    column = _binned(finite, edges, snapped[1], center, scale, deviation, int(missing.sum()))
    cells = Cells("", column, 0)
    return column, cells.numeric_codes(values, missing)


def _outer_edges(
    distinct: FloatArray, step: float, center: float, scale: float
) -> tuple[FloatArray, FloatArray]:
    """Edges at the reference's ends and beyond: nothing of the reference is outside the innermost two."""
    steps = np.asarray(_STEPS_OUTSIDE) * float(step)
    last, next_to_it = grid_codes(distinct[-1] + np.asarray([0.0, 1e-3 * step]), center, scale)
    above = grid_value(np.asarray([max(last + 1, next_to_it)], np.uint32))
    low = _snap(distinct[0] - steps, center, scale)
    high = _snap(above * scale + center + steps, center, scale)
    return low, np.union1d(above, high[high > above])


def _binned(
    finite: FloatArray,
    edges: FloatArray,
    coarse: FloatArray,
    center: float,
    scale: float,
    deviation: float,
    missing: int,
) -> NumericColumn:
    codes = np.searchsorted(edges, grid_value(grid_codes(finite, center, scale)), side="right")
    counts = np.bincount(codes, minlength=edges.size + 1)
    sums = np.bincount(codes, weights=finite, minlength=edges.size + 1)
    bounds = edges * scale + center
    step = 2 * (deviation or 1.0)
    middles = np.concatenate([[bounds[0] - step], (bounds[1:] + bounds[:-1]) / 2, [bounds[-1] + step]])
    positions = np.where(counts > 0, sums / np.maximum(counts, 1), middles)
    groups = np.searchsorted(coarse, np.concatenate([[-np.inf], edges]), side="right")
    return NumericColumn(
        kind="numeric",
        center=center,
        scale=scale,
        edges=tuple(edges.tolist()),
        positions=tuple(_digits(value) for value in positions),
        groups=tuple((np.unique(groups, return_inverse=True)[1]).tolist()),
        counts=tuple(counts.tolist()),
        missing=missing,
        minimum=float(finite.min()),
        maximum=float(finite.max()),
        mean=_digits(finite.mean()),
        deviation=_digits(deviation),
    )


def _center_and_scale(finite: FloatArray) -> tuple[float, float]:
    low, center, high = (_digits(value) for value in np.quantile(finite, (0.25, 0.5, 0.75)))
    scale = _digits(high - low) or _digits(finite.std())
    return center, scale if scale > 0 else 1.0


def _edges(distinct: FloatArray, counts: IntArray, bins: int) -> FloatArray:
    """Edges of quantile bins, each half-way between two neighbouring values, so heavy values stand alone."""
    if distinct.size <= bins:
        return (distinct[1:] + distinct[:-1]) / 2
    shares = np.cumsum(counts) / counts.sum()
    cuts = np.unique(np.searchsorted(shares, np.arange(1, bins) / bins - 1e-12))
    heavy = np.flatnonzero(counts >= counts.sum() / bins)
    cuts = np.unique(np.concatenate([cuts, heavy, heavy - 1]))
    cuts = cuts[(cuts >= 0) & (cuts < distinct.size - 1)]
    return (distinct[cuts] + distinct[cuts + 1]) / 2


def _snap(edges: FloatArray, center: float, scale: float) -> FloatArray:
    return np.unique(grid_value(grid_codes(edges, center, scale)))


def _categorical(rows: Rows, feature: Feature) -> Made | str:
    found = rows.category_counts(feature)
    if not found:
        return "has no value"
    if len(found) > CATEGORY_LIMIT:
        return f"has {len(found)} categories, more than {CATEGORY_LIMIT}"
    total = sum(count for _, count in found)
    frequent = [(name, count) for name, count in found if count >= _RARE * total]
    rare = sorted(name for name, count in found if count < _RARE * total)
    counts = (*(count for _, count in frequent), total - sum(count for _, count in frequent), 0)
    column = CategoricalColumn(
        kind="categorical",
        categories=tuple(name for name, _ in frequent),
        rare=tuple(rare),
        counts=counts,
        missing=len(rows) - total,
    )
    codes = rows.category_codes(feature, column.categories)
    # What is not frequent is rare here, as the reference has seen it all.
    codes = np.where(codes == len(frequent), column.rare_code, codes)
    return column, np.where(codes == len(frequent) + 1, column.size, codes)


def _score(scores: FloatArray) -> Made | str:
    made = numeric(scores, np.isnan(scores))
    if isinstance(made, str):
        return made
    column, codes = made
    assert isinstance(column, NumericColumn)
    return column.model_copy(update={"minimum": 0.0, "maximum": 1.0}), codes


def _classes(values: Any, cells: Any | None = None) -> Made:
    counted = [int(np.count_nonzero(values == code)) for code in (NEGATIVE, POSITIVE)]
    column = CategoricalColumn(
        kind="categorical",
        categories=("negative", "positive"),
        rare=(),
        counts=(*counted, 0, 0),
        missing=int(np.count_nonzero(values == ABSENT)),
    )
    codes = (values if cells is None else cells).astype(np.int64)
    return column, np.where(
        codes == ABSENT,
        column.size if cells is None else column.size + 1,
        np.where(codes < ABSENT, column.size + 1, codes),
    )


def _chunks(times: IntArray, seconds: float) -> IntArray:
    """Number of each row's chunk, -1 in the last one, which is not complete."""
    length = round(seconds * 1e6)
    chunks = (times - times[0]) // length
    complete = (times[-1] - times[0]) // length
    return np.where(chunks < complete, chunks, -1)


def _with_noise(name: str, column: Column, codes: IntArray, chunks: dict[str, IntArray]) -> Column:
    noise = {}
    cells = column.size + 1
    for method in methods_of(column):
        sides = comparison(column, method, reference_cells(column))
        # One stream a column and method, so that a column's noise does not hang on its neighbours.
        rng = np.random.default_rng(zlib.crc32(f"{name} {method.name}".encode()))
        table = simulate_floor(method, sides.reference, rng, sides.positions, sides.scale)
        worst = {}
        for window, chunk in chunks.items():
            largest = _largest_chunk(column, method.name, codes, chunk, cells)
            if largest is not None:
                worst[window] = _digits(largest)
        data = table.to_json()
        floor = Floor(
            quantile=data["quantile"], sizes=data["sizes"], ratios=data["ratios"], scaled=data["scaled"]
        )
        noise[method.name] = Noise(method=method.name, floor=floor, chunks=worst)
    return column.model_copy(update={"noise": noise})


def _largest_chunk(column: Column, method: str, codes: IntArray, chunk: IntArray, cells: int) -> float | None:
    """The largest distance of one chunk from the rest, None where there are too few chunks."""
    number = int(chunk.max()) + 1
    counted = (chunk >= 0) & (codes < cells)
    counts = np.bincount(chunk[counted] * cells + codes[counted], minlength=number * cells).reshape(
        number, cells
    )
    counts = counts[counts.sum(axis=1) >= MINIMUM_CHUNK_ROWS]
    if len(counts) < MINIMUM_CHUNKS:
        return None
    rest = reference_cells(column) - counts
    sides = comparison(column, METHODS[method], counts, rest)
    filled = (sides.current.sum(axis=-1) > 0) & (sides.reference.sum(axis=-1) > 0)
    if not filled.any():
        return None
    sides = comparison(column, METHODS[method], counts[filled], rest[filled])
    return float(np.max(METHODS[method].function(sides)))


def _quality(scores: FloatArray, classes: Any, labels: Any) -> dict[str, Reference]:
    chosen = (labels >= NEGATIVE) & (classes >= NEGATIVE) & (scores >= 0) & (scores <= 1)
    if not chosen.any():
        return {}
    found = BinaryEvidence.of(scores[chosen], classes[chosen] == POSITIVE, labels[chosen] == POSITIVE)
    results = {name: metric(found, 1.0) for name, metric in BINARY_METRICS.items()}
    return {
        name: Reference(
            value=_digits(result.value), lower=_maybe(result.lower), upper=_maybe(result.upper), n=result.n
        )
        for name, result in results.items()
        if isinstance(result, Value)
    }


def _maybe(value: float | None) -> float | None:
    return None if value is None else _digits(value)


def _digits(value: float) -> float:
    """Round to nine significant digits, so that the last bits of a sum do not change the file."""
    return float(f"{float(value):.9g}")


def _text(microseconds: int) -> str:
    return (
        datetime.fromtimestamp(int(microseconds) / 1e6, UTC)
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z")
    )
