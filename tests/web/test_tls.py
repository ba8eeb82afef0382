"""TLS with and without client certificates, renewed while the exporter runs."""

from __future__ import annotations

import http.client
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.web.certificates import Authority, Issued
from tests.web.fake_page import FakePage

from ml_exporter.web.app import create_app
from ml_exporter.web.auth import Guard
from ml_exporter.web.server import Server
from ml_exporter.web.web_config import WebFile

Address = tuple[str, int]
REFUSED = (ssl.SSLError, ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected)


class Site:
    """A web config with TLS, its authorities and what was reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers, self.clients = Authority(folder, "ca"), Authority(folder, "clients")
        self.server = self.servers.issue("web", "localhost", "127.0.0.1")
        self.errors: list[str] = []
        self.path = folder / "web.yml"
        self.write()

    def write(self, **more: Any) -> None:
        tls = {"cert_file": "web.crt", "key_file": "web.key", **more}
        self.path.write_text(yaml.safe_dump({"tls_server_config": tls}), encoding="utf-8")

    def serve(self) -> Server:
        web = WebFile(self.path, lambda error: self.errors.append(str(error)))
        return Server(Guard(create_app(FakePage(), lifecycle=False), web), "127.0.0.1", 0, web.tls)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def fetch(
    address: Address, ca: Path, client: Issued | None = None, version: ssl.TLSVersion | None = None
) -> int:
    context = ssl.create_default_context(cafile=str(ca))
    if client:
        context.load_cert_chain(*client.pair)
    if version:
        context.minimum_version = context.maximum_version = version
    connection = http.client.HTTPSConnection(*address, timeout=10, context=context)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_exporter_answers_over_tls_only(site: Site) -> None:
    with site.serve() as server:
        assert fetch(server.address, site.servers.ca) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            fetch(server.address, site.clients.ca)
        plain = http.client.HTTPConnection(*server.address, timeout=10)
        plain.request("GET", "/metrics")
        with pytest.raises(REFUSED):
            plain.getresponse()
        plain.close()


@pytest.fixture
def locked(site: Site) -> Iterator[Address]:
    site.write(client_auth_type="RequireAndVerifyClientCert", client_ca_file="clients.crt")
    with site.serve() as server:
        yield server.address


def test_clients_need_a_certificate_of_the_authority(site: Site, locked: Address) -> None:
    good, stranger = site.clients.issue("good", "prometheus"), site.servers.issue("stranger", "prometheus")
    assert fetch(locked, site.servers.ca, good) == 200
    for client in (None, stranger):
        with pytest.raises(REFUSED):
            fetch(locked, site.servers.ca, client)
    assert fetch(locked, site.servers.ca, good) == 200


def test_a_certificate_that_is_only_verified_may_be_left_out(site: Site) -> None:
    site.write(client_auth_type="VerifyClientCertIfGiven", client_ca_file="clients.crt")
    with site.serve() as server:
        assert fetch(server.address, site.servers.ca) == 200
        assert fetch(server.address, site.servers.ca, site.clients.issue("good", "a")) == 200
        with pytest.raises(REFUSED):
            fetch(server.address, site.servers.ca, site.servers.issue("stranger", "a"))


def test_a_certificate_needs_one_of_the_allowed_names(site: Site) -> None:
    site.write(
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file="clients.crt",
        client_allowed_sans=["prometheus", "10.0.0.1"],
    )
    with site.serve() as server:
        assert fetch(server.address, site.servers.ca, site.clients.issue("one", "other", "prometheus")) == 200
        assert fetch(server.address, site.servers.ca, site.clients.issue("two", "10.0.0.1")) == 200
        with pytest.raises(REFUSED):
            fetch(server.address, site.servers.ca, site.clients.issue("three", "prometheus.example.com"))


def test_certificates_are_renewed_for_new_connections(site: Site, locked: Address) -> None:
    good = site.clients.issue("good", "prometheus")
    assert fetch(locked, site.servers.ca, good) == 200
    renewed = Authority(site.folder, "renewed")
    issued = renewed.issue("next", "127.0.0.1")
    shutil.copy(issued.cert, site.server.cert)
    shutil.copy(issued.key, site.server.key)
    assert fetch(locked, renewed.ca, good) == 200
    others = Authority(site.folder, "others")
    shutil.copy(others.ca, site.folder / "clients.crt")
    with pytest.raises(REFUSED):
        fetch(locked, renewed.ca, good)
    assert fetch(locked, renewed.ca, others.issue("other", "prometheus")) == 200
    assert site.errors == []


def test_a_broken_certificate_is_reported_and_the_old_one_serves_on(site: Site) -> None:
    with site.serve() as server:
        site.server.cert.write_text("not a certificate", encoding="utf-8")
        assert fetch(server.address, site.servers.ca) == 200
        assert len(site.errors) == 1
        assert site.errors[0].startswith(f"{site.server.cert}, {site.server.key}: cannot be used for TLS: ")


def test_tls_is_not_turned_off_while_running(site: Site) -> None:
    with site.serve() as server:
        site.path.write_text("{}", encoding="utf-8")
        assert fetch(server.address, site.servers.ca) == 200
        assert "TLS cannot be turned on or off" in site.errors[0]


def test_versions_can_be_narrowed(site: Site) -> None:
    site.write(min_version="TLS13")
    with site.serve() as server:
        assert fetch(server.address, site.servers.ca, version=ssl.TLSVersion.TLSv1_3) == 200
        with pytest.raises(REFUSED):
            fetch(server.address, site.servers.ca, version=ssl.TLSVersion.TLSv1_2)


def test_cipher_suites_can_be_chosen(site: Site) -> None:
    site.write(max_version="TLS12", cipher_suites=["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"])
    with site.serve() as server:
        assert fetch(server.address, site.servers.ca) == 200
        context = ssl.create_default_context(cafile=str(site.servers.ca))
        context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        connection = http.client.HTTPSConnection(*server.address, timeout=10, context=context)
        with pytest.raises(REFUSED):
            connection.request("GET", "/metrics")
        connection.close()
