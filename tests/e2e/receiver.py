"""A real HTTP receiver for Alertmanager's webhooks that remembers what came."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Page:
    """One alert of one notification: who got it, at which path, when (monotonic seconds)."""

    receiver: str
    path: str
    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    at: float

    @property
    def name(self) -> str:
        """The alert's name."""
        return self.labels["alertname"]

    def __str__(self) -> str:
        return f"{self.status} {self.name} {dict(self.labels)} to {self.receiver}: {self.annotations}"


class Receiver(ThreadingHTTPServer):
    """Listens on a free loopback port; `pages` are the alerts received, oldest first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._lock = threading.Lock()
        self._pages: list[Page] = []

    @property
    def pages(self) -> list[Page]:
        """What has come so far."""
        with self._lock:
            return list(self._pages)

    def take(self, path: str, message: dict[str, Any]) -> None:
        """Remember the alerts of one notification."""
        now = time.monotonic()
        with self._lock:
            self._pages += [
                Page(message["receiver"], path, one["status"], one["labels"], one["annotations"], now)
                for one in message["alerts"]
            ]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.take(self.path, json.loads(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Requests are told by the tests that fail, not by lines on stderr."""
