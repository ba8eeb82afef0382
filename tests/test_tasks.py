"""Models of several classes and of numbers, from their logs to their metrics, against scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference
from tests.support.site import Site, label, model, stamp

from ml_exporter.evaluation import ModelReport, WindowReport
from ml_exporter.sources import blocks
from ml_exporter.stats.result import Unavailable, Value

N = 600
CLASSES = ("bike", "car", "tram")


def fields(**changes: object) -> dict[str, Any]:
    """Where the values stand; ... leaves one out."""
    own: dict[str, Any] = {**model()["predictions"]["fields"], **changes}
    return {key: value for key, value in own.items() if value is not ...}


def site_of(folder: Path, task: str, own_fields: Mapping[str, Any], **more: object) -> Site:
    own = model("m", task=task, **more)
    own["predictions"] = {**own["predictions"], "fields": own_fields}
    return Site(folder, models=[own])


def report(site: Site, now: float) -> ModelReport:
    site.now = now
    engine = site.engine()
    found = engine.cycle().reports[0][0]
    engine.store.close()
    return found


def values(window: WindowReport) -> dict[str, float]:
    return {
        name: result.value for name, result in window.quality.metrics.items() if isinstance(result, Value)
    }


class Rides:
    """Predicted classes with probabilities, and what they were."""

    def __init__(self, seed: int = 1) -> None:
        draw = np.random.default_rng(seed)
        self.labels = draw.choice(3, N, p=(0.5, 0.35, 0.15))
        mean = 0.6 + 1.5 * (np.arange(3) == self.labels[:, None])
        self.probabilities: NDArray[np.float64] = np.stack([draw.dirichlet(row) for row in mean]).round(6)
        self.probabilities /= self.probabilities.sum(axis=1, keepdims=True)
        self.predicted = self.probabilities.argmax(axis=1)

    def write(self, site: Site, form: str = "object") -> None:
        for row in range(N):
            scores = dict(zip(CLASSES, self.probabilities[row].tolist(), strict=True))
            answer = {"s": scores} if form == "object" else scores
            record = {"id": f"id-{row}", "ts": stamp(row / 4), "version": "1", "features": {}}
            site.predict({**record, **answer, "prediction": CLASSES[self.predicted[row]]}, name="m")
            site.label({**label(row, row / 4 + 1), "label": CLASSES[self.labels[row]]}, name="m")


@pytest.mark.parametrize("form", ["object", "paths"])
def test_classes_are_judged_as_scikit_learn_judges_them(tmp_path: Path, form: str) -> None:
    # An object of probabilities names its classes only to those who know them: a profile, or a mapping.
    paths = {name: f"s.{name}" if form == "object" else name for name in CLASSES}
    site = site_of(tmp_path, "multiclass", fields(score=paths), top_k=2)
    rides = Rides()
    rides.write(site, form)
    window = report(site, 400).versions[0].windows[-1]
    truth, predicted = rides.labels, rides.predicted
    found = values(window)
    expected = {
        "accuracy": reference.accuracy_score(truth, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, predicted),
        "log_loss": reference.log_loss(truth, rides.probabilities),
        "top_k_accuracy": reference.top_k_accuracy_score(truth, rides.probabilities, k=2),
    }
    for average in ("macro", "weighted"):
        expected[f"precision_{average}"] = reference.precision_score(truth, predicted, average=average)
        expected[f"recall_{average}"] = reference.recall_score(truth, predicted, average=average)
        expected[f"f1_{average}"] = reference.f1_score(truth, predicted, average=average)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name
    auc = reference.roc_auc_score(truth, rides.probabilities, multi_class="ovr")
    assert found["roc_auc"] == pytest.approx(auc, abs=5e-3)
    one = reference.recall_score(truth, predicted, labels=[1], average=None)[0]
    recall = window.quality.classes["recall", "car"]
    assert isinstance(recall, Value)
    assert recall.value == pytest.approx(one)


def test_classes_nobody_named_are_learned_and_survive_a_restart(tmp_path: Path) -> None:
    site = site_of(tmp_path, "multiclass", fields(score=...), class_limit=2)
    rides = Rides(2)
    rides.write(site)
    first = report(site, 300).versions[0]
    second = report(site, 330).versions[0]
    assert first.task.confusion(first.judged) is not None
    for version in (first, second):
        counted = version.task.confusion(version.judged)
        assert counted is not None
        names, confusion = counted
        assert len(names) == 3
        assert names[2] == "other"
        known = [CLASSES.index(name) for name in names[:2]]
        other = ({0, 1, 2} - set(known)).pop()
        order = [*known, other]
        table = reference.confusion_matrix(rides.labels, rides.predicted, labels=order)
        np.testing.assert_array_equal(confusion, table)
        assert version.windows[-1].quality.metrics["log_loss"] == Unavailable("too_few_rows")
        assert values(version.windows[-1])["accuracy"] == np.mean(rides.labels == rides.predicted)


def test_without_a_class_the_largest_probability_decides(tmp_path: Path) -> None:
    paths = {name: f"s.{name}" for name in CLASSES}
    site = site_of(tmp_path, "multiclass", fields(score=paths, prediction=...))
    rides = Rides(3)
    rides.write(site)
    window = report(site, 300).versions[0].windows[-1]
    assert values(window)["accuracy"] == np.mean(rides.labels == rides.predicted)


def test_a_record_without_every_probability_is_judged_by_its_class(tmp_path: Path) -> None:
    site = site_of(tmp_path, "multiclass", fields(score={name: f"s.{name}" for name in CLASSES}))
    for row in range(40):
        scores = {"bike": 0.5, "car": 0.3, "tram": 0.2} if row % 2 else {"bike": 0.5}
        record = {"id": f"id-{row}", "ts": stamp(row), "version": "1", "s": scores, "prediction": "car"}
        site.predict(record, name="m")
        site.label({**label(row, row + 1), "label": "car"}, name="m")
    window = report(site, 200).versions[0].windows[-1]
    log_loss = window.quality.metrics["log_loss"]
    assert isinstance(log_loss, Value)
    assert (log_loss.value, log_loss.n) == (pytest.approx(-np.log(0.3)), 20)
    assert values(window)["accuracy"] == 1.0


class Minutes:
    """Predicted numbers with intervals, and what they were."""

    def __init__(self, seed: int = 4) -> None:
        draw = np.random.default_rng(seed)
        self.labels = draw.normal(10.0, 20.0, N).round(2)
        self.predicted = (self.labels + draw.normal(1.0, 5.0, N)).round(2)
        self.lower, self.upper = self.predicted - 8.0, self.predicted + 6.0

    def write(self, site: Site) -> None:
        for row in range(N):
            ends = {"low": self.lower[row], "high": self.upper[row]}
            record = {"id": f"id-{row}", "ts": stamp(row / 4), "version": "1", "features": {"k": row % 3}}
            site.predict({**record, "prediction": self.predicted[row], **ends}, name="m")
            site.label({**label(row, row / 4 + 1), "label": self.labels[row]}, name="m")


def test_numbers_are_judged_as_scikit_learn_judges_them(tmp_path: Path) -> None:
    more = {"interval": {"lower": "low", "upper": "high"}, "slo": {"objective": 0.95, "tolerance": 5.0}}
    site = site_of(tmp_path, "regression", fields(score=...), **more)
    minutes = Minutes()
    minutes.write(site)
    version = report(site, 400).versions[0]
    found, truth, predicted = values(version.windows[-1]), minutes.labels, minutes.predicted
    errors = np.abs(predicted - truth)
    expected = {
        "mean_absolute_error": reference.mean_absolute_error(truth, predicted),
        "root_mean_squared_error": reference.mean_squared_error(truth, predicted) ** 0.5,
        "mean_absolute_percentage_error": np.mean((errors / np.abs(truth))[truth != 0]),
        "r2_score": reference.r2_score(truth, predicted),
        "bias": np.mean(predicted - truth),
        "interval_coverage": np.mean((minutes.lower <= truth) & (truth <= minutes.upper)),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name
    for name, share in (("median_absolute_error", 0.5), ("absolute_error_p95", 0.95)):
        assert found[name] == pytest.approx(np.quantile(errors, share), rel=4e-3), name
    assert version.judged.count("good") == np.count_nonzero(errors <= 5.0)


def test_roc_auc_of_segments_where_it_is_asked_for(tmp_path: Path) -> None:
    target = {"roc_auc": {"min": 0.6}, "accuracy": {"min": 0.5}}
    for asked in (True, False):
        folder = tmp_path / str(asked)
        folder.mkdir()
        site = site_of(folder, "binary", fields(), segments=["k"], quality=target, segment_roc_auc=asked)
        draw = np.random.default_rng(6)
        truth = draw.random(N) < 0.4
        scores = np.clip(draw.normal(0.35 + 0.25 * truth, 0.2), 0.001, 0.999).round(4)
        for row in range(N):
            record = {
                "id": f"id-{row}",
                "ts": stamp(row / 4),
                "version": "1",
                "features": {"k": "ab"[row % 2]},
            }
            site.predict({**record, "score": scores[row], "prediction": bool(scores[row] > 0.5)}, name="m")
            site.label({**label(row, row / 4 + 1), "label": bool(truth[row])}, name="m")
        parts = {part.value: part for part in report(site, 400).versions[0].windows[-1].quality.segments}
        assert set(parts["a"].quality) == ({"roc_auc", "accuracy"} if asked else {"accuracy"})
        if asked:
            own = np.arange(N) % 2 == 0
            found = parts["a"].quality["roc_auc"]
            assert isinstance(found, Value)
            assert found.value == pytest.approx(reference.roc_auc_score(truth[own], scores[own]), abs=5e-3)


def test_a_prediction_that_is_no_number_is_not_judged_and_a_label_that_is_none_is_rejected(
    tmp_path: Path,
) -> None:
    site = site_of(tmp_path, "regression", fields(score=...), labels={"min_coverage": 0.5})
    odd = ["soon", None, True, 1e400, -3]
    for row in range(40):
        value = odd[row] if row < len(odd) else 5.0
        site.predict({"id": f"id-{row}", "ts": stamp(row), "version": "1", "prediction": value}, name="m")
        site.label({**label(row, row + 1), "label": 5.0 if row < 35 else ["late", None][row % 2]}, name="m")
    site.now = 200
    engine = site.engine()
    found, state = engine.cycle().reports[0]
    window = found.versions[0].windows[-1]
    error = window.quality.metrics["mean_absolute_error"]
    assert isinstance(error, Value)
    # "soon", nothing and infinity cannot be judged; true reads as 1.
    assert (error.value, error.n) == (pytest.approx((4.0 + 8.0) / 32), 32)
    assert dict(state.outcomes["labels"]) == {"accepted": 35, "bad_label": 2, "no_label": 3}
    engine.store.close()


@pytest.mark.parametrize("segment", ["k", "size"])
def test_segments_are_judged_apart_and_survive_a_restart(tmp_path: Path, segment: str) -> None:
    target = {"mean_absolute_error": {"max": 9.0}}
    site = site_of(
        tmp_path, "regression", fields(score=...), segments=["k", "size"], quality=target, segment_limit=2
    )
    minutes = Minutes(5)
    for row in range(N):
        features = {"k": row % 3, "size": ["small", "large", None][row % 3]}
        record = {"id": f"id-{row}", "ts": stamp(row / 4), "version": "1", "features": features}
        site.predict({**record, "prediction": minutes.predicted[row]}, name="m")
        site.label({**label(row, row / 4 + 1), "label": minutes.labels[row]}, name="m")
    report(site, 100)
    window = report(site, 400).versions[0].windows[-1]
    errors = np.abs(minutes.predicted - minutes.labels)
    third = "missing" if segment == "size" else "other"
    names = {"k": ("0", "1", third), "size": ("small", "large", third)}[segment]
    own = {part.value: part for part in window.quality.segments if part.segment == segment}
    assert set(own) == set(names)
    whole = window.quality.metrics["mean_absolute_error"]
    assert isinstance(whole, Value)
    for code, name in enumerate(names):
        chosen = np.arange(N) % 3 == code
        result = own[name].quality["mean_absolute_error"]
        assert isinstance(result, Value)
        assert own[name].rows == result.n == np.count_nonzero(chosen)
        assert result.value == pytest.approx(errors[chosen].mean(), rel=1e-9)
        assert result.upper is not None
        assert result.lower is not None
        assert result.upper - result.lower > 0
    assert set(own[names[0]].quality) == {"mean_absolute_error"}


def test_classes_that_are_called_other_and_missing_are_classes(tmp_path: Path) -> None:
    """The second has no code of its own, and is counted with the rest."""
    names = ["other", "missing", "car", "other"]
    site = site_of(tmp_path, "multiclass", fields(score=...))
    for row in range(80):
        record = {"id": f"id-{row}", "ts": stamp(row), "version": "1", "prediction": names[row % 4]}
        site.predict(record, name="m")
        site.label({**label(row, row + 1), "label": names[row // 2 % 4]}, name="m")
    version = report(site, 200).versions[0]
    counted = version.task.confusion(version.judged)
    assert counted is not None
    assert counted[0] == ("car", "other")
    np.testing.assert_array_equal(counted[1], [[0, 20], [20, 40]])


def test_probabilities_of_a_class_that_is_called_other_are_read(tmp_path: Path) -> None:
    known = ("bike", "car", "other")
    site = site_of(
        tmp_path, "multiclass", fields(score={name: f"s.{name}" for name in known}, prediction=...)
    )
    rides = Rides(6)
    for row in range(200):
        scores = dict(zip(known, rides.probabilities[row].tolist(), strict=True))
        site.predict({"id": f"id-{row}", "ts": stamp(row / 4), "version": "1", "s": scores}, name="m")
        site.label({**label(row, row / 4 + 1), "label": known[rides.labels[row]]}, name="m")
    version = report(site, 200).versions[0]
    found = values(version.windows[-1])
    truth, probabilities = rides.labels[:200], rides.probabilities[:200]
    assert found["log_loss"] == pytest.approx(reference.log_loss(truth, probabilities), rel=1e-9)
    assert found["accuracy"] == reference.accuracy_score(truth, probabilities.argmax(axis=1))
    counted = version.task.confusion(version.judged)
    assert counted is not None
    assert counted[0] == known


@pytest.mark.parametrize("names", [("a", "b", "c", "d", "e"), ("e", "d", "c", "b", "a")])
def test_every_reader_tells_the_same_classes_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    """Each block's reader, and that of the labels, meets other classes first; two have places."""
    monkeypatch.setattr(blocks, "BLOCK", 4096)
    site = site_of(tmp_path, "multiclass", fields(score=...), class_limit=2)
    for row in range(300):
        name = names[row // 60]
        record = {"id": f"id-{row}", "ts": stamp(row / 5), "version": "1", "prediction": name}
        site.predict(record, name="m")
        site.label({**label(299 - row, row / 6), "label": names[(299 - row) // 60]}, name="m")
    site.label({**label("none", 0), "label": "a"}, name="m")
    version = report(site, 200).versions[0]
    counted = version.task.confusion(version.judged)
    assert counted is not None
    assert counted[0][2] == "other"
    np.testing.assert_array_equal(counted[1], np.diag([60, 60, 180]))
    second = report(site, 230).versions[0]
    np.testing.assert_array_equal(second.judged["confusion"], version.judged["confusion"])


def test_numbers_too_large_to_be_squared_are_an_error_and_nothing_else(tmp_path: Path) -> None:
    site = site_of(tmp_path, "regression", fields(score=...))
    predicted, truth = [1.0] * 40, [1.5] * 40
    predicted[7], truth[7], predicted[8] = 1e308, -1e308, 1e200
    for row in range(40):
        own = {"id": f"id-{row}", "ts": stamp(row), "version": "1", "prediction": predicted[row]}
        site.predict(own, name="m")
        site.label({**label(row, row + 1), "label": truth[row]}, name="m")
    found = report(site, 200)
    metrics = found.versions[0].windows[-1].quality.metrics
    assert metrics["mean_absolute_error"] == metrics["r2_score"] == Unavailable("error")
    median = metrics["median_absolute_error"]
    assert isinstance(median, Value)
    assert median.value == 0.5
    assert found.versions[0].judged.count("labelled") == 40
