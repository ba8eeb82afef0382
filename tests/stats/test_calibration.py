from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve

from ml_exporter.stats.calibration import (
    BINS,
    CalibrationCounts,
    calibration_noise,
    expected_calibration_error,
)
from ml_exporter.stats.result import Unavailable, Value

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]

SCORES: dict[str, Draw] = {
    "uniform": lambda rng, n: rng.random(n),
    "skewed": lambda rng, n: rng.beta(0.6, 2.0, n),
    "rare": lambda rng, n: rng.beta(0.3, 30.0, n),
    "certain": lambda rng, n: rng.beta(0.1, 0.1, n),
    "crowded": lambda rng, n: rng.beta(20.0, 20.0, n),
}


def error(counts: CalibrationCounts) -> float:
    result = expected_calibration_error(counts)
    assert isinstance(result, Value)
    assert (result.lower, result.upper) == (None, None)
    return result.value


def perfect(rng: np.random.Generator, scores: Floats) -> CalibrationCounts:
    return CalibrationCounts.of(scores, rng.random(scores.size) < scores)


@pytest.mark.parametrize("n", [40, 5_000])
def test_error_is_that_of_scikit_learns_curve(n: int) -> None:
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.beta(0.6, 2.0, n), np.linspace(0, 1, BINS + 1)])  # the edges too
    labels = rng.random(scores.size) < scores**2
    share, mean = calibration_curve(labels, scores, n_bins=BINS)
    rows = CalibrationCounts.of(scores, labels).cells[:, 0]
    expected = np.sum(rows[rows > 0] * np.abs(share - mean)) / scores.size
    assert error(CalibrationCounts.of(scores, labels)) == pytest.approx(expected, abs=1e-12)


def test_counts_are_additive() -> None:
    rng = np.random.default_rng(2)
    scores = rng.random(90)
    labels = rng.random(90) < scores
    parts = [CalibrationCounts.of(scores[part], labels[part]) for part in np.split(np.arange(90), [20, 50])]
    for merged in (parts[0] + parts[1] + parts[2], CalibrationCounts.merge(parts)):
        assert merged.cells == pytest.approx(CalibrationCounts.of(scores, labels).cells, abs=1e-12)
    assert not CalibrationCounts().cells.any()
    assert CalibrationCounts().cells is not CalibrationCounts().cells


def test_fewer_than_ten_rows_are_too_few() -> None:
    assert expected_calibration_error(CalibrationCounts()) == Unavailable("too_few_rows")
    nine = CalibrationCounts.of(np.full(9, 0.5), np.zeros(9, np.bool_))
    assert expected_calibration_error(nine) == Unavailable("too_few_rows")


@pytest.mark.parametrize("name", list(SCORES))
@pytest.mark.parametrize("n", [200, 3_000])
def test_a_perfect_model_exceeds_its_noise_in_a_hundredth(name: str, n: int) -> None:
    rng = np.random.default_rng(3)
    scores = SCORES[name](rng, n)
    counts = [perfect(rng, scores) for _ in range(1_500)]
    noise = calibration_noise(counts[0])
    errors = np.array([error(drawn) for drawn in counts])
    assert np.mean(errors > noise) <= 0.02
    assert noise <= 1.12 * np.quantile(errors, 0.99)


def test_noise_holds_where_hardly_a_positive_is_expected() -> None:
    rng, above = np.random.default_rng(6), []
    for _ in range(1_500):
        counts = perfect(rng, rng.beta(0.3, 300.0, 50))
        above.append(error(counts) > calibration_noise(counts))
    assert np.mean(above) <= 0.02


def test_a_model_that_is_off_exceeds_its_noise() -> None:
    rng = np.random.default_rng(4)
    scores = rng.beta(0.6, 2.0, 3_000)
    drawn = CalibrationCounts.of(np.sqrt(scores), rng.random(3_000) < scores)
    assert error(drawn) > 3 * calibration_noise(drawn)


def test_scores_that_leave_no_doubt_make_no_noise() -> None:
    scores = np.array([0.0, 1.0] * 10)
    counts = CalibrationCounts.of(scores, scores == 1.0)
    assert (error(counts), calibration_noise(counts)) == (0.0, 0.0)


def test_noise_shrinks_with_rows_and_grows_with_the_design_effect() -> None:
    scores = np.random.default_rng(5).random(400)
    once, many = (CalibrationCounts.of(np.tile(scores, k), np.zeros(400 * k, np.bool_)) for k in (1, 100))
    assert calibration_noise(once) == pytest.approx(10 * calibration_noise(many), rel=0.03)
    assert calibration_noise(once, 4.0) == pytest.approx(2 * calibration_noise(once))
