"""The numbers of `delay-minutes` on the page, computed once more from the raw lines with scikit-learn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics
from tests.demo.year import WINDOW, Year, read_year

Floats = np.ndarray[Any, np.dtype[np.float64]]
WHERE = {"version": "1", "window": WINDOW}


@pytest.fixture(scope="module")
def year(year_config: Path, year_page: str) -> Year:
    return read_year(year_config, "delay-minutes", year_page)


@pytest.fixture(scope="module")
def answers(year: Year) -> tuple[Floats, Floats]:
    """Labels of the window, and what was predicted."""
    _, labelled, truth = year.mature("1")
    return truth.astype(np.float64), np.array([line["prediction"] for line in labelled])


def quality(year: Year, metric: str) -> float:
    return year.value("ml_quality", metric=metric, **WHERE)


def test_quality_is_what_scikit_learn_computes_from_the_raw_lines(
    year: Year, answers: tuple[Floats, Floats]
) -> None:
    truth, predicted = answers
    some = truth != 0
    expected = {
        "mean_absolute_error": metrics.mean_absolute_error(truth, predicted),
        "mean_squared_error": metrics.mean_squared_error(truth, predicted),
        "root_mean_squared_error": metrics.root_mean_squared_error(truth, predicted),
        "mean_absolute_percentage_error": metrics.mean_absolute_percentage_error(
            truth[some], predicted[some]
        ),
        "r2_score": metrics.r2_score(truth, predicted),
        "bias": np.mean(predicted - truth),
    }
    assert {name: quality(year, name) for name in expected} == pytest.approx(expected, rel=1e-9)
    assert year.value("ml_quality_samples", **WHERE) == truth.size > 20_000


@pytest.mark.parametrize(
    ("metric", "share"),
    [
        ("median_absolute_error", 0.5),
        ("absolute_error_p90", 0.9),
        ("absolute_error_p95", 0.95),
        ("absolute_error_p99", 0.99),
    ],
)
def test_error_quantiles_are_within_their_bins(
    year: Year, answers: tuple[Floats, Floats], metric: str, share: float
) -> None:
    truth, predicted = answers
    expected = np.quantile(np.abs(predicted - truth), share)
    assert quality(year, metric) == pytest.approx(expected, rel=4e-3)


def test_interval_coverage_counts_the_labels_within(year: Year) -> None:
    _, labelled, truth = year.mature("1")
    within = [line["lower"] <= label <= line["upper"] for line, label in zip(labelled, truth, strict=True)]
    assert quality(year, "interval_coverage") == pytest.approx(np.mean(within), abs=1e-12)


def test_bounds_allow_for_the_weather_that_flights_share(year: Year, answers: tuple[Floats, Floats]) -> None:
    truth, predicted = answers
    errors = np.abs(predicted - truth)
    effective = year.value("ml_quality_effective_samples", **WHERE)
    assert 100 < effective < truth.size / 20
    sides = [
        year.value(f"ml_quality_{side}", metric="mean_absolute_error", **WHERE) for side in ("lower", "upper")
    ]
    assert sides[0] < errors.mean() < sides[1]
    # Student's t with as many rows as these are worth.
    half = 1.96 * errors.std() / np.sqrt(effective)
    assert (sides[1] - sides[0]) / 2 == pytest.approx(half, rel=0.02)
