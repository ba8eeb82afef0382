"""The metric families of a page, made from the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from ml_exporter.metrics.catalogue import CATALOGUE

_BY_NAME = {entry.name: entry for entry in CATALOGUE}


class Families:
    """The metric families of one page, in the catalogue's order, made on first use."""

    def __init__(self) -> None:
        self._families: dict[str, GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily] = {}

    def add(self, name: str, labels: Sequence[str], value: float) -> None:
        """Add one gauge or counter sample; labels in the catalogue's order."""
        family = self._family(name)
        if isinstance(family, HistogramMetricFamily):
            raise TypeError(f"{name} is a histogram")
        family.add_metric(labels, value)

    def add_histogram(
        self, name: str, labels: Sequence[str], bounds: Sequence[float], counts: Iterable[float], total: float
    ) -> None:
        """Add a histogram: upper bounds without +Inf, counts a bucket (one more than bounds), sum of values."""
        family = self._family(name)
        if not isinstance(family, HistogramMetricFamily):
            raise TypeError(f"{name} is not a histogram")
        cumulative, buckets = 0.0, []
        for bound, count in zip([*map(_bound_text, bounds), "+Inf"], counts, strict=True):
            cumulative += count
            buckets.append((bound, cumulative))
        family.add_metric(labels, buckets, total)

    def take(self, other: Families) -> None:
        """Add families that are not here yet."""
        self._families |= other._families

    def collect(self) -> list[Metric]:
        """Return the families in the catalogue's order; this makes it a registry to prometheus-client."""
        return [self._families[entry.name] for entry in CATALOGUE if entry.name in self._families]

    def _family(self, name: str) -> GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily:
        if name not in self._families:
            entry = _BY_NAME[name]
            kinds = {
                "gauge": GaugeMetricFamily,
                "counter": CounterMetricFamily,
                "histogram": HistogramMetricFamily,
            }
            self._families[name] = kinds[entry.kind](name, entry.help, labels=entry.labels)
        return self._families[name]


def _bound_text(bound: float) -> str:
    return repr(float(bound))
