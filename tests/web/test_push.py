"""Pushes over real connections: what is taken, what is refused and why."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.support.site import Site, model, prediction
from tests.web.fake_page import Answer, FakePage

from ml_exporter.sources.push import Spools
from ml_exporter.web import push
from ml_exporter.web.app import create_app
from ml_exporter.web.push import Push
from ml_exporter.web.server import Server

BODY_LIMIT = 100 * 1024
LINES = b'{"id": "a"}\n{"id": "b"}\n'
PREDICTIONS = "/v1/predictions/flight-delay"


class Receiver:
    """A server that takes predictions of `flight-delay` and of a model with an odd name."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder, [model(), model("../odd/näme %2F")])
        self.site.exporter["push"] = {"spool_limit": "1MiB", "body_limit": "100KiB"}
        for index, made in enumerate(self.site.models):
            made["predictions"] |= {"push": True, "path": f"spool/{index}.jsonl"}
        self.spools = Spools(self.site.config())
        self.errors: list[str] = []
        self.app = create_app(FakePage(), lifecycle=False, more=Push(self.spools, self._report).routes())
        self.address = ("", 0)

    def _report(self, area: str, error: Exception) -> None:
        self.errors.append(f"{area}: {error}")

    def stored(self, index: int = 0) -> bytes:
        """All that was taken, without blank lines."""
        files = sorted((self.site.folder / "spool").glob(f"{index}.jsonl*"), reverse=True)
        lines = [line for file in files for line in file.read_bytes().splitlines(keepends=True)]
        return b"".join(line for line in lines if line.strip())

    def post(self, body: bytes, path: str = PREDICTIONS, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("POST", path, body, named)
            answer = connection.getresponse()
            sent = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, sent, answer.read())
        finally:
            connection.close()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made = Receiver(tmp_path)
    with Server(made.app, "127.0.0.1", 0) as server:
        made.address = server.address
        yield made


def test_lines_are_stored_as_they_came(receiver: Receiver) -> None:
    answer = receiver.post(LINES)
    assert (answer.status, answer.text) == (202, "202: 2 lines are stored\n")
    assert receiver.post(LINES.rstrip()).status == 202
    assert receiver.post(gzip.compress(LINES), Content_Encoding="GZIP").status == 202
    assert receiver.post(gzip.compress(LINES) + gzip.compress(LINES), Content_Encoding="gzip").status == 202
    assert receiver.stored() == LINES * 5
    assert receiver.spools.answers["flight-delay", "predictions", 202] == 4


