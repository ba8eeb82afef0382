"""Finished pages: families become bytes once per evaluation, and a scrape only sends them."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from ml_exporter.config import Model
from ml_exporter.engine import Snapshot
from ml_exporter.metrics import drift, health, labels, models, quality, traffic
from ml_exporter.metrics.budget import limited, ranks_of
from ml_exporter.metrics.families import Families

_EOF = b"# EOF\n"


class Collecting(Protocol):
    """Whatever has families to give."""

    def collect(self) -> Iterable[Metric]:
        """Return the families."""


@dataclass(frozen=True)
class Rendered:
    """Part of a page in both formats, plain and compressed; parts can be joined."""

    text: bytes = b""
    openmetrics: bytes = b""
    text_gzip: bytes = field(default=b"", repr=False)
    openmetrics_gzip: bytes = field(default=b"", repr=False)


def render(families: Collecting) -> Rendered:
    """Write families out."""
    text = generate_latest(families)
    openmetrics = generate_openmetrics(families).removesuffix(_EOF)  # type: ignore[no-untyped-call]  # prometheus-client lacks them there
    return Rendered(text, openmetrics, _compress(text), _compress(openmetrics))


def join(parts: Iterable[Rendered], openmetrics: bool, gzipped: bool) -> bytes:
    """Return a page; compressed parts are members of one gzip stream."""
    if not openmetrics:
        return b"".join(part.text_gzip if gzipped else part.text for part in parts)
    body = b"".join(part.openmetrics_gzip if gzipped else part.openmetrics for part in parts)
    return body + (_compress(_EOF) if gzipped else _EOF)


@dataclass(frozen=True)
class Part:
    """A part of the page, written out, and how many series it has and lacks."""

    page: Rendered = Rendered()
    exported: int = 0
    dropped: int = 0


def log_page(snapshot: Snapshot, hold: float, series_limit: int) -> Part:
    """Write out a snapshot; counters born less than `hold` seconds ago show 0."""
    families, dropped = log_families(snapshot, hold, series_limit)
    return Part(render(families), series_of(families), dropped)


def series_of(families: Collecting) -> int:
    """How many series families have."""
    return sum(len(family.samples) for family in families.collect())


def log_families(snapshot: Snapshot, hold: float, series_limit: int) -> tuple[Families, int]:
    """What a snapshot has to show, and how many series the limit has left out."""
    families = Families()
    reports = [report for report, _ in snapshot.reports]
    for report, state in snapshot.reports:
        traffic.collect(families, report, state, hold)
        labels.collect(families, report, state, hold)
        quality.collect(families, report, hold)
        drift.collect(families, report, hold)
        health.collect(families, report, hold)
    return families, limited(families.collect(), series_limit, partial(ranks_of, reports))


def config_families(configured: Iterable[tuple[Model, models.Layouts]]) -> Families:
    """What comes from the configuration alone."""
    families = Families()
    for model, layouts in configured:
        models.collect(families, model, layouts)
    return families


def config_page(configured: Iterable[tuple[Model, models.Layouts]]) -> Part:
    """Write out what comes from the configuration alone."""
    families = config_families(configured)
    return Part(render(families), series_of(families))


def _compress(data: bytes) -> bytes:
    # mtime=0: the same page gives the same bytes. Level 1 costs a fraction of 9 and is nearly as small.
    return gzip.compress(data, compresslevel=1, mtime=0)
