"""Requests to other programs: bounded in time and size, with secrets that come from files and stay there."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import requests

from ml_exporter.web.server import is_loopback

_SECRET_BYTES = 64 << 10
_CHUNK_BYTES = 1 << 16
_CONNECT_SECONDS = 5.0


class AnswerError(Exception):
    """No answer, or one that is of no use. The text holds nothing of the URL or of what was sent."""


def read_secret(path: Path) -> str:
    """Return a secret without the line end that editors add; ValueError where there is none.

    Read it anew for each use, so that it can be changed while the process runs.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_SECRET_BYTES + 1).strip()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    if not text:
        raise ValueError(f"{path}: is empty; write the secret into it")
    if len(text) > _SECRET_BYTES or not text.isprintable() or "\ufffd" in text:
        raise ValueError(f"{path}: is not one line of text")
    return text


def authorized(path: Path | None) -> dict[str, str]:
    """Return the Authorization header that a file holds, such as `Bearer abc`; no file, no header."""
    return {} if path is None else {"Authorization": read_secret(path)}


def own_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from putting a password of the user's .netrc in place of the given header."""
    return request


def proxies(url: str) -> dict[str, str] | None:
    """Return what keeps a request to this machine from the environment's proxy; None for other machines."""
    return {"http": "", "https": ""} if is_loopback(urlsplit(url).hostname or "") else None


def fetch(
    url: str, *, headers: dict[str, str], params: dict[str, str] | None = None, seconds: float, limit: int
) -> tuple[int, bytes]:
    """GET and return status and body, of at most `limit` bytes; AnswerError where that cannot be."""
    try:
        with requests.get(
            url,
            params=params,
            headers=headers,
            timeout=(_CONNECT_SECONDS, seconds),
            auth=None if "Authorization" not in headers else own_headers,
            proxies=proxies(url),
            allow_redirects=False,
            stream=True,
        ) as answer:
            body = bytearray()
            for chunk in answer.iter_content(_CHUNK_BYTES):
                body += chunk
                if len(body) > limit:
                    raise AnswerError(f"the answer is larger than {limit >> 20} MiB")
            return answer.status_code, bytes(body)
    except (requests.RequestException, ValueError) as error:
        # Its text may hold the URL, and that a password.
        raise AnswerError(f"no answer ({type(error).__name__})") from None
