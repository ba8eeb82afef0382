"""What is proposed from a real Prometheus' history, and what the shipped alerts would have done in it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.suggest.history import Value, fixed, noise, prometheus, written
from tests.support.listening import listening
from tests.support.site import model

from ml_exporter.cli import main
from ml_exporter.config import load
from ml_exporter.suggest.prometheus import Prometheus
from ml_exporter.suggest.report import report

HOUR, DAY = 3_600.0, 86_400.0
# A day's beginning, so that times in the text are plain, and not long ago.
START = (time.time() // DAY - 3) * DAY
END = START + 2 * DAY
ON = 'job="ml_exporter",instance="a:1",model="churn"'
CHAMPION = f'{ON},version="3",window="1d"'


def dips(moment: float) -> bool:
    """Three hours on the first day, and ten minutes on the second."""
    return 6 * HOUR <= moment - START < 9 * HOUR or 30 * HOUR <= moment - START < 30 * HOUR + 600


def quality(offset: float) -> Value:
    """An ROC AUC between 0.74 and 0.76, but for the dips, or one of its bounds."""
    usual = noise(1, 0.75 + offset, 0.01)
    return lambda moment: 0.6 + offset if dips(moment) else usual(moment)


def target(moment: float) -> float:
    """A target that was missed all the time, until yesterday."""
    return 0.9 if moment < START + DAY else 0.7


HISTORY: Mapping[str, Value] = {
    f'ml_model_info{{{ON},task="binary",team="growth"}}': fixed(1),
    f'ml_model_version_info{{{ON},version="3",role="champion"}}': fixed(1),
    f'ml_model_version_info{{{ON},version="4",role="candidate"}}': fixed(1),
    f'ml_quality{{{CHAMPION},metric="roc_auc"}}': quality(0),
    f'ml_quality_lower{{{CHAMPION},metric="roc_auc"}}': quality(-0.03),
    f'ml_quality_upper{{{CHAMPION},metric="roc_auc"}}': quality(0.03),
    f'ml_quality_target{{{ON},window="1d",metric="roc_auc",bound="min"}}': target,
    f'ml_quality{{{CHAMPION},metric="log_loss"}}': noise(2, 0.4, 0.02),
    f'ml_quality{{{ON},version="4",window="1d",metric="log_loss"}}': fixed(9),
    f'ml_quality{{{ON},version="3",window="7d",metric="log_loss"}}': fixed(9),
    f"ml_calibration_error{{{CHAMPION}}}": lambda moment: 0.2 if moment < START + 30 * HOUR else 0.04,
    f"ml_calibration_error_noise{{{CHAMPION}}}": fixed(0.05),
    f"ml_calibration_error_limit{{{ON}}}": fixed(0.1),
    f"ml_quality_samples{{{CHAMPION}}}": fixed(5_000),
    **{
        f'ml_{name}{{{CHAMPION},column="{column}",method="psi",reference="training"}}': noise(
            index, middle, 0.01
        )
        for index, (column, middle) in enumerate({"age": 0.04, "plan": 0.06, "city: Köln": 0.5}.items())
        for name in ("drift", "drift_noise")
    },
    f'ml_input_violation_ratio{{{CHAMPION},column="age",check="missing"}}': noise(7, 0.02, 0.01),
    f'ml_input_violation_ratio{{{CHAMPION},column="plan",check="unseen"}}': fixed(0),
    f'ml_good_predictions_total{{{ON},version="3"}}': lambda moment: 0.8 * (moment - START),
    f'ml_labeled_predictions_total{{{ON},version="3"}}': lambda moment: moment - START,
    f'ml_prediction_latency_seconds_bucket{{{ON},version="3",le="0.1"}}': lambda moment: (
        0.95 * (moment - START)
    ),
    f'ml_prediction_latency_seconds_bucket{{{ON},version="3",le="0.2"}}': lambda moment: moment - START,
    f'ml_prediction_latency_seconds_bucket{{{ON},version="3",le="+Inf"}}': lambda moment: moment - START,
    f'ml_label_delay_seconds_bucket{{{ON},le="600"}}': lambda moment: 0.9 * (moment - START),
    f'ml_label_delay_seconds_bucket{{{ON},le="+Inf"}}': lambda moment: moment - START,
    'ml_exporter_clock_timestamp_seconds{job="ml_exporter",instance="a:1"}': lambda moment: moment,
    f"ml_last_prediction_timestamp_seconds{{{ON}}}": lambda moment: moment - (1_200 if dips(moment) else 5),
}


def config(folder: Path, **more: Any) -> Path:
    keys = {
        "windows": ["1d", "7d"],
        "alert_window": "1d",
        "quality": {"roc_auc": {"min": 0.7}, "log_loss": {"max": 1}},
        "champion": "3",
    }
    path = folder / "churn.yml"
    keys |= {"drift": {"psi": {"max": 0.2}}, "slo": {"objective": 0.95}, "latency": {"limit": 1}}
    models = [model("churn", **{**keys, **more})]
    path.write_text(yaml.safe_dump({"models": models}))
    return path


@dataclass(frozen=True)
class Told:
    """The whole text, what YAML makes of it, and the lines about alerts."""

    text: str
    model: dict[str, Any]

    def alert(self, name: str) -> str:
        [line] = [line for line in self.text.splitlines() if re.match(rf"#   {name} ", line)]
        return line


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus(tmp_path_factory.mktemp("prometheus"), written(HISTORY, START, END)) as running:
        yield running


@pytest.fixture(scope="module")
def told(url: str, tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("config")
    text, problems = report(load(config(folder)), Prometheus(url), 3, END + 2 * HOUR)
    assert problems == []
    return Told(text, yaml.safe_load(text)["models"][0])


def test_a_target_is_what_the_champion_nearly_always_kept(told: Told) -> None:
    # The lower bound, in the middle of its time, is 0.72, but 6 % of the looks had 0.6.
    assert told.model["quality"]["roc_auc"] == {"min": 0.6}
    assert told.model["quality"]["log_loss"] == {"max": pytest.approx(0.42, abs=0.003)}
    assert re.search(r"min: 0.6  # from 0.6 to 0.7\d+, surely at least 0.7\d+ half of the time\n", told.text)


def test_a_limit_is_not_below_the_noise(told: Told) -> None:
    assert told.model["calibration"] == {"max": 0.2}
    assert "max: 0.2  # up to 0.2, noise 0.05" in told.text


def test_one_limit_is_for_all_columns_but_those_far_off(told: Told) -> None:
    assert told.model["drift"] == {
        "psi": {"max": 0.07},
        "columns": {"city: Köln": {"psi": {"max": pytest.approx(0.51)}}},
    }
    assert re.search(r"max: 0.07  # plan: up to 0.0\d+, noise 0.0\d+\n", told.text)


def test_limits_of_health_are_not_0(told: Told) -> None:
    assert told.model["health"] == {"missing": {"max": 0.03}, "unseen": {"max": 0.001}}


def test_promises_are_what_the_worst_day_kept(told: Told) -> None:
    # Four of five good: a total outage burns five times too fast, so nobody can be paged by 14.4.
    assert told.model["slo"] == {"objective": pytest.approx(0.8, abs=0.002), "page": False}
    # 99 of 100 are at 4/5 of the way from 0.1 to 0.2 s.
    assert told.model["latency"] == {"limit": pytest.approx(0.18, abs=0.011)}


def test_labels_may_come_half_as_late_again(told: Told) -> None:
    assert told.model["label_delay_limit"] == "15m"


def test_the_longest_silence_is_not_an_alarm(told: Told) -> None:
    assert told.model["prediction_age_limit"] == "30m"


def test_what_is_printed_can_be_pasted(told: Told, tmp_path: Path) -> None:
    proposed = {key: value for key, value in told.model.items() if key != "name"}
    loaded = load(config(tmp_path, **proposed)).models[0]
    assert loaded.drift_limit("city: Köln", "psi") == pytest.approx(0.51)
    assert loaded.prediction_age_limit == 1_800


def test_an_alert_is_tried_with_todays_target(told: Told) -> None:
    # With the target of the first day it would have fired all of it.
    line = told.alert("MLQualityBelowTarget")
    day = datetime.fromtimestamp(START, UTC).date()
    assert line.startswith(f"#   MLQualityBelowTarget (critical) would have fired once in 2 days: {day} 06:")
    assert re.search(
        r"06:\d\d for (2\.\d+h|1\d\dm) \(instance a:1, metric roc_auc, version 3, window 1d\)$", line
    )


def test_what_would_not_have_fired_is_named(told: Told) -> None:
    [line] = [line for line in told.text.splitlines() if line.startswith("#   never: ")]
    assert {"MLConceptDrift", "MLColumnDrift", "MLNoPredictions"} <= set(line[11:].split(", "))
    assert "MLQualityBelowTarget" not in line


def test_what_was_not_recorded_is_said(told: Told) -> None:
    [line] = [
        line
        for line in told.text.splitlines()
        if line.startswith("#   cannot be told, since ALERTS was not recorded: ")
    ]
    assert "MLModelDrift" in line


def test_what_recording_rules_would_have_recorded_is_computed(told: Told) -> None:
    assert told.alert("MLCalibrationOff").startswith("#   MLCalibrationOff (warning) would have fired once")


@pytest.mark.parametrize("days", [2.5, 90.0])
def test_a_history_that_still_goes_on_is_seen_to_its_end(days: float, url: str, tmp_path: Path) -> None:
    moment = START + 12 * HOUR
    text, problems = report(load(config(tmp_path)), Prometheus(url), days, moment)
    assert problems == []
    assert f"# From 12 hours, to {datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M}. " in text


def test_a_history_of_two_days_is_called_short(told: Told) -> None:
    assert "less than ten times the alert window of 1d" in told.text


def test_the_command_says_where_there_is_no_history(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(tmp_path)
    assert main(["suggest", "--config.file", str(path), "--prometheus", url, "--days", "0.9"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "model churn: Prometheus has no ml_model_info of it in the last 0.9 days" in said.err


def test_the_command_prints_yaml(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config(tmp_path)
    assert main(["suggest", "--config.file", str(path), "--prometheus", f"{url}/", "--days", "5"]) == 0
    said = capsys.readouterr()
    assert yaml.safe_load(said.out)["models"][0]["name"] == "churn"
    assert said.err == ""


def test_nobody_there_and_others_than_prometheus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.hook.world import Outside

    path = config(tmp_path)
    asked = ["suggest", "--config.file", str(path), "--prometheus"]
    assert main([*asked, "http://user:hidden@127.0.0.1:9"]) == 1
    assert capsys.readouterr().err == "ml_exporter: --prometheus: no answer (ConnectionError)\n"
    with listening(Outside()) as other:
        assert main([*asked, other.url]) == 1
    assert "answers with 200, and not as Prometheus does" in capsys.readouterr().err
    assert main([*asked, "nonsense"]) == 1
    assert capsys.readouterr().err == "ml_exporter: --prometheus: no answer (MissingSchema)\n"
