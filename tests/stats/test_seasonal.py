from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.result import Unavailable, Value
from ml_exporter.stats.seasonal import HOURS_A_WEEK, seasonal_deviation

START = 478_000  # hours since the epoch: some hour of July 2024


@dataclass(frozen=True)
class Traffic:
    """Traffic of a week's rhythm; `hour` and `week` are relative variations of each hour and of each week.

    `share` of the rows are hits at noon, a third of that at midnight, and `swing` varies it by the hour.
    """

    weeks: int
    mean: float
    hour: float = 0.0
    week: float = 0.0
    share: float = 0.2
    swing: float = 0.0

    def expected(self, rng: np.random.Generator) -> FloatArray:
        """Rows that each hour of the weeks and the hour after them should have."""
        hours = np.arange(self.weeks * HOURS_A_WEEK + 1)
        day = 1 + 0.8 * np.sin((hours + rng.integers(24)) * np.pi / 12)
        weekend = np.where(hours % HOURS_A_WEEK >= 120, 0.4, 1.0)
        weeks = np.repeat(self.week * rng.normal(size=self.weeks + 1), HOURS_A_WEEK)[: hours.size]
        return np.asarray(self.mean * day * weekend * np.exp(weeks + self.hour * rng.normal(size=hours.size)))

    def hits(self, rng: np.random.Generator, rows: IntArray) -> IntArray:
        rate = self.share * (1 + 0.5 * np.sin(np.arange(rows.size) * np.pi / 12))
        return rng.binomial(rows, np.clip(rate * np.exp(self.swing * rng.normal(size=rows.size)), 0, 1))


def deviation(rows: IntArray, hits: IntArray | None = None) -> float:
    hours = START + np.arange(rows.size)
    result = seasonal_deviation(hours, rows, int(hours[-1]), hits)
    assert isinstance(result, Value)
    assert (result.lower, result.upper, result.n) == (None, None, rows[-1])
    return result.value


def volumes(traffic: Traffic, runs: int, spoil: FloatArray | None = None) -> FloatArray:
    """Deviations of the volume in so many runs; `spoil` are factors of the expected rows, backwards from now."""
    rng, found = np.random.default_rng(1), []
    for _ in range(runs):
        expected = traffic.expected(rng)
        if spoil is not None:
            expected[expected.size - spoil.size :] *= spoil[::-1]
        found.append(deviation(rng.poisson(expected)))
    return np.array(found)


def rates(traffic: Traffic, runs: int, factor: float = 1.0) -> FloatArray:
    """Deviations of the rate of hits, which is `factor` times what it was in the hour that is judged."""
    rng, found = np.random.default_rng(2), []
    for _ in range(runs):
        rows = rng.poisson(traffic.expected(rng)) + 10
        hits = traffic.hits(rng, rows)
        if factor != 1.0:
            hits[-1] = rng.binomial(rows[-1], min(factor * hits[-1] / rows[-1], 1.0))
        found.append(deviation(rows, hits))
    return np.array(found)


def test_volume_without_dispersion_is_that_of_poisson_counts() -> None:
    rows = np.full(4 * HOURS_A_WEEK + 1, 400)
    rows[-1] = 500
    assert deviation(rows) == pytest.approx(100 / np.sqrt(401 * 5 / 4))


def test_rate_without_dispersion_is_that_of_two_proportions() -> None:
    rows = np.full(3 * HOURS_A_WEEK + 1, 1000)
    hits = np.full(rows.size, 200)
    hits[-1] = 250
    statistic = chi2_contingency([[250, 750], [600, 2400]], correction=False).statistic
    assert deviation(rows, hits) == pytest.approx(np.sqrt(statistic), rel=1e-3)
    hits[-1] = 150
    assert deviation(rows, hits) == pytest.approx(-np.sqrt(chi2_statistic(150)), rel=1e-3)


def chi2_statistic(hits: int) -> float:
    return float(chi2_contingency([[hits, 1000 - hits], [600, 2400]], correction=False).statistic)


QUIET = [
    Traffic(3, 1000),
    Traffic(3, 1000, hour=0.1),
    Traffic(4, 1000, hour=0.05, week=0.05),
    Traffic(5, 5),
    Traffic(8, 100_000, hour=0.1),
    Traffic(8, 0.3),
]


@pytest.mark.parametrize("traffic", QUIET, ids=str)
def test_a_rhythm_without_change_is_nearly_never_six_errors_off(traffic: Traffic) -> None:
    found = volumes(traffic, 150)
    assert np.abs(found).max() < 6
    assert 0.2 < found.std() < 1.3


