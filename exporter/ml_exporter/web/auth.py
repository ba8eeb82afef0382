"""Who may see and do what: the web config's users, before anything else is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_exporter.config_model import Access
from ml_exporter.web.users import Users, credentials
from ml_exporter.web.web_config import WebFile

OPEN = ("/-/healthy",)
"""Paths that need no password: they tell nothing, and whoever watches over the process has none."""


def area(path: str) -> str:
    """Return which users of `exporter.access` a path is for."""
    if path.startswith("/v1/"):
        return "push"
    return "admin" if path in ("/config", "/-/reload") else "scrape"


class Guard:
    """Lets requests through to an application by the web config, and adds its headers to the answers.

    `access` returns the users by area, as it is configured now; `area` tells which of them a path is
    for. Whom it lets in it names in the scope's `user`.
    """

    def __init__(
        self,
        app: ASGIApp,
        web: WebFile,
        access: Callable[[], Access] = Access,
        area: Callable[[str], str] = area,
    ) -> None:
        self._app = app
        self._web = web
        self._access = access
        self._area = area
        # One at a time: guessing passwords must not take all processors.
        self._checking = asyncio.Semaphore(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        rules = self._web.current()
        refused = await self._refusal(scope, rules.users)
        app: ASGIApp = refused or self._app
        await app(scope, receive, _with_headers(send, dict(rules.headers)))

    async def _refusal(self, scope: Scope, users: Users) -> PlainTextResponse | None:
        path = scope["path"]
        if path in OPEN:
            return None
        given = credentials(Headers(scope=scope).get("Authorization", "")) if users else None
        if users and not (given and await self._is_right(users, *given)):
            challenge = {"WWW-Authenticate": 'Basic realm="ml_exporter", charset="UTF-8"'}
            return PlainTextResponse("401: a user and a password are needed\n", 401, challenge)
        user = given[0] if given else None
        name = self._area(path)
        allowed = getattr(self._access(), name)
        if allowed and user not in allowed:
            return PlainTextResponse(f"403: exporter.access.{name} does not name this user\n", 403)
        scope["user"] = user
        return None

    async def _is_right(self, users: Users, name: str, password: bytes) -> bool:
        if users.remembered(name, password):
            return True
        async with self._checking:
            return await run_in_threadpool(users.check, name, password)


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return sending
