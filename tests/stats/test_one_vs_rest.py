import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from ml_exporter.stats import one_vs_rest as ovr
from ml_exporter.stats import ranking
from ml_exporter.stats.scores import ScoreHistogram

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def calibrated(
    share: float, separation: float, slope: float = 1.0, rows: int = 40_000
) -> tuple[Floats, Labels]:
    rng = np.random.default_rng(3)
    labels = (rng.random(rows) < share).astype(np.int64)
    signal = rng.normal(size=rows) + separation * labels
    return expit(slope * (logit(share) + separation * (signal - separation / 2))), labels


def decades(upper: bool) -> tuple[Floats, Labels]:
    rng = np.random.default_rng(4)
    quality = rng.random(40_000)
    depth = 10.0 ** (-2.0 - 13.0 * (quality if upper else 1.0 - quality))
    return (1.0 - depth if upper else depth), (rng.random(quality.size) < quality).astype(np.int64)


def counts_of(scores: Floats, labels: Labels) -> NDArray[np.int64]:
    return ovr.one_vs_rest(np.column_stack((1.0 - scores, scores)), labels)[1:]


@pytest.mark.parametrize(
    ("rows", "largest"),
    [
        (calibrated(0.33, 1.5), 0.001),
        (calibrated(0.1, 2.0), 0.001),
        (calibrated(0.01, 1.5), 0.006),
        (calibrated(0.33, 1.5, slope=10.0), 0.0015),
        (calibrated(0.1, 2.0, slope=4.0), 0.001),
        (decades(upper=False), 0.007),
        (decades(upper=True), 0.007),
    ],
    ids=["frequent", "tenth", "hundredth", "saturated", "overconfident", "tiny", "near one"],
)
def test_roc_auc_is_scikit_learns_within_the_computed_error(
    rows: tuple[Floats, Labels], largest: float
) -> None:
    scores, labels = rows
    counts = counts_of(scores, labels)
    gap = abs(ovr.roc_auc(counts)[0] - roc_auc_score(labels, scores))
    assert gap <= ovr.roc_auc_error(counts)[0] + 1e-12
    assert gap <= largest


def test_the_error_is_reached_by_ordering_within_the_bins() -> None:
    scores, labels = calibrated(0.3, 1.0, rows=500)
    counts = counts_of(scores, labels)
    bins = ovr.probability_bins(scores)
    value, error = ovr.roc_auc(counts)[0], ovr.roc_auc_error(counts)[0]
    assert error > 0
    assert value + error == pytest.approx(roc_auc_score(labels, bins + 0.5 * labels), abs=1e-12)
    assert value - error == pytest.approx(roc_auc_score(labels, bins - 0.5 * labels), abs=1e-12)


def test_both_are_those_of_a_score_histogram_with_the_same_bins() -> None:
    counts = counts_of(*calibrated(0.2, 1.0, rows=900))
    histogram = ScoreHistogram(np.arange(ovr.BINS, dtype=np.uint32), counts[0])
    assert ovr.roc_auc(counts)[0] == pytest.approx(ranking.roc_auc(histogram), abs=1e-12)
    assert ovr.roc_auc_error(counts)[0] == pytest.approx(ranking.roc_auc_error(histogram), abs=1e-12)


def test_a_class_without_rows_says_nothing() -> None:
    counts = ovr.one_vs_rest(np.full((8, 3), 1 / 3), np.array([0, 0, 0, 0, 1, 1, 1, 1]))
    assert ovr.roc_auc(counts)[2] == 0.5
    assert ovr.roc_auc_error(counts)[2] == 0.0


def test_every_row_is_counted_once_for_each_class() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 4, 300)
    counts = ovr.one_vs_rest(rng.dirichlet(np.ones(4), 300), labels)
    assert counts.shape == (4, 64, 2)
    assert counts[:, :, 1].sum(axis=1).tolist() == np.bincount(labels, minlength=4).tolist()
    assert counts.sum(axis=(1, 2)).tolist() == [300] * 4


def test_zero_and_one_are_in_the_end_bins() -> None:
    ends = np.array([0.0, 1e-300, 1e-13, 0.5, 1 - 1e-13, 1.0])
    assert ovr.probability_bins(ends).tolist() == [0, 0, 0, 32, 63, 63]


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=50))
def test_a_higher_probability_never_has_a_lower_bin(probabilities: list[float]) -> None:
    bins = ovr.probability_bins(np.array(sorted(probabilities)))
    assert np.all(np.diff(bins) >= 0)
    assert bins.min() >= 0
    assert bins.max() < ovr.BINS


@pytest.mark.parametrize("wrong", [-1e-9, 1.0 + 1e-9, np.nan, np.inf])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="probabilities must lie in"):
        ovr.probability_bins(np.array([0.5, wrong]))
