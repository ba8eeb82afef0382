"""The web config: TLS, headers and users, in the format of Prometheus's exporter-toolkit."""

from __future__ import annotations

import os
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from ml_exporter.config_errors import note_errors
from ml_exporter.config_model import Access
from ml_exporter.config_source import ConfigError, read_source
from ml_exporter.config_types import FilePath, FrozenDict, FrozenMap, Section, invalid
from ml_exporter.web.tls import server_context
from ml_exporter.web.users import Users, unknown_users

_BCRYPT = re.compile(r"\$2[abxy]?\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")

CIPHERS = {
    f"TLS_ECDHE_{signed}_WITH_{go}": f"ECDHE-{signed}-{openssl}"
    for signed in ("ECDSA", "RSA")
    for go, openssl in {
        "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
    }.items()
}
"""Cipher suites of TLS 1.2 by the names that the format uses; those of TLS 1.3 cannot be chosen."""


def _cipher(name: str) -> str:
    if name not in CIPHERS:
        raise invalid(
            "is not a cipher suite that is offered", "leave cipher_suites out, or use ECDHE with GCM"
        )
    return CIPHERS[name]


_ClientAuth = Literal[
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
]


def _client_auth(kind: str) -> str:
    if kind in ("RequestClientCert", "RequireAnyClientCert"):
        remedy = "use RequireAndVerifyClientCert: a certificate that nobody verifies proves nothing"
        raise invalid(f"{kind} is not offered", remedy)
    return kind


