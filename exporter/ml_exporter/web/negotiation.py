"""Content negotiation: whether a client wants metrics as text or OpenMetrics, plain or compressed."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

_OPENMETRICS = "application/openmetrics-text"


def negotiated(request: Request, page: Callable[[bool, bool], bytes]) -> Response:
    """Answer with `page(openmetrics, gzipped)` as the request wants it."""
    openmetrics = accepts_openmetrics(request.headers.get("Accept", ""))
    gzipped = accepts_gzip(request.headers.get("Accept-Encoding", ""))
    headers = {
        "Content-Type": CONTENT_TYPE_LATEST if openmetrics else CONTENT_TYPE_PLAIN_0_0_4,
        "Vary": "Accept, Accept-Encoding",
    }
    if gzipped:
        headers["Content-Encoding"] = "gzip"
    return Response(page(openmetrics, gzipped), headers=headers)


def accepts_openmetrics(accept: str) -> bool:
    """Tell whether prometheus-client would answer this Accept header with OpenMetrics."""
    wanted = ",".join(item for item in accept.split(",") if _quality(item) > 0)
    try:
        _, content_type = choose_encoder(wanted)
    except (TypeError, ValueError):  # what it raises for a version that is none
        return False
    return content_type.startswith(_OPENMETRICS)


def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether an Accept-Encoding header allows gzip (RFC 9110, section 12.5.3)."""
    qualities = {item.split(";")[0].strip().lower(): _quality(item) for item in accept_encoding.split(",")}
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0


def _quality(item: str) -> float:
    for parameter in item.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