@pytest.mark.long
@pytest.mark.parametrize("weeks", [3, 4, 5, 8])
@pytest.mark.parametrize(("hour", "week"), [(0.0, 0.0), (0.1, 0.0), (0.05, 0.05), (0.0, 0.05)])
def test_volume_without_change_in_full(weeks: int, hour: float, week: float) -> None:
    found = volumes(Traffic(weeks, 1000, hour=hour, week=week), 3000)
    assert np.mean(np.abs(found) > 6) < 1e-3
    assert 0.85 < found.std() < 1.3


@pytest.mark.parametrize(
    "traffic",
    [
        Traffic(3, 1000),
        Traffic(4, 20, share=0.01),
        Traffic(5, 1000, share=0.002),
        Traffic(8, 1000, swing=0.2),
    ],
    ids=str,
)
def test_rates_without_change_are_nearly_never_six_errors_off(traffic: Traffic) -> None:
    assert np.abs(rates(traffic, 150)).max() < 6


@pytest.mark.long
@pytest.mark.parametrize("weeks", [3, 4, 5, 8])
@pytest.mark.parametrize(("mean", "share"), [(20, 0.01), (20, 0.2), (1000, 0.002), (1000, 0.2)])
@pytest.mark.parametrize("swing", [0.0, 0.2])
def test_rates_without_change_in_full(weeks: int, mean: float, share: float, swing: float) -> None:
    found = rates(Traffic(weeks, mean, share=share, swing=swing), 2000)
    assert np.mean(np.abs(found) > 6) < 1e-3
    assert found.std() < 1.2


def test_half_the_volume_is_seen_within_an_hour() -> None:
    """At 1,000 rows an hour in the mean; by night fewer rows are less telling."""
    rng = np.random.default_rng(3)
    for weeks in (3, 4, 6):
        for _ in range(20):
            rows = rng.poisson(1000, weeks * HOURS_A_WEEK + 1)
            rows[-1] = rng.poisson(500)
            assert deviation(rows) < -6


def test_half_the_volume_is_seen_in_traffic_that_varies() -> None:
    rng, found = np.random.default_rng(4), []
    for _ in range(60):
        level = np.repeat(0.03 * rng.normal(size=6), HOURS_A_WEEK)[: 5 * HOURS_A_WEEK + 1]
        expected = 1000 * np.exp(level + 0.05 * rng.normal(size=level.size))
        expected[-1] /= 2
        found.append(deviation(rng.poisson(expected)))
    assert np.mean(np.array(found) < -6) > 0.75


def test_a_rise_of_the_error_rate_is_seen_within_an_hour() -> None:
    assert np.median(rates(Traffic(4, 2000, swing=0.05), 40, factor=1.8)) > 6


def test_an_hour_without_any_rows_is_seen() -> None:
    rows = np.random.default_rng(5).poisson(300, 3 * HOURS_A_WEEK + 1)
    rows[-1] = 0
    assert deviation(rows) < -6
    hours = START + np.arange(rows.size)
    left_out = seasonal_deviation(hours[:-1], rows[:-1], int(hours[-1]))
    assert left_out == seasonal_deviation(hours, rows, int(hours[-1]))


def spoilt(weeks: int, first: int, last: int, factor: float, now: float = 1.0) -> FloatArray:
    """Factors by the hour, backwards from now: `factor` from `first` to `last` hours ago."""
    factors = np.ones(weeks * HOURS_A_WEEK)
    factors[first:last] = factor
    factors[0] = now
    return factors


@pytest.mark.parametrize("weeks", [3, 4, 6])
@pytest.mark.parametrize(
    ("first", "last"),
    [(HOURS_A_WEEK, HOURS_A_WEEK + 1), (HOURS_A_WEEK - 10, HOURS_A_WEEK + 14)],
    ids=["an hour", "a day"],
)
@pytest.mark.parametrize("factor", [0.0, 3.0])
def test_an_odd_hour_or_day_of_last_week_is_forgotten(
    weeks: int, first: int, last: int, factor: float
) -> None:
    traffic = Traffic(weeks, 5000, hour=0.03)
    assert np.abs(volumes(traffic, 30, spoilt(weeks, first, last, factor))).max() < 6
    assert np.median(volumes(traffic, 30, spoilt(weeks, first, last, factor, now=0.5))) < -6


@pytest.mark.parametrize("factor", [0.4, 2.0])
def test_an_odd_week_is_forgotten_from_the_fourth_week_on(factor: float) -> None:
    odd = (HOURS_A_WEEK, 2 * HOURS_A_WEEK, factor)
    for weeks in (4, 6):
        traffic = Traffic(weeks, 5000, hour=0.03)
        assert np.abs(volumes(traffic, 30, spoilt(weeks, *odd))).max() < 6
        assert np.median(volumes(traffic, 30, spoilt(weeks, *odd, now=0.5))) < -6