def _header(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise invalid("holds what no header can hold", "use printable ASCII characters in one line")
    return value


def _users(users: FrozenDict[str, str]) -> FrozenDict[str, str]:
    for name, hashed in users.items():
        if ":" in name or not name:
            raise invalid("has a user whose name is empty or holds a colon", "choose another name")
        if not _BCRYPT.fullmatch(hashed):
            remedy = "write what `htpasswd -nBC 10 USER` prints after the colon"
            raise invalid(f"the password of {name} is not a bcrypt hash", remedy)
    return users


_HeaderText = Annotated[str, AfterValidator(_header)]


class TlsServer(Section):
    """TLS. What the format has beside it (`curve_preferences`) is left to OpenSSL."""

    cert_file: FilePath
    key_file: FilePath
    client_auth_type: Annotated[_ClientAuth, AfterValidator(_client_auth)] = "NoClientCert"
    client_ca_file: FilePath | None = None
    client_allowed_sans: tuple[str, ...] = ()
    min_version: Literal["TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS12", "TLS13"] = "TLS13"
    cipher_suites: tuple[Annotated[str, AfterValidator(_cipher)], ...] = ()
    prefer_server_cipher_suites: bool = True


class Headers(Section):
    """Headers that the format lets be set; they replace those that are sent without being asked for."""

    csp: _HeaderText | None = Field(default=None, alias="Content-Security-Policy")
    frame: Literal["deny", "sameorigin"] | None = Field(default=None, alias="X-Frame-Options")
    content: Literal["nosniff"] | None = Field(default=None, alias="X-Content-Type-Options")
    xss: _HeaderText | None = Field(default=None, alias="X-XSS-Protection")
    hsts: _HeaderText | None = Field(default=None, alias="Strict-Transport-Security")


class HttpServer(Section):
    """HTTP. `http2` is accepted, and HTTP/1.1 is spoken in any case."""

    http2: bool = True
    headers: Headers = Headers()


class WebConfig(Section):
    """The whole file."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: Annotated[FrozenMap[str, str], AfterValidator(_users), Field(repr=False)] = FrozenDict(
        {}
    )

    @property
    def authenticates(self) -> bool:
        """Whether nobody is let in without a password or a certificate."""
        tls = self.tls_server_config
        return bool(self.basic_auth_users) or bool(
            tls and tls.client_auth_type == "RequireAndVerifyClientCert"
        )


def load_web_config(path: Path) -> WebConfig:
    """Read and validate a web config; paths in it count from its folder. Raises ConfigError."""
    source = read_source(path)
    if source.problems:
        raise ConfigError(source.problems)
    context = {"base": path.absolute().parent}
    try:
        found = WebConfig.model_validate(source.data or {}, context=context)
    except ValidationError as error:
        note_errors(source, error, WebConfig)
        raise ConfigError(source.problems) from None
    tls = found.tls_server_config
    if tls and (tls.client_auth_type != "NoClientCert") != bool(tls.client_ca_file):
        source.add(
            ("tls_server_config",),
            "client_auth_type and client_ca_file need each other",
            "give both, or leave out both",
        )
        raise ConfigError(source.problems)
    return found


@dataclass(frozen=True)
class Rules:
    """What a web config asks for, ready for use."""

    config: WebConfig = field(default_factory=WebConfig)
    users: Users = field(default_factory=lambda: Users({}))
    tls: ssl.SSLContext | None = None
    headers: tuple[tuple[str, str], ...] = ()


class WebFile:
    """The rules of a web config, read again whenever the file, or one that it names, has changed.

    What is wrong with a new one goes to `report`, and the rules stay as they were; so they do where
    it lacks a user that is required, would no longer ask for a password or certificate (a file that is
    being written is empty for a moment), or would turn TLS on or off, for which the port has to be
    opened anew. Without a path there are no rules. Any thread may use it.
    """

    def __init__(self, path: Path | None, report: Callable[[Exception], object]) -> None:
        self._path = path
        self._report = report
        self._lock = threading.Lock()
        self._access = Access()
        self._rules = _rules(path)
        self._stamp = self._look()

    def current(self) -> Rules:
        """Return the rules that hold now."""
        with self._lock:
            if self._path is not None and (stamp := self._look()) != self._stamp:
                # What changes while it is read is read once more.
                self._stamp = stamp
                try:
                    self._rules = self._accepted(_rules(self._path), self._access)
                except (ConfigError, OSError, ValueError) as error:
                    self._report(error)
            return self._rules

    def require(self, access: Access) -> None:
        """Have every user whom `exporter.access` names, from now on.

        ValueError or ConfigError where the file as it is now lacks one; nothing has changed then.
        """
        with self._lock:
            if unknown_users(access, self._rules.users):
                # The file may have been refused for lack of those who were named until now.
                self._rules = self._accepted(_rules(self._path), access)
            self._access = access

    @property
    def tls(self) -> Callable[[], ssl.SSLContext] | None:
        """Return what gives a new connection its context, None without TLS."""
        return self._context if self._rules.tls else None

    def _context(self) -> ssl.SSLContext:
        context = self.current().tls
        assert context is not None, "TLS is never turned off while running"
        return context

    def _accepted(self, rules: Rules, access: Access) -> Rules:
        if bool(rules.tls) != bool(self._rules.tls):
            raise ValueError(f"{self._path}: TLS cannot be turned on or off while running; restart")
        if self._rules.config.authenticates and not rules.config.authenticates:
            raise ValueError(f"{self._path}: would let everybody in; restart to allow that")
        if unknown := unknown_users(access, rules.users):
            raise ValueError("; ".join(unknown))
        return rules

    def _look(self) -> tuple[object, ...]:
        """What changes when one of the files does, or who has to be in them."""
        return (self._access, *map(_signature, self._files()))

    def _files(self) -> Iterator[Path]:
        tls = self._rules.config.tls_server_config
        named = (tls.cert_file, tls.key_file, tls.client_ca_file) if tls else ()
        yield from (path for path in (self._path, *named) if path is not None)


def _signature(path: Path) -> object:
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _rules(path: Path | None) -> Rules:
    if path is None:
        return Rules()
    config = load_web_config(path)
    tls = config.tls_server_config
    headers = config.http_server_config.headers.model_dump(by_alias=True, exclude_none=True)
    return Rules(
        config,
        Users(config.basic_auth_users),
        server_context(**dict(tls)) if tls else None,
        tuple(headers.items()),
    )
