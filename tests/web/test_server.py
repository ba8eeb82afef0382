"""Addresses, and the server's start and stop."""

from __future__ import annotations

import http.client
import re
import socket
import threading

import pytest
from tests.web.fake_page import FakePage, ask

from ml_exporter.web.app import create_app
from ml_exporter.web.server import Server, check_listen_host, is_loopback, parse_listen_address, serve


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:10477", ("127.0.0.1", 10477)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:10477", ("::1", 10477)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        (":10477", ("", 10477)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
    ],
)
def test_listen_address(text: str, address: tuple[str, int]) -> None:
    assert parse_listen_address(text) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no port"),
        ("10477", "has no port"),
        ("127.0.0.1", "has no port"),
        ("127.0.0.1:", "has no port"),
        ("127.0.0.1:http", "has no port"),
        ("127.0.0.1:65536", "has a port above 65535"),
        ("127.0.0.1:99999", "has a port above 65535"),
        ("127.0.0.1:-1", "has no port"),
        ("::1:10477", "needs brackets"),
        ("[::1:10477", "needs brackets"),
        ("[nowhere]:10477", "holds no IPv6 address"),
    ],
)
def test_bad_listen_address_is_named(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f'^--web.listen-address "{re.escape(text)}" {reason}'):
        parse_listen_address(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_permission(host: str) -> None:
    assert is_loopback(host)
    check_listen_host(host, allow_unauthenticated=False)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.0.2.1", "example.com", "127.0.0.1.example.com"])
def test_other_hosts_need_permission(host: str) -> None:
    check_listen_host(host, allow_unauthenticated=True)
    with pytest.raises(ValueError, match=r"--web\.allow-unauthenticated"):
        check_listen_host(host, allow_unauthenticated=False)


def test_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} is taken.*--web.listen-address"):
            serve(create_app(FakePage(), lifecycle=False), "127.0.0.1", port)


def test_address_of_another_machine_is_named() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1 is not an address of this machine"):
        serve(create_app(FakePage(), lifecycle=False), "192.0.2.1", 0)


def test_stop_frees_the_port_and_ends_the_thread() -> None:
    app = create_app(FakePage(), lifecycle=False)
    before = threading.active_count()
    server = serve(app, "127.0.0.1", 0)
    address = server.address
    kept = http.client.HTTPConnection(*address, timeout=5)
    kept.request("GET", "/-/healthy")
    assert kept.getresponse().read()
    server.stop()
    kept.close()
    assert "web" not in {thread.name for thread in threading.enumerate()}
    assert threading.active_count() <= before + 1
    with pytest.raises(ConnectionRefusedError):
        ask(address, "GET", "/-/healthy")
    with Server(app, *address) as again:
        assert ask(again.address, "GET", "/-/healthy").status == 200


def test_every_address_is_served() -> None:
    with Server(create_app(FakePage(), lifecycle=False), "", 0) as server:
        assert ask(("127.0.0.1", server.address[1]), "GET", "/-/healthy").status == 200


def test_oversized_headers_are_refused() -> None:
    with Server(create_app(FakePage(), lifecycle=False), "127.0.0.1", 0) as server:
        with socket.create_connection(server.address, timeout=5) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 40_000)
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
        assert ask(server.address, "GET", "/-/healthy").status == 200


def test_connections_are_kept_between_scrapes() -> None:
    with Server(create_app(FakePage(), lifecycle=False), "127.0.0.1", 0) as server:
        connection = http.client.HTTPConnection(*server.address, timeout=5)
        for _ in range(3):
            connection.request("GET", "/metrics")
            assert connection.getresponse().read() == b"up 1\n"
        connection.close()
