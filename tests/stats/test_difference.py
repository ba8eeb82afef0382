from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import norm, t

from ml_exporter.stats.arrays import BoolArray, FloatArray
from ml_exporter.stats.classification import BinaryEvidence
from ml_exporter.stats.difference import block_difference, unpaired_difference
from ml_exporter.stats.ranking import roc_auc
from ml_exporter.stats.result import Unavailable, Value
from ml_exporter.stats.sequential import boundary

ALPHA, TIGHTEST = 0.05, 5_000
HOURS, LOOKS = 200, 100


def hourly(*hours: FloatArray) -> FloatArray:
    return np.array([[row.size, row.sum(), np.dot(row, row)] for row in hours], dtype=float)


def value_of(result: Value | Unavailable) -> tuple[float, float, float]:
    assert isinstance(result, Value)
    assert result.lower is not None
    assert result.upper is not None
    return result.value, result.lower, result.upper


def test_difference_is_the_coefficient_of_a_regression_on_version_and_hour() -> None:
    """And its variance White's for that regression, here in equal hours, where n / (n - 1) is one number."""
    rng = np.random.default_rng(1)
    hour, version = np.repeat(np.arange(10), 100), np.tile(np.arange(100) < 30, 10)
    loss = rng.gamma(2, size=1000) * (1 + hour) - 0.5 * version
    dummies = np.column_stack([version, hour[:, None] == np.arange(10)]).astype(float)
    bread = np.linalg.inv(dummies.T @ dummies)
    coefficients = bread @ dummies.T @ -loss
    residuals = -loss - dummies @ coefficients
    white = (bread @ (dummies.T * np.square(residuals)) @ dummies @ bread)[0, 0] * 100 / 99
    arms = [hourly(*(loss[(hour == h) & (version == arm)] for h in range(10))) for arm in (False, True)]
    value, lower, upper = value_of(unpaired_difference(arms[0], arms[1]))
    time = 10 / (1 / 70 + 1 / 30)
    assert value == pytest.approx(coefficients[0])
    assert (lower + upper) / 2 == pytest.approx(value)
    errors = t.isf(norm.sf(np.sqrt(time) * boundary(time, ALPHA, TIGHTEST)), 299)
    assert (upper - lower) / 2 == pytest.approx(np.sqrt(white) * errors, rel=1e-3)


def test_positive_means_that_the_candidate_is_better() -> None:
    rng = np.random.default_rng(2)
    worse, better = (rng.random((2, 20_000)) < [[0.24], [0.20]]).astype(float)
    value, lower, _ = value_of(unpaired_difference(hourly(worse), hourly(better), binary=True))
    assert value == pytest.approx(worse.mean() - better.mean())
    assert lower > 0
    swapped = value_of(unpaired_difference(hourly(better), hourly(worse), binary=True))
    assert swapped[0] == pytest.approx(-value)
    assert swapped[2] == pytest.approx(-lower)


def test_a_rhythm_and_a_share_that_follows_it_are_no_difference() -> None:
    """The candidate is sent mostly the easy rows of the night; hour by hour it errs as the baseline does."""
    rng = np.random.default_rng(3)
    baseline, candidate = [], []
    for _ in range(30):
        for rate, (n_a, n_b) in ((0.4, (900, 100)), (0.1, (100, 900))):
            baseline.append((rng.random(n_a) < rate).astype(float))
            candidate.append((rng.random(n_b) < rate).astype(float))
    plain = np.concatenate(baseline).mean() - np.concatenate(candidate).mean()
    value, lower, upper = value_of(unpaired_difference(hourly(*baseline), hourly(*candidate), binary=True))
    assert plain > 0.2
    assert abs(value) < 0.02
    assert lower < 0 < upper


def test_hours_of_one_version_are_left_out() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.random((2, 3, 300))
    nothing = np.zeros((1, 3))
    alone = hourly(np.full(5000, 9.0))
    both = unpaired_difference(hourly(*first), hourly(*second))
    longer = unpaired_difference(
        np.concatenate((alone, hourly(*first), nothing)), np.concatenate((nothing, hourly(*second), alone))
    )
    assert longer == both
    assert isinstance(both, Value)
    assert both.n == 1800


