"""Burn rates of error budgets: how many times faster than promised a budget may be used before an alert.

A budget is 1 - objective, the share that may be bad. A factor of 14.4 over an hour is 2 % of what may
be bad in 30 days, 6 over six hours 5 %, 3 over a day and 1 over three days 10 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ml_exporter.config_model import Model

PAGES, TICKETS = {"1h": 14.4, "6h": 6.0}, {"1d": 3.0, "3d": 1.0}
"""Factors by the window that they are judged over; rules know a shorter one for each."""
FASTEST_BURN = max(PAGES.values())


@dataclass(frozen=True, slots=True)
class Budget:
    """What is promised of a model's predictions: which share is to be good, and whether to wake somebody."""

    subject: str
    objective: float
    page: bool


def budgets(model: Model) -> Iterator[Budget]:
    """Yield what is promised: quality, speed where there is a limit, no errors where the log tells of them."""
    if model.slo is not None:
        yield Budget("quality", model.slo.objective, model.slo.page)
    if model.latency is not None and model.predictions.fields.latency_seconds is not None:
        yield Budget("latency", model.latency.objective, model.latency.page)
    if model.predictions.fields.error is not None:
        yield Budget("errors", model.errors.objective, model.errors.page)


def limits(budget: Budget, cadence: str) -> dict[str, float]:
    """Return the factors by window above which there is an alert.

    Left out is what a total outage would not reach, and what comes in bursts by nature: counters of
    logs that are written in batches rise in minutes by what happened in hours.
    """
    fast = PAGES if budget.page and cadence == "stream" else {}
    return {window: factor for window, factor in {**fast, **TICKETS}.items() if reachable(factor, budget)}


def reachable(factor: float, budget: Budget) -> bool:
    """Return whether a budget can burn so fast that the factor is exceeded."""
    return factor * (1 - budget.objective) < 1
