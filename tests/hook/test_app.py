"""The hook over real connections: who may ask, and what is made of what they send."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from starlette.requests import Request
from tests.hook.world import MODEL, Outside, World, message
from tests.support.listening import listening
from tests.support.process import wait_for

from ml_exporter.hook import app
from ml_exporter.hook.app import create_app
from ml_exporter.web.server import Server

JSON = {"Content-Type": "application/json"}
TOKEN = {"Authorization": "Bearer the-token"}


@pytest.fixture(scope="module")
def server() -> Iterator[Outside]:
    with listening(Outside()) as running:
        yield running


@pytest.fixture(scope="module")
def world(server: Outside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("hook"), server)
    yield made
    made.hook.stop()
    made.incidents.close()


@pytest.fixture(scope="module")
def url(world: World) -> Iterator[str]:
    (world.folder / "token").write_text("the-token\n")
    world.hook.start()
    made = create_app(world.hook, logging.getLogger("ml_exporter"), world.folder / "token")
    with Server(made, "127.0.0.1", 0) as running:
        yield "http://{}:{}".format(*running.address)


def post(url: str, body: Any = None, **headers: str) -> requests.Response:
    data = body if isinstance(body, bytes) else json.dumps(body or message()).encode()
    return requests.post(f"{url}/alerts", data=data, headers=JSON | TOKEN | headers, timeout=10)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "the-token"}, 401),
        ({"Authorization": "Bearer another"}, 401),
        ({"Authorization": "Bearer the-token-and-more"}, 401),
        ({"Authorization": "Basic dGhlLXRva2VuOg=="}, 401),
        ({"Content-Type": "text/plain"}, 415),
        ({"Origin": "https://elsewhere.example.com"}, 403),
    ],
)
def test_forged_requests_are_refused(
    headers: dict[str, str], status: int, url: str, world: World, server: Outside
) -> None:
    answer = post(url, **headers)
    assert answer.status_code == status
    assert "the-token" not in answer.text
    assert (world.incidents.next_due(), server.got) == (None, [])


def test_a_notification_that_breaks_off_is_no_error(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()
    read = app._body

    async def body(request: Request) -> bytes | None:
        try:
            return await read(request)
        finally:
            ended.set()

    monkeypatch.setattr(app, "_body", body)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        headers = "".join(f"{name}: {value}\r\n" for name, value in (JSON | TOKEN).items())
        client.sendall(f"POST /alerts HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 9\r\n\r\n{{".encode())
        time.sleep(0.2)
    assert ended.wait(10)
    assert post(url, b"{").status_code == 400
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        json.dumps(message() | {"version": "3"}).encode(),
        json.dumps(message() | {"alerts": {}}).encode(),
        json.dumps(message() | {"alerts": [{"status": "firing"}]}).encode(),
        json.dumps(message() | {"alerts": [{"status": "on fire", "labels": {}}]}).encode(),
        json.dumps(message() | {"alerts": [{"status": "firing", "labels": {"model": 1}}]}).encode(),
        json.dumps(
            message() | {"alerts": [{"status": "firing", "labels": {"model": "m" * 20_000}}]}
        ).encode(),
    ],
)
def test_what_is_no_notification_is_a_bad_request(body: bytes, url: str, server: Outside) -> None:
    answer = post(url, body)
    assert answer.status_code == 400
    assert answer.text.startswith("not a notification of Alertmanager: ")
    assert len(answer.text) < 500
    assert server.got == []


def test_huge_bodies_are_not_read(url: str) -> None:
    try:
        answer = post(url, b" " * (50 << 20))
    except requests.ConnectionError:
        return  # it has closed the connection while we were still sending
    assert answer.status_code == 413


def test_a_body_that_never_ends_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_READ_SECONDS", 0.1)

    def body() -> Iterator[bytes]:
        yield b"{"
        wait_for(lambda: ended)
        yield b"}"

    ended: list[bool] = []
    from threading import Timer

    Timer(0.5, lambda: ended.append(True)).start()
    try:
        answer = requests.post(f"{url}/alerts", data=body(), headers=JSON | TOKEN, timeout=10)
    except requests.ConnectionError:
        return
    assert answer.status_code == 408


def test_alertmanager_is_answered_at_once_and_the_request_made(
    url: str, world: World, server: Outside
) -> None:
    answer = post(url)
    assert (answer.status_code, answer.text) == (202, "1 alerts ask for retraining\n")
    wait_for(lambda: world.results() == {"success": 1})
    assert len(server.got) == 1
    # The same notification, replayed.
    assert post(url).status_code == 202
    wait_for(lambda: world.results() == {"success": 1, "duplicate": 1})
    assert len(server.got) == 1


def test_the_page_has_all_results_from_the_start(url: str) -> None:
    answer = requests.get(f"{url}/metrics", timeout=10)
    assert answer.headers["Content-Type"].startswith("text/plain")
    for result in ("success", "refused", "failed", "unconfirmed", "duplicate", "cooldown", "weekly_limit"):
        assert f'ml_retrain_requests_total{{model="{MODEL}",result="{result}"}}' in answer.text
    assert "no-hook" not in answer.text
    newer = requests.get(f"{url}/metrics", headers={"Accept": "application/openmetrics-text"}, timeout=10)
    assert newer.text.endswith("# EOF\n")


def test_other_paths_are_none(url: str) -> None:
    assert requests.get(f"{url}/-/healthy", timeout=10).status_code == 200
    assert requests.get(f"{url}/-/ready", timeout=10).status_code == 200
    assert requests.get(f"{url}/alerts", timeout=10).status_code == 405
    assert requests.post(f"{url}/", timeout=10).status_code == 404


def test_a_token_that_cannot_be_read_lets_nobody_in(url: str, world: World, tmp_path: Path) -> None:
    token = world.folder / "token"
    token.rename(tmp_path / "token")
    assert post(url).status_code == 503
    (tmp_path / "token").rename(token)
    token.write_text("a-newer-token")
    assert post(url).status_code == 401
    assert post(url, Authorization="bearer a-newer-token").status_code == 202
    token.write_text("the-token")
