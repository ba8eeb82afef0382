"""`POST /v1/predictions/MODEL` and `/v1/labels/MODEL`: JSON lines over HTTP, durable when acknowledged."""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ml_exporter.sources.push import Spool, SpoolFullError, Spools

BODY_SECONDS = 30.0
"""A body has to be there within this time."""
AT_ONCE = 8
"""So many bodies are in memory at most."""
_MEMBERS = 16
"""Parts of a gzip body: thousands of empty ones would cost much and hold nothing."""
_PARSED = 1 << 16
"""Of a longer first line only the first byte is looked at."""
_FIRST_LINE = re.compile(rb"\s*(.*)")


class _RefusedError(Exception):
    def __init__(self, code: int, reason: str, retry: int | None = None) -> None:
        super().__init__(f"{code}: {reason}\n")
        self.code = code
        self.headers = {} if retry is None else {"Retry-After": str(retry)}


class Push:
    """Receives records for the spools; `report` is told what could not be written."""

    def __init__(self, spools: Spools, report: Callable[[str, Exception], object]) -> None:
        self._spools = spools
        self._report = report
        self._bodies = 0

    def routes(self) -> list[Route]:
        """Return the paths. A model's name may hold slashes; it is looked up, and never becomes a path."""
        return [
            Route(f"/v1/{source}/{{model:path}}", self._endpoint(source), methods=["POST"])
            for source in ("predictions", "labels")
        ]

    def _endpoint(self, source: str) -> Callable[..., object]:
        async def endpoint(request: Request) -> Response:
            model = request.path_params["model"]
            spool = self._spools.get(model, source)
            if spool is None:
                return PlainTextResponse(f"404: no model of this name takes pushed {source}\n", 404)
            answer = await self._answer(request, spool)
            self._spools.answers[model, source, answer.status_code] += 1
            return answer

        return endpoint

    async def _answer(self, request: Request, spool: Spool) -> Response:
        try:
            lines = await self._append(request, spool)
        except _RefusedError as refused:
            return PlainTextResponse(str(refused), refused.code, refused.headers)
        except OSError as error:
            self._report("push", error)
            text = "503: the records could not be written; some of them may be there\n"
            return PlainTextResponse(text, 503, {"Retry-After": "30"})
        return PlainTextResponse(f"202: {lines} lines are stored\n", 202)

    async def _append(self, request: Request, spool: Spool) -> int:
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise _RefusedError(400, "pages of other sites may not push")
        if self._bodies >= AT_ONCE:
            raise _RefusedError(429, f"{AT_ONCE} requests are being received already", retry=1)
        self._bodies += 1
        try:
            body = await self._body(request)
            return await run_in_threadpool(_store, spool, body, self._encoding(request), self._limit)
        finally:
            self._bodies -= 1

    @property
    def _limit(self) -> int:
        return self._spools.body_limit

    @staticmethod
    def _encoding(request: Request) -> str:
        return request.headers.get("Content-Encoding", "identity").strip().lower()

    async def _body(self, request: Request) -> bytes:
        body, too_large = bytearray(), _too_large(self._limit)
        length = request.headers.get("Content-Length", "0")
        if length.isdecimal() and int(length) > self._limit:
            raise too_large
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._limit:
                        raise too_large
        except TimeoutError:
            reason = f"the body did not come within {BODY_SECONDS:.0f} s"
            raise _RefusedError(408, reason) from None
        except ClientDisconnect:
            raise _RefusedError(400, "the body ends in the middle") from None
        return bytes(body)


def _store(spool: Spool, body: bytes, encoding: str, limit: int) -> int:
    """Append a body to a spool; return how many lines it has."""
    if encoding not in ("identity", "gzip"):
        raise _RefusedError(415, "Content-Encoding is neither gzip nor identity")
    lines = gunzip(body, limit) if encoding == "gzip" else body
    first = _first_line(lines)
    if not first:
        raise _RefusedError(400, "the body is empty")
    if not _is_object(first):
        raise _RefusedError(400, "the body is not JSON lines: the first is no object")
    if not lines.endswith(b"\n"):
        lines += b"\n"
    try:
        spool.append(lines)
    except SpoolFullError:
        reason = "the spool is full: records come faster than they are counted"
        raise _RefusedError(429, reason, retry=30) from None
    return lines.count(b"\n")


def _first_line(lines: bytes) -> bytes:
    """Return the first line that is not blank, without the space around it; empty where there is none."""
    found = _FIRST_LINE.match(lines)
    return found[1].rstrip() if found else b""


def _is_object(line: bytes) -> bool:
    """Tell whether a line is an object in JSON, as far as that is seen without much work."""
    if not line.startswith(b"{") or len(line) > _PARSED:
        return line.startswith(b"{")
    try:
        json.loads(line, parse_int=float)
    except RecursionError:  # it counts if what is read of it is not as deep
        return True
    except ValueError:
        return False
    return True


def gunzip(data: bytes, limit: int) -> bytes:
    """Decompress; whatever it says of itself, never more than the limit is made of it."""
    found, rest = bytearray(), data
    for _ in range(_MEMBERS):
        stream = zlib.decompressobj(wbits=31)
        try:
            found += stream.decompress(rest, limit + 1 - len(found))
        except zlib.error:
            raise _RefusedError(400, "the body is not gzip") from None
        if len(found) > limit:
            raise _too_large(limit)
        if not stream.eof:
            raise _RefusedError(400, "the body ends in the middle")
        rest = stream.unused_data
        if not rest:
            return bytes(found)
    raise _RefusedError(400, f"the body has more than {_MEMBERS} gzip members")


def _too_large(limit: int) -> _RefusedError:
    return _RefusedError(413, f"the body has more than {limit} bytes; send it in parts")
