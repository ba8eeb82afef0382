"""Builds a profile from rows: bins, the reference's counts, its own chunks and what noise does to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain

import numpy as np

from ml_exporter.config import Model
from ml_exporter.drift import Column, methods_of
from ml_exporter.judged import Judged
from ml_exporter.layout import Layout
from ml_exporter.profile import (
    CategoricalColumn,
    Chunks,
    NumericColumn,
    Profile,
    ProfileError,
)
from ml_exporter.profile_answers import digits, estimation, expected_loss, hourly_rhythm, reference_quality
from ml_exporter.profile_bins import numeric
from ml_exporter.profile_data import CATEGORY_LIMIT, Feature, Rows
from ml_exporter.profile_noise import Floors, chunk_counts, noise_of, worst_shares
from ml_exporter.slots import Slots
from ml_exporter.sources.batch import ABSENT, INVALID, ClassArray
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.distance import MINIMUM_ROWS
from ml_exporter.tasks import Task, task_of

_RARE = 0.01
_FEW = 20
"""So few whole numbers may be codes, and so few texts are never too many for categories."""


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
    chunks = {window.name: _chunks(judged.times, window.seconds * time_scale) for window in model.windows}
    profile = _without_columns(model, rows, judged, chunks, time_scale)
    own = dict(_own_columns(rows, judged))
    seen = {name: made[0] for name, made in own.items() if not isinstance(made, str)}
    losses = _losses(model, profile.model_copy(update={"columns": seen}), judged)
    columns: dict[str, Column] = {}
    ignored: dict[str, str] = {}
    floors = Floors()
    for name, made in chain(_features(rows), own.items()):
        progress(name)
        if isinstance(made, str):
            ignored[name] = made
            continue
        column, codes = made
        noise = noise_of(name, column, methods_of(model, name, column), codes, chunks, floors)
        shares = {
            window: worst_shares(column, chunk_counts(column, codes, chunk))
            for window, chunk in chunks.items()
        }
        worst = {window: found for window, found in shares.items() if found}
        columns[name] = column.model_copy(
            update={"losses": _mean_losses(column, codes, losses), "noise": noise, "worst": worst}
        )
    profile = profile.model_copy(update={"columns": columns, "ignored": ignored})
    return _with_answers(model, profile, judged, time_scale)


def _without_columns(
    model: Model, rows: Rows, judged: Judged, chunks: dict[str, IntArray], time_scale: float
) -> Profile:
    return Profile(
        format=1,
        model=model.name,
        task=model.task,
        rows=len(rows),
        labelled=int(np.count_nonzero(judged.labelled)),
        first=_text(judged.times[0]),
        last=_text(judged.times[-1]),
        windows={
            window.name: Chunks(
                seconds=window.seconds * time_scale, chunks=int(chunks[window.name].max()) + 1
            )
            for window in model.windows
        },
        columns={},
        ignored={},
        quality={},
    )


def _losses(model: Model, profile: Profile, judged: Judged) -> FloatArray:
    """The main loss of each of n rows, NaN where it has none; `profile` has the model's own columns."""
    found = np.full(judged.times.size, np.nan)
    if judged.labelled.any():
        task = _task(model, profile)
        found[judged.labelled] = task.losses(judged.take(judged.labelled))[task.main_loss]
    return found


def _mean_losses(column: Column, codes: IntArray, losses: FloatArray) -> tuple[float | None, ...]:
    """Mean loss of each cell's rows, None where too few have one."""
    known = np.isfinite(losses) & (codes <= column.size)
    if not known.any():
        return ()
    rows = np.bincount(codes[known], minlength=column.size + 1)
    sums = np.bincount(codes[known], weights=losses[known], minlength=column.size + 1)
    return tuple(
        digits(total / n) if n >= MINIMUM_ROWS else None
        for total, n in zip(sums.tolist(), rows.tolist(), strict=True)
    )


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
    column = profile.columns.get("label")
    # In the order in which the rows have their probabilities.
    classes = column.categories if isinstance(column, CategoricalColumn) else ()
    return task_of(model, Slots(model.class_limit, classes), Layout(profile))


Made = tuple[Column, IntArray]
"""A column without noise, and each row's cell."""


def _features(rows: Rows) -> Iterator[tuple[str, Made | str]]:
    for feature in rows.features:
        if feature.kind == "categorical":
            yield feature.name, _categorical(rows, feature)
        elif feature.kind:
            yield feature.name, _numeric(rows, feature)
        else:
            yield feature.name, feature.note


def _numeric(rows: Rows, feature: Feature) -> Made | str:
    """A column of numbers, of lengths of texts or of ages."""
    values, missing = rows.numbers(feature)
    made = numeric(values, missing, fenced=True)
    if isinstance(made, str):
        return made
    column, codes = made
    note, known = feature.note, values[~missing]
    if feature.kind == "text":
        empty = digits(np.count_nonzero(known == 0.0) / known.size)
        return column.model_copy(update={"source": "text", "note": note, "empty": empty}), codes
    if feature.kind == "timestamp":
        return column.model_copy(update={"source": "timestamp", "note": note}), codes
    few = sum(count > 0 for count in column.counts)
    if not feature.sure and few <= _FEW and not np.any(known % 1):
        note += f"; {few} whole ones: if they are codes, configure it as integer_category"
    return column.model_copy(update={"note": note}), codes


def _own_columns(rows: Rows, judged: Judged) -> Iterator[tuple[str, Made | str]]:
    """Columns of the model itself: score, prediction and label."""
    scores, labels = judged.scores, judged.labels
    if not rows.classes:
        yield "prediction", numeric(scores, np.isnan(scores), fenced=True)
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


def _categorical(rows: Rows, feature: Feature) -> Made | str:
    found = rows.category_counts(feature)
    if not found:
        return "has no value"
    total, singletons = sum(count for _, count in found), sum(count == 1 for _, count in found)
    if not feature.sure and (len(found) > CATEGORY_LIMIT or (len(found) > _FEW and 2 * singletons > total)):
        note = f"text with {len(found)} different values, watched by its length"
        return _numeric(rows, replace(feature, kind="text", note=note))
    if len(found) > CATEGORY_LIMIT:
        return f"has {len(found)} categories, more than {CATEGORY_LIMIT}"
    frequent = [(name, count) for name, count in found if count >= _RARE * total]
    rare = sorted(name for name, count in found if count < _RARE * total)
    counts = (*(count for _, count in frequent), total - sum(count for _, count in frequent), 0)
    column = CategoricalColumn(
        kind="categorical",
        note=feature.note,
        singletons=singletons,
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


def _text(microseconds: int) -> str:
    return (
        datetime.fromtimestamp(int(microseconds) / 1e6, UTC)
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z")
    )
