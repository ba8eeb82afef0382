import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ml_exporter.stats.regression_errors import (
    QUANTILE_ERROR,
    ErrorHistogram,
    error_keys,
    order_ranks,
)

SHARES = (0.5, 0.9, 0.95, 0.99)
ERRORS = st.one_of(
    st.just(0.0),
    st.integers(-300, 300).map(float),
    st.floats(-1e30, 1e30).filter(lambda size: size == 0 or abs(size) > 1e-30),
    st.floats(-30.0, 30.0).map(lambda exponent: 10.0**exponent),
)


@given(st.lists(ERRORS, min_size=1, max_size=80), st.floats(0.0, 1.0))
@settings(max_examples=300, deadline=None)
def test_a_quantile_is_off_by_its_promised_error_at_most(errors: list[float], share: float) -> None:
    exact = float(np.quantile(np.abs(errors), share))
    # float32 adds its own rounding, and so does the sum of both neighbours.
    assert ErrorHistogram.of(np.array(errors)).quantile(share) == pytest.approx(
        exact, rel=QUANTILE_ERROR + 1e-6, abs=0.0
    )


def test_the_promised_error_is_below_four_thousandths_and_half_of_it_is_met() -> None:
    assert QUANTILE_ERROR < 0.004
    # Half of the rows stand at each end of one bin, so those in the middle are not where they are taken to be.
    errors = np.repeat([1.0, 1.0 + 1 / 256 - 1e-6], [1_000, 999])
    off = abs(ErrorHistogram.of(errors).quantile(0.5) / np.median(errors) - 1)
    assert 0.4 * QUANTILE_ERROR < off <= QUANTILE_ERROR


@pytest.mark.parametrize("size", [1e-30, 0.02, 1.0, 777.0, 1e30])
def test_a_smooth_distribution_is_met_closely(size: float) -> None:
    errors = size * np.random.default_rng(1).normal(size=50_000)
    found = ErrorHistogram.of(errors)
    for share in SHARES:
        assert found.quantile(share) == pytest.approx(np.quantile(np.abs(errors), share), rel=3e-4)


def test_whole_numbers_are_met_exactly() -> None:
    errors = np.random.default_rng(2).integers(-400, 400, 5_000).astype(np.float64)
    found = ErrorHistogram.of(errors)
    for share in (0.0, 0.1, *SHARES, 1.0):
        assert found.quantile(share) == pytest.approx(np.quantile(np.abs(errors), share), rel=1e-12)
    assert all(bound == int(bound) for bound in found.quantile_bounds(0.5) if bound is not None)


def test_zero_has_a_bin_of_its_own() -> None:
    found = ErrorHistogram.of(np.array([0.0, -0.0, 1e-300, 1e-37]))
    assert found.counts[0].tolist() == [2, 0]
    assert found.keys.tolist() == [0, *error_keys(np.array([1e-38, 1e-37])).tolist()]
    assert ErrorHistogram.of(np.zeros(12)).quantile(0.99) == 0.0
    assert ErrorHistogram.of(np.zeros(12)).quantile_bounds(0.5) == (0.0, 0.0)


@given(st.lists(ERRORS, min_size=2, max_size=60))
@settings(max_examples=100, deadline=None)
def test_keys_are_in_the_order_of_sizes(errors: list[float]) -> None:
    sizes = np.sort(np.abs(errors))
    assert np.all(np.diff(error_keys(sizes).astype(np.int64)) >= 0)
    assert np.array_equal(error_keys(-sizes), error_keys(sizes))


def test_sizes_beyond_float32_stand_at_its_end() -> None:
    found = ErrorHistogram.of(np.array([1e300, -np.inf, 3e38]))
    assert found.n == 3
    assert 2.9e38 < found.quantile(0.5) < 3.5e38


def test_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="errors must be numbers"):
        ErrorHistogram.of(np.array([1.0, np.nan]))


@pytest.mark.parametrize("rows", [300, 100_000])
def test_parts_add_up_to_the_whole_and_come_back_from_bytes(rows: int) -> None:
    errors = np.random.default_rng(3).standard_t(3, rows)
    whole = ErrorHistogram.of(errors)
    parts = [ErrorHistogram.of(errors[side::3]) for side in range(3)]
    assert ErrorHistogram.merge(parts) == whole == sum(parts, ErrorHistogram.empty())
    assert ErrorHistogram.from_bytes(whole.to_bytes()) == whole
    assert whole.n == rows


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("n", [1, 10, 37, 38, 368, 369, 2_000, 1_000_000, 100_000_000])
def test_ranks_leave_at_most_a_fortieth_on_either_side_and_no_rank_less_would(n: int, share: float) -> None:
    first, last = order_ranks(share, n)
    binomial = stats.binom(n, share)
    assert binomial.cdf(first - 1) <= 0.025 < binomial.cdf(first)
    assert binomial.sf(last - 1) <= 0.025 < binomial.sf(last - 2)


def test_bounds_are_the_rows_of_those_ranks() -> None:
    errors = np.arange(1.0, 201.0)
    first, last = order_ranks(0.5, 200)
    assert ErrorHistogram.of(errors).quantile_bounds(0.5) == (first, last)


def test_few_rows_leave_a_high_quantile_without_an_upper_bound() -> None:
    errors = np.random.default_rng(4).normal(size=1_000)
    assert ErrorHistogram.of(errors[:367]).quantile_bounds(0.99)[1] is None
    assert ErrorHistogram.of(errors[:368]).quantile_bounds(0.99)[1] is not None
    assert ErrorHistogram.of(errors).quantile_bounds(0.99, 3.0)[1] is None
    assert ErrorHistogram.of(errors[:10]).quantile_bounds(0.5, 5.0) == (0.0, None)


@given(st.lists(ERRORS, min_size=1, max_size=80), st.sampled_from(SHARES), st.floats(1.0, 30.0))
@settings(max_examples=100, deadline=None)
def test_bounds_hold_the_quantile(errors: list[float], share: float, design_effect: float) -> None:
    found = ErrorHistogram.of(np.array(errors))
    lower, upper = found.quantile_bounds(share, design_effect)
    assert 0.0 <= lower <= found.quantile(share)
    assert upper is None or found.quantile(share) <= upper


@pytest.mark.parametrize("share", SHARES)
def test_bounds_widen_with_the_root_of_the_design_effect(share: float) -> None:
    found = ErrorHistogram.of(np.random.default_rng(6).uniform(1.0, 2.0, 200_000))
    widths = []
    for design_effect in (1.0, 4.0, 16.0):
        lower, upper = found.quantile_bounds(share, design_effect)
        assert upper is not None
        widths.append(upper - lower)
    assert widths[1] / widths[0] == pytest.approx(2.0, rel=0.1)
    assert widths[2] / widths[0] == pytest.approx(4.0, rel=0.1)


def test_counting_many_errors_and_merging_is_fast() -> None:
    errors = np.random.default_rng(5).normal(size=200_000)
    started = time.process_time()
    found = ErrorHistogram.of(errors)
    ErrorHistogram.merge([found] * 60).quantile_bounds(0.99)
    assert time.process_time() - started < 0.2
