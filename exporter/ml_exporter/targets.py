"""What targets can be told with: the bounds to expect in the alert window, at the profile's traffic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ml_exporter.config import Model
from ml_exporter.profile import CategoricalColumn, Profile
from ml_exporter.stats.planning import Bound, half_width, provable


@dataclass(frozen=True)
class Outlook:
    """One target: the rows to expect, half the distance between the bounds, and whether it can be missed.

    `half_width` is None where it cannot be told beforehand; `provable` is false where no outcome of a
    window with so many rows would prove the target missed.
    """

    metric: str
    bound: Bound
    target: float
    rows: int
    half_width: float | None
    provable: bool


def outlooks(model: Model, profile: Profile) -> Iterator[Outlook]:
    """What the alert window will be able to say of each target; rows are taken as independent."""
    rows = expected_rows(model, profile)
    rate = _positive_rate(profile)
    for metric, target in model.quality.items():
        bounds: tuple[tuple[Bound, float | None], ...] = (("min", target.min), ("max", target.max))
        for bound, value in bounds:
            if value is not None:
                half = half_width(metric, value, rows, rate)
                yield Outlook(metric, bound, value, rows, half, provable(metric, value, bound, rows, rate))


def expected_rows(model: Model, profile: Profile) -> int:
    """Labelled rows of one alert window, at the pace of the profile's rows."""
    return round(profile.labelled * window_share(model, profile))


def window_share(model: Model, profile: Profile) -> float:
    """How much of the profile's rows one alert window has, at their pace; at most all of them."""
    chunks = profile.windows.get(model.alert_window.name)
    length = chunks.seconds if chunks else model.alert_window.seconds
    first, last = (
        datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (profile.first, profile.last)
    )
    span = max((last - first).total_seconds(), 1.0)
    return min(length / span, 1.0)


def _positive_rate(profile: Profile) -> float | None:
    column = profile.columns.get("label")
    if profile.task != "binary" or not isinstance(column, CategoricalColumn):
        return None
    return column.counts[1] / max(sum(column.counts), 1)
