import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from ml_exporter.stats import intervals, ranking
from ml_exporter.stats.scores import ScoreHistogram

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def tied_rows(rows: int = 60) -> tuple[Floats, Bools]:
    rng = np.random.default_rng(8)
    scores = rng.integers(1, 16, rows) / 16
    return scores, rng.random(rows) < scores


def spread(kind: str, rows: int = 20_000) -> tuple[Floats, Bools]:
    rng = np.random.default_rng(9)
    quality = rng.random(rows)
    labels = rng.random(rows) < quality
    if kind == "random":
        return quality, labels
    depth = 10.0 ** (-2.0 - 13.0 * (1.0 - quality if kind == "tiny" else quality))
    return (depth if kind == "tiny" else 1.0 - depth), labels


@pytest.mark.parametrize("kind", ["random", "tiny", "saturated"])
def test_roc_auc_is_scikit_learns_within_its_own_error(kind: str) -> None:
    scores, labels = spread(kind)
    counted = ScoreHistogram.of(scores, labels)
    gap = abs(ranking.roc_auc(counted) - roc_auc_score(labels, scores))
    assert gap <= ranking.roc_auc_error(counted) + 1e-12
    assert gap < 1e-4


@pytest.mark.parametrize("kind", ["random", "tiny", "saturated"])
def test_average_precision_range_holds_scikit_learns_value(kind: str) -> None:
    scores, labels = spread(kind)
    lower, upper = ranking.average_precision_range(ScoreHistogram.of(scores, labels))
    assert lower <= average_precision_score(labels, scores) <= upper
    assert upper - lower < 0.01


def test_tied_scores_are_exact() -> None:
    scores, labels = tied_rows()
    counted = ScoreHistogram.of(scores, labels)
    assert ranking.roc_auc(counted) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    expected = average_precision_score(labels, scores)
    assert ranking.average_precision(counted) == pytest.approx(expected, abs=1e-12)


def test_ends_of_the_ranges_are_reached_by_ordering_within_the_bins() -> None:
    scores, labels = tied_rows()
    counted = ScoreHistogram.of(scores, labels)
    tied_first, tied_last = scores + labels * 1e-6, scores - labels * 1e-6
    one_by_one = tied_last - np.arange(scores.size) * 1e-9
    assert ranking.average_precision_range(counted) == pytest.approx(
        (average_precision_score(labels, one_by_one), average_precision_score(labels, tied_first)), abs=1e-12
    )
    error, value = ranking.roc_auc_error(counted), ranking.roc_auc(counted)
    assert value + error == pytest.approx(roc_auc_score(labels, tied_first), abs=1e-12)
    assert value - error == pytest.approx(roc_auc_score(labels, tied_last), abs=1e-12)


def test_delong_variances_are_those_of_the_placements() -> None:
    scores, labels = tied_rows()
    gap = scores[labels][:, None] - scores[~labels][None, :]
    wins = (gap > 0) + 0.5 * (gap == 0)
    expected = (np.var(wins.mean(axis=1), ddof=1), np.var(wins.mean(axis=0), ddof=1))
    found = ranking.delong_variances(ScoreHistogram.of(scores, labels))
    assert found == pytest.approx(expected, abs=1e-12)


def test_average_precision_variance_is_the_jackknife_row_by_row() -> None:
    scores, labels = tied_rows()
    every = np.arange(scores.size)
    left_out = [average_precision_score(labels[every != i], scores[every != i]) for i in every]
    expected = (scores.size - 1) * np.var(left_out)
    found = ranking.average_precision_variance(ScoreHistogram.of(scores, labels))
    assert found == pytest.approx(expected, rel=1e-9)


def test_faultless_ranking_has_a_lower_bound() -> None:
    scores, labels = np.linspace(0.1, 0.9, 80), np.arange(80) >= 50
    counted = ScoreHistogram.of(scores, labels)
    assert ranking.average_precision(counted) == 1.0
    variance = ranking.average_precision_variance(counted)
    assert intervals.average_precision(1.0, variance, 30) == intervals.wilson(30, 30)
