import numpy as np
import pytest

from ml_exporter.stats.result import Unavailable, Value
from ml_exporter.stats.sequential import boundary, mean_difference
from ml_exporter.stats.sums import RowSums

LOOKS = 20_000


def bounds(sums: RowSums) -> tuple[float, float]:
    result = mean_difference(sums)
    assert isinstance(result, Value)
    assert result.lower is not None
    assert result.upper is not None
    return result.lower, result.upper


def first_exclusion(differences: np.ndarray[tuple[int], np.dtype[np.float64]]) -> int | None:
    """The first look, from 200 rows on, at which the bounds leave zero out."""
    n = np.arange(1, differences.size + 1)
    mean = np.cumsum(differences) / n
    spread = np.sqrt(np.maximum(np.cumsum(np.square(differences)) / n - np.square(mean), 0.0))
    out = np.flatnonzero(np.abs(mean[199:]) > spread[199:] * HALF_WIDTHS[199 : differences.size])
    return int(out[0]) + 200 if out.size else None


HALF_WIDTHS = np.array([boundary(n, 0.05, 10_000) for n in range(1, LOOKS + 1)])


def test_bounds_are_mean_and_deviation_times_the_boundary() -> None:
    values = np.random.default_rng(1).normal(0.1, 2.0, 5_000)
    lower, upper = bounds(RowSums.of(values))
    assert (lower + upper) / 2 == pytest.approx(np.mean(values))
    assert (upper - lower) / 2 == pytest.approx(np.std(values) * HALF_WIDTHS[4_999])


def test_boundary_is_the_mixture_martingale_at_its_limit() -> None:
    n, alpha, rows = 3_000, 0.05, 10_000
    rho = (2 * np.log(20) + np.log(2 * np.log(20)) + 1) / rows
    total = n * boundary(n, alpha, rows)
    # Sum and variance for which the normal mixture reaches exactly 1 / alpha (Robbins 1970).
    wealth = np.exp(rho * total**2 / (2 * (n * rho + 1))) / np.sqrt(n * rho + 1)
    assert wealth == pytest.approx(1 / alpha)


def test_bounds_are_narrowest_near_the_chosen_rows() -> None:
    at_their_best = [boundary(n, 0.05, n) for n in (500, 10_000, 200_000)]
    for other in (100, 3_000, 50_000, 2_000_000):
        for n, best in zip((500, 10_000, 200_000), at_their_best, strict=True):
            assert best < boundary(n, 0.05, other) * 1.001


@pytest.mark.parametrize("rate", [0.002, 0.02, 0.2])
def test_equal_error_rates_are_seldom_ever_told_apart(rate: float) -> None:
    rng = np.random.default_rng(3)
    excluded = 0
    for _ in range(300):
        first, second = rng.random((2, LOOKS)) < rate
        excluded += first_exclusion(first.astype(float) - second) is not None
    assert excluded < 15


def test_equal_skewed_losses_are_seldom_ever_told_apart() -> None:
    rng = np.random.default_rng(4)
    excluded = 0
    for _ in range(300):
        first, second = np.square(rng.standard_exponential((2, LOOKS)))
        excluded += first_exclusion(first - second) is not None
    assert excluded < 15


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(5)
    found = []
    for _ in range(50):
        first, second = rng.random(LOOKS) < 0.24, rng.random(LOOKS) < 0.20
        found.append(first_exclusion(first.astype(float) - second))
    assert all(look is not None for look in found)
    assert np.median([look for look in found if look is not None]) < 6_000


def test_stricter_alpha_widens_the_bounds() -> None:
    assert boundary(5_000, 0.01, 10_000) > boundary(5_000, 0.05, 10_000)


def test_fewer_than_two_hundred_pairs_are_too_few() -> None:
    assert mean_difference(RowSums.of(np.ones(199))) == Unavailable("too_few_rows")
    assert isinstance(mean_difference(RowSums.of(np.ones(200))), Value)
