"""Records that come over HTTP: how requests were answered, and what their files take."""

from __future__ import annotations

from ml_exporter.metrics.families import Families
from ml_exporter.sources.push import CODES, Spools


def collect(families: Families, spools: Spools) -> None:
    """Add what is known of each log that takes pushed records."""
    for (model, source), spool in spools.items():
        families.add("ml_exporter_push_spool_bytes", (model, source), spool.size())
        for code in CODES:
            answers = spools.answers[model, source, code]
            families.add("ml_exporter_push_requests_total", (model, source, str(code)), answers)
