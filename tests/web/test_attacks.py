"""What somebody tries who means harm, over real connections. Pushes, passwords and certificates have tests of their own."""

from __future__ import annotations

import http.client
import os
import socket
import stat
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import bcrypt
import pytest
import uvicorn
from tests.support.process import Exporter, wait_for
from tests.support.serving import FAST, live
from tests.support.site import Site, prediction
from tests.web.fake_page import FakePage, ask

from ml_exporter.sources.push import Spools
from ml_exporter.web import protocol
from ml_exporter.web.app import create_app
from ml_exporter.web.push import Push
from ml_exporter.web.server import Server

Address = tuple[str, int]


@pytest.fixture
def page() -> FakePage:
    return FakePage()


@pytest.fixture
def address(page: FakePage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(protocol, "READ_SECONDS", 0.4)
    with Server(create_app(page, lifecycle=True), "127.0.0.1", 0) as server:
        yield server.address


def exchange(address: Address, request: bytes) -> bytes:
    """Send bytes as they are; return all that comes back until the other side ends it."""
    found = b""
    with socket.create_connection(address, timeout=10) as client, suppress(ConnectionError):
        client.sendall(request)
        while data := client.recv(65536):
            found += data
    return found


def closed(client: socket.socket) -> bool:
    """Whether the other side has ended the connection."""
    try:
        while client.recv(1000):
            pass
        return True
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/metrics/../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/..%5c..%5cetc%5cpasswd",
        "//etc/passwd",
        "/etc/passwd%00.html",
        "file:///etc/passwd",
        "http://example.com/etc/passwd",
        "/config/",
        "/config%2f",
        "/Config",
        "/metrics;a=b",
        "/-/reload/..;/config",
    ],
)
def test_there_is_nothing_beside_the_known_paths(address: Address, path: str) -> None:
    answer = exchange(address, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))
    assert b"root:" not in answer
    assert b"location:" not in answer.lower()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /\r\nSet-Cookie: a=b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\rSet-Cookie: a=b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\x00c\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-A : b\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /-/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 5_000,
    ],
)
def test_what_is_no_request_is_refused(address: Address, page: FakePage, request_bytes: bytes) -> None:
    answer = exchange(address, request_bytes)
    # Nothing comes back where the rest of the request was still on its way.
    assert not answer or answer.split(b" ")[1] in (b"400", b"404", b"405", b"501")
    assert b"set-cookie" not in answer.lower()
    assert page.reloads == 0
    assert ask(address, "GET", "/-/healthy").status == 200


def test_a_body_is_never_taken_for_a_request(address: Address, page: FakePage) -> None:
    hidden = b"POST /-/reload HTTP/1.1\r\nHost: x\r\n\r\n"
    body = (
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(hidden)
        + hidden
    )
    assert exchange(address, body).count(b"HTTP/1.1 ") == 1
    assert page.reloads == 0


def test_what_comes_back_holds_nothing_of_the_request(address: Address) -> None:
    mark = "x7y8z9"
    headers = f"Host: {mark}\r\nX-Forwarded-Host: {mark}\r\nReferer: {mark}\r\nAccept: {mark}"
    for path in ("/", f"/{mark}", f"/metrics?{mark}", f"/-/ready?{mark}"):
        request = f"GET {path} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n"
        assert mark.encode() not in exchange(address, request.encode())


