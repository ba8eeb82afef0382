"""The HTTP interface: metrics, health, reload, configuration and the status page."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_exporter.web.negotiation import negotiated
from ml_exporter.web.pages import StatusPage
from ml_exporter.web.status import Status
from ml_exporter.web.style import STYLE_SOURCE

_SECURITY_HEADERS = (
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src {STYLE_SOURCE}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


class Page(Protocol):
    """What the engine hands to the web: the newest finished page and how things stand."""

    def metrics(self, openmetrics: bool, gzipped: bool) -> bytes:
        """Return the page in text format 0.0.4 or OpenMetrics 1.0.0, plain or compressed."""

    def not_ready(self) -> str | None:
        """Return why the exporter is not ready, None when it is."""

    def config_yaml(self) -> str:
        """Return the configuration in use, secrets masked."""

    def status(self) -> Status:
        """Return what the status page shows."""

    def reload(self) -> None:
        """Load the configuration again; raise when it is bad, and keep the old one then."""


def create_app(page: Page, *, lifecycle: bool, more: Sequence[Route] = ()) -> Starlette:
    """Return the application; `lifecycle` allows POST and PUT of /-/reload, `more` are other paths."""
    endpoints = _Endpoints(page, lifecycle)
    routes = [
        Route("/", endpoints.status, methods=["GET"]),
        Route("/metrics", endpoints.metrics, methods=["GET"]),
        Route("/config", endpoints.config, methods=["GET"]),
        Route("/-/healthy", endpoints.healthy, methods=["GET"]),
        Route("/-/ready", endpoints.ready, methods=["GET"]),
        Route("/-/reload", endpoints.reload, methods=["POST", "PUT"]),
        *more,
    ]
    app = Starlette(
        routes=routes, middleware=[Middleware(SecurityHeaders)], exception_handlers={Exception: failed}
    )
    # /metrics/ is not a page; a redirect would repeat the client's own Host header.
    app.router.redirect_slashes = False
    return app


class _Endpoints:
    """Endpoints that are not coroutines run in worker threads, so none of them holds up the others."""

    def __init__(self, page: Page, lifecycle: bool) -> None:
        self._page = page
        self._lifecycle = lifecycle
        self._reloading = threading.Lock()
        self._status_page = StatusPage()

    def status(self, request: Request) -> Response:
        try:
            html = self._status_page.html(self._page.status(), request.query_params.get("model"))
        except KeyError:
            return PlainTextResponse("There is no model of this name.\n", 404)
        return Response(_encoded(html), media_type="text/html")

    def metrics(self, request: Request) -> Response:
        return negotiated(request, self._page.metrics)

    def config(self, _request: Request) -> Response:
        return Response(_encoded(self._page.config_yaml()), media_type="text/plain")

    async def healthy(self, _request: Request) -> Response:
        return PlainTextResponse("ml_exporter is healthy.\n")

    def ready(self, _request: Request) -> Response:
        reason = self._page.not_ready()
        if reason is None:
            return PlainTextResponse("ml_exporter is ready.\n")
        return Response(_encoded(f"ml_exporter is not ready: {reason}\n"), 503, media_type="text/plain")

    def reload(self, request: Request) -> Response:
        if not self._lifecycle:
            return PlainTextResponse("Reloading is not enabled; start with --web.enable-lifecycle.\n", 403)
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return PlainTextResponse("Reloading from another site's page is refused.\n", 403)
        with self._reloading:
            try:
                self._page.reload()
            except Exception as error:  # whatever it is, the caller must see why
                return Response(_encoded(f"reload failed: {error}\n"), 500, media_type="text/plain")
        return PlainTextResponse("reloaded\n")


class SecurityHeaders:
    """Adds headers that keep browsers from doing more with an answer than showing it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(dict(_SECURITY_HEADERS))
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _encoded(text: str) -> bytes:
    # Names from logs can hold halves of surrogate pairs, which UTF-8 cannot.
    return text.encode("utf-8", "replace")


async def failed(_request: Request, _error: Exception) -> Response:
    """Answer for an endpoint that raised."""
    # Starlette raises the error once more, so that it is logged; the client learns no more than this.
    return PlainTextResponse("internal error; the log says more\n", 500, dict(_SECURITY_HEADERS))
