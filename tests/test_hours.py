"""Sums by hour: against plain Python, bounded in time, and through the store."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.support.made import after, site_of, write
from tests.support.site import START, Site

from ml_exporter.hours import HOUR, KEPT, Hours, by_hour

SOME = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 5 * HOUR), st.sampled_from([0, -1, HOUR, 10_000 * HOUR, 2 * 10**15])),
        st.integers(0, 3),
        st.integers(-4, 4),
    ),
    max_size=30,
)


@given(SOME)
def test_sums_are_those_of_plain_python(rows: list[tuple[int, int, int]]) -> None:
    """Stray times among them do not make a long table."""
    expected: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for time, first, second in rows:
        for place, value in enumerate((1, first, second)):
            expected[time // HOUR][place] += value
    times, first, second = np.asarray(rows, np.int64).reshape(-1, 3).T
    found = by_hour(times, (np.ones(times.size), first, second.astype(np.float64)))
    assert {hour: sums.tolist() for hour, sums in found.items()} == expected


def test_hours_without_rows_are_left_out() -> None:
    times = np.asarray([0, 3 * HOUR], np.int64)
    assert set(by_hour(times, (np.ones(2),))) == {0, 3}
    assert by_hour(np.zeros(0, np.int64), (np.zeros(0),)) == {}


def test_columns_are_added_by_their_names() -> None:
    hours = Hours(("a", "b", "c"))
    hours.add({7: np.asarray([1.0, 2.0])}, ("a", "c"))
    hours.add({7: np.asarray([4.0]), 9: np.asarray([5.0])}, ("b",))
    np.testing.assert_array_equal(hours.table(("c", "b"), [9, 8, 7]), [[0, 5], [0, 0], [2, 4]])
    assert hours.table(("a", "b"), []).shape == (0, 2)
    assert hours.changed == {7, 9}


def test_a_quarter_is_kept() -> None:
    hours = Hours(("rows",))
    hours.add({hour: np.ones(1) for hour in (0, 1, KEPT, KEPT + 1)}, ("rows",))
    hours.changed.clear()
    hours.prune((KEPT + 1) * HOUR)
    assert set(hours.sums) == {1, KEPT, KEPT + 1}
    assert hours.changed == {0}
    assert KEPT == 13 * 7 * 24


def hours_of(site: Site, now: float) -> dict[int, list[float]]:
    state = after(site, now)[1]
    return {hour: sums.tolist() for hour, sums in state.versions["1"].hours.sums.items()}


def test_hours_survive_restarts_and_leave_the_store_with_time(tmp_path: Path) -> None:
    site = site_of(tmp_path, "regression", windows=["1h", "91d"], alert_window="91d")
    write(site, {"prediction": [3.0, 1.0, 5.0]}, [1.0, 1.0, 2.0], apart=3_600)
    first = round(START) // 3_600
    expected = {
        first: [1.0, 0.0, 1.0, 2.0, 4.0, 1.0, 4.0, 16.0],
        first + 1: [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        first + 2: [1.0, 0.0, 1.0, 3.0, 9.0, 1.0, 9.0, 81.0],
    }
    for now in (7_300, 7_400, 7_500):
        assert hours_of(site, now) == expected
    # Judged rows end a maturity earlier, so hours are kept by that.
    quarter = KEPT * 3_600 + 3_600 * (first + 2) - START
    assert set(hours_of(site, quarter + 59)) == {first + 1, first + 2}
    assert set(hours_of(site, quarter + 61)) == {first + 2}
    assert set(hours_of(site, quarter + 62)) == {first + 2}
