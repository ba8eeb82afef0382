"""A real Alertmanager with the shipped configuration holds back what a larger cause explains, and no more."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus.alert_table import alerts
from tests.tools import REPOSITORY, find_tool

CONFIG = REPOSITORY / "alertmanager" / "alertmanager.yml"
HOST = "127.0.0.1"
# The last rule of an alert with two severities counts: the ticket.
SEVERITIES: dict[str, str] = {rule["alert"]: rule["labels"]["severity"] for _, rule in alerts()}
# Alert names may carry more than the labels that all alerts on an exporter's model share.
MORE = {
    "MLColumnDrift": {"version": "1", "column": "x"},
    "MLEstimatedQualityLow": {"version": "1", "metric": "roc_auc"},
    "MLInputViolations": {"version": "1", "column": "x"},
    "MLModelDrift": {"version": "1"},
    "MLQualityBelowTarget": {"version": "1", "metric": "roc_auc"},
    "MLQualityDropped": {"version": "1", "metric": "roc_auc"},
    "MLQualityUnknown": {"metric": "roc_auc"},
    "MLSeasonalDeviation": {"subject": "positive_rate"},
}

Labels = dict[str, str]


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of an Alertmanager on a free port of this machine."""
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    folder: Path = tmp_path_factory.mktemp("alertmanager")
    command = [
        str(find_tool("alertmanager")),
        f"--config.file={CONFIG}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}",
        "--cluster.listen-address=",
    ]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_until_ready(f"http://{HOST}:{port}")
            yield f"http://{HOST}:{port}"
        finally:
            process.terminate()


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/-/ready").status_code == 200:
                return
        except httpx.ConnectError:
            pass
        time.sleep(0.05)
    pytest.fail("Alertmanager does not become ready")


def on_model(name: str, **labels: str) -> Labels:
    shared = {"job": "e", "instance": "a", "model": "m", "team": "t"}
    return {"alertname": name, "severity": SEVERITIES[name], **shared, **MORE.get(name, {}), **labels}


def on_exporter(name: str, **labels: str) -> Labels:
    return {"alertname": name, "severity": SEVERITIES[name], "job": "e", "instance": "a", **labels}


def source_down(source: str, **labels: str) -> Labels:
    severity = {"predictions": "critical", "labels": "warning"}[source]
    return on_model("MLSourceDown", **{"severity": severity, "source": source, **labels})


def held_back(url: str, case: str, cause: Labels, other: Labels) -> bool:
    """Say whether the second alert is silenced while the first fires. Cases are kept apart by their job."""
    pair = [{"labels": {**labels, **({"job": case} if "job" in labels else {})}} for labels in (cause, other)]
    httpx.post(f"{url}/api/v2/alerts", json=pair).raise_for_status()
    found = httpx.get(f"{url}/api/v2/alerts").raise_for_status().json()
    (state,) = [alert["status"] for alert in found if alert["labels"] == pair[1]["labels"]]
    return bool(state["inhibitedBy"])


