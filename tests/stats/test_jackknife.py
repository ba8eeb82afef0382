import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t

from ml_exporter.stats import intervals, jackknife


def test_blocks_of_equal_size_give_the_standard_error_of_their_mean() -> None:
    shares = np.array([0.5, 0.6, 0.4, 0.7, 0.55, 0.45, 0.65, 0.35])
    value = shares.mean()
    left_out = (shares.sum() - shares) / 7
    error = shares.std(ddof=1) / np.sqrt(8) / (value * (1 - value))
    half = t.ppf(0.975, 7) * error
    expected = (expit(logit(value) - half), expit(logit(value) + half))
    assert jackknife.block_bounds(float(value), left_out) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("value", "left_out"),
    [
        (0.5, np.array([0.4, 0.5, 0.6, 0.5, 0.4])),
        (1.0, np.linspace(0.9, 1.0, 12)),
        (0.0, np.linspace(0.0, 0.1, 12)),
        (0.5, np.full(12, 0.5)),
        (0.5, np.zeros(0)),
    ],
    ids=["five blocks", "one", "zero", "no change", "no blocks"],
)
def test_blocks_that_tell_nothing_give_no_bounds(value: float, left_out: np.ndarray) -> None:
    assert jackknife.block_bounds(value, left_out) is None


def test_rows_give_the_standard_error_of_a_proportion() -> None:
    hits, misses = 30, 70
    left_out = np.array([29 / 99, 30 / 99])
    found = jackknife.row_bounds(0.3, left_out, np.array([hits, misses]), 2.0, 50.0)
    half = t.ppf(0.975, 49) * np.sqrt(2.0 * 0.3 * 0.7 / 99) / (0.3 * 0.7)
    assert found == pytest.approx((expit(logit(0.3) - half), expit(logit(0.3) + half)), rel=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_rows_that_change_nothing_leave_the_bounds_of_the_smallest_class(value: float) -> None:
    found = jackknife.row_bounds(value, np.full(2, value), np.array([40, 40]), 1.0, 40.0)
    assert found == intervals.proportion(40 * value, 40.0)


def test_wider_holds_both() -> None:
    assert jackknife.wider((0.2, 0.5), (0.3, 0.6)) == (0.2, 0.6)
