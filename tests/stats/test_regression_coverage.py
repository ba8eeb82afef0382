"""How often the 95 % bounds of regression metrics hold the true value, for errors with light tails."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from scipy.stats import norm

from ml_exporter.stats.regression import REGRESSION_METRICS, RegressionEvidence
from ml_exporter.stats.result import Value

QUANTILES = {
    "median_absolute_error": 0.5,
    "absolute_error_p90": 0.9,
    "absolute_error_p95": 0.95,
    "absolute_error_p99": 0.99,
}
INTERVAL = 1.28
ROOT_TWELVE = float(np.sqrt(12.0))


@dataclass(frozen=True)
class Model:
    """Labels uniform on 5 to 15; errors of standard deviation 1, normal or uniform, shifted by `bias`."""

    tails: Literal["normal", "uniform"]

    def draw(self, rng: np.random.Generator, rows: int) -> RegressionEvidence:
        labels = rng.uniform(5.0, 15.0, rows)
        errors = (
            rng.normal(size=rows) if self.tails == "normal" else rng.uniform(-0.5, 0.5, rows) * ROOT_TWELVE
        )
        predictions = labels + errors
        return RegressionEvidence.of(
            labels, predictions, predictions - INTERVAL, predictions + INTERVAL, 10.0
        )

    def truth(self) -> dict[str, float]:
        absolute = np.sqrt(2 / np.pi) if self.tails == "normal" else ROOT_TWELVE / 4
        within = 2 * norm.cdf(INTERVAL) - 1 if self.tails == "normal" else 2 * INTERVAL / ROOT_TWELVE
        return {
            "mean_absolute_error": float(absolute),
            "root_mean_squared_error": 1.0,
            "mean_squared_error": 1.0,
            "mean_absolute_percentage_error": float(absolute * np.log(3.0) / 10.0),
            "r2_score": 1.0 - 12.0 / 100.0,
            "bias": 0.0,
            "interval_coverage": float(within),
            **{name: self.quantile(share) for name, share in QUANTILES.items()},
        }

    def quantile(self, share: float) -> float:
        return float(norm.ppf((1 + share) / 2)) if self.tails == "normal" else share * ROOT_TWELVE / 2


def coverage(model: Model, rows: int, runs: int) -> dict[str, float]:
    """Share of runs whose bounds hold the truth, by metric, for those that always have two bounds."""
    rng, truth = np.random.default_rng(5), model.truth()
    held: dict[str, list[bool]] = {name: [] for name in REGRESSION_METRICS}
    for _ in range(runs):
        drawn = model.draw(rng, rows)
        for name, metric in REGRESSION_METRICS.items():
            result = metric(drawn, 1.0)
            assert isinstance(result, Value)
            if result.lower is not None and result.upper is not None:
                held[name].append(result.lower <= truth[name] <= result.upper)
    return {name: float(np.mean(hits)) for name, hits in held.items() if len(hits) == runs}


def limits(metric: str) -> tuple[float, float]:
    return (0.92, 0.98) if metric == "mean_absolute_error" else (0.93, 0.975)


def assert_covered(shares: Mapping[str, float], slack: float) -> None:
    outside = {
        name: share
        for name, share in shares.items()
        if not limits(name)[0] - slack <= share <= limits(name)[1] + slack
    }
    assert outside == {}


@pytest.mark.parametrize("tails", ["normal", "uniform"])
def test_bounds_cover_the_truth(tails: Literal["normal", "uniform"]) -> None:
    for rows in (200, 2_000):
        assert_covered(coverage(Model(tails), rows, 400), slack=0.012)


@pytest.mark.long
@pytest.mark.parametrize(("rows", "runs"), [(200, 8_000), (2_000, 8_000), (20_000, 4_000)])
@pytest.mark.parametrize("tails", ["normal", "uniform"])
def test_bounds_cover_the_truth_in_full(tails: Literal["normal", "uniform"], rows: int, runs: int) -> None:
    shares = coverage(Model(tails), rows, runs)
    assert set(REGRESSION_METRICS) - set(shares) == ({"absolute_error_p99"} if rows == 200 else set())
    assert_covered(shares, slack=0.0)


@pytest.mark.long
def test_bounds_of_few_rows_are_hardly_ever_too_narrow() -> None:
    for rows in (10, 14, 19):
        shares = coverage(Model("normal"), rows, 4_000)
        assert min(shares.values()) >= 0.93, (rows, shares)


def test_correlated_rows_need_the_design_effect() -> None:
    rng, covered = np.random.default_rng(7), {1.0: 0, 5.0: 0}
    truth = {"mean_absolute_error": np.sqrt(2 / np.pi), "median_absolute_error": norm.ppf(0.75)}
    for _ in range(300):
        errors = np.repeat(rng.normal(size=200), 5)
        evidence = RegressionEvidence.of(np.zeros(1_000), errors)
        for effect in covered:
            for name, value in truth.items():
                result = REGRESSION_METRICS[name](evidence, effect)
                assert isinstance(result, Value)
                assert result.lower is not None
                assert result.upper is not None
                covered[effect] += result.lower <= value <= result.upper
    assert covered[1.0] / 600 < 0.75
    assert covered[5.0] / 600 > 0.93
