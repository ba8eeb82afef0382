"""Tallies add up, and come back from bytes as they were."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_exporter.judging import Judging
from ml_exporter.layout import Layout
from ml_exporter.stats.regression import ErrorHistogram
from ml_exporter.stats.scores import ScoreHistogram
from ml_exporter.tally import Shape, Tally, input_shape
from ml_exporter.tasks.binary import Binary
from ml_exporter.tasks.regression import Regression

JUDGED = Judging(Binary(scored=True), Layout(None), 2, 3).shape
SHAPES = {
    "inputs": input_shape(7, 3, (4, 2)),
    "no profile": input_shape(0, 0),
    "binary": JUDGED,
    "regression": Judging(Regression(0.0, None), Layout(None)).shape,
}


def random_tally(shape: Shape, seed: int) -> Tally:
    random = np.random.default_rng(seed)
    arrays = {
        name: random.integers(0, 1 << 40, size).astype(dtype) for name, (size, dtype) in shape.arrays.items()
    }
    if shape.histogram is None:
        return Tally(arrays)
    n = int(random.integers(0, 50))
    if shape.histogram is ScoreHistogram:
        return Tally(arrays, ScoreHistogram.of(random.uniform(size=n), random.uniform(size=n) < 0.3))
    return Tally(arrays, ErrorHistogram.of(random.normal(size=n)))


def assert_equal(one: Tally, other: Tally) -> None:
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name])
        assert array.dtype == other.arrays[name].dtype
        assert array.shape == other.arrays[name].shape
    assert one.histogram == other.histogram


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@given(count=st.integers(0, 8), seed=st.integers(0, 1000))
@settings(max_examples=25)
def test_the_sum_of_parts_is_the_whole(shape: Shape, count: int, seed: int) -> None:
    parts = [random_tally(shape, seed + index) for index in range(count)]
    whole = Tally.sum(shape, parts)
    assert_equal(whole, sum(parts, Tally.zeros(shape)))
    assert_equal(whole, sum(reversed(parts), Tally.zeros(shape)))
    for name in shape.arrays:
        expected = sum((part[name].astype(object) for part in parts), np.zeros_like(whole[name]))
        np.testing.assert_array_equal(whole[name], expected)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@given(seed=st.integers(0, 1000))
@settings(max_examples=25)
def test_bytes_come_back_equal(shape: Shape, seed: int) -> None:
    tally = random_tally(shape, seed)
    back = Tally.from_bytes(shape, tally.to_bytes(shape))
    assert_equal(back, tally)
    assert_equal(back + tally, tally + tally)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_bytes_of_another_length_are_refused(shape: Shape) -> None:
    data = random_tally(shape, 3).to_bytes(shape)
    for damaged in (b"", data[:-1], data[:8], data + b"\0", data + data):
        with pytest.raises(ValueError, match=r"\w"):
            Tally.from_bytes(shape, damaged)


def test_bytes_of_another_shape_are_refused() -> None:
    data = random_tally(SHAPES["inputs"], 1).to_bytes(SHAPES["inputs"])
    for shape in (input_shape(8, 3), input_shape(7, 2), JUDGED):
        with pytest.raises(ValueError, match=r"\w"):
            Tally.from_bytes(shape, data)


def test_damaged_scores_are_refused() -> None:
    tally = random_tally(JUDGED, 4)
    assert tally.histogram is not None
    data = tally.to_bytes(JUDGED)
    start = data.index(tally.histogram.to_bytes())
    with pytest.raises(ValueError, match="unknown form"):
        Tally.from_bytes(JUDGED, data[:start] + b"XXXX" + data[start + 4 :])


def test_the_stored_form_does_not_depend_on_the_machine() -> None:
    shape = Shape({"a": ((2,), np.int64), "b": ((1,), np.float64)})
    tally = Tally.zeros(shape)
    tally.arrays["a"][...] = (1, 258)
    tally.arrays["b"][...] = 0.5
    assert tally.to_bytes(shape).hex() == "0100000000000000" + "0201000000000000" + "000000000000e03f"


def test_what_is_read_from_bytes_may_be_changed() -> None:
    shape = SHAPES["inputs"]
    tally = Tally.from_bytes(shape, random_tally(shape, 5).to_bytes(shape))
    tally["cells"][0] += 1


def test_a_count_is_a_number() -> None:
    tally = random_tally(JUDGED, 6)
    assert tally.count("mature") == int(tally["mature"][0])
    assert type(tally.count("mature")) is int
