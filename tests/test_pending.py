"""Waiting rows as they stand in the store: every column of every task comes back as it went in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_exporter.pending import PendingRows, recode_segments
from ml_exporter.sources.batch import ABSENT, INVALID, Predictions
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.store import Store

NUMBER = st.sampled_from([0.0, -0.0, 1.5, -1e308, 5e-324, math.nan, math.inf, -math.inf])
MODEL = 3


def rows_of(
    scores: list[float], classes: list[int], details: FloatArray | None, failed: list[bool] | None = None
) -> Predictions:
    n = len(scores)
    return Predictions(
        np.arange(2**64 - n, 2**64, dtype=np.uint64),
        np.arange(n, dtype=np.int64) * 10**15,
        np.zeros(n, np.int64),
        ("1",),
        np.asarray(scores, np.float64),
        np.asarray(classes, np.int16),
        None,
        np.full(n, np.nan),
        np.asarray(failed or [False] * n, np.bool_),
        {},
        {},
        {},
        details,
    )


def back(store: Store, rows: PendingRows) -> dict[str, Any]:
    statement = f"SELECT id, {rows.columns} FROM pending WHERE model = {MODEL} ORDER BY time"
    found = store.query(statement, {}).fetchnumpy()
    n = len(found["id"])
    judged = rows.judged(found, np.ones(n, np.bool_), np.zeros(n))
    assert judged.segments is not None
    columns = {name: getattr(judged, name) for name in ("times", "scores", "classes", "details", "segments")}
    return {"ids": found["id"], "versions": found["version"], **columns}


@pytest.fixture(scope="module")
def store() -> Store:
    return Store(None)


@settings(max_examples=20)
@given(data=st.data(), details=st.integers(0, 4), segments=st.integers(0, 8), n=st.integers(1, 5))
def test_every_column_comes_back(
    store: Store, data: st.DataObject, details: int, segments: int, n: int
) -> None:
    def drawn(element: st.SearchStrategy[float], *shape: int) -> FloatArray:
        size = math.prod(shape)
        return np.asarray(data.draw(st.lists(element, min_size=size, max_size=size))).reshape(shape)

    numbers = drawn(NUMBER, n, details).astype(np.float64)
    codes: IntArray = drawn(st.integers(0, 251), n, segments).astype(np.int64)
    classes = drawn(st.sampled_from([INVALID, ABSENT, 0, 1, 250]), n).astype(int).tolist()
    versions: IntArray = drawn(st.integers(0, 2**16 - 1), n).astype(np.int64)
    rows = rows_of(drawn(NUMBER, n).tolist(), classes, numbers if details else None)
    pending = PendingRows(store, MODEL, details, segments)
    store.query("DELETE FROM pending", {})
    pending.insert(rows, versions, codes)
    found = back(store, pending)
    np.testing.assert_array_equal(found["ids"], rows.ids)
    np.testing.assert_array_equal(found["versions"], versions)
    np.testing.assert_array_equal(found["scores"], rows.scores)
    np.testing.assert_array_equal(found["classes"], rows.classes)
    np.testing.assert_array_equal(found["times"], rows.times)
    np.testing.assert_array_equal(found["segments"], codes)
    if details:
        np.testing.assert_array_equal(found["details"], numbers)
    else:
        assert found["details"] is None


def test_requests_that_failed_do_not_wait(store: Store) -> None:
    store.query("DELETE FROM pending", {})
    rows = rows_of([0.1, 0.2, 0.3], [0, 0, 0], np.ones((3, 1)), [False, True, False])
    pending = PendingRows(store, MODEL, 1, 1)
    pending.insert(rows, np.zeros(3, np.int64), np.asarray([[1], [2], [3]]))
    found = back(store, pending)
    assert (found["scores"].tolist(), found["segments"].tolist()) == ([0.1, 0.3], [[1], [3]])


@pytest.mark.parametrize("given", [None, np.ones((1, 2))])
def test_details_of_another_number_are_none(store: Store, given: FloatArray | None) -> None:
    """Blocks that were read before a profile named the classes have no probabilities."""
    store.query("DELETE FROM pending", {})
    pending = PendingRows(store, MODEL, 3, 0)
    pending.insert(rows_of([0.5], [0], given), np.zeros(1, np.int64), np.zeros((1, 0), np.int64))
    np.testing.assert_array_equal(back(store, pending)["details"], [[np.nan] * 3])


def test_only_chosen_rows_are_judged(store: Store) -> None:
    store.query("DELETE FROM pending", {})
    pending = PendingRows(store, MODEL, 0, 0)
    pending.insert(rows_of([0.1, 0.2], [0, 1], None), np.zeros(2, np.int64), np.zeros((2, 0), np.int64))
    found = store.query(f"SELECT {pending.columns} FROM pending ORDER BY time", {}).fetchnumpy()
    judged = pending.judged(found, np.asarray([False, True]), np.asarray([np.nan, 1.0]))
    assert (judged.scores.tolist(), judged.classes.tolist(), judged.labels.tolist()) == ([0.2], [1], [1.0])


@settings(max_examples=15)
@given(
    codes=st.lists(st.tuples(*[st.integers(0, 251)] * 3), min_size=1, max_size=5),
    places=st.lists(st.one_of(st.none(), st.integers(0, 2)), max_size=8),
    seed=st.integers(0, 99),
)
def test_segments_get_the_codes_of_another_configuration(
    store: Store, codes: list[tuple[int, int, int]], places: list[int | None], seed: int
) -> None:
    store.query("DELETE FROM pending", {})
    draw = np.random.default_rng(seed)
    n, none = len(codes), np.zeros((1, 0), np.int64)
    before, now = PendingRows(store, MODEL, 0, 3), PendingRows(store, MODEL, 0, len(places))
    before.insert(rows_of([0.5] * n, [0] * n, None), np.zeros(n, np.int64), np.asarray(codes))
    other = PendingRows(store, MODEL + 1, 0, 3)
    other.insert(rows_of([0.5], [0], None), np.zeros(1, np.int64), np.asarray([[7, 8, 9]]))
    moved = [(place, draw.integers(0, 252, 252)) for place in places]
    recode_segments(store, MODEL, moved)
    expected = [
        [table[-1] if place is None else table[row[place]] for place, table in moved] for row in codes
    ]
    np.testing.assert_array_equal(back(store, now)["segments"], expected if places else none.repeat(n, 0))
    left = store.query(f"SELECT segments FROM pending WHERE model = {MODEL + 1}", {}).fetchall()
    assert left == [(7 + (8 << 8) + (9 << 16),)]
