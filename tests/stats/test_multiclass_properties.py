"""Laws that hold for any rows."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml_exporter.stats.multiclass import (
    MULTICLASS_METRICS,
    MulticlassBlocks,
    MulticlassEvidence,
    class_quality,
)
from ml_exporter.stats.result import Result, Unavailable, Value

Rows = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


@st.composite
def row_sets(draw: st.DrawFn) -> Rows:
    """Up to 300 rows of up to 6 classes: few or many, sharp or flat, some without probabilities."""
    classes, n = draw(st.integers(2, 6)), draw(st.integers(0, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    probabilities = rng.dirichlet(np.full(classes, draw(st.sampled_from([0.02, 0.5, 20.0]))), n)
    shares = rng.dirichlet(np.full(classes, draw(st.sampled_from([0.3, 3.0]))))
    right = rng.random(n) < draw(st.sampled_from([0.0, 0.6, 1.0]))
    predicted = probabilities.argmax(axis=1)
    labels = np.where(right, predicted, rng.choice(classes, n, p=shares))
    probabilities[rng.random(n) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = np.nan
    return probabilities, predicted, labels


def blocks_of(found: Rows, blocks: int = 12) -> MulticlassBlocks:
    every = zip(*(np.array_split(part, blocks) for part in found), strict=True)
    return MulticlassBlocks.of(
        MulticlassEvidence.of(scores, predicted, labels, 2) for scores, predicted, labels in every
    )


def same(found: Result, expected: Result) -> bool:
    if isinstance(found, Unavailable) or isinstance(expected, Unavailable):
        return found == expected
    numbers = [(value.value, value.lower, value.upper, value.n) for value in (found, expected)]
    return numbers[0] == pytest.approx(numbers[1], abs=1e-9)


@given(row_sets(), st.integers(1, 12))
@settings(max_examples=60)
def test_parts_merge_to_the_whole(found: Rows, parts: int) -> None:
    whole, merged = MulticlassEvidence.of(*found, 2), blocks_of(found, parts).window
    assert (merged.top, merged.n) == (whole.top, whole.n)
    assert np.array_equal(merged.confusion, whole.confusion)
    assert np.array_equal(merged.one_vs_rest, whole.one_vs_rest)
    assert merged.log_loss.n == whole.log_loss.n
    assert merged.log_loss.total == pytest.approx(whole.log_loss.total, rel=1e-12)
    assert merged.log_loss.squares == pytest.approx(whole.log_loss.squares, rel=1e-12)


@given(row_sets(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_renaming_classes_renames_their_quality_and_keeps_the_averages(found: Rows, random: Random) -> None:
    probabilities, predicted, labels = found
    order = np.array(random.sample(range(probabilities.shape[1]), probabilities.shape[1]))
    places = np.argsort(order)
    renamed = (probabilities[:, order], places[predicted], places[labels])
    before = class_quality(MulticlassEvidence.of(*found, 2), 1.5)
    after = class_quality(MulticlassEvidence.of(*renamed, 2), 1.5)
    assert after == {(name, int(places[c])): result for (name, c), result in before.items()}
    one, other = blocks_of(renamed), blocks_of(found)
    for name in set(MULTICLASS_METRICS) - {
        "top_k_accuracy"
    }:  # of equal probabilities the later class is first
        assert same(MULTICLASS_METRICS[name](one, 1.5), MULTICLASS_METRICS[name](other, 1.5))


@given(row_sets(), st.floats(1.0, 50.0), st.sampled_from([1, 5, 6, 12]))
@settings(max_examples=150)
def test_bounds_hold_the_value(found: Rows, design_effect: float, blocks: int) -> None:
    counted = blocks_of(found, blocks)
    results: list[tuple[object, Result]] = [*class_quality(counted.window, design_effect).items()]
    results += [(name, metric(counted, design_effect)) for name, metric in MULTICLASS_METRICS.items()]
    for name, result in results:
        if isinstance(result, Value):
            assert result.lower is not None
            assert result.upper is not None
            assert 0.0 <= result.lower <= result.value <= result.upper
            assert result.upper <= (np.inf if name == "log_loss" else 1.0)
            assert result.n >= 10


@given(row_sets(), st.floats(1.0, 20.0))
@settings(max_examples=60)
def test_more_correlation_never_narrows(found: Rows, more: float) -> None:
    counted = blocks_of(found)
    for metric in MULTICLASS_METRICS.values():
        plain, wide = metric(counted, 1.0), metric(counted, more)
        if isinstance(plain, Value) and isinstance(wide, Value):
            assert wide.lower is not None
            assert plain.lower is not None
            assert wide.lower <= plain.lower + 1e-9
