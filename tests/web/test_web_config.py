"""The web config's format: what promtool accepts is accepted, what is wrong is told with its line."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.tools import find_tool
from tests.web.certificates import Authority

from ml_exporter.config_source import ConfigError
from ml_exporter.web.web_config import WebFile, load_web_config

SAMPLE = Path(__file__).parents[2] / "exporter/deploy/web-config.yml"
HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
FULL = {
    "tls_server_config": {
        "cert_file": "web.crt",
        "key_file": "web.key",
        "client_auth_type": "RequireAndVerifyClientCert",
        "client_ca_file": "ca.crt",
        "min_version": "TLS12",
        "max_version": "TLS13",
        "cipher_suites": [
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        ],
        "prefer_server_cipher_suites": True,
    },
    "http_server_config": {
        "http2": False,
        "headers": {
            "Content-Security-Policy": "default-src 'self'",
            "X-Frame-Options": "deny",
            "X-Content-Type-Options": "nosniff",
            "X-XSS-Protection": "1",
            "Strict-Transport-Security": "max-age=31536000",
        },
    },
    "basic_auth_users": {"prometheus": HASH, "007": HASH.replace("$2y$", "$2b$")},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Authority(tmp_path).issue("web", "localhost")
    return tmp_path


def promtool(path: Path) -> str:
    run = subprocess.run(
        [find_tool("promtool"), "check", "web-config", str(path)], capture_output=True, text=True, check=False
    )
    return run.stdout + run.stderr


def write(folder: Path, text: str) -> Path:
    path = folder / "web.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_promtool_and_the_exporter_accept_the_sample(folder: Path) -> None:
    path = folder / SAMPLE.name
    shutil.copy(SAMPLE, path)
    assert "SUCCESS" in promtool(path)
    rules = WebFile(path, print).current()
    assert rules.tls is not None
    assert set(rules.config.basic_auth_users) == {"prometheus", "ops"}


def test_promtool_and_the_exporter_accept_every_key(folder: Path) -> None:
    path = write(folder, yaml.safe_dump(FULL))
    assert "SUCCESS" in promtool(path)
    rules = WebFile(path, print).current()
    assert dict(rules.headers) == FULL["http_server_config"]["headers"]
    assert rules.config.authenticates


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("basic_auth_user: {}", '1: basic_auth_user: is not a known key; did you mean "basic_auth_users"?'),
        (
            "basic_auth_users: {ops: hunter2}",
            "1: basic_auth_users: the password of ops is not a bcrypt hash; ",
        ),
        (f"basic_auth_users: {{'a:b': {HASH}}}", "has a user whose name is empty or holds a colon"),
        ("tls_server_config:\n  cert_file: a", "key_file: is missing"),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: Any}",
            "is not one of the choices",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert}",
            "RequireAnyClientCert is not offered; use RequireAndVerifyClientCert",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}",
            "client_auth_type and client_ca_file need each other",
        ),
        (
            "tls_server_config: {cert_file: a, key_file: b, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}",
            "is not a cipher suite that is offered",
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: allow}}",
            'X-Frame-Options: "allow" is not one of the choices',
        ),
        ("http_server_config: {headers: {Set-Cookie: a}}", "Set-Cookie: is not a known key"),
        (
            'http_server_config: {headers: {Content-Security-Policy: "a\\r\\nSet-Cookie: b"}}',
            "holds what no header can hold",
        ),
        ("- a", "is not a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_without_secrets(
    folder: Path, text: str, problem: str
) -> None:
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_web_config(path)
    assert str(caught.value).startswith(f"{path}:")
    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_hashes_are_not_shown(folder: Path) -> None:
    config = load_web_config(write(folder, f"basic_auth_users: {{ops: {HASH}}}"))
    assert HASH not in repr(config)


def test_a_missing_file_and_an_unusable_key_are_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yml:1: .*cannot be read"):
        WebFile(folder / "none.yml", print).current()
    path = write(folder, "tls_server_config: {cert_file: web.crt, key_file: ca.crt}")
    with pytest.raises(ValueError, match=r"web\.crt, .*ca\.crt: cannot be used for TLS"):
        WebFile(path, print)


def test_without_a_file_nothing_is_asked_for() -> None:
    rules = WebFile(None, print).current()
    assert (bool(rules.users), rules.tls, rules.headers) == (False, None, ())