HELD_BACK = {
    "exporter down, model alert": (on_exporter("MLExporterDown"), on_model("MLNoPredictions")),
    "exporter down, source": (on_exporter("MLExporterDown"), source_down("predictions")),
    "exporter down, exporter alert": (on_exporter("MLExporterDown"), on_exporter("MLReloadFailed")),
    "not ready, model page": (on_exporter("MLExporterNotReady"), on_model("MLQualityBelowTarget")),
    "not ready, old evaluation": (on_exporter("MLExporterNotReady"), on_exporter("MLEvaluationOld")),
    "predictions unreadable, silence": (source_down("predictions"), on_model("MLNoPredictions")),
    "predictions unreadable, drift": (source_down("predictions"), on_model("MLModelDrift")),
    "labels unreadable, stopped": (source_down("labels"), on_model("MLLabelsStopped")),
    "labels unreadable, unknown": (source_down("labels"), on_model("MLQualityUnknown")),
    "labels stopped, unknown": (on_model("MLLabelsStopped"), on_model("MLQualityUnknown")),
    "violations, drift of the column": (on_model("MLInputViolations"), on_model("MLColumnDrift")),
    "ticket, its columns": (on_model("MLModelDrift"), on_model("MLColumnDrift", column="y")),
    "drift, estimate": (on_model("MLModelDrift"), on_model("MLEstimatedQualityLow")),
    "estimate, drop": (on_model("MLEstimatedQualityLow"), on_model("MLQualityDropped")),
    "violations, positive rate": (on_model("MLInputViolations"), on_model("MLSeasonalDeviation")),
    "concept drift, calibration": (on_model("MLConceptDrift"), on_model("MLCalibrationOff")),
    "target missed, its segments": (on_model("MLQualityBelowTarget"), on_model("MLSegmentQualityLow")),
    "predictions unreadable, volume": (
        source_down("predictions"),
        on_model("MLSeasonalDeviation", subject="volume"),
    ),
    "page, ticket": (on_model("MLQualityBelowTarget"), on_model("MLModelDrift")),
    "page, ticket of another exporter": (
        on_model("MLNoPredictions"),
        on_model("MLLabelsStopped", instance="b"),
    ),
}
LET_THROUGH = {
    "another exporter's model": (
        on_exporter("MLExporterDown"),
        on_model("MLNoPredictions", instance="b"),
    ),
    "another exporter down": (on_exporter("MLExporterDown"), on_exporter("MLExporterDown", instance="b")),
    "no exporter at all": (on_exporter("MLExporterDown"), {"alertname": "MLExporterAbsent"}),
    "the watchdog": (on_exporter("MLExporterDown"), {"alertname": "MLWatchdog", "severity": "info"}),
    "a cause without an exporter": (
        {"alertname": "MLExporterDown", "severity": "critical"},
        {"alertname": "MLNoPredictions", "severity": "critical", "model": "m"},
    ),
    "another model's source": (source_down("predictions"), on_model("MLNoPredictions", model="n")),
    "a page behind a label ticket": (source_down("labels"), on_model("MLQualityBelowTarget")),
    "the other source": (source_down("labels"), source_down("predictions")),
    "data behind a label ticket": (source_down("labels"), on_model("MLInputViolations")),
    "drift of another column": (on_model("MLInputViolations"), on_model("MLColumnDrift", column="y")),
    "drift of another version": (on_model("MLModelDrift"), on_model("MLColumnDrift", version="2")),
    "the estimate of another version": (
        on_model("MLModelDrift"),
        on_model("MLEstimatedQualityLow", version="2"),
    ),
    "the drop of another metric": (
        on_model("MLEstimatedQualityLow"),
        on_model("MLQualityDropped", metric="f1"),
    ),
    "volume behind a broken column": (
        on_model("MLInputViolations"),
        on_model("MLSeasonalDeviation", subject="volume"),
    ),
    "unknown quality behind its estimate": (
        on_model("MLEstimatedQualityLow"),
        on_model("MLQualityUnknown", version="1"),
    ),
    "a page beside a page": (on_model("MLQualityBelowTarget"), on_model("MLNoPredictions")),
    "a disk behind a model page": (on_model("MLNoPredictions"), on_exporter("MLDiskFillingUp")),
    "an exporter ticket behind an exporter page": (
        on_exporter("MLExporterNotReady"),
        on_exporter("MLDiskFillingUp"),
    ),
    "a ticket of another model": (on_model("MLQualityBelowTarget"), on_model("MLModelDrift", model="n")),
    "a page behind a ticket": (on_model("MLModelDrift"), on_model("MLQualityBelowTarget")),
    "a ticket behind a note": (on_model("MLColumnDrift"), on_model("MLModelDrift")),
}


@pytest.mark.parametrize("case", HELD_BACK)
def test_a_cause_silences_what_follows_from_it(alertmanager: str, case: str) -> None:
    assert held_back(alertmanager, case, *HELD_BACK[case])


@pytest.mark.parametrize("case", LET_THROUGH)
def test_nothing_else_is_silenced(alertmanager: str, case: str) -> None:
    assert not held_back(alertmanager, case, *LET_THROUGH[case])


def test_no_ticket_or_note_ever_silences_a_page(alertmanager: str) -> None:
    pages = [name for name, severity in SEVERITIES.items() if severity == "critical"]
    others = [name for name, severity in SEVERITIES.items() if severity != "critical"]
    assert len(pages) >= 7
    # Every label that any alert has, so that only names and severities decide.
    every = {"version": "1", "column": "x", "metric": "roc_auc", "source": "labels", "subject": "volume"}
    pairs = [
        {"labels": on_model(name, **every, job=f"{page}/{other}")}
        for page in pages
        for other in others
        for name in (page, other)
    ]
    httpx.post(f"{alertmanager}/api/v2/alerts", json=pairs).raise_for_status()
    found = httpx.get(f"{alertmanager}/api/v2/alerts").raise_for_status().json()
    silenced = {
        alert["labels"]["job"]: alert["status"]["inhibitedBy"]
        for alert in found
        if alert["labels"].get("severity") == "critical" and "/" in alert["labels"].get("job", "")
    }
    assert len(silenced) == len(pages) * len(others)
    assert [job for job, causes in silenced.items() if causes] == []