def zipped(data: bytes) -> bytes:
    """Compressed bytes that are the same whenever they are made, as names of tests must be."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("body", "encoding", "code", "reason"),
    [
        (b"", "", 400, "the body is empty"),
        (b" \n\t\n", "", 400, "the body is empty"),
        (b"[" + LINES + b"]", "", 400, "the first is no object"),
        (b"id,score\na,0.5\n", "", 400, "the first is no object"),
        (b"{nope\n", "", 400, "the first is no object"),
        (b"\n \n{nope\n" + LINES, "", 400, "the first is no object"),
        (b'{"id": "a"}{"id": "b"}\n', "", 400, "the first is no object"),
        (b'{"id": "a"\n}\n', "", 400, "the first is no object"),
        (b'{"id": "\xff"}\n', "", 400, "the first is no object"),
        (b" " * 5_000 + b"[1]\n", "", 400, "the first is no object"),
        (LINES, "gzip", 400, "the body is not gzip"),
        (zipped(LINES)[:-4], "gzip", 400, "the body ends in the middle"),
        (zipped(b"") * 1000 + zipped(LINES), "gzip", 400, "more than 16 gzip members"),
        (zipped(LINES) + b"more", "gzip", 400, "the body is not gzip"),
        (zlib.compress(LINES), "deflate", 415, "neither gzip nor identity"),
        (b"x" * (BODY_LIMIT + 1), "", 413, f"more than {BODY_LIMIT} bytes"),
        (zipped(b" " * (BODY_LIMIT + 1)), "gzip", 413, f"more than {BODY_LIMIT} bytes"),
    ],
)
def test_what_is_refused_is_told_why_and_leaves_nothing(
    receiver: Receiver, body: bytes, encoding: str, code: int, reason: str
) -> None:
    answer = receiver.post(body, Content_Encoding=encoding) if encoding else receiver.post(body)
    assert answer.status == code
    assert reason in answer.text
    assert not receiver.stored()
    assert receiver.spools.answers["flight-delay", "predictions", code] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"\n" * 5_000 + LINES,
        b'{"id": "a"}\r\n',
        LINES + b"{nope\n",
        b'{"id": "a", "x": ' + b"9" * 10_000 + b"}",
        b'{"id": "a", "x": NaN}',
        b'{"id": "a", "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"id": "' + b"x" * 70_000 + b"\n",
    ],
    ids=["blank lines", "CRLF", "a later line", "a long number", "NaN", "deep", "long"],
)
def test_what_the_log_is_to_decide_is_stored(receiver: Receiver, body: bytes) -> None:
    assert receiver.post(body).status == 202
    assert receiver.stored().rstrip() == body.strip()


def test_a_zip_bomb_is_not_unpacked(receiver: Receiver) -> None:
    bomb = gzip.compress(b" " * 50_000_000, 9)
    assert len(bomb) < BODY_LIMIT
    assert receiver.post(bomb, Content_Encoding="gzip").status == 413
    nested = gzip.compress(gzip.compress(b" " * 50_000_000, 9), 9)
    assert receiver.post(nested, Content_Encoding="gzip").status == 400


@pytest.mark.parametrize(
    "path",
    [
        "/v1/predictions/other",
        "/v1/labels/flight-delay",
        "/v1/predictions/",
        "/v1/predictions/flight-delay/",
        "/v1/predictions/../predictions/flight-delay",
        "/v1/predictions/..%2f..%2f..%2fetc%2fpasswd",
        "/v1/predictions/%2e%2e/%2e%2e/config.yml",
        "/v1/predictions/flight-delay%00",
        "/v1/predictions/flight-delay%0d%0aSet-Cookie:%20a=b",
        "/v1/predictions/FLIGHT-DELAY",
        "/v1/predictions//flight-delay",
        "/v2/predictions/flight-delay",
    ],
)
def test_only_names_of_the_configuration_are_known(receiver: Receiver, path: str) -> None:
    before = sorted(receiver.site.folder.rglob("*"))
    answer = receiver.post(LINES, path)
    assert answer.status == 404
    assert "set-cookie" not in answer.headers
    assert sorted(receiver.site.folder.rglob("*")) == before


def test_a_name_is_looked_up_and_is_no_path(receiver: Receiver) -> None:
    path = f"/v1/predictions/{quote('../odd/näme %2F', safe='')}"
    assert receiver.post(LINES, path).status == 202
    assert receiver.stored(1) == LINES
    assert {file.name for file in receiver.site.folder.iterdir()} == {"config.yml", "spool"}


def test_reading_is_not_offered(receiver: Receiver) -> None:
    connection = http.client.HTTPConnection(*receiver.address, timeout=10)
    connection.request("GET", PREDICTIONS)
    assert connection.getresponse().status == 405
    connection.close()


def test_pages_of_other_sites_may_not_push(receiver: Receiver) -> None:
    assert receiver.post(LINES, Sec_Fetch_Site="cross-site").status == 400
    assert not receiver.stored()


def test_a_full_spool_says_when_to_come_back(receiver: Receiver) -> None:
    body = b'{"a": "' + b"x" * 90_000 + b'"}\n'
    codes = [receiver.post(body).status for _ in range(13)]
    assert codes == [202] * 11 + [429] * 2
    assert receiver.post(body).headers["retry-after"] == "30"


def test_what_cannot_be_written_is_reported(receiver: Receiver) -> None:
    (receiver.site.folder / "spool").write_text("in the way", encoding="utf-8")
    answer = receiver.post(LINES)
    assert (answer.status, answer.headers["retry-after"]) == (503, "30")
    assert receiver.errors[0].startswith("push: ")
    assert str(receiver.site.folder) not in answer.text


def begin(receiver: Receiver, length: int = 1000) -> socket.socket:
    """A push whose body does not come."""
    client = socket.create_connection(receiver.address, timeout=20)
    client.sendall(f"POST {PREDICTIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{{".encode())
    return client


def test_a_body_that_does_not_come_is_given_up(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "BODY_SECONDS", 0.3)
    with begin(receiver) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 408 ")
    with begin(receiver) as client:
        client.shutdown(socket.SHUT_WR)
    assert receiver.post(LINES).status == 202
    assert receiver.stored() == LINES


def test_a_body_without_a_length_is_bounded_too(receiver: Receiver) -> None:
    with socket.create_connection(receiver.address, timeout=20) as client:
        client.sendall(
            f"POST {PREDICTIONS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        client.sendall(chunk * 2)
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_few_bodies_are_in_memory_at_once(receiver: Receiver) -> None:
    waiting = [begin(receiver) for _ in range(push.AT_ONCE)]
    deadline = time.monotonic() + 10
    while (answer := receiver.post(LINES)).status == 202:
        assert time.monotonic() < deadline
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    for client in waiting:
        client.close()
    while receiver.post(LINES).status != 202:
        assert time.monotonic() < deadline


def test_many_at_once_lose_and_mix_nothing(receiver: Receiver) -> None:
    def client(name: int) -> None:
        for number in range(20):
            body = b"".join(
                json.dumps(prediction(f"{name}-{number}-{line}", 0)).encode() + b"\n" for line in range(5)
            )
            while receiver.post(body).status == 429:
                time.sleep(0.01)

    threads = [threading.Thread(target=client, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    ids = [json.loads(line)["id"] for line in receiver.stored().splitlines()]
    assert len(ids) == len(set(ids)) == 4 * 20 * 5
    # The lines of one body stay together.
    assert [int(name.rpartition("-")[2]) for name in ids] == [0, 1, 2, 3, 4] * 80
