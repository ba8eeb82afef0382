"""Quality of rows without labels, from what the profile's rows have shown of such answers."""

from __future__ import annotations

from ml_exporter.layout import Layout
from ml_exporter.profile import Estimation
from ml_exporter.stats.arrays import IntArray
from ml_exporter.stats.estimation import ESTIMATED_METRICS, estimate_binary
from ml_exporter.stats.expected_loss import estimate_accuracy, estimate_loss, estimate_root_loss
from ml_exporter.stats.result import Result, Unavailable
from ml_exporter.tally import Tally

SQUARED = "mean_squared_error"


def estimated(layout: Layout, inputs: Tally, design_effect: float) -> dict[str, Result]:
    """Expected metrics of a window's rows; the reason under an empty name where there are none.

    `design_effect` is that of the window's judged rows.
    """
    profile = layout.profile
    learned = profile.estimation if profile else None
    if learned is None:
        return {"": Unavailable("no_profile")}
    counts = inputs["estimated"]
    if learned.rates is None:
        return _losses(learned, counts.sum(axis=-1), design_effect)
    found = estimate_binary(counts, learned.rates, design_effect)
    return found | _losses(learned, counts.sum(axis=-1), design_effect)


def estimated_metrics(layout: Layout) -> int:
    """How many metrics are estimated, with a profile as this one."""
    learned = layout.profile.estimation if layout.profile else None
    if learned is None:
        return 0
    return len(learned.losses) + (len(ESTIMATED_METRICS) if learned.calibration else 0)


def _losses(learned: Estimation, counts: IntArray, design_effect: float) -> dict[str, Result]:
    found: dict[str, Result] = {}
    for metric, expected in learned.expected.items():
        if metric == "accuracy":
            found[metric] = estimate_accuracy(counts, expected, design_effect)
        elif metric == SQUARED:
            found["root_mean_squared_error"] = estimate_root_loss(counts, expected, design_effect)
        else:
            found[metric] = estimate_loss(counts, expected, design_effect)
    return found
