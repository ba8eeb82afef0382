"""A real Alertmanager, configured as the README says, tells a real hook, which asks a real receiver."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
import yaml
from tests.e2e.stack import free_ports
from tests.hook.test_hook import verified
from tests.hook.world import MODEL, Outside, page
from tests.support.listening import listening
from tests.support.process import Exporter, wait_for
from tests.support.site import model
from tests.tools import REPOSITORY, find_tool

TOKEN = "what-alertmanager-sends"
SECRET = "what-signs"
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def readmes_routes(hook_port: int, token: Path) -> dict[str, Any]:
    """Return the part of Alertmanager's configuration that the README shows, with this hook in it."""
    [text] = [
        block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "action = retrain" in block
    ]
    text = text.replace("127.0.0.1:10478", f"127.0.0.1:{hook_port}")
    text = text.replace("/etc/alertmanager/secrets/hook-token", str(token))
    config: dict[str, Any] = yaml.safe_load(text)
    config["route"] |= {"receiver": "nobody", "group_wait": "0s"}
    config["receivers"].append({"name": "nobody"})
    return config


@contextmanager
def alertmanager(folder: Path, config: dict[str, Any]) -> Iterator[str]:
    """Yield a running Alertmanager's URL."""
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    [port] = free_ports(1)
    flags = [
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with (folder / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen([str(find_tool("alertmanager")), *flags], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: ready(url))
        yield url
    finally:
        process.kill()
        process.wait(10)


def ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=5).ok
    except requests.ConnectionError:
        return False


def test_an_alert_becomes_a_signed_request(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    now = datetime.now(UTC)
    with listening(Outside()) as server:
        server.page = page(now=now.timestamp())
        retrain = {"url": f"{server.url}/train", "secret_file": "secret"}
        config = tmp_path / "config.yml"
        config.write_text(yaml.safe_dump({"models": [model(retrain=retrain)]}))
        flags = (
            f"--exporter.url={server.url}/metrics",
            f"--web.bearer-token-file={tmp_path / 'token'}",
            f"--state.file={tmp_path / 'hook.db'}",
        )
        with (
            Exporter(config, flags, ("hook",)) as hook,
            alertmanager(tmp_path, readmes_routes(hook.port, tmp_path / "token")) as url,
        ):
            labels = {"alertname": "MLRetrainingWanted", "model": MODEL, "version": "1", "severity": "info"}
            alerts = [
                {"labels": labels | {"action": "retrain", "reason": "MLQualityBelowTarget"}},
                # One asks for nothing, and what the other says the page does not show.
                {"labels": labels | {"reason": "MLQualityBelowTarget"}},
                {"labels": labels | {"action": "retrain", "version": "0"}},
            ]
            answer = requests.post(f"{url}/api/v2/alerts", json=alerts, timeout=10)
            assert answer.ok, answer.text
            wait_for(lambda: server.got)
            assert hook.terminate()[0] == 0
    [got] = server.got
    assert [alert["name"] for alert in got.told["alerts"]] == ["MLRetrainingWanted"]
    assert [reason["metric"] for reason in got.told["reasons"]] == ["roc_auc"]
    assert verified(SECRET.encode(), got.headers["X-ML-Signature"], got.body, round(now.timestamp()))
    assert TOKEN.encode() not in hook.logged()
