"""A page as the engine would hand it over, and a client that shows what really went over the wire."""

from __future__ import annotations

import gzip
import http.client
import threading
from dataclasses import dataclass, field

from ml_exporter.web.status import Status


@dataclass
class FakePage:
    """Answers with what it was given; `gate` holds metrics back until it is set."""

    shown: Status = field(default_factory=lambda: Status(version="0.1.0", clock=1_700_000_000.0))
    body: bytes = b"up 1\n"
    reason: str | None = None
    failure: Exception | None = None
    reloads: int = 0
    gate: threading.Event | None = None

    def metrics(self, openmetrics: bool, gzipped: bool) -> bytes:
        if self.failure is not None:
            raise self.failure
        if self.gate is not None:
            self.gate.wait(10)
        text = self.body + (b"# EOF\n" if openmetrics else b"")
        return gzip.compress(text, mtime=0) if gzipped else text

    def not_ready(self) -> str | None:
        return self.reason

    def config_yaml(self) -> str:
        return "models: []\n"

    def status(self) -> Status:
        return self.shown

    def reload(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.reloads += 1


@dataclass(frozen=True)
class Answer:
    """One answer, its body as it was sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(address: tuple[str, int], method: str, path: str, **headers: str) -> Answer:
    """Send one request; header names are given with underscores."""
    connection = http.client.HTTPConnection(*address, timeout=10)
    try:
        connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()
