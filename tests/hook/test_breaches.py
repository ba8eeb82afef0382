"""What a page shows to be wrong is what the rules would say of the same series."""

from __future__ import annotations

import re

import pytest
from tests.hook.world import BREACH, MODEL, ON, alert, page
from tests.support.site import START
from tests.tools import REPOSITORY

from ml_exporter.hook.breaches import KINDS, Breach, breaches, top_columns
from ml_exporter.hook.page import Page, PageError, parse_page

LIMIT = f'model="{MODEL}",window="1d"'
DRIFT = 'column="distance",method="psi",reference="training"'
CASES = {
    "quality below its target": ("quality", BREACH, BREACH.replace("0.63", "0.65")),
    "a loss above its target": (
        "quality",
        f'ml_quality_target{{{LIMIT},metric="log_loss",bound="max"}} 0.5\n'
        f'ml_quality_lower{{{ON},metric="log_loss"}} 0.6\n',
        f'ml_quality_target{{{LIMIT},metric="log_loss",bound="max"}} 0.5\n'
        f'ml_quality_lower{{{ON},metric="log_loss"}} 0.4\nml_quality_upper{{{ON},metric="log_loss"}} 0.6\n',
    ),
    "concept drift": (
        "concept",
        f'ml_concept_drift_state{{model="{MODEL}",version="1",detector="ecusum"}} 2\n',
        f'ml_concept_drift_state{{model="{MODEL}",version="1",detector="ecusum"}} 1\n'
        f'ml_concept_drift_state{{model="{MODEL}",version="1",detector="ddm"}} 2\n',
    ),
    "a column that has drifted": (
        "drift",
        f"ml_drift{{{ON},{DRIFT}}} 0.3\nml_drift_noise{{{ON},{DRIFT}}} 0.1\nml_drift_limit{{{LIMIT},{DRIFT}}} 0.2\n",
        f"ml_drift{{{ON},{DRIFT}}} 0.3\nml_drift_noise{{{ON},{DRIFT}}} 0.4\nml_drift_limit{{{LIMIT},{DRIFT}}} 0.2\n",
    ),
    "a column without noise": (
        None,
        "",
        f"ml_drift{{{ON},{DRIFT}}} 0.3\nml_drift_limit{{{LIMIT},{DRIFT}}} 0.2\n",
    ),
    "many columns": (
        "drifted_columns",
        f'ml_drifted_columns_ratio{{{ON},reference="training"}} 0.5\nml_drifted_columns_limit{{model="{MODEL}"}} 0.3\n',
        f'ml_drifted_columns_ratio{{{ON},reference="training"}} 0.2\nml_drifted_columns_limit{{model="{MODEL}"}} 0.3\n',
    ),
    "columns together": (
        "multivariate",
        f"ml_multivariate_drift{{{ON}}} 0.6\nml_multivariate_drift_noise{{{ON}}} 0.1\nml_multivariate_drift_limit{{{ON}}} 0.5\n",
        f"ml_multivariate_drift{{{ON}}} 0.6\nml_multivariate_drift_noise{{{ON}}} 0.7\nml_multivariate_drift_limit{{{ON}}} 0.5\n",
    ),
    "scores that are no probabilities": (
        "calibration",
        f'ml_calibration_error{{{ON}}} 0.1\nml_calibration_error_noise{{{ON}}} 0.05\nml_calibration_error_limit{{model="{MODEL}"}} 0.08\n',
        f'ml_calibration_error{{{ON}}} 0.1\nml_calibration_error_noise{{{ON}}} 0.2\nml_calibration_error_limit{{model="{MODEL}"}} 0.08\n',
    ),
    "a model that is old": (
        "age",
        f'ml_model_trained_timestamp_seconds{{model="{MODEL}",version="1"}} {START - 101}\nml_model_max_age_seconds{{model="{MODEL}"}} 100\n',
        f'ml_model_trained_timestamp_seconds{{model="{MODEL}",version="1"}} {START - 99}\nml_model_max_age_seconds{{model="{MODEL}"}} 100\n',
    ),
}


def kinds(found: Page) -> list[str]:
    return [breach.kind for breach in breaches(found, MODEL)]


@pytest.mark.parametrize("case", CASES)
def test_a_limit_is_missed_or_it_is_not(case: str) -> None:
    kind, beyond, within = CASES[case]
    assert kinds(parse_page(page(beyond))) == ([kind] if kind else [])
    assert kinds(parse_page(page(within))) == []


def test_only_the_champion_counts() -> None:
    assert kinds(parse_page(page(champion="2"))) == []
    no_champion = page().replace('role="champion"', 'role="candidate"')
    assert kinds(parse_page(no_champion)) == []


def test_other_models_do_not_count() -> None:
    assert breaches(parse_page(page()), "other") == ()


@pytest.mark.parametrize(
    ("labels", "explained"),
    [
        ({}, True),
        ({"window": "7d"}, False),
        ({"metric": "accuracy"}, False),
        ({"version": "2"}, False),
        ({"column": "distance"}, False),
        ({"alertname": "OurOwnAlert"}, True),
        ({"alertname": "MLModelOld"}, False),
        ({"alertname": "MLRetrainingWanted"}, True),
        ({"alertname": "MLRetrainingWanted", "reason": "MLQualityAboveTarget"}, True),
        ({"alertname": "MLRetrainingWanted", "reason": "MLConceptDrift"}, False),
        ({"job": "ml_exporter", "instance": "a", "team": "b", "severity": "info"}, True),
    ],
)
def test_a_breach_explains_the_alerts_that_are_about_it(labels: dict[str, str], explained: bool) -> None:
    [breach] = breaches(parse_page(page()), MODEL)
    assert breach.explains(alert(**labels)["labels"]) is explained


def test_an_alert_about_a_model_is_explained_by_anything() -> None:
    assert Breach("age", {"model": MODEL, "version": "1"}, 2, 1).explains({"model": MODEL, "version": "1"})


def test_columns_without_drift_are_none() -> None:
    assert top_columns(parse_page(page()), MODEL, "1") == []


def test_a_real_page_is_understood() -> None:
    text = (REPOSITORY / "tests/golden/page.txt").read_text() + "ml_exporter_ready 1\n"
    found = parse_page(text)
    assert found.champion("payment-fraud") == "1"
    assert {breach.kind for breach in breaches(found, "payment-fraud")} >= {"drift"}
    assert len(top_columns(found, "payment-fraud", "1")) == 3


@pytest.mark.parametrize(
    "text",
    ["", "<html>", "ml_exporter_ready 0\n", "ml_quality{ 1\n", "ml_exporter_ready one\n", "a{b=c} 1\n"],
)
def test_a_page_that_does_not_say_how_things_are_is_none(text: str) -> None:
    with pytest.raises(PageError):
        parse_page(text)


def test_alerts_that_are_known_by_name_are_those_that_ask() -> None:
    rules = "".join(path.read_text() for path in (REPOSITORY / "prometheus/rules").glob("*.yml"))
    assert set(KINDS) <= set(re.findall(r"alert: (\w+)", rules))
    wanted = rules.partition("alert: MLRetrainingWanted")[2].partition("keep_firing_for")[0]
    reasons = re.findall(r'alertname=~"([\w|]+)"', wanted)[0].split("|")
    assert "MLQualityBelowTarget" in reasons
    assert set(reasons) <= set(KINDS)
