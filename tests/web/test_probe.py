"""A container's health check finds the server alive whatever its web config asks for, and dead when it is."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.web.fake_page import FakePage
from tests.web.test_tls import Site

from ml_exporter.web.app import create_app
from ml_exporter.web.probe import alive
from ml_exporter.web.server import Server

LOCKED = {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "clients.crt"}


@pytest.fixture
def hanging() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_plain() -> None:
    with Server(create_app(FakePage(), lifecycle=False), "127.0.0.1", 0) as server:
        port = server.address[1]
        assert alive(port)
    assert not alive(port)


@pytest.mark.parametrize(
    "keys",
    [{}, LOCKED, {**LOCKED, "max_version": "TLS12"}],
    ids=["tls", "client certificates", "client certificates, TLS 1.2"],
)
def test_tls(tmp_path: Path, keys: dict[str, str]) -> None:
    site = Site(tmp_path)
    site.write(**keys)
    with site.serve() as server:
        assert alive(server.address[1])


def test_one_that_hangs_is_dead(hanging: int) -> None:
    assert not alive(hanging)


def test_it_ends_with_the_code_that_docker_wants(hanging: int) -> None:
    command = [sys.executable, "-m", "ml_exporter.web.probe"]
    with Server(create_app(FakePage(), lifecycle=False), "127.0.0.1", 0) as server:
        assert subprocess.run([*command, str(server.address[1])], timeout=20).returncode == 0
    assert subprocess.run([*command, str(hanging)], timeout=20).returncode == 1
