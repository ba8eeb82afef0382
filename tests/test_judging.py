"""Judged rows as counts: parts add up to the whole, correlated blocks show, short windows borrow from longer."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.rows import layout as binary_layout
from tests.support.rows import numeric

from ml_exporter.concept import Watch
from ml_exporter.hours import HOUR
from ml_exporter.judged import Judged
from ml_exporter.judging import Judging
from ml_exporter.layout import Layout
from ml_exporter.profile import CategoricalColumn
from ml_exporter.slots import Slots
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.tally import Tally
from ml_exporter.tasks.binary import Binary
from ml_exporter.tasks.multiclass import Multiclass
from ml_exporter.tasks.regression import Regression
from ml_exporter.tasks.task import Known, Task
from ml_exporter.version import VersionState
from ml_exporter.windows import PANES

TASKS = ("binary", "multiclass", "regression")
STEPS = (60_000_000, 3_600_000_000)
DAY = 24 * HOUR
RHYTHM = tuple(0.1 + 0.01 * hour for hour in range(24))
CLASSES = ("a", "b", "c")


def task_named(name: str, ranked: bool = True) -> Task:
    if name == "binary":
        return Binary(scored=True, segment_roc_auc=ranked)
    if name == "regression":
        return Regression(center=1.0, tolerance=0.5)
    return Multiclass(Slots(20, CLASSES), None)


def layout_of(task: Task) -> Layout:
    """A layout with bins of scores and labels, and a rhythm of the day."""
    profile = binary_layout().profile
    assert profile is not None
    columns = dict(profile.columns)
    if task.name == "regression":
        columns = {"prediction": numeric([0.0, 1.0]), "label": numeric([0.0, 0.5, 1.0])}
    else:
        names = CLASSES if task.name == "multiclass" else task.classes
        counts = (*(5 for _ in names), 1, 0)
        columns["label"] = CategoricalColumn(
            kind="categorical", categories=names, rare=(), counts=counts, missing=0
        )
    hourly = dict.fromkeys(task.rhythm, RHYTHM)
    return Layout(profile.model_copy(update={"task": task.name, "columns": columns, "hourly": hourly}))


def rows_of(task: Task, n: int, seed: int, span: int = 2 * DAY, segments: int = 2) -> Judged:
    """Random rows with all that can be odd: no label, no score, scores that are none, classes that are none."""
    draw = np.random.default_rng(seed)
    times = np.sort(draw.integers(0, span, n)) + 400 * DAY
    scores, details = draw.uniform(-0.1, 1.1, n).round(2), None
    classes = draw.choice(np.asarray([-2, -1, 0, 1, 1, 0]), n).astype(np.int16)
    labels = draw.integers(0, 2, n).astype(np.float64)
    if task.name == "multiclass":
        details = draw.dirichlet(np.ones(3), n).round(3)
        details[draw.uniform(size=details.shape) < 0.05] = np.nan
        classes, labels = draw.integers(-2, 4, n).astype(np.int16), draw.integers(0, 4, n).astype(np.float64)
    if task.name == "regression":
        scores, labels = draw.normal(1, 2, n).round(3), draw.normal(1, 2, n).round(3)
        details = np.stack([scores - 1, scores + 1], axis=1)
        details[draw.uniform(size=n) < 0.2] = np.nan
    scores[draw.uniform(size=n) < 0.1] = np.nan
    scores[draw.uniform(size=n) < 0.05] = np.inf
    labels[draw.uniform(size=n) < 0.3] = np.nan
    return Judged(times, scores, classes, details, labels, draw.integers(0, 5, (n, segments)))


def counted(judging: Judging, rows: Judged, clock: int) -> tuple[Tally, dict[tuple[int, int], Tally]]:
    found = judging.count(rows, Known.of(rows, judging.task), STEPS, clock)
    return found.total, dict(found.panes)


def same(first: Tally, second: Tally, ranked: bool = True) -> None:
    assert first.arrays.keys() == second.arrays.keys()
    for name, array in first.arrays.items():
        np.testing.assert_allclose(array, second[name], rtol=1e-9, atol=1e-9, err_msg=name)
    if ranked and first.histogram is not None:
        assert second.histogram is not None
        np.testing.assert_array_equal(first.histogram.keys, second.histogram.keys)
        np.testing.assert_array_equal(first.histogram.counts, second.histogram.counts)


@pytest.mark.parametrize("name", TASKS)
@settings(max_examples=10)
@given(st.integers(0, 60), st.integers(0, 10**6), st.lists(st.integers(0, 2), min_size=60, max_size=60))
def test_parts_add_up_to_the_whole(name: str, n: int, seed: int, parts: list[int]) -> None:
    """However rows are cut, by blocks of a log or by cycles."""
    task = task_named(name)
    judging = Judging(task, layout_of(task), 2, 5)
    rows, chosen = rows_of(task, n, seed), np.asarray(parts[:n], np.int64)
    clock = 402 * DAY
    total, panes = counted(judging, rows, clock)
    sums, pane_sums = Tally.zeros(judging.shape), dict[tuple[int, int], Tally]()
    for part in range(3):
        own, own_panes = counted(judging, rows.take(chosen == part), clock)
        sums = sums + own
        for key, tally in own_panes.items():
            pane_sums[key] = pane_sums[key] + tally if key in pane_sums else tally
    same(total, sums)
    assert panes.keys() == pane_sums.keys()
    for key, tally in panes.items():
        same(tally, pane_sums[key])
    # All rows lie within the longer window.
    longer = [tally for (window, _), tally in panes.items() if window == 1]
    same(Tally.sum(judging.shape, longer), judging.whole(rows))
    same(total, judging.whole(rows), ranked=False)


@pytest.mark.parametrize("name", TASKS)
def test_counts_that_no_task_does_itself(name: str) -> None:
    task = task_named(name)
    layout = layout_of(task)
    judging, rows = Judging(task, layout, 2, 5), rows_of(task, 400, 7)
    found = judging.whole(rows)
    labelled = ~np.isnan(rows.labels)
    assert (found.count("mature"), found.count("labelled")) == (400, int(labelled.sum()))
    assert rows.segments is not None
    for segment, codes in enumerate(rows.segments.T):
        for value in range(5):
            part = rows.take(codes == value)
            own = judging.whole(part)
            assert found["segment_rows"][segment, value] == own.count("labelled")
            np.testing.assert_allclose(
                found["segments"][segment, value], own["segments"][segment].sum(axis=0), rtol=1e-9
            )
    hours = (rows.times // HOUR) % 24
    values = task.rhythmic(Known.of(rows, task))
    for place in range(len(task.rhythm)):
        entered = np.isfinite(values[place])
        assert found["expected"][place] == pytest.approx(np.asarray(RHYTHM)[hours[labelled]][entered].sum())
    assert found["labels"].sum() == labelled.sum()


def test_labels_that_are_numbers_fall_in_the_profiles_bins() -> None:
    task = task_named("regression")
    rows = rows_of(task, 300, 1)
    known = rows.labels[~np.isnan(rows.labels)]
    edges = [-np.inf, 0.0, 0.5, 1.0, np.inf]
    expected = [int(np.sum((known >= low) & (known < high))) for low, high in pairwise(edges)]
    found = Judging(task, layout_of(task)).whole(rows)["labels"].tolist()
    # The grid's edges are those of the profile within 0.8 %.
    assert np.abs(np.asarray(found) - [*expected, 0]).max() <= 3
    assert sum(found) == known.size


def test_selection_has_the_scores_of_labelled_rows_beside_those_of_all() -> None:
    task = task_named("binary")
    rows = rows_of(task, 300, 2)
    selection = Judging(task, layout_of(task), 2, 5).whole(rows)["selection"]
    labelled = ~np.isnan(rows.labels)
    assert selection[0].sum() == np.sum(labelled & ~np.isinf(rows.scores))
    assert selection[1].sum() == np.sum(~np.isinf(rows.scores))
    assert selection[1][-1] == np.sum(np.isnan(rows.scores))
    assert (selection[0] <= selection[1]).all()


def test_segments_are_ranked_by_their_own_rows() -> None:
    task = task_named("binary")
    judging, rows = Judging(task, layout_of(task), 2, 5), rows_of(task, 500, 3)
    assert rows.segments is not None
    found = judging.whole(rows)["segment_scores"]
    for value in range(5):
        part = rows.take(rows.segments[:, 1] == value)
        own = judging.whole(part)
        assert found[1, value].sum() == own.count("scored")
        assert found[1, value][:, 1].sum() == np.nansum(
            part.labels[(part.scores >= 0) & (part.scores <= 1) & ~np.isnan(part.labels)]
        )


# --- correlated rows ---


def with_errors(task: Task, wrong: FloatArray, times: IntArray) -> Judged:
    """Rows of which those are wrong where `wrong` is true: the class, or the number by one."""
    n = times.size
    truth = np.arange(n) % 2
    answers = np.where(wrong > 0, 1 - truth, truth)
    if task.name == "regression":
        noise = np.random.default_rng(1).exponential(0.2, n)
        return Judged(times, truth + wrong + noise, np.full(n, -1, np.int16), None, truth * 1.0)
    return Judged(times, np.where(answers, 0.8, 0.2), answers.astype(np.int16), None, truth * 1.0)


def effect_of(task: Task, rows: Judged, window: int = 0) -> float | None:
    step = HOUR
    judging = Judging(task, Layout(None))
    version = VersionState(judging, Watch((), 0.02, Layout(None), task), [step, 60 * step], 0.0)
    end = int(rows.times.max()) // step * step + step
    version.judge(rows, end)
    blocks = version.blocks(window, end)
    return task.effects(list(blocks.values()) if isinstance(blocks, dict) else blocks).get(task.main_loss)


def share_by_block(seed: int, spread: float) -> tuple[FloatArray, IntArray]:
    """Errors of 60 hours of 100 rows; each block of five hours has a rate of its own."""
    draw = np.random.default_rng(seed)
    rates = np.clip(0.3 + spread * draw.normal(size=PANES // 5), 0.05, 0.95)
    rate = np.repeat(rates, 5 * 100)
    times = np.arange(rate.size, dtype=np.int64) * (HOUR // 100) + 5 * HOUR * 10**4 + 1
    return (draw.random(rate.size) < rate).astype(np.float64), times


@pytest.mark.parametrize("name", TASKS)
def test_blocks_that_err_together_have_a_large_design_effect(name: str) -> None:
    task = task_named(name)
    planted = effect_of(task, with_errors(task, *share_by_block(1, 0.12)))
    assert planted is not None
    assert planted > 8.0


@pytest.mark.parametrize("name", TASKS)
def test_independent_rows_have_a_design_effect_near_one(name: str) -> None:
    task = task_named(name)
    found = [effect_of(task, with_errors(task, *share_by_block(seed, 0.0))) for seed in range(8)]
    assert None not in found
    assert 1.0 <= float(np.median([value for value in found if value])) < 1.5


@pytest.mark.parametrize("name", TASKS)
def test_rows_of_few_blocks_tell_nothing_of_it(name: str) -> None:
    task = task_named(name)
    wrong, times = share_by_block(1, 0.12)
    rows = with_errors(task, wrong[:2_000], times[:2_000])
    assert effect_of(task, rows) is None


def test_a_rhythm_that_the_profile_knows_is_no_correlation() -> None:
    task = task_named("binary")
    draw = np.random.default_rng(3)
    times = np.arange(60 * 200, dtype=np.int64) * (HOUR // 200) + 5 * HOUR * 10**4 + 1
    rate = np.where((times // HOUR) % 24 < 12, 0.1, 0.5)
    rows = with_errors(task, (draw.random(times.size) < rate).astype(float), times)
    # What the profile expects of each sum at each hour of the day: here, of these rows themselves.
    known = Known.of(rows, task)
    hours, values = (times // HOUR) % 24, task.rhythmic(known)
    hourly = {
        name: tuple(float(values[place][hours == hour].mean()) for hour in range(24))
        for place, name in enumerate(task.rhythm)
    }
    profile = binary_layout().profile
    assert profile is not None
    blocks = {}
    for name, layout in (
        ("known", Layout(profile.model_copy(update={"hourly": hourly}))),
        ("unknown", Layout(profile)),
    ):
        judging = Judging(task, layout)
        parts = np.arange(times.size) * 12 // times.size
        blocks[name] = task.effects([judging.whole(rows.take(parts == part)) for part in range(12)])[
            "accuracy"
        ]
    assert blocks["unknown"] > 10 * blocks["known"]
    assert blocks["known"] < 2.0
