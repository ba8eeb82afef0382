"""TLS as the web config asks for it, renewed for every connection."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


def server_context(
    cert_file: Path,
    key_file: Path,
    client_auth_type: str,
    client_ca_file: Path | None,
    client_allowed_sans: Sequence[str],
    min_version: str,
    max_version: str,
    cipher_suites: Sequence[str],
    prefer_server_cipher_suites: bool,
) -> ssl.SSLContext:
    """Return the context; raises ValueError that names the file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = _VERSIONS[min_version], _VERSIONS[max_version]
    if not prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if cipher_suites:
        context.set_ciphers(":".join(cipher_suites))
    _load(lambda: context.load_cert_chain(cert_file, key_file, _no_password), f"{cert_file}, {key_file}")
    if client_ca_file:
        _load(lambda: context.load_verify_locations(client_ca_file), str(client_ca_file))
    context.verify_mode = _CLIENTS[client_auth_type]
    if client_allowed_sans:
        context.sslobject_class = _named_clients(frozenset(client_allowed_sans))
    return context


class RenewedContext(ssl.SSLContext):
    """Stands for the context that holds when a connection begins, so that certificates can be renewed."""

    def __new__(cls, *_: object) -> RenewedContext:
        """Make one that is never used itself."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, current: Callable[[], ssl.SSLContext]) -> None:
        self._current = current

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin a connection, as asyncio does for each."""
        return self._current().wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def _named_clients(names: frozenset[str]) -> type[ssl.SSLObject]:
    class NamedClients(ssl.SSLObject):
        """A connection that ends where the client's certificate has none of the names."""

        def do_handshake(self) -> None:
            super().do_handshake()
            certificate = self.getpeercert() or {}
            given = {str(pair[1]) for pair in certificate.get("subjectAltName", ())}
            if not given & names:
                raise ssl.SSLCertVerificationError("the client's certificate has none of the allowed names")

    return NamedClients


def _load(load: Callable[[], None], files: str) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{files}: cannot be used for TLS: {reason}") from None


def _no_password() -> str:
    # Without it OpenSSL would ask for one on the terminal.
    raise ValueError("the key is protected by a password")
