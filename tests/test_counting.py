"""Counts against plain Python over the same rows: every window, every pane, every cell."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.rows import VALUES, healthy, layout, predictions

from ml_exporter.counting import count_inputs
from ml_exporter.groups import Counts, Groups
from ml_exporter.judged import Judged
from ml_exporter.judging import Judging
from ml_exporter.layout import Layout
from ml_exporter.profile import NumericColumn
from ml_exporter.sources.batch import ABSENT, INVALID, Predictions
from ml_exporter.stats.scores import ScoreHistogram
from ml_exporter.tally import COUNTED, LATENCY_BOUNDS, Tally, input_shape
from ml_exporter.tasks.binary import Binary
from ml_exporter.tasks.task import Known
from ml_exporter.windows import oldest_pane

JUDGING = Judging(Binary(scored=True), layout())
STEPS = [1000, 24_000, 168_000]
CLOCK = 20_000_500


def moments(count: int, seed: int, spread: int = 12_000_000) -> NDArray[np.int64]:
    """Times up to a little after the clock, and as far back as the longest window and beyond."""
    random = np.random.default_rng(seed)
    return (CLOCK + 5000 - random.exponential(spread / 4, count)).astype(np.int64)


def where_of(time: int, steps: Sequence[int], clock: int) -> list[tuple[int, int]]:
    """The panes of one row."""
    panes = [(window, (time - 1) // step) for window, step in enumerate(steps)]
    return [(window, pane) for window, pane in panes if pane >= oldest_pane(clock, steps[window])]


def bins_of(rows: Predictions, found: Layout, row: int) -> Counter[tuple[str, int]]:
    """The cells that one row adds to, by the definitions of profile and batch."""
    cells: Counter[tuple[str, int]] = Counter()
    numbers = {"x": float(rows.numbers["x"].values[row])}
    missing, wrong = rows.numbers["x"].missing, rows.numbers["x"].wrong_type
    assert missing is not None
    assert wrong is not None
    states = {"x": "missing" if missing[row] else "invalid" if wrong[row] else ""}
    if not rows.errors[row]:
        numbers["score"] = float(rows.scores[row])
        states["score"] = "missing" if math.isnan(numbers["score"]) else ""
    for name, value in numbers.items():
        column = found.cells[name].column
        assert isinstance(column, NumericColumn)
        state = states[name] or ("" if math.isfinite(value) else "invalid")
        code = {"missing": column.size, "invalid": column.size + 1}.get(state)
        below = sum(edge <= float(np.float32(value)) for edge in column.edges)
        cells[name, below if code is None else code] += 1
    known = int(rows.categories["c"][row])
    text = (*VALUES, "unseen", "missing")[known]
    cells["c", {"blue": 0, "teal": 1, "moss": 2, "missing": 4}.get(text, 3)] += 1
    if not rows.errors[row]:
        predicted = int(rows.classes[row])
        cells["prediction", {ABSENT: 4, INVALID: 5}.get(predicted, predicted)] += 1
    return cells


def plain_inputs(rows: Predictions, found: Layout, chosen: list[int], limit: float | None) -> Tally:
    """What the chosen rows add up to, one at a time."""
    tally = Tally.zeros(input_shape(found.size, len(found.cells)))
    for row in chosen:
        tally["rows"][0] += 1
        tally["errors"][0] += rows.errors[row]
        latency = float(rows.latency[row])
        if latency >= 0:
            tally["slow"][0] += limit is not None and latency > limit
            tally["latency"][sum(bound < latency for bound in LATENCY_BOUNDS)] += 1
            tally["latency_sum"][0] += latency
        for (name, code), count in bins_of(rows, found, row).items():
            found.cells[name].of(tally["cells"])[code] += count
        for name, value in (("x", rows.numbers["x"].values[row]), ("score", rows.scores[row])):
            low, high = found.limits[name]
            outside = math.isfinite(value) and not low <= value <= high
            tally["failed"][found.positions[name], COUNTED.index("out_of_range")] += outside
    return tally


def assert_same(found: Tally, expected: Tally) -> None:
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=0, err_msg=name)
    assert found.histogram == expected.histogram


def members(times: NDArray[np.int64], steps: Sequence[int], clock: int) -> dict[tuple[int, int], list[int]]:
    panes: dict[tuple[int, int], list[int]] = {}
    for row, time in enumerate(times.tolist()):
        for where in where_of(time, steps, clock):
            panes.setdefault(where, []).append(row)
    return panes


def count_all(rows: Predictions, found: Layout, limit: float | None = None) -> tuple[Counts, int]:
    """Counts of rows as if all of them were of one version."""
    rows = dataclasses.replace(rows, versions=np.zeros(len(rows), np.int64))
    counts, outside = count_inputs(rows, found, STEPS, CLOCK, limit)
    assert counts.keys() <= {0}
    return counts.get(0, Counts(Tally.zeros(input_shape(found.size, len(found.cells))), {})), outside


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limit", [None, 0.25])
@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_inputs_are_counted_as_plain_python_counts_them(seed: int, limit: float | None, order: str) -> None:
    times = moments(150, seed)
    rows, found = predictions(np.sort(times) if order == "sorted" else times, seed), layout()
    rows = healthy(rows) if seed == 3 else rows
    counts, outside = count_inputs(rows, found, STEPS, CLOCK, limit)
    assert list(counts) == sorted(set(rows.versions.tolist()))
    assert len(counts) > 1
    panes = members(rows.times, STEPS, CLOCK)
    for version, own in counts.items():
        chosen = set(np.flatnonzero(rows.versions == version).tolist())
        assert_same(own.total, plain_inputs(rows, found, sorted(chosen), limit))
        assert own.panes.keys() == {where for where, inside in panes.items() if chosen & set(inside)}
        for where, tally in own.panes.items():
            assert_same(tally, plain_inputs(rows, found, sorted(chosen & set(panes[where])), limit))
    inside = {row for chosen in panes.values() for row in chosen}
    assert outside == len(rows) - len(inside) > 0


def test_limits_of_the_configuration_decide_what_is_out_of_range() -> None:
    rows, found = predictions(moments(80, 9), 9), layout({"x": (-0.5, 0.5), "score": (0.2, None)})
    counts, _ = count_all(rows, found)
    assert_same(counts.total, plain_inputs(rows, found, list(range(len(rows))), None))
    assert counts.total["failed"][found.positions["x"]].tolist()[0] > 10


def judged(count: int, seed: int) -> Judged:
    rows = predictions(moments(count, seed), seed)
    random = np.random.default_rng(seed)
    scores = np.where(random.uniform(size=count) < 0.1, 1.5, rows.scores)
    labels = random.choice(np.array([0, 1, np.nan]), count)
    return Judged(rows.times, scores, rows.classes, None, labels)


def score_bin(score: float) -> int | None:
    """The place of a score among the profile's bins; the last one is for missing scores."""
    column = layout().cells["score"].column
    assert isinstance(column, NumericColumn)
    if math.isnan(score):
        return column.size
    return sum(edge <= float(np.float32(score)) for edge in column.edges) if math.isfinite(score) else None