def test_order_of_hours_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    first, second = (np.stack([hourly(rng.random(100))[0] for _ in range(40)]) for _ in range(2))
    order = rng.permutation(40)
    expected = value_of(unpaired_difference(first, second))
    assert value_of(unpaired_difference(first[order], second[order])) == pytest.approx(expected)


def outcomes(hits: int, misses: int) -> FloatArray:
    return np.array([[hits + misses, hits, hits]], dtype=float)


@pytest.mark.parametrize(
    ("baseline", "candidate", "enough"),
    [
        (outcomes(25, 25), outcomes(25, 25), True),
        (outcomes(24, 900), outcomes(90, 900), False),
        (outcomes(90, 900), outcomes(24, 900), False),
        (outcomes(90, 900), outcomes(900, 24), False),
        (np.zeros((1, 3)), outcomes(90, 90), False),
    ],
)
def test_outcomes_that_are_needed(baseline: FloatArray, candidate: FloatArray, enough: bool) -> None:
    result = unpaired_difference(baseline, candidate, binary=True)
    assert isinstance(result, Value) if enough else result == Unavailable("too_few_rows")


def test_rows_that_are_needed() -> None:
    rng = np.random.default_rng(6)
    few, enough = hourly(rng.random(199)), hourly(rng.random(200))
    assert unpaired_difference(few, enough) == Unavailable("too_few_rows")
    assert unpaired_difference(enough, few) == Unavailable("too_few_rows")
    assert isinstance(unpaired_difference(enough, enough), Value)
    assert unpaired_difference(np.empty((0, 3)), np.empty((0, 3))) == Unavailable("too_few_rows")


@dataclass(frozen=True)
class Looks:
    """What `unpaired_difference` says at every look, shapes (looks,); the half width may be that of no value."""

    value: FloatArray
    half: FloatArray
    enough: BoolArray

    @property
    def excluded(self) -> BoolArray:
        """Looks at which the bounds leave zero out."""
        return self.enough & (np.abs(self.value) > self.half)


def every_look(baseline: FloatArray, candidate: FloatArray, binary: bool) -> Looks:
    """The same, from all increments (hours, looks in an hour, 3) at once instead of look by look.

    Squares around the difference of a look, which moves, are expanded into running sums.
    """
    first, second = np.cumsum(baseline, axis=1), np.cumsum(candidate, axis=1)
    shared = (first[..., 0] > 0) & (second[..., 0] > 0)

    def running(values: FloatArray) -> FloatArray:
        values = np.where(shared, values, 0.0)
        closed = np.concatenate(([0.0], np.cumsum(values[:-1, -1])))
        return np.asarray((closed[:, None] + values).ravel())

    n_a, n_b = np.maximum(first[..., 0], 1), np.maximum(second[..., 0], 1)
    n, weights = n_a + n_b, n_a * n_b / (n_a + n_b)
    d = first[..., 1] / n_a - second[..., 1] / n_b
    time = np.maximum(running(weights), 1e-9)
    value = running(weights * d) / time

    def around(factors: FloatArray) -> FloatArray:
        cross = running(factors * d)
        return np.asarray(running(factors * d * d) - 2 * value * cross + value**2 * running(factors))

    within = [arm[..., 2] - arm[..., 1] ** 2 / rows for arm, rows in ((first, n_a), (second, n_b))]
    rows = running(((n_b / n) ** 2 * within[0] + (n_a / n) ** 2 * within[1]) * n / (n - 1))
    rows += around(((n_b / n) ** 4 * n_a + (n_a / n) ** 4 * n_b) * n / (n - 1))
    hours = running(np.ones_like(n))
    wholes = np.where(hours >= 24, around(weights**2) * hours / np.maximum(hours - 1, 1), 0.0)
    scale = np.maximum(np.maximum(rows, wholes), 0.0)
    counted = evidence(running, first, second, binary)
    normal = np.sqrt(time) * np.interp(time, TIMES, WIDTHS)
    student = normal + (normal**3 + normal) / (4 * np.maximum(counted - 1, 1))
    half = student * np.sqrt(scale) / time
    return Looks(value, half, counted >= (25 if binary else 200))