def test_the_same_hour_of_the_week_is_compared() -> None:
    """A rhythm that is known is no deviation, however large, and only the same hour counts."""
    rng = np.random.default_rng(6)
    week = rng.permutation(np.geomspace(100, 10_000, HOURS_A_WEEK)).round().astype(np.int64)
    rows = np.append(np.tile(week, 4), week[0])
    assert deviation(rows) == pytest.approx(0.0)
    rows[-1] = week[1]
    assert abs(deviation(rows)) > 6


def test_hours_without_rows_may_be_left_out() -> None:
    rng = np.random.default_rng(7)
    rows = rng.poisson(2.0, 5 * HOURS_A_WEEK + 1)
    rows[[0, -1]] = 3, 5
    hits = rng.binomial(rows, 0.3)
    hours, some = START + np.arange(rows.size), rows > 0
    now = int(hours[-1])
    assert seasonal_deviation(hours[some], rows[some], now) == seasonal_deviation(hours, rows, now)
    rates_of_all = seasonal_deviation(hours, rows, now, hits)
    assert seasonal_deviation(hours[some], rows[some], now, hits[some]) == rates_of_all


def test_hours_after_now_and_before_the_whole_weeks_do_not_count() -> None:
    rows = np.random.default_rng(8).poisson(100, 3 * HOURS_A_WEEK + 1)
    more = np.concatenate((np.full(50, 999), rows, np.full(5, 999)))
    now = START + rows.size - 1
    around = seasonal_deviation(np.arange(START - 50, now + 6), more, now)
    assert around == seasonal_deviation(np.arange(START, now + 1), rows, now)


def test_three_weeks_are_needed() -> None:
    rows = np.full(3 * HOURS_A_WEEK + 1, 50)
    hours = START + np.arange(rows.size)
    now = int(hours[-1])
    assert isinstance(seasonal_deviation(hours, rows, now), Value)
    assert seasonal_deviation(hours[1:], rows[1:], now) == Unavailable("short_reference")
    nothing = np.empty(0, dtype=np.int64)
    assert seasonal_deviation(nothing, nothing, now) == Unavailable("short_reference")


def test_ten_rows_are_needed_for_rates() -> None:
    rows = np.full(3 * HOURS_A_WEEK + 1, 50)
    hours, hits = START + np.arange(rows.size), np.full(rows.size, 5)
    now = int(hours[-1])
    fewer_now = np.where(hours == now, 9, rows)
    assert seasonal_deviation(hours, fewer_now, now, hits) == Unavailable("too_few_rows")
    fewer_then = np.where((hours - now) % HOURS_A_WEEK == 0, 3, rows)
    fewer_then[-1] = 50
    assert seasonal_deviation(hours, fewer_then, now, hits // 2) == Unavailable("too_few_rows")
    assert isinstance(seasonal_deviation(hours, rows, now, hits), Value)


@pytest.mark.parametrize("hits", [None, 0, 1], ids=["volume", "never", "always"])
def test_weeks_without_variation_are_no_trouble(hits: int | None) -> None:
    rows = np.full(4 * HOURS_A_WEEK + 1, 0 if hits is None else 30)
    found = deviation(rows, None if hits is None else rows * hits)
    assert found == pytest.approx(0.0)


@pytest.mark.parametrize("weeks", [3, 4, 6])
def test_an_hour_of_wrong_labels_last_week_is_forgotten(weeks: int) -> None:
    rng = np.random.default_rng(9)
    for _ in range(20):
        rows = rng.poisson(Traffic(weeks, 1000).expected(rng)) + 50
        hits = rng.binomial(rows, 0.1)
        hits[-1 - HOURS_A_WEEK] = rows[-1 - HOURS_A_WEEK]
        assert abs(deviation(rows, hits)) < 6
        hits[-1] = rng.binomial(rows[-1], 0.6)
        assert deviation(rows, hits) > 6


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1)), min_size=1, max_size=40),
    st.integers(3, 5),
    st.booleans(),
)
def test_any_counts_give_a_finite_number(drawn: list[tuple[int, float]], weeks: int, volume: bool) -> None:
    size = weeks * HOURS_A_WEEK + 1
    rows = np.resize(np.array([rows for rows, _ in drawn]), size)
    hits = (rows * np.resize(np.array([share for _, share in drawn]), size)).astype(np.int64)
    hours = START + np.arange(size)
    result = seasonal_deviation(hours, rows, int(hours[-1]), None if volume else hits)
    assert np.isfinite(result.value) if isinstance(result, Value) else result == Unavailable("too_few_rows")
