import json
from collections import defaultdict

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.forecasts import Model, bin_of, quantile_edges

from ml_exporter.stats.classification import row_brier, row_log_loss
from ml_exporter.stats.expected_loss import (
    ExpectedLoss,
    estimate_accuracy,
    estimate_loss,
    estimate_root_loss,
    fit_expected_loss,
)
from ml_exporter.stats.folds import FOLDS, chronological_folds
from ml_exporter.stats.result import Unavailable, Value

Floats = NDArray[np.float64]
BINS = 100


def certain(mean: Floats, variance: Floats, third: Floats) -> ExpectedLoss:
    """What was learned without doubt: every fold agrees."""
    return ExpectedLoss(np.full(mean.size, 1_000), mean, variance, third, np.tile(mean, (FOLDS, 1)))


def bounds(result: object) -> tuple[float, float]:
    assert isinstance(result, Value)
    assert result.lower is not None
    assert result.upper is not None
    return result.lower, result.upper


def test_moments_are_those_of_each_bin() -> None:
    rng = np.random.default_rng(1)
    bins, losses = rng.integers(0, 4, 400), rng.gamma(2.0, 1.5, 400)
    learned = fit_expected_loss(bins, losses, chronological_folds(400), 4)
    for place in range(4):
        inside = losses[bins == place]
        gap, n = inside - inside.mean(), inside.size
        assert learned.rows[place] == n
        assert learned.mean[place] == pytest.approx(inside.mean())
        assert learned.variance[place] == pytest.approx(np.var(inside, ddof=1))
        assert learned.third[place] == pytest.approx(n * np.sum(gap**3) / ((n - 1) * (n - 2)))
        without_first = losses[40:][bins[40:] == place]
        assert learned.fold_means[0, place] == pytest.approx(without_first.mean())


def test_bins_without_rows_take_their_neighbours_moments() -> None:
    bins = np.repeat([0, 2], 500)
    losses = np.concatenate([np.tile([1.0, 3.0], 250), np.tile([4.0, 8.0], 250)])
    learned = fit_expected_loss(bins, losses, np.tile(np.arange(FOLDS), 100), 4)
    assert learned.mean.tolist() == [2.0, 4.0, 6.0, 6.0]
    assert learned.variance[1] == pytest.approx((learned.variance[0] + learned.variance[2]) / 2)
    assert learned.fold_means.shape == (FOLDS, 4)


def test_a_window_weighs_the_bins_by_its_own_rows() -> None:
    expected = certain(np.array([1.0, 5.0]), np.array([4.0, 9.0]), np.zeros(2))
    result = estimate_loss(np.array([300, 100]), expected)
    assert isinstance(result, Value)
    assert result.value == pytest.approx(2.0)
    assert result.n == 400
    half = 1.96 * np.sqrt((300 * 4 + 100 * 9) / 400**2)
    assert bounds(result) == pytest.approx((2.0 - half, 2.0 + half), rel=1e-4)
    lower, upper = bounds(estimate_loss(np.array([300, 100]), expected, design_effect=4.0))
    assert upper - lower == pytest.approx(4 * half, rel=1e-4)


def test_a_skewed_loss_moves_both_bounds_up() -> None:
    rng = np.random.default_rng(2)
    losses = rng.lognormal(0.0, 1.2, 200_000)
    learned = fit_expected_loss(np.zeros(losses.size, np.int64), losses, chronological_folds(losses.size), 1)
    lower, upper = bounds(estimate_loss(np.array([60]), learned))
    drawn = rng.lognormal(0.0, 1.2, (20_000, 60)).mean(axis=1)
    assert np.mean(drawn < lower) == pytest.approx(0.025, abs=0.015)
    assert np.mean(drawn > upper) == pytest.approx(0.025, abs=0.015)
    plain = 1.96 * np.sqrt(learned.variance[0] / 60)
    assert np.mean(drawn < learned.mean[0] - plain) < 0.002  # what bounds without skewness would do


def test_root_and_accuracy_keep_to_their_ends() -> None:
    expected = certain(np.full(1, 0.99), np.full(1, 0.0099), np.full(1, -0.0097))
    assert bounds(estimate_accuracy(np.array([40]), expected))[1] == 1.0
    squared = estimate_loss(np.array([40]), expected)
    root = estimate_root_loss(np.array([40]), expected)
    assert isinstance(squared, Value)
    assert isinstance(root, Value)
    assert (root.value, *bounds(root)) == pytest.approx(np.sqrt((squared.value, *bounds(squared))))
    assert estimate_root_loss(np.array([4]), expected) == Unavailable("too_few_rows")


def test_too_little_is_refused() -> None:
    expected = certain(np.ones(2), np.ones(2), np.zeros(2))
    assert estimate_loss(np.array([9, 0]), expected) == Unavailable("too_few_rows")
    few = ExpectedLoss(np.array([400, 99]), expected.mean, expected.mean, expected.third, expected.fold_means)
    assert estimate_loss(np.array([90, 90]), few) == Unavailable("short_reference")
    gone = ExpectedLoss(np.array([900, 0]), expected.mean, expected.mean, expected.third, expected.fold_means)
    assert isinstance(estimate_loss(np.array([95, 5]), gone), Value)
    assert estimate_loss(np.array([94, 6]), gone) == Unavailable("short_reference")
    with pytest.raises(ValueError, match=r"counts must have shape \(2,\)"):
        estimate_loss(np.array([90]), expected)
    with pytest.raises(ValueError, match="bins must be 0 to 1"):
        fit_expected_loss(np.array([0, 2]), np.ones(2), np.zeros(2, np.int64), 2)


