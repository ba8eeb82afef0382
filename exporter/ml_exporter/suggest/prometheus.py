"""What is asked of a Prometheus: samples over a time, and the alerts that it has loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_exporter.outgoing import AnswerError, authorized, fetch

_SECONDS = 120.0
_LARGEST = 256 << 20
# Prometheus gives 11,000 points of a series at a time.
_POINTS = 10_000


class PrometheusError(ValueError):
    """What Prometheus answered, or that it did not."""


@dataclass(frozen=True)
class Series:
    """Times (Unix seconds) and values of one series, those that are numbers."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class AlertRule:
    """An alert that is loaded. Times in seconds."""

    name: str
    condition: str
    wait: float
    keep_firing: float
    severity: str


@dataclass(frozen=True)
class Rules:
    """Alerts in the order in which they are loaded, and the conditions of recording rules by name."""

    alerts: tuple[AlertRule, ...]
    records: Mapping[str, str]


class Prometheus:
    """One server by its URL."""

    def __init__(self, url: str, authorization_file: Path | None = None) -> None:
        self._url = url.rstrip("/")
        self._authorization_file = authorization_file

    def at(self, query: str, moment: float) -> list[Series]:
        """Return the series of an instant query, with one sample each."""
        found = self._get("query", query=query, time=f"{moment:.3f}")
        return [Series(item["metric"], _samples([item["value"]])) for item in found["result"]]

    def between(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """Return the series of a query at each step of a time, ends included."""
        merged: dict[frozenset[tuple[str, str]], list[tuple[float, float]]] = {}
        for first, last in _parts(start, end, step):
            found = self._get(
                "query_range", query=query, start=f"{first:.3f}", end=f"{last:.3f}", step=f"{step:g}"
            )
            for item in found["result"]:
                merged.setdefault(frozenset(item["metric"].items()), []).extend(_samples(item["values"]))
        return [Series(dict(labels), tuple(samples)) for labels, samples in merged.items()]

    def rules(self) -> Rules:
        """Return what is loaded."""
        loaded = [rule for group in self._get("rules")["groups"] for rule in group["rules"]]
        records: dict[str, list[str]] = {}
        for rule in loaded:
            if rule["type"] == "recording":
                records.setdefault(rule["name"], []).append(_record(rule))
        alerts = tuple(_alert(rule) for rule in loaded if rule["type"] == "alerting")
        return Rules(alerts, {name: " or ".join(queries) for name, queries in records.items()})

    def _get(self, path: str, **params: str) -> Any:
        try:
            headers = authorized(self._authorization_file)
            status, body = fetch(
                f"{self._url}/api/v1/{path}", headers=headers, params=params, seconds=_SECONDS, limit=_LARGEST
            )
        except (AnswerError, ValueError) as error:
            raise PrometheusError(f"--prometheus: {error}") from error
        try:
            answer = json.loads(body)
            if answer["status"] == "success":
                return answer["data"]
            raise PrometheusError(f"Prometheus: {answer['error']}")
        except (ValueError, LookupError, TypeError) as error:
            if isinstance(error, PrometheusError):
                raise
            raise PrometheusError(
                f"--prometheus: answers with {status}, and not as Prometheus does"
            ) from error


def _alert(rule: Mapping[str, Any]) -> AlertRule:
    wait, keep_firing = float(rule["duration"]), float(rule.get("keepFiringFor", 0))
    return AlertRule(rule["name"], rule["query"], wait, keep_firing, rule["labels"].get("severity", ""))


def _record(rule: Mapping[str, Any]) -> str:
    """Return what computes a recorded series, with the labels that its rule adds."""
    query = f"({rule['query']})"
    for name, text in rule.get("labels", {}).items():
        query = f'label_replace({query}, {json.dumps(name)}, {json.dumps(text.replace("$", "$$"))}, "", "")'
    return query


def selector(family: str, **labels: str) -> str:
    """Return what selects a family's series with these labels, whatever characters are in them."""
    return f"{family}{{{','.join(f'{name}={json.dumps(text)}' for name, text in labels.items())}}}"


def _parts(start: float, end: float, step: float) -> Iterator[tuple[float, float]]:
    """Cut a time so that each part has as many points as Prometheus gives, and none is given twice."""
    while start <= end:
        last = min(end, start + (_POINTS - 1) * step)
        yield start, last
        start += _POINTS * step


def _samples(pairs: list[tuple[float, str]]) -> tuple[tuple[float, float], ...]:
    found = ((float(moment), float(text)) for moment, text in pairs)
    return tuple((moment, value) for moment, value in found if not math.isnan(value))
