import numpy as np
import pytest
from numpy.typing import NDArray

from ml_exporter.stats.design_effect import (
    BLOCKS,
    DesignEffect,
    design_effect,
    hourly_mean,
    of_residuals,
)
from ml_exporter.stats.intervals import t_quantile

Floats = NDArray[np.float64]


def blocks_of(losses: Floats, block: NDArray[np.int64]) -> Floats:
    sums = (np.bincount(block, part, BLOCKS) for part in (losses, losses**2))
    return np.stack([np.bincount(block, minlength=BLOCKS).astype(np.float64), *sums], axis=1)


def effect_of(blocks: Floats) -> DesignEffect:
    found = design_effect(blocks)
    assert found is not None
    return found


def test_equal_blocks_have_the_textbook_ratio() -> None:
    losses = np.random.default_rng(1).gamma(2.0, 1.0, (BLOCKS, 50)) + np.linspace(0, 1, BLOCKS)[:, None]
    found = effect_of(blocks_of(losses.ravel(), np.repeat(np.arange(BLOCKS), 50)))
    ratio = np.var(losses.mean(axis=1), ddof=1) * 50 / np.var(losses, ddof=1)
    assert found.ratio == pytest.approx(ratio)
    assert found.degrees == pytest.approx(BLOCKS - 1)
    assert found.value == pytest.approx(1 + (t_quantile(BLOCKS - 1) / 1.959964) ** 2 * (ratio - 1))
    assert found.blocks == BLOCKS


@pytest.mark.parametrize("uneven", [1.0, 20.0])
def test_independent_rows_have_a_ratio_of_one_in_the_mean(uneven: float) -> None:
    rng = np.random.default_rng(2)
    chances = np.geomspace(1.0, uneven, BLOCKS)
    ratios, degrees = [], []
    for _ in range(1_500):
        block = rng.choice(BLOCKS, 400, p=chances / chances.sum())
        found = effect_of(blocks_of(rng.exponential(size=400), block))
        ratios.append(found.ratio)
        degrees.append(found.degrees)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.035)
    # A chi square over its degrees of freedom has the variance 2 / degrees.
    assert np.var(ratios) == pytest.approx(2 / np.mean(degrees), rel=0.15)


def test_effect_is_at_least_one() -> None:
    balanced = np.tile([10.0, 3.0, 3.0], (BLOCKS, 1))
    assert effect_of(balanced).value == 1.0
    assert effect_of(balanced).ratio == pytest.approx(0.0, abs=1e-12)


def test_rows_that_repeat_within_a_block_count_once() -> None:
    rng = np.random.default_rng(3)
    once = rng.normal(size=2_400)
    block = np.repeat(np.arange(BLOCKS), 200)
    plain = effect_of(blocks_of(once, block)).ratio
    tenfold = effect_of(blocks_of(np.repeat(once, 10), np.repeat(block, 10))).ratio
    assert tenfold == pytest.approx(10 * plain, rel=0.01)


@pytest.mark.parametrize("filled", [0, 1, 5])
def test_fewer_than_six_blocks_say_nothing(filled: int) -> None:
    blocks = np.zeros((BLOCKS, 3))
    blocks[:filled] = (20.0, 4.0, 4.0)
    assert design_effect(blocks) is None
    blocks[: max(filled + 1, 6)] = (20.0, 4.0, 4.0)
    assert effect_of(blocks).blocks == max(filled + 1, 6)


def test_one_block_that_holds_nearly_all_rows_says_nothing() -> None:
    blocks = np.tile([2.0, 1.0, 1.0], (BLOCKS, 1))
    blocks[3] = (5_000.0, 900.0, 900.0)
    assert design_effect(blocks) is None


def test_losses_without_variance_have_no_effect() -> None:
    assert effect_of(np.tile([10.0, 0.0, 0.0], (BLOCKS, 1))).value == 1.0
    found = of_residuals(np.full(BLOCKS, 9.0), np.arange(BLOCKS, dtype=np.float64), 0.0)
    assert found is not None
    assert (found.value, found.ratio) == (1.0, 1.0)


def rhythm(rng: np.random.Generator, n: int) -> tuple[NDArray[np.int64], Floats]:
    """Hours of the day, and losses that are three times as large at night."""
    hours = rng.integers(0, 24, n)
    return hours, rng.exponential(0.4 * np.exp(0.55 * np.cos(2 * np.pi * hours / 24)))


def test_a_daily_rhythm_alone_widens_bounds_by_less_than_a_fifth() -> None:
    rng = np.random.default_rng(4)
    profile = hourly_mean(*rhythm(rng, 60_000))
    widening, without = [], []
    for _ in range(200):
        hours, losses = rhythm(rng, 3_000)
        widening.append(np.sqrt(effect_of(blocks_of(losses - profile[hours], hours // 2)).value))
        without.append(np.sqrt(effect_of(blocks_of(losses, hours // 2)).value))
    assert np.mean(widening) < 1.2
    assert np.mean(without) > 5.0


def test_hourly_mean_of_many_rows_is_the_mean() -> None:
    hours, losses = rhythm(np.random.default_rng(5), 200_000)
    plain = np.bincount(hours, losses, 24) / np.bincount(hours, minlength=24)
    assert hourly_mean(hours, losses) == pytest.approx(plain, rel=0.005)


def test_hourly_mean_fills_empty_hours_and_draws_thin_ones_in() -> None:
    hours, losses = rhythm(np.random.default_rng(6), 5_000)
    kept = (hours != 3) & ((hours != 12) | (np.cumsum(hours == 12) <= 2))
    hours, losses = hours[kept], losses[kept]
    losses[hours == 12] = 5.0  # two odd rows
    found = hourly_mean(hours, losses)
    assert found[3] == pytest.approx(losses.mean())
    assert losses.mean() < found[12] < 2.0


def test_hourly_mean_invents_no_rhythm() -> None:
    rng = np.random.default_rng(7)
    spreads = []
    for _ in range(200):
        hours = rng.integers(0, 24, 480)
        losses = rng.exponential(size=480)
        spreads.append(np.std(hourly_mean(hours, losses)))
    assert np.median(spreads) < 0.05  # the plain means have a spread of 1 / sqrt(20) = 0.22


@pytest.mark.parametrize(("hours", "losses"), [([], []), ([4], [2.0]), ([1, 2], [2.0, 2.0])])
def test_hourly_mean_of_next_to_nothing_is_flat(hours: list[int], losses: list[float]) -> None:
    found = hourly_mean(np.array(hours, np.int64), np.array(losses))
    assert found.tolist() == [2.0 if losses else 0.0] * 24
