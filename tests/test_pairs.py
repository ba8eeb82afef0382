from __future__ import annotations

import math

import numpy as np
import pytest

from ml_exporter.labels import Rules, Waiting
from ml_exporter.pairs import Pair
from ml_exporter.sources.batch import Labels, Predictions
from ml_exporter.stats.sums import RowSums
from ml_exporter.store import Store
from ml_exporter.tasks.binary import Binary

HOUR = 3_600_000_000
N = 300


def side(version: int, scores: np.ndarray, times: np.ndarray) -> Predictions:
    return Predictions(
        ids=np.arange(scores.size, dtype=np.uint64),
        times=times,
        versions=np.full(scores.size, version),
        version_names=("champion", "shadow", "other shadow"),
        scores=scores,
        classes=(scores >= 0.5).astype(np.int16),
        labels=None,
        latency=np.full(scores.size, np.nan),
        errors=np.zeros(scores.size, np.bool_),
        numbers={},
        categories={},
        category_values={},
    )


def compared(
    delay: int,
    steps: int,
    silence: str = "unknown",
    labelled: int = N,
    shadow_scores: np.ndarray | None = None,
    until: int = 7 * HOUR,
) -> tuple[dict[Pair, dict[str, RowSums]], np.ndarray, np.ndarray, np.ndarray]:
    """Judge N pairs in a number of cycles; the shadow answers `delay` microseconds after the champion."""
    draw = np.random.default_rng(5)
    scores = draw.random(N)
    shadow = draw.random(N) if shadow_scores is None else shadow_scores
    truth = draw.integers(0, 2, N).astype(np.int16)
    times = np.arange(N, dtype=np.int64) * 60_000_000
    store = Store(None)
    rules = Rules(HOUR, 10 * HOUR, silence=silence, paired=True)
    waiting = Waiting(store, 0, rules, losses=Binary(scored=True).losses)
    for version, batch in enumerate((side(0, scores, times), side(1, shadow, times + delay))):
        waiting.add_predictions(batch, np.full(N, version))
    waiting.add_labels(Labels(np.arange(labelled, dtype=np.uint64), times[:labelled], truth[:labelled]), 0)
    found: dict[Pair, dict[str, RowSums]] = {}
    for step in np.linspace(HOUR if steps > 1 else until, until, steps):
        for pair, sums in waiting.judge(int(step), int(step)).pairs.items():
            kept = found.setdefault(pair, {})
            for metric, more in sums.items():
                kept[metric] = kept.get(metric, RowSums()) + more
    return found, scores, shadow, truth


@pytest.mark.parametrize("delay", [0, 1_000, 200_000_000])
@pytest.mark.parametrize("steps", [2, 5])
def test_every_pair_counts_once_whenever_its_halves_mature(delay: int, steps: int) -> None:
    found, scores, shadow, truth = compared(delay, steps)
    sums = found[0, 1]
    brier = (scores - truth) ** 2 - (shadow - truth) ** 2
    log = [
        math.log(b if t else 1 - b) - math.log(a if t else 1 - a)
        for a, b, t in zip(scores, shadow, truth, strict=True)
    ]
    right = ((shadow >= 0.5) == truth).astype(int) - ((scores >= 0.5) == truth).astype(int)
    for metric, differences in (("brier_score", brier), ("log_loss", log), ("accuracy", right)):
        assert sums[metric].n == N
        assert sums[metric].total == pytest.approx(float(np.sum(differences)), rel=1e-9, abs=1e-9)
        assert sums[metric].squares == pytest.approx(float(np.sum(np.square(differences))), rel=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize(("apart", "pairs"), [(2 * HOUR, N), (2 * HOUR + 1, 0)])
def test_twins_are_no_further_apart_than_a_label_reaches(steps: int, apart: int, pairs: int) -> None:
    """An hour before its prediction and, the maturity here, an hour after; however the cycles fall."""
    found, *_ = compared(apart, steps, silence="negative", labelled=0, until=9 * HOUR)
    assert sum(sums["accuracy"].n for sums in found.values()) == 2 * pairs


def test_the_other_direction_has_the_opposite_sign() -> None:
    found, *_ = compared(1_000, 4)
    assert set(found) == {(0, 1), (1, 0)}
    for metric, sums in found[0, 1].items():
        back = found[1, 0][metric]
        assert (back.n, back.total, back.squares) == pytest.approx((sums.n, -sums.total, sums.squares))


def test_pairs_without_a_label_are_left_out() -> None:
    found, *_ = compared(0, 3, labelled=100)
    assert {sums.n for sums in found[0, 1].values()} == {100}


def test_silence_that_means_negative_counts_for_pairs_too() -> None:
    found, *_ = compared(0, 3, silence="negative", labelled=100)
    assert {sums.n for sums in found[0, 1].values()} == {N}


def test_scores_that_are_none_are_not_compared() -> None:
    shadow = np.full(N, 0.25)
    shadow[:50], shadow[50:60], shadow[60:70] = np.nan, np.inf, 1.5
    found, *_ = compared(0, 2, shadow_scores=shadow)
    assert found[0, 1]["brier_score"].n == N - 70
    assert found[0, 1]["log_loss"].n == N - 70
    assert found[0, 1]["accuracy"].n == N


def test_a_label_that_only_one_of_two_has_in_time_makes_no_pair() -> None:
    store = Store(None)
    rules = Rules(HOUR, 10 * HOUR, silence="negative", paired=True)
    waiting = Waiting(store, 0, rules, losses=Binary(scored=True).losses)
    scores, times = np.full(2, 0.9), np.zeros(2, np.int64)
    for version, delay in enumerate((0, 60_000_000)):
        waiting.add_predictions(side(version, scores, times + delay), np.full(2, version))
    # Of the first id it comes in time for the shadow alone; nobody labels the second.
    late = np.asarray([HOUR + 30_000_000])
    waiting.add_labels(Labels(np.zeros(1, np.uint64), late, np.ones(1)), 0)
    sums = waiting.judge(3 * HOUR, 3 * HOUR).pairs[0, 1]
    assert (sums["accuracy"].n, sums["accuracy"].total) == (1, 0.0)