def plain_judged(rows: Judged, chosen: list[int]) -> Tally:
    tally = Tally.zeros(JUDGING.shape)
    scored = []
    for row in chosen:
        predicted, score = int(rows.classes[row]), float(rows.scores[row])
        tally["mature"][0] += 1
        bin_ = score_bin(score)
        if bin_ is not None:
            tally["selection"][1, bin_] += 1
        if np.isnan(rows.labels[row]):
            continue
        label = int(rows.labels[row])
        if bin_ is not None:
            tally["selection"][0, bin_] += 1
        tally["labelled"][0] += 1
        tally["good"][0] += predicted == label
        if predicted >= 0:
            tally["confusion"][label, predicted] += 1
        if 0 <= score <= 1:
            scored.append(row)
            log, brier = -math.log(score if label else 1 - score), (score - label) ** 2
            tally["scored"][0] += 1
            tally["losses"][...] += (log, log * log, brier, brier * brier)
            cell = sum(score > edge / 15 for edge in range(1, 15))
            tally["calibration"][cell] += (1, score, label)
    histogram = ScoreHistogram.of(rows.scores[scored], rows.labels[scored] == 1)
    return Tally(tally.arrays, histogram)


@pytest.mark.parametrize("seed", range(4))
def test_judged_rows_are_counted_as_plain_python_counts_them(seed: int) -> None:
    rows = judged(200, seed)
    counts = JUDGING.count(rows, Known.of(rows, JUDGING.task), STEPS, CLOCK)
    panes = members(rows.times, STEPS, CLOCK)
    assert counts.panes.keys() == panes.keys()
    assert_same(JUDGING.whole(rows), plain_judged(rows, list(range(200))))
    assert_same(counts.total, Tally(plain_judged(rows, list(range(200))).arrays, ScoreHistogram.empty()))
    for where, chosen in panes.items():
        assert_same(counts.panes[where], plain_judged(rows, chosen))


