"""The pager prints pages, serves runbooks, and trusts nothing that is posted to it."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pager
import pytest
from tests.support.listening import listening
from tests.tools import REPOSITORY

HOST = "127.0.0.1"


@dataclass
class Running:
    """A pager that listens, with what it prints and keeps."""

    url: str
    screen: io.StringIO
    journal: Path

    def post(self, body: bytes, path: str = "/pages") -> httpx.Response:
        return httpx.post(self.url + path, content=body, timeout=10)

    def kept(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_text().splitlines()]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """Yield a pager on a free port."""
    runbooks = tmp_path / "runbooks"
    runbooks.mkdir()
    (runbooks / "MLNoPredictions.md").write_text(
        "# Look at the model server \u2013 first\n", encoding="utf-8"
    )
    (tmp_path / "secret.md").write_text("not for you")
    screen, journal = io.StringIO(), tmp_path / "run" / "notifications.jsonl"
    with listening(pager.Pager((HOST, 0), journal, runbooks, screen)) as server:
        yield Running(f"http://{HOST}:{server.server_address[1]}", screen, journal)


def alert(name: str = "MLNoPredictions", status: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, "severity": "critical", "model": "flight-delay", **labels},
        "annotations": {
            "summary": "The model makes no predictions.",
            "description": "Newest prediction: 20m old.",
            "runbook_url": "http://localhost:10479/runbooks/MLNoPredictions.md",
            "dashboard_url": "http://localhost:3000/d/ml-model?var-model=flight-delay",
        },
    }


def notification(*alerts: dict[str, Any]) -> bytes:
    return json.dumps({"version": "4", "receiver": "pages", "alerts": alerts}).encode()


def test_a_page_shows_what_the_person_on_call_needs(running: Running) -> None:
    assert running.post(notification(alert())).status_code == 200
    assert running.screen.getvalue().splitlines() == [
        "---- to pages: 1 alert(s)",
        "PAGE MLNoPredictions on flight-delay: The model makes no predictions.",
        "     Newest prediction: 20m old.",
        "     runbook: http://localhost:10479/runbooks/MLNoPredictions.md",
        "     dashboard: http://localhost:3000/d/ml-model?var-model=flight-delay",
    ]


def test_notifications_are_kept_as_they_came_in_order(running: Running) -> None:
    first, second = notification(alert()), notification(alert(status="resolved"))
    running.post(first)
    running.post(second)
    assert running.kept() == [json.loads(first), json.loads(second)]


def test_the_journal_begins_anew_when_it_is_large(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pager, "JOURNAL_LIMIT", 1000)
    for count in range(5):
        running.post(notification(alert(count=str(count))))
    old = running.journal.with_name("notifications.jsonl.1")
    both = [[json.loads(line) for line in old.read_text().splitlines()], running.kept()]
    counts = [[message["alerts"][0]["labels"]["count"] for message in part] for part in both]
    assert counts == [["0", "1", "2"], ["3", "4"]]


def test_a_page_is_shown_even_when_it_cannot_be_kept(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.journal.mkdir()
    assert running.post(notification(alert())).status_code == 200
    assert "PAGE MLNoPredictions" in running.screen.getvalue()
    assert "cannot keep a notification" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("severity", "status", "mark"),
    [
        ("critical", "firing", "PAGE "),
        ("warning", "firing", "TICKET "),
        ("info", "firing", "NOTE "),
        ("else", "firing", "ALERT "),
        ("critical", "resolved", "RESOLVED "),
    ],
)
def test_the_mark_says_what_is_expected_of_the_reader(severity: str, status: str, mark: str) -> None:
    lines = list(pager.render(json.loads(notification(alert(status=status, severity=severity)))))
    assert lines[1].startswith(mark)


def test_the_watchdog_is_shown_once_and_kept_each_time(running: Running) -> None:
    for _ in range(3):
        running.post(notification(alert("MLWatchdog", severity="info")), "/watchdog")
    assert running.screen.getvalue().count("the watchdog is heard") == 1
    assert len(running.screen.getvalue().splitlines()) == 1
    assert len(running.kept()) == 3


def test_no_text_of_an_alert_can_steer_the_terminal(running: Running) -> None:
    hostile = "a\x1b[2J\x07\x00\r\nPAGE forged\x9b31m\u202egnp\u2028"
    body = alert(model=hostile, alertname=hostile)
    body["annotations"] = dict.fromkeys(body["annotations"], hostile)
    running.post(json.dumps({"receiver": hostile, "alerts": [body]}).encode())
    shown = running.screen.getvalue()
    assert all(char.isprintable() for line in shown.split("\n") for char in line)
    assert not [line for line in shown.splitlines() if line.startswith("PAGE forged")]


def test_a_flood_is_cut(running: Running) -> None:
    long = alert(model="m" * 50_000)
    running.post(notification(*[long] * 10, *[alert()] * 90))
    assert "and 80 more" in running.screen.getvalue()
    assert max(map(len, running.screen.getvalue().splitlines())) < 5000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"alerts"',
        b"{}",
        b'{"alerts": {}}',
        b'{"alerts": [1]}',
        b'{"alerts": [{"labels": {}}]}',
        b'{"alerts": [{"labels": [], "annotations": {}}]}',
        b'{"alerts": [{"labels": {"alertname": {"a": 1}}, "annotations": {}}]}',
        b'{"alerts": [{"labels": {}, "annotations": {"summary": null}}]}',
        b"[" * 200_000,
        b'{"alerts": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_no_notification_is_refused_and_leaves_no_trace(running: Running, body: bytes) -> None:
    assert running.post(body).status_code == 400
    assert running.screen.getvalue() == ""
    assert not running.journal.exists()
    assert running.post(notification(alert())).status_code == 200


def raw(running: Running, request: bytes) -> bytes:
    """Return the answer to bytes as they are; for what a client library would not send."""
    port = int(running.url.rpartition(":")[2])
    with socket.create_connection((HOST, port), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(4096)


@pytest.mark.parametrize(
    ("length", "status"),
    [("9999999", b" 413 "), ("-5", b" 411 "), ("+5", b" 411 "), ("x", b" 411 "), ("1" * 40, b" 411 ")],
)
def test_a_body_of_wrong_size_is_not_read(running: Running, length: str, status: bytes) -> None:
    request = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()
    assert status in raw(running, request).splitlines()[0]


def test_a_body_without_a_length_is_not_read(running: Running) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    assert b" 411 " in raw(running, request).splitlines()[0]


def test_a_body_that_never_comes_holds_nobody_up(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pager.Handler, "timeout", 0.2)
    answer = raw(running, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    assert b" 408 " in answer.splitlines()[0]


def test_a_runbook_is_served_as_plain_text(running: Running) -> None:
    answer = httpx.get(running.url + "/runbooks/MLNoPredictions.md")
    assert (answer.status_code, answer.text) == (200, "# Look at the model server \u2013 first\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/runbooks/../secret.md",
        "/runbooks/..%2fsecret.md",
        "/runbooks//etc/passwd",
        "/runbooks/MLUnknown.md",
        "/runbooks/MLNoPredictions.md\x00",
        "/runbooks/",
        "/",
    ],
)
def test_nothing_but_runbooks_is_served(running: Running, path: str) -> None:
    answer = raw(running, b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b" 404 " in answer.splitlines()[0] or b" 400 " in answer.splitlines()[0]


def test_it_says_that_it_is_up(running: Running) -> None:
    assert httpx.get(running.url + "/-/healthy").status_code == 200


def test_addresses_are_checked_and_loopback_is_meant_when_no_host_is_named() -> None:
    assert pager.listen_address(":1") == (HOST, 1)
    assert pager.listen_address("0.0.0.0:10479") == ("0.0.0.0", 10479)
    for wrong in ("10479", "x:", "x:y", "x:70000"):
        with pytest.raises(Exception, match="not HOST:PORT"):
            pager.listen_address(wrong)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_the_program_serves_the_shipped_runbooks_and_ends_cleanly(tmp_path: Path, ending: int) -> None:
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    script = REPOSITORY / "exporter" / "demo" / "pager.py"
    command = [sys.executable, str(script), f"--listen={HOST}:{port}", f"--journal={tmp_path / 'journal'}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            assert answered(f"http://{HOST}:{port}/runbooks/MLWatchdog.md")
        finally:
            os.kill(process.pid, ending)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, b"")


def answered(url: str) -> bool:
    """Say whether `url` is served within 10 seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            return httpx.get(url).status_code == 200
        except httpx.ConnectError:
            time.sleep(0.05)
    return False
