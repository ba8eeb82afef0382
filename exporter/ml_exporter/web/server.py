"""Serving an application over HTTP from a thread of its own."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from ml_exporter.web.protocol import BoundedProtocol
from ml_exporter.web.tls import RenewedContext

FLAG = "--web.listen-address"

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0


def parse_listen_address(text: str) -> tuple[str, int]:
    """Return host and port of "127.0.0.1:10477", "[::1]:10477" or ":10477" (every address, host "").

    Raises ValueError that says what is wrong. Port 0 takes any free one.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not (port.isascii() and port.isdigit()):
        raise ValueError(f'{FLAG} "{text}" has no port; write HOST:PORT, such as 127.0.0.1:10477')
    if int(port) > 65535:
        raise ValueError(f'{FLAG} "{text}" has a port above 65535; choose one up to there')
    if bracketed:
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host.partition("%")[0])
        except ValueError:
            raise ValueError(f'{FLAG} "{text}" holds no IPv6 address; write it as [::1]:10477') from None
    elif ":" in host or "[" in host or "]" in host:
        raise ValueError(f'{FLAG} "{text}" needs brackets around an IPv6 address: [::1]:10477')
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach the host; names other than localhost count as reachable."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_listen_host(host: str, *, allow_unauthenticated: bool) -> None:
    """Raise ValueError where the host lets other machines in without a password and nobody said so."""
    if not is_loopback(host) and not allow_unauthenticated:
        raise ValueError(
            f"{FLAG} {host or '(every address)'} lets every machine that can reach it read metrics and "
            "configuration; listen on 127.0.0.1 or [::1], ask for passwords with --web.config.file, or "
            "allow it with --web.allow-unauthenticated"
        )


class Server:
    """An HTTP server in a thread; a context manager that starts and stops it.

    `tls` returns the context for each connection that begins; None: there is no TLS.
    """

    def __init__(
        self, app: ASGIApp, host: str, port: int, tls: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        self._host, self._port = host, port
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._uvicorn = uvicorn.Server(_settings(app, tls))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        if self._socket is None:
            return self._host, self._port
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def start(self) -> None:
        """Listen and answer; OSError that names address and flag where that cannot be."""
        self._socket = _listen(self._host, self._port)
        # A port that was left to the system stays the same as long as the object lives.
        self._port = self.address[1]
        self._thread = threading.Thread(
            target=self._uvicorn.run, args=([self._socket],), name="web", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._uvicorn.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise OSError(f"the web server did not start within {_START_SECONDS:.0f} s")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop listening, let answers that are under way finish for some seconds, and return."""
        self._uvicorn.should_exit = True
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
        if self._socket is not None:
            self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def serve(app: ASGIApp, host: str, port: int, tls: Callable[[], ssl.SSLContext] | None = None) -> Server:
    """Return a started server."""
    server = Server(app, host, port, tls)
    server.start()
    return server


def _settings(app: ASGIApp, tls: Callable[[], ssl.SSLContext] | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        ssl_context_factory=None if tls is None else lambda *_: RenewedContext(tls),
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=100,
        backlog=128,
        # Longer than a usual scrape interval, so that Prometheus keeps its connection.
        timeout_keep_alive=75,
        # Longer than clients have by then.
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=32 * 1024,
    )


def _listen(host: str, port: int) -> socket.socket:
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return _bind(host, port)
    except socket.gaierror as error:
        raise OSError(f"cannot listen on {shown}: {host} is not known; change {FLAG}") from error
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: f"port {port} is taken; stop what listens there or choose another",
            errno.EACCES: f"port {port} is only for root; choose one above 1023",
            errno.EADDRNOTAVAIL: f"{host} is not an address of this machine; choose another",
        }
        reason = reasons.get(error.errno or 0, f"{error.strerror}; choose another address")
        raise OSError(error.errno, f"cannot listen on {shown}: {reason} with {FLAG}") from error


def _bind(host: str, port: int) -> socket.socket:
    if not host:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        return socket.create_server(("", port), family=family, dualstack_ipv6=both)
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family)