TIMES = np.geomspace(1, 5e5, 20_000)
WIDTHS = np.array([boundary(time, ALPHA, TIGHTEST) for time in TIMES])


def evidence(
    running: Callable[[FloatArray], FloatArray], first: FloatArray, second: FloatArray, binary: bool
) -> FloatArray:
    rows, sums = ([running(arm[..., column]) for arm in (first, second)] for column in (0, 1))
    misses = [count - total for count, total in zip(rows, sums, strict=True)]
    return np.asarray(np.minimum.reduce([*sums, *misses] if binary else rows))


def canary(
    rng: np.random.Generator, rates: tuple[float, float], rows: int, hours: int = HOURS, shock: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Increments (hours, looks, 3) of errors, so many rows at each look, one in ten sent to the candidate.

    Both error rates follow a rhythm of the day; `shock` is a deviation (in logits) of each version's hours.
    """
    day = 1 + 0.5 * np.sin(np.arange(hours) * np.pi / 12)[:, None]
    second = rng.binomial(rows, 0.1, (hours, LOOKS))
    arms = []
    for count, rate in zip((rows - second, second), rates, strict=True):
        odds = rate * day / (1 - rate * day) * np.exp(shock * rng.normal(size=(hours, 1)))
        hits = rng.binomial(count, odds / (1 + odds))
        arms.append(np.stack([count, hits, hits], axis=-1).astype(float))
    return arms[0], arms[1]


def test_all_looks_at_once_are_the_looks_one_by_one() -> None:
    rng = np.random.default_rng(7)
    baseline, candidate = canary(rng, (0.2, 0.2), 3, hours=40)
    looks = every_look(baseline, candidate, binary=True)
    for look in [0, 70, *rng.integers(0, 40 * LOOKS, 60).tolist()]:
        hour, within = divmod(look, LOOKS)
        sums = [
            np.concatenate((arm[:hour].sum(axis=1), arm[hour : hour + 1, : within + 1].sum(axis=1)))
            for arm in (baseline, candidate)
        ]
        result = unpaired_difference(sums[0], sums[1], ALPHA, binary=True, tightest_at=TIGHTEST)
        assert isinstance(result, Value) == looks.enough[look]
        if isinstance(result, Value):
            value, lower, upper = value_of(result)
            assert looks.value[look] == pytest.approx(value)
            assert looks.half[look] == pytest.approx((upper - lower) / 2, rel=1e-6)


def ever_excluded(rate: float, rows: int, runs: int) -> int:
    rng = np.random.default_rng(8)
    return sum(
        bool(every_look(*canary(rng, (rate, rate), rows), binary=True).excluded.any()) for _ in range(runs)
    )


@pytest.mark.parametrize(("rate", "rows"), [(0.002, 100), (0.02, 10), (0.2, 1)])
def test_equal_versions_are_seldom_ever_told_apart(rate: float, rows: int) -> None:
    assert ever_excluded(rate, rows, runs=40) <= 4


@pytest.mark.long
@pytest.mark.parametrize("rate", [0.002, 0.02, 0.2])
@pytest.mark.parametrize("errors_a_look", [0.2, 2.0])
def test_equal_versions_are_told_apart_in_fewer_than_one_of_twenty_runs(
    rate: float, errors_a_look: float
) -> None:
    assert ever_excluded(rate, round(errors_a_look / rate), runs=300) < 15


@pytest.mark.long
def test_equal_skewed_losses_are_seldom_ever_told_apart() -> None:
    rng = np.random.default_rng(9)
    excluded = 0
    for _ in range(300):
        counts = rng.binomial(5, 0.1, (HOURS, LOOKS))
        arms = []
        for count in (5 - counts, counts):
            losses = np.square(rng.standard_exponential((HOURS, LOOKS, 5))) * (
                np.arange(5) < count[..., None]
            )
            arms.append(np.stack([count, losses.sum(axis=2), np.square(losses).sum(axis=2)], axis=-1))
        excluded += int(every_look(arms[0], arms[1], binary=False).excluded.any())
    assert excluded < 15


@pytest.mark.long
def test_hours_that_err_together_widen_the_bounds_from_the_second_day() -> None:
    rng = np.random.default_rng(10)
    excluded = 0
    for _ in range(200):
        looks = every_look(*canary(rng, (0.2, 0.2), 20, shock=0.3), binary=True)
        excluded += int(looks.excluded[24 * LOOKS :].any())
    assert excluded < 20


@pytest.mark.parametrize(
    ("rates", "rows", "labels"), [((0.24, 0.20), 20, 60_000), ((0.02, 0.03), 100, 150_000)]
)
def test_a_real_difference_is_found(rates: tuple[float, float], rows: int, labels: int) -> None:
    rng, found = np.random.default_rng(11), []
    for _ in range(20):
        looks = every_look(*canary(rng, rates, rows), binary=True)
        assert looks.excluded.any()
        first = int(np.argmax(looks.excluded))
        assert np.sign(looks.value[first]) == np.sign(rates[0] - rates[1])
        found.append(first * rows)
    assert np.median(found) < labels


def block_auc(rng: np.random.Generator, rows: int) -> tuple[float, FloatArray]:
    """ROC AUC of a calibrated model over twelve blocks, and without each of them."""
    parts = []
    for size in rng.multinomial(rows, np.full(12, 1 / 12)):
        labels = rng.random(size) < 0.2
        scores = 1 / (1 + np.exp(-rng.normal(size=size) - 1.5 * labels))
        parts.append(BinaryEvidence.of(scores, scores > 0.5, labels))
    without = [roc_auc(BinaryEvidence.merge(parts[:b] + parts[b + 1 :]).scores) for b in range(12)]
    return roc_auc(BinaryEvidence.merge(parts).scores), np.array(without)


def covered(runs: int) -> float:
    rng, hits = np.random.default_rng(12), []
    for _ in range(runs):
        (baseline, baseline_without), (candidate, candidate_without) = (
            block_auc(rng, 2000),
            block_auc(rng, 400),
        )
        result = block_difference(baseline, candidate, baseline_without, candidate_without, 2400)
        _, lower, upper = value_of(result)
        hits.append(lower <= 0 <= upper)
    return float(np.mean(hits))


def test_block_bounds_cover_no_difference() -> None:
    assert covered(60) >= 0.87


@pytest.mark.long
def test_block_bounds_cover_no_difference_in_full() -> None:
    assert 0.92 <= covered(1000) <= 0.98


def test_block_bounds_of_means_are_those_of_student() -> None:
    """The jackknife of a mean of equal blocks is the usual standard error of the blocks' means."""
    rng = np.random.default_rng(13)
    first, second = rng.normal(0, 1, 12), rng.normal(0.3, 1, 12)
    without = [(blocks.sum() - blocks) / 11 for blocks in (first, second)]
    result = block_difference(first.mean(), second.mean(), without[0], without[1], 999, alpha=0.1)
    value, lower, upper = value_of(result)
    apart = second - first
    assert value == pytest.approx(apart.mean())
    expected = t.interval(0.9, 11, apart.mean(), apart.std(ddof=1) / np.sqrt(12))
    assert (lower, upper) == pytest.approx(expected)


def test_blocks_that_are_needed() -> None:
    five, six = np.linspace(0.7, 0.71, 5), np.linspace(0.7, 0.71, 6)
    assert block_difference(0.7, 0.7, five, five, 100) == Unavailable("too_few_rows")
    assert isinstance(block_difference(0.7, 0.7, six, six, 100), Value)
    missing = np.where(np.arange(6) == 2, np.nan, six)
    assert block_difference(0.7, 0.7, six, missing, 100) == Unavailable("too_few_rows")
