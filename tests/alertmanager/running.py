"""A real Alertmanager on a free port of this machine, and alerts as the shipped rules make them."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    "MLLabelCoverageLow": {"version": "1"},
    "MLLabelDrift": {"version": "1"},
    "MLManyColumnsDrifted": {"version": "1"},
    "MLMultivariateDrift": {"version": "1"},
    "MLPredictionDrift": {"version": "1"},
    "MLRetrainingWanted": {"version": "1", "action": "retrain"},
    "MLRowsRejected": {"source": "predictions"},
    "MLSourceLagGrowing": {"source": "predictions"},
    "MLModelServerDown": {"process": "server"},
    "MLModelServerRestarting": {"process": "server"},
    "MLModelDrift": {"version": "1"},
    "MLQualityBelowTarget": {"version": "1", "metric": "roc_auc"},
    "MLQualityDropped": {"version": "1", "metric": "roc_auc"},
    "MLQualityUnknown": {"metric": "roc_auc"},
    "MLSeasonalDeviation": {"subject": "positive_rate"},
}

Labels = dict[str, str]


@contextmanager
def running(config: Path, folder: Path) -> Iterator[str]:
    """Yield the address of an Alertmanager with this configuration; its data and log go into the folder."""
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        str(find_tool("alertmanager")),
        f"--config.file={config}",
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


def burning(name: str, **labels: str) -> Labels:
    return on_model(name, **{"severity": "critical", **labels})