class TestSlowClients:
    def test_uvicorn_alone_waits_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Why the protocol is ours: should uvicorn get such limits, this fails, and ours can go."""
        monkeypatch.setattr("ml_exporter.web.server.BoundedProtocol", "h11")
        with (
            Server(create_app(FakePage(), lifecycle=False), "127.0.0.1", 0) as server,
            socket.create_connection(server.address, timeout=2) as client,
        ):
            client.sendall(b"GET / HTTP/1.1\r\n")
            with pytest.raises(TimeoutError):
                client.recv(1)
        assert "timeout_request_head" not in vars(uvicorn.Config(app=""))

    @pytest.mark.parametrize(
        "drip",
        [
            lambda _client: None,
            lambda client: client.sendall(b"X-A: b\r\n"),
            lambda client: client.sendall(b"\r\n"),
        ],
        ids=["nothing", "headers", "blank lines"],
    )
    def test_a_head_that_does_not_end_is_given_up(
        self, address: Address, drip: Callable[[socket.socket], None]
    ) -> None:
        with socket.create_connection(address, timeout=0.1) as client:
            begun = time.monotonic()
            ended = False
            while not ended and time.monotonic() - begun < 10:
                try:
                    drip(client)
                    ended = closed(client)
                except TimeoutError:
                    continue
                except (BrokenPipeError, ConnectionResetError):
                    ended = True
            assert ended

    def test_the_next_request_on_a_connection_has_the_same_limit(self, address: Address) -> None:
        with socket.create_connection(address, timeout=10) as client:
            client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in client.recv(10_000)
            with suppress(ConnectionError):
                client.sendall(b"GET /-/heal")
            assert closed(client)

    def test_a_body_that_nobody_asked_for_is_not_waited_for(self, address: Address) -> None:
        with socket.create_connection(address, timeout=10) as client:
            client.sendall(b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\na")
            answer = b""
            while b"reloaded" not in answer:  # the head comes first, and the rest when it likes
                part = client.recv(10_000)
                assert part, answer
                answer += part
            with suppress(ConnectionError):
                client.sendall(b"b")
            assert closed(client)

    def test_connections_between_requests_are_kept(self, address: Address) -> None:
        connection = http.client.HTTPConnection(*address, timeout=10)
        for _ in range(3):
            connection.request("GET", "/metrics")
            assert connection.getresponse().read() == b"up 1\n"
            time.sleep(0.6)
        connection.close()

    def test_who_does_not_read_is_let_go(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(protocol, "READ_SECONDS", 0.4)
        page = FakePage(body=b"x" * 30_000_000)
        with (
            Server(create_app(page, lifecycle=False), "127.0.0.1", 0) as server,
            socket.create_connection(server.address, timeout=10) as client,
        ):
            connections = server._uvicorn.server_state.connections
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: connections)
            wait_for(lambda: not connections, seconds=10)
            page.body = b"up 1\n"
            assert ask(server.address, "GET", "/metrics").status == 200

    @pytest.mark.parametrize(
        "request_bytes", [b"POST /v1/predictions/%s", b"GET /metrics"], ids=["body", "answer"]
    )
    def test_they_hold_up_no_end_and_are_no_error(
        self,
        tmp_path: Path,
        request_bytes: bytes,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(protocol, "END_SECONDS", 0.4)
        site = Site(tmp_path)
        site.models[0]["predictions"] |= {"push": True, "path": "spool.jsonl"}
        push = Push(Spools(site.config()), lambda area, error: pytest.fail(f"{area}: {error}"))
        app = create_app(FakePage(body=b"x" * 30_000_000), lifecycle=False, more=push.routes())
        head = (request_bytes % site.models[0]["name"].encode()) if b"%" in request_bytes else request_bytes
        with (
            Server(app, "127.0.0.1", 0) as server,
            socket.create_connection(server.address, timeout=10) as client,
        ):
            connections = server._uvicorn.server_state.connections
            client.sendall(head + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
            wait_for(lambda: connections and next(iter(connections)).cycle)
            begun = time.monotonic()
            server.stop()
            assert time.monotonic() - begun < 2.5
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []

    def test_others_are_served_again_once_idle_connections_are_given_up(self, address: Address) -> None:
        with ExitStack() as stack:
            for _ in range(110):
                stack.enter_context(socket.create_connection(address, timeout=10))
            wait_for(lambda: ask(address, "GET", "/-/healthy").status == 200, seconds=10)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    found = Site(tmp_path, exporter=dict(FAST))
    found.models[0]["retrain"] = {"url": "https://user:url-secret@ci.example.com/start?token=query-secret"}
    found.models[0]["dead_letter"] = {"path": "letters/rejected.jsonl"}
    found.models[0]["labels"] |= {"push": True, "path": "spool/labels.jsonl"}
    found.predict(*(prediction(number, live(number - 20)) for number in range(10)))
    with (tmp_path / "flight-delay-predictions.jsonl").open("a", encoding="utf-8") as log:
        log.write("not a record\n")
    return found


def test_no_secret_is_shown_or_logged_and_files_are_the_owners(site: Site) -> None:
    hashed = bcrypt.hashpw(b"scrape-secret", bcrypt.gensalt(4)).decode()
    web = site.folder / "web.yml"
    web.write_text(f"basic_auth_users: {{ops: {hashed}}}", encoding="utf-8")
    site.config()
    before = os.umask(0)
    flags = ("--web.config.file", str(web), "--web.enable-lifecycle", "--log.level", "debug")
    try:
        with Exporter(site.config_path, flags) as exporter:
            shown = visit(exporter, "scrape-secret") + visit(exporter, "wrong-secret")
            web.write_text("basic_auth_users: {ops: plain-secret}", encoding="utf-8")
            shown += visit(exporter, "scrape-secret")
            modes = kept(site.folder)
            assert exporter.terminate()[0] == 0
        text = b"".join(shown) + exporter.logged()
    finally:
        os.umask(before)
    assert b"is not a bcrypt hash" in text
    assert b"<secret>" in text
    for secret in ("url-secret", "query-secret", "scrape-secret", "wrong-secret", "plain-secret", hashed):
        assert secret.encode() not in text
    assert {"state.duckdb", "rejected.jsonl", "labels.jsonl"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def kept(folder: Path) -> dict[str, int]:
    """The permissions of what the exporter keeps."""
    found = {}
    for path in (*folder.glob("state.duckdb*"), *folder.glob("letters/*"), *folder.glob("spool/*")):
        with suppress(FileNotFoundError):  # the log of changes comes and goes
            found[path.name] = stat.S_IMODE(path.stat().st_mode)
    return found


def visit(exporter: Exporter, password: str) -> list[bytes]:
    """Ask for everything that there is, once a page of the log is there."""
    header = "Basic " + b64encode(f"ops:{password}".encode()).decode()
    address = ("127.0.0.1", exporter.port)
    letters = exporter.config.parent / "letters/rejected.jsonl"
    wait_for(letters.exists)
    paths = (("GET", path) for path in ("/", "/metrics", "/config", "/-/ready", "/-/healthy", "/nothing"))
    answers = [
        ask(address, method, path, Authorization=header) for method, path in (*paths, ("POST", "/-/reload"))
    ]
    return [repr(sorted(answer.headers.items())).encode() + answer.body for answer in answers]
