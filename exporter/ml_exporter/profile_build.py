"""Builds a profile from rows: bins, the reference's counts, its own chunks and what noise does to it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import numpy as np

from ml_exporter.config import Model
from ml_exporter.drift import Column, comparison, methods_of, reference_cells
from ml_exporter.forms import class_slots
from ml_exporter.judged import Judged
from ml_exporter.layout import Cells, Layout, grid_codes, grid_value
from ml_exporter.profile import (
    CategoricalColumn,
    Chunks,
    Floor,
    Noise,
    NumericColumn,
    Profile,
    ProfileError,
)
from ml_exporter.profile_answers import digits, estimation, expected_loss, hourly_rhythm, reference_quality
from ml_exporter.profile_data import CATEGORY_LIMIT, Feature, Rows
from ml_exporter.sources.batch import ABSENT, INVALID, ClassArray
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.distance import METHODS
from ml_exporter.stats.noise import simulate_floor
from ml_exporter.tasks import Task, task_of

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
    judged = rows.judged()
    times = judged.times
    chunks = {window.name: _chunks(times, window.seconds * time_scale) for window in model.windows}
    columns: dict[str, Column] = {}
    ignored: dict[str, str] = {}
    for name, made in _columns(rows, judged):
        progress(name)
        if isinstance(made, str):
            ignored[name] = made
        else:
            columns[name] = _with_noise(name, *made, chunks)
    profile = Profile(
        format=1,
        model=model.name,
        task=model.task,
        rows=len(rows),
        labelled=int(np.count_nonzero(judged.labelled)),
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
        quality={},
    )
    return _with_answers(model, profile, judged, time_scale)


def _with_answers(model: Model, profile: Profile, judged: Judged, time_scale: float) -> Profile:
    """Add what the labelled rows say."""
    rows = judged.take(judged.labelled)
    if not len(rows):
        return profile
    task = _task(model, profile)
    answers = Layout(profile).cells.get(task.answer_column)
    profile = profile.model_copy(
        update={
            # Hours of a log that was made at another pace are not those of the rows that are judged.
            "hourly": hourly_rhythm(task, rows) if time_scale == 1.0 else {},
            "expected_loss": expected_loss(task, answers, rows) if answers else None,
            "estimation": estimation(task, rows, numeric),
        }
    )
    quality = reference_quality(task, Layout(profile), rows)
    return profile.model_copy(update={"quality": quality})


def _task(model: Model, profile: Profile) -> Task:
    layout = Layout(profile)
    return task_of(model, class_slots(model, {"default": layout}), layout)


Made = tuple[Column, IntArray]
"""A column without noise, and each row's cell."""


def _columns(rows: Rows, judged: Judged) -> Iterator[tuple[str, Made | str]]:
    for feature in rows.features:
        if feature.kind == "numeric":
            yield feature.name, numeric(*rows.numbers(feature))
        elif feature.kind == "categorical":
            yield feature.name, _categorical(rows, feature)
        else:
            yield feature.name, feature.note
    scores, labels = judged.scores, judged.labels
    if not rows.classes:
        yield "prediction", numeric(scores, np.isnan(scores))
        if judged.labelled.any():
            # A row without a label is no row of the labels' distribution.
            yield "label", numeric(np.where(judged.labelled, labels, np.inf), np.zeros(labels.size, np.bool_))
        return
    if np.isfinite(scores).any():
        yield "score", _score(scores)
    if (judged.classes >= 0).any():
        yield "prediction", _classes(judged.classes, rows.classes)
    if judged.labelled.any():
        codes = np.where(judged.labelled, labels, INVALID).astype(np.int16)
        yield "label", _classes(codes, rows.classes)


def numeric(
    values: FloatArray, missing: BoolArray, bins: int = FINE_BINS
) -> tuple[NumericColumn, IntArray] | str:
    """Bin a numeric column of n rows into quantiles; a text says why it cannot be."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "has no number"
    center, scale = _center_and_scale(finite)
    distinct, counts = np.unique(finite, return_counts=True)
    fine = _edges(distinct, counts, bins if distinct.size > max(bins, _DISCRETE) else distinct.size)
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
        positions=tuple(digits(value) for value in positions),
        groups=tuple((np.unique(groups, return_inverse=True)[1]).tolist()),
        counts=tuple(counts.tolist()),
        missing=missing,
        minimum=float(finite.min()),
        maximum=float(finite.max()),
        mean=digits(finite.mean()),
        deviation=digits(deviation),
    )


def _center_and_scale(finite: FloatArray) -> tuple[float, float]:
    low, center, high = (digits(value) for value in np.quantile(finite, (0.25, 0.5, 0.75)))
    scale = digits(high - low) or digits(finite.std())
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


def _classes(codes: ClassArray, classes: Sequence[str]) -> Made:
    """A column of classes from codes; one that is INVALID is not counted."""
    size = len(classes)
    counts = np.bincount(codes[codes >= 0], minlength=size + 1)
    column = CategoricalColumn(
        kind="categorical",
        categories=tuple(classes),
        rare=(),
        counts=(*counts[:size].tolist(), int(counts[size]), 0),
        missing=int(np.count_nonzero(codes == ABSENT)),
    )
    cells = codes.astype(np.int64)
    cells[codes == ABSENT] = column.size
    cells[codes < ABSENT] = column.size + 1
    return column, cells


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
                worst[window] = digits(largest)
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


def _text(microseconds: int) -> str:
    return (
        datetime.fromtimestamp(int(microseconds) / 1e6, UTC)
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z")
    )
