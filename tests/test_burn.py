"""Which burn rates are judged: what can be reached, and what does not come in bursts by nature."""

from typing import Any

import pytest
from tests.support.rows import layout

from ml_exporter.burn import Budget, budgets, limits
from ml_exporter.config import Model
from ml_exporter.metrics.families import Families
from ml_exporter.metrics.models import collect

FIELDS = {"score": "score", "latency_seconds": "latency_s", "error": "error"}
LABELS = {"path": "/labels"}


def model(fields: dict[str, str] = FIELDS, **more: Any) -> Model:
    return Model.model_validate({"name": "m", "predictions": {"path": "/log", "fields": fields}, **more})


@pytest.mark.parametrize(
    ("objective", "windows"),
    [
        (0.99, ["1h", "6h", "1d", "3d"]),
        (0.93, ["6h", "1d", "3d"]),
        (0.75, ["1d", "3d"]),
        (0.6, ["3d"]),
    ],
)
def test_what_a_total_outage_cannot_reach_is_not_judged(objective: float, windows: list[str]) -> None:
    assert list(limits(Budget("quality", objective, page=True), "stream")) == windows


def test_nobody_is_paged_where_that_is_not_wanted_or_logs_come_in_batches() -> None:
    long_ones = {"1d": 3.0, "3d": 1.0}
    assert limits(Budget("quality", 0.99, page=False), "stream") == long_ones
    assert limits(Budget("quality", 0.99, page=True), "batch") == long_ones
    assert limits(Budget("quality", 0.99, page=True), "stream") == {"1h": 14.4, "6h": 6.0, **long_ones}


def test_a_promise_needs_what_it_is_judged_by() -> None:
    every = model(slo={"objective": 0.95}, labels=LABELS, latency={"limit": 0.1, "objective": 0.999})
    assert list(budgets(every)) == [
        Budget("quality", 0.95, page=True),
        Budget("latency", 0.999, page=True),
        Budget("errors", 0.99, page=True),
    ]
    untimed = model({"score": "score"}, latency={"limit": 0.1}, errors={"objective": 0.9})
    assert list(budgets(untimed)) == []


def test_promises_are_served_with_the_burn_rates_that_are_judged() -> None:
    families = Families()
    several = model(slo={"objective": 0.75, "page": False}, labels=LABELS, errors={"objective": 0.999})
    collect(families, several, {"default": layout()})
    samples = [(s.name, *s.labels.values(), s.value) for f in families.collect() for s in f.samples]
    assert [sample[1:] for sample in samples if sample[0] == "ml_burn_rate_limit"] == [
        ("m", "quality", "1d", 3.0),
        ("m", "quality", "3d", 1.0),
        ("m", "errors", "1h", 14.4),
        ("m", "errors", "6h", 6.0),
        ("m", "errors", "1d", 3.0),
        ("m", "errors", "3d", 1.0),
    ]
    assert ("ml_slo_objective_ratio", "m", 0.75) in samples
    assert [s[1:] for s in samples if s[0] == "ml_serving_objective_ratio"] == [("m", "errors", 0.999)]
