"""What is around a hook: an exporter's page, a receiver of requests, and a clock, all set by the test."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from tests.support.site import START, model

from ml_exporter.config import Config, load
from ml_exporter.hook.hook import Hook
from ml_exporter.hook.incidents import Incidents
from ml_exporter.hook.message import Message
from ml_exporter.hook.page import read_page
from ml_exporter.hook.request import send

MODEL = "flight-delay"
DELAYS = (10.0, 60.0)
DAY = 86_400.0
ON = f'model="{MODEL}",version="1",window="1d"'
BREACH = f"""
ml_quality{{{ON},metric="roc_auc"}} 0.61
ml_quality_lower{{{ON},metric="roc_auc"}} 0.59
ml_quality_upper{{{ON},metric="roc_auc"}} 0.63
ml_quality_samples{{{ON}}} 4000
"""
FINE = f'ml_quality_upper{{{ON},metric="roc_auc"}} 0.71\n'


def page(
    body: str = BREACH,
    *,
    champion: str = "1",
    trained: float | None = None,
    ready: int = 1,
    now: float = START,
) -> str:
    """Return an exporter's page: a target that `body` misses or not, a champion, and its training."""
    lines = [
        f"ml_exporter_ready {ready}",
        f"ml_exporter_clock_timestamp_seconds {now}",
        f"ml_exporter_evaluation_timestamp_seconds {now}",
        f'ml_model_version_info{{model="{MODEL}",version="{champion}",role="champion"}} 1',
        f'ml_quality_target{{model="{MODEL}",window="1d",metric="roc_auc",bound="min"}} 0.65',
    ]
    if trained is not None:
        lines.append(f'ml_model_trained_timestamp_seconds{{model="{MODEL}",version="{champion}"}} {trained}')
    return "\n".join(lines) + "\n" + body


def alert(**more: str) -> dict[str, Any]:
    """Return an alert as Alertmanager sends it."""
    labels = {
        "alertname": "MLQualityBelowTarget",
        "action": "retrain",
        "model": MODEL,
        "version": "1",
        "metric": "roc_auc",
        "window": "1d",
    }
    return {
        "status": "firing",
        "labels": labels | more,
        "annotations": {
            "dashboard_url": "https://grafana.example.com/d/ml-model",
            "runbook_url": "javascript:1",
        },
        "startsAt": "2023-11-14T22:14:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example.com/graph",
        "fingerprint": json.dumps(labels | more, sort_keys=True),
    }


def message(*alerts: dict[str, Any]) -> dict[str, Any]:
    """Return a notification."""
    return {
        "version": "4",
        "groupKey": "{}",
        "receiver": "retrain",
        "status": "firing",
        "alerts": list(alerts or (alert(),)),
    }


@dataclass(frozen=True)
class Got:
    """A request that the receiver got."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        return json.loads(self.body)


class Outside(ThreadingHTTPServer):
    """Serves `page` at /metrics, and answers POST with the first of `answers`; a text there is a Location.

    An answer of 0 is none for a while, and then the connection's end.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.page, self.page_status = page(), 200
        self.answers: list[int] = []
        self.got: list[Got] = []
        self.asked_page: list[Mapping[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Outside

    def do_GET(self) -> None:
        self.server.asked_page.append(dict(self.headers))
        self._answer(self.server.page_status, self.server.page.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(Got(dict(self.headers), body))
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status == 0:
            time.sleep(0.5)
            self.close_connection = True
            return
        self._answer(
            status, b"secret words of the receiver", {"Location": "/elsewhere"} if status < 400 else {}
        )

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are told by the tests that fail, not by lines on stderr."""


@dataclass
class World:
    """A hook on a file, with a clock that stands still unless it is moved."""

    folder: Path
    outside: Outside
    retrain: dict[str, Any] | None = field(default_factory=dict)
    now: float = START

    def __post_init__(self) -> None:
        (self.folder / "hmac").write_text("a secret of some length\n")
        (self.folder / "authorization").write_text("Bearer receiver-token\n")
        self.config_file = self.folder / "config.yml"
        self.hook = self.started()

    def config(self) -> Config:
        retrain = {
            "url": f"{self.outside.url}/start?key=in-the-url",
            "headers": {"Authorization": "authorization"},
            "secret_file": "hmac",
            **(self.retrain or {}),
        }
        models = [model(retrain=None if self.retrain is None else retrain), model("no-hook")]
        self.config_file.write_text(yaml.safe_dump({"models": models}))
        return load(self.config_file)

    def started(self) -> Hook:
        """Return a hook on what the last one left, which is closed."""
        if hasattr(self, "incidents"):
            self.incidents.close()
        self.incidents = Incidents(self.folder / "hook.db")
        logger = logging.getLogger("ml_exporter")
        return Hook(
            self.config(),
            self.incidents,
            lambda: read_page(f"{self.outside.url}/metrics"),
            send,
            logger,
            clock=lambda: self.now,
            delays=DELAYS,
        )

    def restart(self) -> None:
        """End the hook and start another."""
        self.hook = self.started()

    def notify(self, *alerts: dict[str, Any]) -> int:
        """Hand a notification over, and let the hook decide."""
        number = self.hook.receive(Message.model_validate(message(*alerts)))
        self.hook.work()
        return number

    def pass_(self, seconds: float) -> None:
        """Let time pass, and the hook decide."""
        self.now += seconds
        self.hook.work()

    def results(self) -> dict[str, float]:
        """What became of the alerts: results that are not 0."""
        samples = [sample for family in self.hook.families().collect() for sample in family.samples]
        return {
            sample.labels["result"]: sample.value
            for sample in samples
            if sample.name == "ml_retrain_requests_total" and sample.value
        }
