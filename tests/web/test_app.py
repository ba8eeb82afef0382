"""The HTTP interface, over real connections."""

from __future__ import annotations

import gzip
import logging
import threading
import time
from collections.abc import Iterator

import pytest
from tests.web.fake_page import FakePage, ask

from ml_exporter.web.app import create_app
from ml_exporter.web.negotiation import accepts_gzip, accepts_openmetrics
from ml_exporter.web.server import Server

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PATHS = ("/", "/metrics", "/config", "/-/healthy", "/-/ready")
Address = tuple[str, int]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Server, FakePage]]:
    page = FakePage()
    with Server(create_app(page, lifecycle=True), "127.0.0.1", 0) as running:
        yield running, page


@pytest.fixture
def page(server: tuple[Server, FakePage]) -> FakePage:
    _, page = server
    vars(page).update(vars(FakePage()))
    return page


@pytest.fixture
def address(server: tuple[Server, FakePage], page: FakePage) -> Address:  # noqa: ARG001  # page resets it
    return server[0].address


def test_metrics_are_text_by_default(address: Address) -> None:
    answer = ask(address, "GET", "/metrics")
    assert (answer.status, answer.body) == (200, b"up 1\n")
    assert answer.headers["content-type"] == TEXT
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert "content-encoding" not in answer.headers


def test_metrics_are_openmetrics_where_prometheus_asks(address: Address) -> None:
    answer = ask(address, "GET", "/metrics", Accept=PROMETHEUS)
    assert answer.headers["content-type"] == OPENMETRICS
    assert answer.body == b"up 1\n# EOF\n"


def test_metrics_are_compressed_where_asked(address: Address) -> None:
    answer = ask(address, "GET", "/metrics", Accept_Encoding="gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == b"up 1\n"
    refused = ask(address, "GET", "/metrics", Accept_Encoding="gzip;q=0")
    assert refused.body == b"up 1\n"


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *;q=1", False),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
        ("gzip;q=x", False),
    ],
)
def test_accept_encoding(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;version=1.0.0", True),
        ("application/openmetrics-text;version=0.0.1", False),
        ("application/openmetrics-text;q=0, text/plain", False),
        ("application/openmetrics-text;version=x.y", False),
        (PROMETHEUS, True),
    ],
)
def test_accept(header: str, accepted: bool) -> None:
    assert accepts_openmetrics(header) is accepted


@pytest.mark.parametrize("path", PATHS)
def test_head_has_the_headers_of_get(address: Address, path: str) -> None:
    get, head = ask(address, "GET", path), ask(address, "HEAD", path)
    assert (get.status, head.status, head.body) == (200, 200, b"")
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_other_methods_are_not_allowed(address: Address, path: str, method: str) -> None:
    answer = ask(address, method, path)
    assert answer.status == 405
    assert {name.strip() for name in answer.headers["allow"].split(",")} == {"GET", "HEAD"}


@pytest.mark.parametrize(
    "path", ["/metrics/", "/Metrics", "/-/", "/-/quit", "/favicon.ico", "//", "/..%2fetc"]
)
def test_other_paths_are_not_found(address: Address, path: str) -> None:
    assert ask(address, "GET", path).status == 404


def test_not_ready_says_why(address: Address, page: FakePage) -> None:
    page.reason = "the first evaluation is not done"
    answer = ask(address, "GET", "/-/ready")
    assert (answer.status, answer.text) == (
        503,
        "ml_exporter is not ready: the first evaluation is not done\n",
    )
    assert ask(address, "GET", "/-/healthy").status == 200
    page.reason = None
    assert ask(address, "GET", "/-/ready").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_reload(address: Address, page: FakePage, method: str) -> None:
    assert ask(address, method, "/-/reload").status == 200
    assert page.reloads == 1


def test_reload_by_get_is_not_allowed(address: Address, page: FakePage) -> None:
    answer = ask(address, "GET", "/-/reload")
    assert (answer.status, page.reloads) == (405, 0)


def test_failed_reload_says_why(address: Address, page: FakePage) -> None:
    page.failure = ValueError("flights.yml:3: models[0].team: is not text; \ud800")
    answer = ask(address, "POST", "/-/reload")
    assert answer.status == 500
    assert answer.text == "reload failed: flights.yml:3: models[0].team: is not text; ?\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_other_sites_cannot_reload(address: Address, page: FakePage) -> None:
    answer = ask(address, "POST", "/-/reload", Sec_Fetch_Site="cross-site")
    assert (answer.status, page.reloads) == (403, 0)


def test_reload_is_forbidden_unless_enabled(page: FakePage) -> None:
    with Server(create_app(page, lifecycle=False), "127.0.0.1", 0) as server:
        answer = ask(server.address, "POST", "/-/reload")
        assert ask(server.address, "GET", "/-/reload").status == 405
    assert (answer.status, page.reloads) == (403, 0)
    assert "--web.enable-lifecycle" in answer.text


def test_config_is_plain_text(address: Address) -> None:
    answer = ask(address, "GET", "/config")
    assert answer.text == "models: []\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_security_headers_are_on_every_answer(address: Address, path: str) -> None:
    headers = ask(address, "GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_internal_errors_tell_no_details(
    address: Address, page: FakePage, caplog: pytest.LogCaptureFixture
) -> None:
    page.failure = RuntimeError("the password is abc")
    with caplog.at_level(logging.ERROR):
        answer = ask(address, "GET", "/metrics")
    assert (answer.status, answer.text) == (500, "internal error; the log says more\n")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_slow_metrics_do_not_hold_up_health(address: Address, page: FakePage) -> None:
    page.gate = threading.Event()
    page.body = b"x" * 10_000_000
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(len(ask(address, "GET", "/metrics").body)))
    thread.start()
    begun = time.monotonic()
    for _ in range(5):
        assert ask(address, "GET", "/-/healthy").status == 200
    assert time.monotonic() - begun < 2
    assert not answers
    page.gate.set()
    thread.join(10)
    assert answers == [10_000_000]
