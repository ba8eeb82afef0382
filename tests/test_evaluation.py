from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.site import Site, label, prediction

from ml_exporter.config import load
from ml_exporter.engine import Engine, Snapshot, load_layouts
from ml_exporter.evaluation import ModelReport, WindowReport
from ml_exporter.metrics.health import unavailable, unavailable_columns
from ml_exporter.stats.classification import BINARY_METRICS
from ml_exporter.stats.result import Unavailable, Value
from ml_exporter.store import Store

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def report(site: Site) -> ModelReport:
    engine = site.engine()
    found = engine.cycle().reports[0][0]
    engine.store.close()
    return found


def longest(found: ModelReport, version: int = 0) -> WindowReport:
    return found.versions[version].windows[-1]


@pytest.fixture(scope="module")
def golden() -> Snapshot:
    config = load(GOLDEN / "config.yml")
    return Engine(config, load_layouts(config), Store(None)).run_once(None)


def records() -> list[dict[str, Any]]:
    """The accepted predictions behind the kept page."""
    found = []
    for name in ("predictions.jsonl.1", "predictions.jsonl"):
        for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(record, dict) and "id" in record and record["ts"].startswith("2025"):
                found.append(record)
    return found


class TestReasons:
    """Why there is no quality, in the order in which they are found."""

    def test_immature_while_predictions_wait(self, site: Site) -> None:
        site.predict(prediction(1, 0))
        site.label(label(9, 0))
        site.now = 30
        assert set(longest(report(site)).quality.metrics.values()) == {Unavailable("immature")}

    def test_too_few_rows_when_none_waits(self, site: Site) -> None:
        site.predict(prediction(1, 0, error="timeout"))
        site.label(label(9, 0))
        site.now = 30
        assert set(longest(report(site)).quality.metrics.values()) == {Unavailable("too_few_rows")}

    def test_no_labels_when_nobody_has_labelled(self, site: Site) -> None:
        site.predict(*(prediction(number, number) for number in range(20)))
        site.label(label("of nobody", 0))
        site.now = 100
        found = longest(report(site))
        assert set(found.quality.metrics.values()) == {Unavailable("no_labels")}
        assert found.quality.coverage == 0.0

    @pytest.mark.parametrize(("labelled", "known"), [(89, False), (90, True)])
    def test_low_coverage_below_the_configured_one(self, site: Site, labelled: int, known: bool) -> None:
        site.predict(*(prediction(number, number / 2) for number in range(100)))
        site.label(*(label(number, number / 2) for number in range(labelled)))
        site.now = 120
        found = longest(report(site))
        assert found.quality.coverage == labelled / 100
        accuracy = found.quality.metrics["accuracy"]
        assert isinstance(accuracy, Value) if known else accuracy == Unavailable("low_coverage")

    def test_silence_that_means_negative_covers_everything(self, site: Site) -> None:
        site.models[0]["labels"]["silence"] = "negative"
        site.predict(*(prediction(number, number / 2, score=0.9) for number in range(100)))
        site.label(*(label(number, number / 2, value=True) for number in range(30)))
        site.now = 120
        found = longest(report(site))
        assert found.quality.coverage == 1.0
        precision = found.quality.metrics["precision"]
        assert isinstance(precision, Value)
        assert precision.value == 0.3


def test_quality_ends_a_maturity_ago_and_traffic_now(site: Site) -> None:
    site.predict(*(prediction(number, number) for number in range(181)))
    site.label(*(label(number, number) for number in range(181)))
    site.now = 180
    # At the end of a second a window of 60 panes of a second covers 59 seconds: the 60th begins.
    minute = report(site).versions[0].windows[0]
    assert (minute.rows, minute.quality.mature, minute.quality.labelled) == (59, 59, 59)
    site.now = 230
    minute = report(site).versions[0].windows[0]
    assert (minute.rows, minute.quality.mature) == (9, 59)


