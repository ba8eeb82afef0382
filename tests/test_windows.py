"""A window w at t covers (floor(t/p)p - 59p, t], p = w/60, whatever the order of rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_exporter.tally import Shape, Tally
from ml_exporter.windows import PANES, Panes, oldest_pane, step_of

SHAPE = Shape({"rows": ((1,), np.int64)})


def rows(count: int) -> Tally:
    return Tally({"rows": np.array([count])})


def pane_of(time: int, step: int) -> int:
    return (time - 1) // step


def total(panes: Panes, time: int) -> int:
    return Tally.sum(SHAPE, (tally for _, tally in panes.at(time))).count("rows")


@pytest.mark.parametrize(
    ("seconds", "step"),
    [(60, 1_000_000), (3600, 60_000_000), (604_800, 10_080_000_000), (1, 16_666), (0.06, 1000)],
)
def test_a_pane_is_a_sixtieth_of_its_window(seconds: float, step: int) -> None:
    assert step_of(seconds) == step


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_panes_are_open_on_the_left(step: int) -> None:
    time = 1000 * step
    panes = Panes(step, SHAPE)
    first = time - (PANES - 1) * step
    for moment in (first, first + 1, time, time + 1):
        panes.add(pane_of(moment, step), rows(1))
    assert total(panes, time) == (2 if step > 1 else 1) + (step == 1)
    assert {pane for pane in panes.tallies if pane >= oldest_pane(time, step)} == {
        pane_of(moment, step) for moment in (first + 1, time, time + 1)
    }


def test_a_row_is_in_its_window_from_its_own_time_on_for_59_panes() -> None:
    step, time = 1000, 5_000_000
    panes = Panes(step, SHAPE)
    panes.add(pane_of(time, step), rows(1))
    moments = range(time - 2 * step, time + 62 * step)
    inside = [moment for moment in moments if total(panes, moment)]
    # Its pane ends with it, so that before the end it is counted as soon as the pane has begun.
    assert inside == list(range(time - step + 1, time + (PANES - 1) * step))


@given(
    step=st.integers(1, 50),
    times=st.lists(st.integers(-3000, 3000), max_size=60),
    clock=st.integers(-3000, 3000),
    cuts=st.integers(0, 5),
)
@settings(max_examples=200)
def test_a_window_counts_the_rows_that_it_covers(step: int, times: list[int], clock: int, cuts: int) -> None:
    panes = Panes(step, SHAPE)
    past = [time for time in times if time <= clock]
    for index, time in enumerate(past):
        panes.add(pane_of(time, step), rows(1))
        if cuts and index % cuts == 0:
            panes.prune(time - 60 * step)
    start = clock // step * step - (PANES - 1) * step
    if cuts:
        past = [time for time in past if time > start]
        panes.prune(clock)
        assert all(pane >= oldest_pane(clock, step) for pane in panes.tallies)
    assert total(panes, clock) == sum(start < time <= clock for time in past)


def test_rows_ahead_of_the_clock_wait_for_their_time() -> None:
    panes = Panes(10, SHAPE)
    panes.add(pane_of(1005, 10), rows(1))
    assert total(panes, 1000) == 0
    assert total(panes, 1005) == 1
    panes.prune(1000)
    assert total(panes, 1005) == 1


def test_panes_come_oldest_first_and_merge() -> None:
    panes = Panes(10, SHAPE)
    for pane, count in ((7, 1), (3, 2), (7, 4), (5, 8)):
        panes.add(pane, rows(count))
    assert [tally.count("rows") for _, tally in panes.at(85)] == [2, 8, 5]


def test_changed_panes_are_remembered() -> None:
    panes = Panes(10, SHAPE)
    panes.add(3, rows(1))
    panes.add(500, rows(1))
    assert panes.changed == {3, 500}
    panes.changed.clear()
    panes.prune(5005)
    assert panes.changed == {3}
    assert set(panes.tallies) == {500}
