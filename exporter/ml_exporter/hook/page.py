"""The exporter's page as the hook reads it: what it shows of a model now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from ml_exporter.outgoing import AnswerError, authorized, fetch

Labels = Mapping[str, str]
Trained = dict[str, float | None]
"""Versions with when they were trained, None where nobody said."""

_SECONDS = 20.0
_LARGEST = 64 << 20


class PageError(Exception):
    """The page cannot be had, or does not say how things are now."""


@dataclass(frozen=True)
class Page:
    """The samples of a page by name."""

    samples: Mapping[str, tuple[tuple[Labels, float], ...]]

    def of(self, family: str, **labels: str) -> Iterator[tuple[Labels, float]]:
        """Yield labels and value of the samples that have these labels."""
        for found, value in self.samples.get(family, ()):
            if labels.items() <= found.items():
                yield found, value

    def value(self, family: str, **labels: str) -> float | None:
        """Return the value of the first sample that has these labels, None where there is none."""
        return next((value for _, value in self.of(family, **labels)), None)

    def champion(self, model: str) -> str | None:
        """Return the version that is served, None while none is known."""
        infos = self.of("ml_model_version_info", model=model, role="champion")
        return next((labels["version"] for labels, _ in infos), None)

    def trained(self, model: str) -> Trained:
        """Return the versions that are known, in traffic or by their profiles, and when they were trained."""
        known: Trained = {
            labels["version"]: None for labels, _ in self.of("ml_model_version_info", model=model)
        }
        told = self.of("ml_model_trained_timestamp_seconds", model=model)
        return known | {labels["version"]: time for labels, time in told}


def parse_page(text: str) -> Page:
    """Return a page in the text format; PageError where it is none, or the exporter is not ready."""
    samples: dict[str, list[tuple[Labels, float]]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append((sample.labels, float(sample.value)))
    except (ValueError, LookupError) as error:
        raise PageError("the exporter's page is not in Prometheus' text format") from error
    page = Page({name: tuple(found) for name, found in samples.items()})
    if page.value("ml_exporter_ready") != 1:
        raise PageError("the exporter is not ready, so its page does not say how things are")
    return page


def read_page(url: str, authorization_file: Path | None = None) -> Page:
    """Fetch and parse the exporter's page; PageError says what is wrong."""
    try:
        headers = authorized(authorization_file)
        status, body = fetch(url, headers=headers, seconds=_SECONDS, limit=_LARGEST)
    except (AnswerError, ValueError) as error:
        raise PageError(f"the exporter's page: {error}") from error
    if status != 200:
        raise PageError(f"the exporter's page: it answers with {status}")
    return parse_page(body.decode("utf-8", "replace"))