def test_plain_lists_give_the_losses_back() -> None:
    rng = np.random.default_rng(3)
    learned = fit_expected_loss(rng.integers(0, 9, 900), rng.random(900) * 1e4, chronological_folds(900), 9)
    written = json.loads(json.dumps(learned.to_json()))
    again = ExpectedLoss.from_json(written)
    for name in ("rows", "mean", "variance", "third", "fold_means"):
        np.testing.assert_allclose(getattr(again, name), getattr(learned, name), rtol=1e-6)
    for change, message in (
        ({"mean": [1.0]}, "one value for each bin"),
        ({"fold_means": [[1.0] * 9] * 3}, "10 rows"),
        ({"variance": [-1.0] * 9}, "must not be negative"),
        ({"third": [float("inf")] * 9}, "must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            ExpectedLoss.from_json(written | change)


class Regression:
    """Predictions whose error grows with them; the window's lie higher than the reference's."""

    names = ("mean_absolute_error", "root_mean_squared_error")

    def draw(self, rng: np.random.Generator, n: int, *, shifted: bool) -> tuple[Floats, dict[str, Floats]]:
        predicted = rng.normal(0.5 if shifted else 0.0, 0.9 if shifted else 1.0, n)
        error = rng.standard_t(8, n) * np.exp(0.4 * predicted)
        return predicted, dict(zip(self.names, (np.abs(error), error**2), strict=True))


class Multiclass:
    """Top probabilities that come true too rarely."""

    names = ("accuracy",)

    def draw(self, rng: np.random.Generator, n: int, *, shifted: bool) -> tuple[Floats, dict[str, Floats]]:
        top = rng.beta(5.0, 3.0 if shifted else 2.0, n)
        return top, {"accuracy": (rng.random(n) < top**1.3).astype(np.float64)}


class Binary:
    """Overconfident scores, and what they cost."""

    names = ("log_loss", "brier_score")

    def draw(self, rng: np.random.Generator, n: int, *, shifted: bool) -> tuple[Floats, dict[str, Floats]]:
        rows = Model(slope=0.7).draw(rng, n, 0.5 if shifted else 0.0)
        losses = (row_log_loss(rows.scores, rows.labels), row_brier(rows.scores, rows.labels))
        return rows.scores, dict(zip(self.names, losses, strict=True))


Setting = Regression | Multiclass | Binary


def coverage(setting: Setting, n: int, reference: int, runs: int, *, shifted: bool) -> dict[str, float]:
    """Share of runs, each with a reference of its own, whose bounds hold the realized value."""
    rng = np.random.default_rng(12)
    held: dict[str, list[bool]] = defaultdict(list)
    for _ in range(runs):
        known, known_losses = setting.draw(rng, reference, shifted=False)
        new, new_losses = setting.draw(rng, n, shifted=shifted)
        edges = quantile_edges(known, BINS)
        bins, counts = bin_of(edges, known), np.bincount(bin_of(edges, new), minlength=BINS)
        for name, losses in known_losses.items():
            learned = fit_expected_loss(bins, losses, chronological_folds(reference), BINS)
            estimate = {"accuracy": estimate_accuracy, "root_mean_squared_error": estimate_root_loss}
            lower, upper = bounds(estimate.get(name, estimate_loss)(counts, learned))
            shown = float(new_losses[name].mean())
            held[name].append(lower <= (shown**0.5 if "root" in name else shown) <= upper)
    return {name: float(np.mean(hits)) for name, hits in held.items()}


def assert_covered(shares: dict[str, float], slack: float) -> None:
    assert all(0.93 - slack <= share <= 0.97 + slack for share in shares.values()), shares


@pytest.mark.parametrize(
    "setting", [Regression(), Multiclass(), Binary()], ids=lambda each: type(each).__name__
)
def test_bounds_hold_the_realized_means(setting: Setting) -> None:
    shares = coverage(setting, 1_000, 5_000, 200, shifted=True)
    assert tuple(shares) == setting.names
    assert_covered(shares, slack=0.025)


@pytest.mark.long
@pytest.mark.parametrize("shifted", [False, True], ids=["same", "shifted"])
@pytest.mark.parametrize("reference", [5_000, 50_000])
@pytest.mark.parametrize("n", [500, 2_000, 10_000])
@pytest.mark.parametrize(
    "setting", [Regression(), Multiclass(), Binary()], ids=lambda each: type(each).__name__
)
def test_bounds_hold_the_realized_means_in_full(
    setting: Setting, n: int, reference: int, shifted: bool
) -> None:
    assert_covered(coverage(setting, n, reference, 1_000, shifted=shifted), slack=0.0)
