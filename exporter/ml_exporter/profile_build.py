"""Builds a profile from rows: bins, the reference's counts, its own chunks and what noise does to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import TypeAlias

import numpy as np

from ml_exporter.config import Model
from ml_exporter.delta import OWN_COLUMNS
from ml_exporter.drift import Column
from ml_exporter.judged import Judged
from ml_exporter.layout import Layout
from ml_exporter.profile import CategoricalColumn, Chunks, Profile, ProfileError
from ml_exporter.profile_answers import digits, estimation, expected_loss, hourly_rhythm, reference_quality
from ml_exporter.profile_bins import numeric
from ml_exporter.profile_columns import Made, Maker
from ml_exporter.profile_counts import Stretches
from ml_exporter.profile_data import Rows
from ml_exporter.profile_joint import Gathered, joint_of
from ml_exporter.slots import Slots
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.distance import MINIMUM_ROWS
from ml_exporter.tasks import Task, task_of

Step: TypeAlias = Callable[[str, int, int], object]
"""Is told what is being done, how many steps are done, and how many there are (0: not known)."""


def build(
    model: Model,
    rows: Rows,
    time_scale: float = 1.0,
    progress: Step = lambda *_: None,
    trained_at: Mapping[str, int] = {},
) -> Profile:
    """Build a model's profile.

    Chunks are as long as the windows, times `time_scale` (for logs that are replayed faster than
    they were made). Raises ProfileError where there are no rows. `progress` is told each column,
    how many are done and how many there are; `trained_at` (microseconds) is by version.

    All rows are counted. Where to cut a column is seen on about a million of them, and what labelled
    rows say of answers on about a million of these.
    """
    if not len(rows):
        raise ProfileError(
            "the data have no rows with a time stamp; compare them with predictions.fields and the times given"
        )
    seconds = {window.name: window.seconds * time_scale for window in model.windows}
    maker = Maker(model, rows, Stretches(rows.first, rows.last, seconds))
    known = rows.known.judged()
    total = len(rows.features) + len(OWN_COLUMNS)
    progress("answers", 0, total)
    own = maker.own_columns()
    bare = _bare(model, rows, maker.stretches, seconds)
    seen = {name: made.column for name, made in own.items() if not isinstance(made, str)}
    losses = _losses(model, bare.model_copy(update={"columns": seen}), known)
    columns: dict[str, Column] = {}
    ignored: dict[str, str] = {}
    gathered = Gathered(rows.sample.times) if model.joint_window is not None else None
    embedded = {feature.name: feature for feature in rows.features if feature.kind == "embedding"}

    def complete(name: str, made: Made) -> tuple[Column, IntArray | None]:
        """The column with its losses and noise, and its cells on the sample where they are wanted."""
        mean = _mean_losses(made.column, made.codes(known if name in own else rows.known), losses)
        sampled = made.codes(rows.sample) if gathered is not None and name not in own else None
        return maker.complete(name, made, mean), sampled

    answers = ((name, made if isinstance(made, str) else complete(name, made)) for name, made in own.items())
    for name, found in chain(maker.features(complete), answers):
        progress(name, len(columns) + len(ignored), total)
        if isinstance(found, str):
            ignored[name] = found
            continue
        where = maker.embedding(embedded[name], seconds) if name in embedded else None
        if name in embedded and where is None:
            ignored[name] = "has no vector without gaps"
            continue
        columns[name], cells = found
        if where is not None:
            columns[name] = columns[name].model_copy(update={"embedding": where})
        if gathered is not None and cells is not None:
            gathered.add(name, columns[name], cells)
    joint = joint_of(gathered, seconds, rows.first, rows.last) if gathered else None
    times = {version: _text(time) for version, time in trained_at.items()}
    profile = bare.model_copy(
        update={"columns": columns, "ignored": ignored, "joint": joint, "trained_at": times}
    )
    return _with_answers(model, profile, known, time_scale)


def _bare(model: Model, rows: Rows, stretches: Stretches, seconds: Mapping[str, float]) -> Profile:
    """The profile without columns."""
    return Profile(
        format=1,
        model=model.name,
        task=model.task,
        rows=len(rows),
        labelled=rows.labelled,
        first=_text(rows.first),
        last=_text(rows.last),
        windows={
            window: Chunks(seconds=length, chunks=stretches.chunks[window])
            for window, length in seconds.items()
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


def _text(microseconds: int) -> str:
    return (
        datetime.fromtimestamp(int(microseconds) / 1e6, UTC)
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z")
    )