def added(parts: Sequence[Counts], zeros: Tally) -> tuple[Tally, dict[tuple[int, int], Tally]]:
    total = zeros
    panes: dict[tuple[int, int], Tally] = {}
    for part in parts:
        total = total + part.total
        for where, tally in part.panes.items():
            panes[where] = panes[where] + tally if where in panes else tally
    return total, panes


def test_counts_of_parts_add_up_to_those_of_all_rows() -> None:
    rows, found = predictions(moments(300, 6), 6), layout()
    whole, outside = count_all(rows, found, 0.2)
    split = np.random.default_rng(1).integers(0, 4, 300)
    counted = [count_all(rows.take(split == part), found, 0.2) for part in range(5)]
    total, panes = added([counts for counts, _ in counted], Tally.zeros(input_shape(found.size, 4)))
    assert sum(out for _, out in counted) == outside
    assert_same(total, whole.total)
    assert panes.keys() == whole.panes.keys()
    for where, tally in panes.items():
        assert_same(tally, whole.panes[where])


def test_no_rows_give_zeros() -> None:
    none = np.zeros(0, np.int64)
    counts, outside = count_inputs(predictions(none), layout(), STEPS, CLOCK, 0.25)
    assert (counts, outside) == ({}, 0)
    empty = Judged(none, none.astype(np.float64), none.astype(np.int16), None, none.astype(np.float64))
    judged_counts = JUDGING.count(empty, Known.of(empty, JUDGING.task), STEPS, CLOCK)
    assert judged_counts.panes == {}
    assert_same(judged_counts.total, Tally.zeros(JUDGING.shape))


def test_a_model_without_a_profile_counts_traffic_only() -> None:
    rows = predictions(moments(50, 2), 2)
    counts, _ = count_all(rows, Layout(None))
    assert counts.total.count("rows") == 50
    assert counts.total["cells"].size == counts.total["failed"].size == 0


def test_a_feature_of_another_kind_than_the_profile_s_is_not_counted() -> None:
    rows, found = predictions(moments(50, 2), 2), layout()
    swapped = Predictions(
        **{
            **{name: getattr(rows, name) for name in rows.__dataclass_fields__},
            "numbers": {"c": rows.numbers["x"]},
            "categories": {"x": rows.categories["c"]},
            "category_values": {"x": VALUES},
        }
    )
    counts, _ = count_all(swapped, found)
    for name in ("x", "c"):
        assert found.cells[name].of(counts.total["cells"]).sum() == 0
    assert found.cells["prediction"].of(counts.total["cells"]).sum() == np.count_nonzero(~rows.errors)


def test_a_negative_latency_does_not_lower_the_sum() -> None:
    rows = predictions(moments(400, 3), 3)
    assert np.count_nonzero(rows.latency < 0) > 5
    counts, _ = count_all(rows, layout())
    assert counts.total["latency_sum"][0] == pytest.approx(rows.latency[rows.latency >= 0].sum(), rel=1e-9)
    assert counts.total["latency"].sum() == np.count_nonzero(rows.latency >= 0)


@given(
    times=st.lists(st.integers(-40_000, 40_000), max_size=60),
    steps=st.lists(st.sampled_from([1, 6, 10, 15, 60, 240]), min_size=1, max_size=3),
    clock=st.integers(-20_000, 20_000),
)
@settings(max_examples=200)
def test_rows_of_a_group_share_all_their_panes(times: list[int], steps: list[int], clock: int) -> None:
    groups = Groups(np.array(times, np.int64), steps, clock)
    assert groups.of_row.size == len(times)
    assert len(np.unique(groups.of_row)) == len(groups)
    found: dict[tuple[int, int], list[int]] = {}
    for window, panes, bounds in groups.windows():
        for pane, (low, high) in zip(panes, pairwise(bounds), strict=True):
            inside = np.flatnonzero((groups.of_row >= low) & (groups.of_row < high))
            found[window, int(pane)] = inside.tolist()
    assert found == members(np.array(times, np.int64), steps, clock)
    nowhere = [row for row, time in enumerate(times) if not where_of(time, steps, clock)]
    assert np.flatnonzero(np.isin(groups.of_row, groups.outside())).tolist() == nowhere


def test_a_block_that_spans_years_has_few_groups() -> None:
    day = 86_400_000_000
    times = np.random.default_rng(4).integers(0, 3000 * day, 20_000)
    steps = [60_000_000, day // 60, 7 * day // 60]
    groups = Groups(times, steps, 3000 * day)
    assert len(groups) <= 3 * 60 + 1
    assert np.bincount(groups.of_row, minlength=len(groups))[groups.outside()].sum() > 19_000
