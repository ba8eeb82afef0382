"""How often the 95 % bounds of regression metrics hold the truth where errors have heavy tails.

`python -m tests.stats.test_regression_tails` prints the table for the documentation.
"""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import pytest
from scipy.special import beta, ndtr

from ml_exporter.stats.arrays import FloatArray
from ml_exporter.stats.regression import REGRESSION_METRICS, RegressionEvidence
from ml_exporter.stats.result import Value

METRICS = ("mean_absolute_error", "root_mean_squared_error", "r2_score")
RUNS = {200: 8_000, 2_000: 4_000, 20_000: 2_000}
# What the documentation shows, in the order of METRICS.
PUBLISHED: Mapping[tuple[str, int], tuple[float, float, float]] = {
    ("normal", 200): (0.946, 0.942, 0.948),
    ("normal", 2_000): (0.950, 0.947, 0.951),
    ("normal", 20_000): (0.955, 0.950, 0.951),
    ("t5", 200): (0.943, 0.911, 0.935),
    ("t5", 2_000): (0.949, 0.935, 0.935),
    ("t5", 20_000): (0.958, 0.944, 0.945),
    ("t3", 200): (0.935, 0.763, 0.821),
    ("t3", 2_000): (0.952, 0.794, 0.818),
    ("t3", 20_000): (0.947, 0.792, 0.800),
    ("lognormal", 200): (0.909, 0.771, 0.796),
    ("lognormal", 2_000): (0.934, 0.870, 0.876),
    ("lognormal", 20_000): (0.942, 0.923, 0.919),
}

Shares: TypeAlias = dict[str, float]


def draw(tails: str, rng: np.random.Generator, rows: int) -> FloatArray:
    """Errors with mean 0: normal, Student's t with that many degrees, or a lognormal less its mean."""
    if tails.startswith("t"):
        return np.asarray(rng.standard_t(int(tails[1:]), rows))
    normal = rng.normal(size=rows)
    return np.exp(normal) - np.exp(0.5) if tails == "lognormal" else normal


def moments(tails: str) -> tuple[float, float]:
    """Mean of the absolute and of the squared error."""
    if tails.startswith("t"):
        degrees = int(tails[1:])
        absolute = 2 * np.sqrt(degrees) / ((degrees - 1) * beta(0.5, degrees / 2))
        return float(absolute), degrees / (degrees - 2)
    if tails == "lognormal":
        return float(2 * np.exp(0.5) * (2 * ndtr(0.5) - 1)), float(np.exp(2.0) - np.exp(1.0))
    return float(np.sqrt(2 / np.pi)), 1.0


def coverage(tails: str, rows: int, runs: int) -> Shares:
    """Share of runs that hold the truth, for normal labels of which 0.8 is explained."""
    rng = np.random.default_rng(8)
    absolute, square = moments(tails)
    truth = dict(zip(METRICS, (absolute, np.sqrt(square), 0.8), strict=True))
    held = dict.fromkeys(METRICS, 0)
    for _ in range(runs):
        labels = rng.normal(0.0, np.sqrt(5 * square), rows)
        evidence = RegressionEvidence.of(labels, labels + draw(tails, rng, rows))
        for name in METRICS:
            result = REGRESSION_METRICS[name](evidence, 1.0)
            assert isinstance(result, Value)
            assert result.lower is not None
            assert result.upper is not None
            held[name] += result.lower <= truth[name] <= result.upper
    return {name: hits / runs for name, hits in held.items()}


def table() -> str:
    """Coverage by tails, rows and metric, in Markdown."""
    lines = [f"| errors | rows | {' | '.join(METRICS)} |", "| --- | --- |" + " --- |" * len(METRICS)]
    for tails, rows in PUBLISHED:
        shares = coverage(tails, rows, RUNS[rows]).values()
        lines.append(f"| {tails} | {rows:,} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |")
    return "\n".join(lines)


@pytest.mark.parametrize("tails", ["normal", "t5", "lognormal"])
def test_the_truth_is_what_many_errors_show(tails: str) -> None:
    errors = draw(tails, np.random.default_rng(9), 1_000_000)
    assert (np.abs(errors).mean(), np.square(errors).mean()) == pytest.approx(moments(tails), rel=0.03)


def test_heavy_tails_leave_the_mean_absolute_error_its_bounds_but_not_the_squared_one() -> None:
    shares = coverage("t3", 200, 400)
    assert shares["mean_absolute_error"] > 0.91
    assert shares["root_mean_squared_error"] < 0.85


@pytest.mark.long
@pytest.mark.parametrize(("tails", "rows"), PUBLISHED)
def test_the_published_table_holds(tails: str, rows: int) -> None:
    shares = coverage(tails, rows, RUNS[rows])
    assert tuple(shares.values()) == pytest.approx(PUBLISHED[tails, rows], abs=0.015)


if __name__ == "__main__":
    print(table())
