"""The numbers of `flight-outcome` on the page, computed once more from the raw lines with scikit-learn."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics
from tests.demo.year import WINDOW, Year, read_year

WHERE = {"version": "1", "window": WINDOW}
CLASSES = ["cancelled", "late", "on_time"]


@dataclass(frozen=True)
class Answers:
    """Labels of the window's rows, the classes that were chosen, and the probability of each class."""

    truth: np.ndarray[Any, Any]
    predicted: np.ndarray[Any, Any]
    scores: np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def year(year_config: Path, year_page: str) -> Year:
    return read_year(year_config, "flight-outcome", year_page)


@pytest.fixture(scope="module")
def answers(year: Year) -> Answers:
    _, labelled, truth = year.mature("1")
    scores = [[line["scores"][name] for name in CLASSES] for line in labelled]
    return Answers(truth, np.array([line["prediction"] for line in labelled]), np.array(scores))


def quality(year: Year, metric: str) -> float:
    return year.value("ml_quality", metric=metric, **WHERE)


def test_quality_is_what_scikit_learn_computes_from_the_raw_lines(year: Year, answers: Answers) -> None:
    both = answers.truth, answers.predicted
    expected = {
        "accuracy": metrics.accuracy_score(*both),
        "balanced_accuracy": metrics.balanced_accuracy_score(*both),
    }
    for average in ("macro", "weighted"):
        found = metrics.precision_recall_fscore_support(*both, average=average)
        expected |= {f"{name}_{average}": found[i] for i, name in enumerate(("precision", "recall", "f1"))}
    assert {name: quality(year, name) for name in expected} == pytest.approx(expected, abs=1e-12)
    assert year.value("ml_quality_samples", **WHERE) == answers.truth.size > 20_000


def test_probabilities_are_judged_as_scikit_learn_does(year: Year, answers: Answers) -> None:
    # They are logged to four digits, so they add up to 1 within rounding only.
    place = np.searchsorted(CLASSES, answers.truth)
    chosen = answers.scores[np.arange(place.size), place]
    loss = metrics.log_loss(answers.truth, answers.scores / answers.scores.sum(axis=1, keepdims=True))
    assert quality(year, "log_loss") == pytest.approx(-np.log(chosen).mean(), rel=1e-9)
    assert quality(year, "log_loss") == pytest.approx(loss, abs=1e-4)
    apart = [
        metrics.roc_auc_score(answers.truth == name, answers.scores[:, i]) for i, name in enumerate(CLASSES)
    ]
    assert quality(year, "roc_auc") == pytest.approx(np.mean(apart), abs=5e-3)
    assert quality(year, "top_k_accuracy") == 1.0


def test_each_class_has_its_own_quality(year: Year, answers: Answers) -> None:
    found = metrics.precision_recall_fscore_support(answers.truth, answers.predicted, labels=CLASSES)
    for metric, values in zip(("precision", "recall", "f1"), found, strict=False):
        for name, value in zip(CLASSES, values, strict=True):
            shown = year.value("ml_class_quality", metric=metric, **{**WHERE, "class": name})
            assert shown == pytest.approx(value, abs=1e-12), (metric, name)


def test_confusion_counts_every_mature_label(year: Year, answers: Answers) -> None:
    counts = {
        (actual, predicted): year.value("ml_confusion_total", version="1", actual=actual, predicted=predicted)
        for actual in CLASSES
        for predicted in CLASSES
    }
    assert sum(counts.values()) == year.value("ml_labeled_predictions_total", version="1")
    right = sum(counts[name, name] for name in CLASSES)
    assert right == year.value("ml_good_predictions_total", version="1")
    # Ever since the logs begin, which is longer than the window.
    inside = metrics.confusion_matrix(answers.truth, answers.predicted, labels=CLASSES)
    for i, actual in enumerate(CLASSES):
        for j, predicted in enumerate(CLASSES):
            assert counts[actual, predicted] >= inside[i, j]


def test_bounds_allow_for_the_weather_that_flights_share(year: Year, answers: Answers) -> None:
    effective = year.value("ml_quality_effective_samples", **WHERE)
    assert 100 < effective < answers.truth.size / 20
    sides = [year.value(f"ml_quality_{side}", metric="accuracy", **WHERE) for side in ("lower", "upper")]
    share = (answers.truth == answers.predicted).mean()
    assert sides[0] < share < sides[1]
    # Wilson's interval is that of as many rows as these are worth.
    half = 1.96 * np.sqrt(share * (1 - share) / effective)
    assert (sides[1] - sides[0]) / 2 == pytest.approx(half, rel=0.03)
