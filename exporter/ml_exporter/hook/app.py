"""The hook over HTTP: Alertmanager's webhook, and the hook's own metrics."""

from __future__ import annotations

import asyncio
import hmac
import logging
from pathlib import Path

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ml_exporter.hook.hook import Hook
from ml_exporter.hook.message import Message
from ml_exporter.outgoing import read_secret
from ml_exporter.snapshot import join, render
from ml_exporter.web.app import SecurityHeaders, failed
from ml_exporter.web.negotiation import negotiated

BODY_LIMIT = 1 << 20

_READ_SECONDS = 10.0


def create_app(hook: Hook, logger: logging.Logger, token_file: Path | None) -> Starlette:
    """Return the application; with a token file only who sends the token may ask for retraining."""
    endpoints = _Endpoints(hook, logger, token_file)
    routes = [
        Route("/alerts", endpoints.alerts, methods=["POST"]),
        Route("/metrics", endpoints.metrics, methods=["GET"]),
        Route("/-/healthy", endpoints.healthy, methods=["GET"]),
        Route("/-/ready", endpoints.healthy, methods=["GET"]),
    ]
    app = Starlette(
        routes=routes, middleware=[Middleware(SecurityHeaders)], exception_handlers={Exception: failed}
    )
    app.router.redirect_slashes = False
    return app


def area(path: str) -> str:
    """Return which users of `exporter.access` a path is for."""
    return "admin" if path == "/alerts" else "scrape"


class _Endpoints:
    def __init__(self, hook: Hook, logger: logging.Logger, token_file: Path | None) -> None:
        self._hook, self._logger, self._token_file = hook, logger, token_file

    async def alerts(self, request: Request) -> Response:
        """Take a notification; what becomes of it is decided later."""
        refusal = await run_in_threadpool(self._refusal, request)
        if refusal is not None:
            return refusal
        try:
            async with asyncio.timeout(_READ_SECONDS):
                body = await _body(request)
        except TimeoutError:
            return _told(408, "the notification did not come to its end")
        except ClientDisconnect:
            return _told(400, "the notification ends in the middle")
        if body is None:
            return _told(413, f"a notification has at most {BODY_LIMIT >> 20} MiB")
        try:
            message = Message.model_validate_json(body)
        except ValidationError as error:
            return _told(400, f"not a notification of Alertmanager: {_first(error)}")
        return await run_in_threadpool(self._take, message)

    def _take(self, message: Message) -> Response:
        number = self._hook.receive(message)
        self._logger.debug(
            "a notification with %d alerts, %d ask for retraining", len(message.alerts), number
        )
        return _told(202, f"{number} alerts ask for retraining")

    def _refusal(self, request: Request) -> Response | None:
        # Browsers send an origin with every POST, Alertmanager never does: no page of another site gets in.
        if "origin" in request.headers:
            return _told(403, "not for browsers")
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _told(415, "send application/json")
        if self._token_file is None:
            return None
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        try:
            wanted = read_secret(self._token_file)
        except ValueError as error:
            self._logger.error("the bearer token cannot be read: %s", error)
            return _told(503, "the token cannot be read")
        same = hmac.compare_digest(given.strip().encode(), wanted.encode())
        if scheme.lower() != "bearer" or not same:
            return PlainTextResponse("a bearer token is needed\n", 401, {"WWW-Authenticate": "Bearer"})
        return None

    def metrics(self, request: Request) -> Response:
        """Return the page."""
        families = self._hook.families()
        return negotiated(request, lambda *form: join((render(families),), *form))

    async def healthy(self, _request: Request) -> Response:
        """Say that the hook is there."""
        return PlainTextResponse("ml_exporter hook is healthy.\n")


async def _body(request: Request) -> bytes | None:
    """Return the request's body, None where it is too long; no more of it is read then."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            return None
    return bytes(body)


def _first(error: ValidationError) -> str:
    """Return what is wrong and where, without what was sent."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def _told(status: int, text: str) -> Response:
    return Response(f"{text}\n".encode("utf-8", "replace"), status, media_type="text/plain")
