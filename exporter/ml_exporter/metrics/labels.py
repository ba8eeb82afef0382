"""Labels: their outcomes, their delay, how many predictions wait for them, and coverage."""

from __future__ import annotations

from ml_exporter.evaluation import ModelReport
from ml_exporter.labels import DELAY_BOUNDS, OUTCOMES
from ml_exporter.metrics.families import Families
from ml_exporter.metrics.traffic import shows
from ml_exporter.state import ModelState


def collect(families: Families, report: ModelReport, state: ModelState, hold: float) -> None:
    """Add a model's labels; a label set born less than `hold` seconds ago shows 0."""
    model = report.model.name
    for version in report.versions:
        for window in version.windows:
            if window.quality.coverage is not None:
                labels = (model, version.name, window.window.name)
                families.add("ml_label_coverage_ratio", labels, window.quality.coverage)
    if report.model.labels is None:
        return
    shown = shows(state.born, report.time, hold)
    for outcome in OUTCOMES:
        families.add("ml_labels_total", (model, outcome), shown * state.label_outcomes[outcome])
    counts, total = (shown * state.delays).tolist(), shown * state.delay_sum
    families.add_histogram("ml_label_delay_seconds", (model,), DELAY_BOUNDS, counts, total)
    families.add("ml_labels_pending", (model,), report.pending)