def test_roles(site: Site) -> None:
    site.models[0]["shadow"] = ["s"]
    site.predict(*(prediction(number, number, version=version) for number, version in enumerate("1sc")))
    site.now = 30
    assert {version.name: version.role for version in report(site).versions} == {
        "1": "champion",
        "s": "shadow",
        "c": "candidate",
    }


def test_confusion_is_that_of_the_rows(golden: Snapshot) -> None:
    """Every metric of the counts is checked elsewhere; here that the counts are those of the log."""
    labels: dict[str, bool] = {}
    for line in (GOLDEN / "labels.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if "fraud" in record:
            labels.setdefault(record["id"], record["fraud"])
    window = longest(golden.reports[0][0])
    found = golden.reports[0][0].versions[0].judged
    served = [record for record in records() if record["version"] == "1" and "error" not in record]
    assert window.quality.mature == found.count("mature") < len(served)
    decided = {record["id"]: record["prediction"] for record in served}
    (tn, fp), (fn, tp) = found["confusion"]
    in_all = np.zeros((2, 2), int)
    for id_, predicted in decided.items():
        if id_ in labels:
            in_all[int(labels[id_]), int(predicted)] += 1
    assert tn + fp + fn + tp == found.count("labelled")
    assert (found["confusion"] <= in_all).all()
    assert in_all.sum() - found["confusion"].sum() < 50


def test_violations_are_those_of_the_rows(golden: Snapshot) -> None:
    version = golden.reports[0][0].versions[0]
    own = [record for record in records() if record["version"] == "1"]
    health = version.windows[-1].health
    assert health is not None
    found = {(item.column, item.check): item.count for item in health.violations}
    assert found["amount", "missing"] == sum(record["features"]["amount"] is None for record in own)
    assert found["amount", "wrong_type"] == sum(record["features"]["amount"] == "12 EUR" for record in own)
    assert found["country", "unseen"] == sum(record["features"]["country"] == "xx" for record in own)
    assert found["age_days", "out_of_range"] == sum(record["features"]["age_days"] > 900 for record in own)
    # A request that failed has no score, and none is missing.
    assert found["score", "missing"] == 0
    assert version.inputs.count("errors") == sum("error" in record for record in own) > 0


def test_drift_and_violations_are_computed_for_the_alert_window_only(golden: Snapshot) -> None:
    for version in golden.reports[0][0].versions:
        assert [bool(window.drift) for window in version.windows] == [False, False, True]
        assert [window.health is not None for window in version.windows] == [False, False, True]
        assert {drift.column for drift in version.windows[-1].drift} == set(version.layout.cells)


def test_difference_is_the_candidates_against_the_champions(golden: Snapshot) -> None:
    found = {item.metric: item for item in golden.reports[0][0].differences}
    assert {(item.baseline, item.candidate) for item in found.values()} == {("1", "2")}
    brier = found["brier_score"].result
    assert isinstance(brier, Value)
    assert brier.lower is not None
    assert brier.upper is not None
    assert brier.lower < brier.value < brier.upper


def test_every_metric_has_a_value_or_one_reason(golden: Snapshot) -> None:
    report_ = golden.reports[0][0]
    reasons = list(unavailable(report_))
    assert len(reasons) == len(set(reasons))
    for version in report_.versions:
        for window in version.windows:
            lacking = {
                subject
                for name, where, subject, _ in reasons
                if (name, where) == (version.name, window.window.name)
            }
            for metric in BINARY_METRICS:
                value = isinstance(window.quality.metrics[metric], Value)
                assert value != (f"quality:{metric}" in lacking)
    assert unavailable_columns(report_)["1", "6h", "noise", "short_reference"] > 0


def test_a_version_without_a_profile_says_so(site: Site) -> None:
    site.predict(prediction(1, 0))
    site.now = 10
    assert ("1", "10m", "drift", "no_profile") in set(unavailable(report(site)))
