"""The numbers on the page, computed once more from the raw lines of the 2013 logs by other people's code."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import wasserstein_distance
from scipy.stats.contingency import association
from sklearn import metrics
from tests.demo.year import AT, MATURITY, VERSIONS, WINDOW, Record, Year, evaluate, read_year, seconds


@pytest.fixture(scope="module")
def year(year_config: Path, year_page: str) -> Year:
    return read_year(year_config, "flight-delay", year_page)


@pytest.mark.parametrize("version", VERSIONS)
def test_quality_is_what_scikit_learn_computes_from_the_raw_lines(year: Year, version: str) -> None:
    lines, labelled, truth = year.mature(version)
    predicted = np.array([line["prediction"] for line in labelled])
    scores = np.array([line["score"] for line in labelled])
    expected = {
        "accuracy": metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
        "precision": metrics.precision_score(truth, predicted),
        "recall": metrics.recall_score(truth, predicted),
        "f1": metrics.f1_score(truth, predicted),
        "matthews_corrcoef": metrics.matthews_corrcoef(truth, predicted),
        "log_loss": metrics.log_loss(truth, scores),
        "brier_score": metrics.brier_score_loss(truth, scores),
    }
    where = {"version": version, "window": WINDOW}
    found = {name: year.value("ml_quality", metric=name, **where) for name in expected}
    assert found == pytest.approx(expected, abs=1e-9)
    assert year.value("ml_quality_samples", **where) == len(labelled) > 20_000
    assert year.value("ml_label_coverage_ratio", **where) == pytest.approx(
        len(labelled) / len(lines), abs=1e-12
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_roc_auc_is_within_its_binning_error(year: Year, version: str) -> None:
    _, labelled, truth = year.mature(version)
    scores = np.array([line["score"] for line in labelled])
    where = {"version": version, "window": WINDOW}
    auc = year.value("ml_quality", metric="roc_auc", **where)
    assert auc == pytest.approx(metrics.roc_auc_score(truth, scores), abs=1e-4)
    precision = year.value("ml_quality", metric="average_precision", **where)
    assert precision == pytest.approx(metrics.average_precision_score(truth, scores), abs=1e-3)


@pytest.mark.parametrize("version", VERSIONS)
def test_bounds_allow_for_the_weather_that_flights_share(year: Year, version: str) -> None:
    _, labelled, truth = year.mature(version)
    losses = (np.array([line["score"] for line in labelled]) - truth) ** 2
    where = {"version": version, "window": WINDOW}
    effective = year.value("ml_quality_effective_samples", **where)
    assert 100 < effective < len(labelled) / 20
    lower, upper = (
        year.value(f"ml_quality_{side}", metric="brier_score", **where) for side in ("lower", "upper")
    )
    assert lower < losses.mean() < upper
    assert (upper - lower) / 2 == pytest.approx(1.96 * losses.std() / np.sqrt(effective), rel=0.05)


@pytest.mark.parametrize("segment", ["carrier", "origin"])
def test_segments_have_the_quality_of_their_rows(year: Year, segment: str) -> None:
    _, labelled, truth = year.mature("1")
    values = np.array([line["features"][segment] for line in labelled])
    losses = (np.array([line["score"] for line in labelled]) - truth) ** 2
    shown = {
        dict(labels)["value"]: n
        for (name, labels), n in year.samples.items()
        if name == "ml_segment_samples" and {("segment", segment), ("version", "1")} <= labels
    }
    assert len(shown) >= 3
    assert sum(shown.values()) == len(labelled)
    for value in shown.keys() - {"other"}:
        own, where = losses[values == value], {"version": "1", "window": WINDOW, "segment": segment}
        brier = {"metric": "brier_score", "value": value, **where}
        assert shown[value] == own.size
        assert year.value("ml_segment_quality", **brier) == pytest.approx(own.mean(), abs=1e-9)
        assert year.value("ml_segment_quality_upper", **brier) > own.mean()


def column_values(year: Year, version: str, column: str) -> list[Any]:
    lines = year.window(version, seconds(AT))
    if column in ("score", "prediction"):
        return [line.get(column) for line in lines if "error" not in line]
    return [line["features"].get(column) for line in lines]


def numeric_counts(spec: Record, values: list[Any]) -> tuple[np.ndarray[Any, Any], int]:
    edges = np.array(spec["edges"])
    present = np.array([value for value in values if value is not None], float)
    scaled = (present - spec["center"]) / spec["scale"]
    counts = np.bincount(np.digitize(scaled, edges), minlength=edges.size + 1)
    return counts, len(values) - present.size


def categorical_counts(spec: Record, values: list[Any]) -> np.ndarray[Any, Any]:
    names = [*spec["categories"], "rare", "unseen", "missing"]
    counts = dict.fromkeys(names, 0)
    for value in values:
        text = {None: "missing", True: "positive", False: "negative"}.get(value, value)
        text = "rare" if text in spec["rare"] else text
        counts[text if text in counts else "unseen"] += 1
    return np.array([counts[name] for name in names])


def psi(current: np.ndarray[Any, Any], reference: np.ndarray[Any, Any]) -> float:
    p = (current + 0.5) / (current.sum() + current.size / 2)
    q = (reference + 0.5) / (reference.sum() + reference.size / 2)
    return float(np.sum((p - q) * np.log(p / q)))


@pytest.mark.parametrize("version", VERSIONS)
def test_drift_is_what_scipy_computes_from_the_raw_values(year: Year, version: str) -> None:
    compared = 0
    for column, spec in year.profile["columns"].items():
        if column == "label":
            continue
        values = column_values(year, version, column)
        labels = {"version": version, "column": column, "window": WINDOW, "reference": "training"}
        found = {method: year.value("ml_drift", method=method, **labels) for method in spec["noise"]}
        if spec["kind"] == "numeric":
            counts, missing = numeric_counts(spec, values)
            reference, positions = np.array(spec["counts"]), np.array(spec["positions"])
            groups = np.array(spec["groups"])
            coarse = [
                np.append(np.bincount(groups, side), lost)
                for side, lost in ((counts, missing), (reference, spec["missing"]))
            ]
            expected = {
                "psi": psi(*coarse),
                "wasserstein": wasserstein_distance(positions, positions, counts, reference)
                / spec["deviation"],
            }
        else:
            current = categorical_counts(spec, values)
            reference = np.array([*spec["counts"], spec["missing"]])
            used = current + reference > 0
            expected = {
                "psi": psi(current, reference),
                "cramers_v": association(np.array([current[used], reference[used]]), method="cramer"),
            }
        assert found == pytest.approx(expected, abs=1e-9), column
        compared += len(found)
    assert compared == 2 * (len(year.profile["columns"]) - 1)


def test_violations_are_those_of_the_raw_values(year: Year) -> None:
    values = column_values(year, "1", "wind_gust")
    ratio = year.value(
        "ml_input_violation_ratio", version="1", column="wind_gust", check="missing", window=WINDOW
    )
    assert ratio == pytest.approx(sum(value is None for value in values) / len(values), abs=1e-12)
    spec = year.profile["columns"]["humid"]
    humid = [value for value in column_values(year, "1", "humid") if value is not None]
    outside = sum(not spec["minimum"] <= value <= spec["maximum"] for value in humid)
    ratio = year.value(
        "ml_input_violation_ratio", version="1", column="humid", check="out_of_range", window=WINDOW
    )
    assert ratio == pytest.approx(outside / len(values), abs=1e-12)


def test_version_difference_is_the_mean_of_the_pairs(year: Year) -> None:
    by_id = {
        line["id"]: line["score"] for line in year.predictions if line["version"] == "1" and "score" in line
    }
    differences = []
    for line in year.predictions:
        if line["version"] == "2" and line["id"] in by_id and "score" in line:
            known = year.labels.get(line["id"])
            due = seconds(line["ts"]) + MATURITY
            if known is not None and known[0] <= due <= seconds(AT):
                differences.append((by_id[line["id"]] - known[1]) ** 2 - (line["score"] - known[1]) ** 2)
    labels = {"metric": "brier_score", "baseline": "1", "candidate": "2", "pairing": "paired"}
    assert year.value("ml_version_difference", **labels) == pytest.approx(np.mean(differences), abs=1e-9)
    assert year.value("ml_version_difference_lower", **labels) < np.mean(differences)


def test_a_month_in_shadow_decides_for_version_2(year: Year) -> None:
    for metric in ("log_loss", "brier_score", "accuracy"):
        labels = {"metric": metric, "baseline": "1", "candidate": "2", "pairing": "paired"}
        assert year.value("ml_version_difference_lower", **labels) > 0


def test_every_line_has_one_outcome(year: Year) -> None:
    until = seconds(AT)
    lines = sum(seconds(line["ts"]) <= until for line in year.predictions)
    assert year.value("ml_input_rows_total", source="predictions", outcome="accepted") == lines
    rejected = [
        value
        for (name, labels), value in year.samples.items()
        if name == "ml_input_rows_total"
        and ("model", year.model) in labels
        and ("outcome", "accepted") not in labels
    ]
    assert rejected
    assert sum(rejected) == 0


def test_the_same_logs_give_the_same_page(year: Year, year_config: Path) -> None:
    assert evaluate(year_config) == year.page


def test_every_limit_on_the_page_has_its_value_and_noise(year: Year) -> None:
    limits = [
        labels
        for name, labels in year.samples
        if name == "ml_drift_limit" and ("model", year.model) in labels
    ]
    assert limits
    for labels in limits:
        for version in VERSIONS:
            assert ("ml_drift", labels | {("version", version)}) in year.samples
            assert ("ml_drift_noise", labels | {("version", version)}) in year.samples
