"""A real Alertmanager: what fires goes in, who is told of what comes out."""

import re
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
import yaml
from tests.alertmanager.running import CONFIG, Labels, burning, on_exporter, on_model, running, source_down
from tests.e2e.receiver import Page, Receiver
from tests.support.listening import listening

SHIPPED_RECEIVER = "http://127.0.0.1:10479/"
GROUP_WAIT = re.compile(r"group_wait: \w+")
PATIENCE = 20.0
ALWAYS = [{"weekdays": ["sunday:saturday"]}]

Told = Counter[tuple[str, str]]


def models(name: str, **labels: str) -> list[Labels]:
    return [on_model(name, model=model, **labels) for model in ("m", "n", "o")]


CASES: dict[str, tuple[list[Labels], Told]] = {
    "the machine is gone": (
        [
            on_exporter("MLExporterDown"),
            on_exporter("MLReloadFailed"),
            on_exporter("MLCollectorFailing"),
            *models("MLNoPredictions"),
            *models("MLSourceDown", severity="critical", source="predictions"),
            *models("MLModelDrift"),
        ],
        Counter({("pages", "MLExporterDown"): 1}),
    ),
    "a mount is gone": (
        [
            *models("MLSourceDown", severity="critical", source="predictions"),
            *models("MLNoPredictions"),
            *models("MLModelDrift"),
            *models("MLRetrainingWanted"),
            source_down("labels"),
            on_model("MLLabelsStopped"),
        ],
        Counter({("pages", "MLSourceDown"): 3}),
    ),
    "the world changed": (
        [
            on_model("MLManyColumnsDrifted"),
            on_model("MLModelDrift"),
            on_model("MLColumnDrift"),
            on_model("MLColumnDrift", column="score"),
            on_model("MLPredictionDrift"),
            on_model("MLEstimatedQualityLow"),
            on_model("MLQualityDropped"),
        ],
        Counter({("tickets", "MLManyColumnsDrifted"): 1}),
    ),
    "a feature was renamed": (
        [
            on_model("MLSchemaChanged"),
            on_model("MLInputViolations"),
            on_model("MLManyColumnsDrifted"),
            on_model("MLModelDrift"),
            on_model("MLColumnDrift"),
            on_model("MLEstimatedQualityLow"),
            on_model("MLQualityDropped"),
        ],
        Counter({("tickets", "MLSchemaChanged"): 1}),
    ),
    "labels cannot be read": (
        [
            source_down("labels"),
            on_model("MLLabelsStopped"),
            on_model("MLLabelsDelayed"),
            on_model("MLLabelCoverageLow"),
            on_model("MLQualityUnknown"),
        ],
        Counter({("tickets", "MLSourceDown"): 1}),
    ),
    "a backlog is read": (
        [
            on_model("MLBackfill"),
            burning("MLQualityBudgetBurn"),
            burning("MLLatencyBudgetBurn"),
            burning("MLErrorBudgetBurn"),
        ],
        Counter({("notes", "MLBackfill"): 1}),
    ),
    "the model is wrong": (
        [
            on_model("MLQualityBelowTarget"),
            on_model("MLConceptDrift"),
            on_model("MLSegmentQualityLow"),
            on_model("MLColumnDrift"),
            on_model("MLRetrainingWanted"),
        ],
        Counter(
            {
                ("pages", "MLQualityBelowTarget"): 1,
                ("pages", "MLConceptDrift"): 1,
                ("retrain", "MLRetrainingWanted"): 1,
                ("notes", "MLRetrainingWanted"): 1,
            }
        ),
    ),
}


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Page]]:
    """Yield what all cases together bring, each under a job of its own, when no more comes.

    Quiet hours are switched on, and always: tickets of the team that has them do not come.
    """
    folder = tmp_path_factory.mktemp("notified")
    path = folder / "alertmanager.yml"
    with listening(Receiver()) as receiver:
        text = CONFIG.read_text(encoding="utf-8")
        text = text.replace(SHIPPED_RECEIVER, f"http://127.0.0.1:{receiver.server_port}/")
        path.write_text(quiet_for_flight_ops(GROUP_WAIT.sub("group_wait: 1s", text)))
        quiet = {"job": "quiet", "team": "flight-ops"}
        quiet_ones = [on_model("MLModelDrift", **quiet), on_model("MLNoPredictions", model="n", **quiet)]
        firing = [labels | {"job": case} for case, (fires, _) in CASES.items() for labels in fires]
        with running(path, folder) as address:
            sent = [{"labels": labels} for labels in (*firing, *quiet_ones)]
            httpx.post(f"{address}/api/v2/alerts", json=sent).raise_for_status()
            wanted = sum(told.total() for _, told in CASES.values()) + 1
            deadline = time.monotonic() + PATIENCE
            while len(receiver.pages) < wanted and time.monotonic() < deadline:
                time.sleep(0.05)
            # What is not wanted would come within the second that each group waits.
            time.sleep(1.5)
            yield receiver.pages


def quiet_for_flight_ops(text: str) -> str:
    """Return the configuration with intervals that never end, for the tickets of one team."""
    config = yaml.safe_load(text)
    config["templates"] = [str(CONFIG.parent / "templates" / "*.tmpl")]
    config["time_intervals"] = [{**one, "time_intervals": ALWAYS} for one in config["time_intervals"]]
    names = [one["name"] for one in config["time_intervals"]]
    (team,) = [route for route in config["route"]["routes"] if route["matchers"] == ["team = flight-ops"]]
    (tickets,) = [route for route in team["routes"] if route["matchers"] == ["severity = warning"]]
    tickets["mute_time_intervals"] = names
    return yaml.safe_dump(config)


@pytest.mark.parametrize("case", CASES)
def test_people_hear_of_the_cause_alone(heard: list[Page], case: str) -> None:
    told = Counter((page.receiver, page.name) for page in heard if page.labels["job"] == case)
    assert told == CASES[case][1]


def test_one_broken_pipeline_is_one_page(heard: list[Page]) -> None:
    pages = [page for page in heard if page.labels["job"] == "a mount is gone"]
    assert {page.labels["model"] for page in pages} == {"m", "n", "o"}
    assert len({page.at for page in pages}) == 1


def test_alerts_on_one_model_come_together(heard: list[Page]) -> None:
    pages = [p for p in heard if p.labels["job"] == "the model is wrong" and p.receiver == "pages"]
    assert len(pages) == 2
    assert len({page.at for page in pages}) == 1


def test_quiet_hours_hold_tickets_back_and_no_page(heard: list[Page]) -> None:
    told = [(page.receiver, page.name) for page in heard if page.labels["job"] == "quiet"]
    assert told == [("flight-ops-pages", "MLNoPredictions")]
