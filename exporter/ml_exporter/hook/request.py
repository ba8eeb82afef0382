"""One request for retraining: its body, its signature, and what came of sending it."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import requests

from ml_exporter.config_model import Model, Retrain
from ml_exporter.hook.breaches import Breach, top_columns
from ml_exporter.hook.incidents import Incident
from ml_exporter.hook.page import Page
from ml_exporter.outgoing import own_headers, proxies, read_secret

SIGNATURE = "X-ML-Signature"

Outcome = Literal["accepted", "refused", "failed"]
Json = dict[str, object]

_TIMEOUT = (5.0, 10.0)
_BUSY = (408, 425, 429)


def request_body(
    model: Model, incident: Incident, version: str, found: Sequence[Breach], page: Page, now: float
) -> bytes:
    """Return what the receiver is told. `id` is the same however often an incident is asked for."""
    alerts = [alert for alert in incident.alerts if any(breach.explains(alert.labels) for breach in found)]
    body: Json = {
        "id": incident.id,
        "model": model.name,
        "version": version,
        "team": model.team,
        "requested_at": _time(now),
        "reasons": [_reason(breach, page) for breach in found],
        "top_columns": [
            {"column": column, "impact": _finite(impact), "times_limit": _finite(ratio)}
            for column, impact, ratio in top_columns(page, model.name, version, found)
        ],
        "window": _window(model, page),
        "alerts": [{"name": alert.labels.get("alertname"), "since": alert.starts_at} for alert in alerts],
        "links": {name: link for alert in alerts for name, link in alert.links().items()},
    }
    return json.dumps(body, allow_nan=False).encode()


def signature(secret: str, body: bytes, now: float) -> str:
    """Return the header's value: the time, and the HMAC-SHA256 of time, full stop and body in hex."""
    moment = str(int(now))
    mac = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256)
    return f"t={moment},v1={mac.hexdigest()}"


def send(retrain: Retrain, body: bytes, now: float) -> tuple[Outcome, str]:
    """POST the body; return what came of it, and why in words that hold no secret."""
    try:
        headers = _headers(retrain, body, now)
    except ValueError as error:
        return "failed", str(error)
    try:
        with requests.post(
            retrain.url,
            data=body,
            headers=headers,
            timeout=_TIMEOUT,
            auth=own_headers if _has(headers, "Authorization") else None,
            proxies=proxies(retrain.url),
            # A redirect would carry the secrets to another place than the one that was configured.
            allow_redirects=False,
            stream=True,
        ) as answer:
            return _outcome(answer.status_code), f"answered with {answer.status_code}"
    except requests.RequestException as error:
        # Its text may hold the URL, or a value that cannot be a header.
        return "failed", type(error).__name__


def _headers(retrain: Retrain, body: bytes, now: float) -> dict[str, str]:
    headers = {name: read_secret(path) for name, path in retrain.headers.items()}
    headers |= {"Content-Type": "application/json", "User-Agent": "ml_exporter-hook"}
    if retrain.secret_file is not None:
        headers[SIGNATURE] = signature(read_secret(retrain.secret_file), body, now)
    return headers


def _has(headers: Mapping[str, str], name: str) -> bool:
    return name.lower() in map(str.lower, headers)


def _outcome(status: int) -> Outcome:
    if 200 <= status < 300:
        return "accepted"
    return "failed" if status >= 500 or status in _BUSY else "refused"


def _reason(breach: Breach, page: Page) -> Json:
    """One breach, with the counts behind it where it is one of quality."""
    own = {name: text for name, text in breach.labels.items() if name not in ("model", "version")}
    numbers: dict[str, float | None] = {"value": breach.value, "limit": breach.limit}
    if breach.kind == "quality":
        series = {name: text for name, text in breach.labels.items() if name != "metric"}
        numbers["measured"] = page.value("ml_quality", **breach.labels)
        numbers["samples"] = page.value("ml_quality_samples", **series)
    return {"kind": breach.kind, **own, **{name: _finite(value) for name, value in numbers.items()}}


def _window(model: Model, page: Page) -> Json:
    """Return the predictions that quality was judged on: those of the alert window before the maturity."""
    evaluated = page.value("ml_exporter_evaluation_timestamp_seconds")
    window: Json = {"name": model.alert_window.name}
    if evaluated is not None:
        end = evaluated - model.maturity
        window |= {"start": _time(end - model.alert_window.seconds), "end": _time(end)}
    return window


def _finite(value: float | None) -> float | None:
    """JSON has no infinity."""
    return value if value is not None and math.isfinite(value) else None


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
