import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_exporter.stats.scores import ScoreHistogram, score_keys

PROBABILITIES = st.one_of(
    st.floats(0.0, 1.0),
    st.floats(-300.0, 0.0).map(lambda exponent: 10.0**exponent),
    st.floats(-16.0, -1.0).map(lambda exponent: 1.0 - 10.0**exponent),
)
ROWS = st.lists(st.tuples(PROBABILITIES, st.booleans()), max_size=60)


def histogram(rows: list[tuple[float, bool]]) -> ScoreHistogram:
    scores = np.array([score for score, _ in rows], np.float64)
    return ScoreHistogram.of(scores, np.array([label for _, label in rows], np.bool_))


@given(st.lists(ROWS, max_size=6))
@settings(max_examples=60, deadline=None)
def test_merge_of_parts_is_the_histogram_of_the_whole(parts: list[list[tuple[float, bool]]]) -> None:
    whole = histogram([row for part in parts for row in part])
    assert ScoreHistogram.merge(map(histogram, parts)) == whole
    assert sum(map(histogram, parts), ScoreHistogram.empty()) == whole


@given(st.lists(PROBABILITIES, min_size=2, max_size=60))
@settings(max_examples=100, deadline=None)
def test_keys_are_in_the_order_of_scores(scores: list[float]) -> None:
    keys = score_keys(np.sort(np.array(scores, np.float64)))
    assert np.all(keys[1:] >= keys[:-1])


@given(ROWS)
@settings(max_examples=60, deadline=None)
def test_bytes_come_back_equal(rows: list[tuple[float, bool]]) -> None:
    before = histogram(rows)
    after = ScoreHistogram.from_bytes(before.to_bytes())
    assert after == before
    assert after.keys.dtype == np.uint32
    assert after.counts.dtype == np.int64


@pytest.mark.parametrize("base", [0.3, 1e-6, 1e-30])
def test_a_bin_is_a_thousandth_of_the_distance_to_the_end_wide(base: float) -> None:
    apart = score_keys(np.array([base, base * 1.003], np.float64))
    within = np.unique(score_keys(base * np.linspace(1.0, 1.0009, 50)))
    assert apart[0] != apart[1]
    assert within.size <= 2


def test_scores_close_to_one_are_told_apart() -> None:
    keys = score_keys(1.0 - np.array([1e-6, 1e-9, 1e-12, 1e-15, 0.0]))
    assert np.all(keys[1:] > keys[:-1])


def test_counts_have_negatives_first() -> None:
    counted = histogram([(0.25, True), (0.25, True), (0.25, False), (0.75, False)])
    assert counted.counts.tolist() == [[1, 2], [1, 0]]
    assert (counted.negatives, counted.positives) == (2, 2)


@pytest.mark.parametrize("rows", [1_000, 200_000])
def test_both_ways_of_counting_agree(rows: int) -> None:
    rng = np.random.default_rng(3)
    scores = rng.beta(0.4, 3.0, rows)
    labels = rng.random(rows) < scores
    counted = ScoreHistogram.of(scores, labels)
    halves = [ScoreHistogram.of(scores[side::2], labels[side::2]) for side in (0, 1)]
    assert counted == halves[0] + halves[1]
    assert counted.counts.sum() == rows
    assert counted.positives == np.count_nonzero(labels)


def test_merge_of_sixty_large_parts_equals_their_sum_and_is_fast() -> None:
    rng = np.random.default_rng(4)
    pool = np.sort(rng.choice(1 << 18, 30_000, replace=False)).astype(np.uint32)
    parts = []
    for _ in range(60):
        keys = np.sort(rng.choice(pool, 20_000, replace=False))
        parts.append(ScoreHistogram(keys, rng.integers(0, 9, (20_000, 2)) + np.array([1, 0])))
    started = time.process_time()
    merged = ScoreHistogram.merge(parts)
    assert time.process_time() - started < 0.5
    expected = np.zeros((1 << 18, 2), np.int64)
    for part in parts:
        expected[part.keys] += part.counts
    assert np.array_equal(merged.keys, np.flatnonzero(expected.sum(axis=1)))
    assert np.array_equal(merged.counts, expected[merged.keys])


@pytest.mark.parametrize("score", [-0.01, 1.01, np.nan, np.inf])
def test_a_score_that_is_no_probability_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match=r"scores must lie in \[0, 1\]"):
        score_keys(np.array([0.5, score]))


def test_negative_zero_is_zero() -> None:
    assert score_keys(np.array([-0.0])).tolist() == score_keys(np.array([0.0])).tolist() == [0]


def test_damaged_bytes_are_refused() -> None:
    good = histogram([(0.25, True), (0.75, False)]).to_bytes()
    swapped = good[:8] + good[12:16] + good[8:12] + good[16:]
    for bad, reason in (
        (b"", "too short"),
        (b"XXXX" + good[4:], "unknown form"),
        (good[:-1], "wrong length"),
        (swapped, "damaged"),
        (good[:-1] + b"\xff", "damaged"),
    ):
        with pytest.raises(ValueError, match=reason):
            ScoreHistogram.from_bytes(bad)
