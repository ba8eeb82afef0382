"""The running exporter inside the test's own process."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client.parser import text_string_to_metric_families
from tests.support.site import START, Site

from ml_exporter.service import Service
from ml_exporter.store import Store
from ml_exporter.watch import HostPaths

FAST = {"state": "state.duckdb", "evaluation_interval": "50ms", "birth_hold": "0"}


def live(offset: float = 0.0) -> float:
    """Seconds after START of the wall clock, which the service runs on."""
    return time.time() - START + offset


@contextmanager
def running(site: Site) -> Iterator[Service]:
    """A service that is stopped whatever happens; once stopped it only answers."""
    config = site.config()
    disabled = frozenset({"host", "process"})
    made = Service(
        config, Store(config.exporter.state), logging.getLogger("ml_exporter"), HostPaths(), disabled
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()


def values(service: Service) -> dict[str, float]:
    """Return the page's values by `name{values of sorted labels}`."""
    page = service.metrics(openmetrics=False, gzipped=False).decode()
    return {
        f"{sample.name}{{{','.join(value for _, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
