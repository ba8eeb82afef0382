"""The hard limit of series: over it whole columns are left out, never infos, targets or self metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from prometheus_client.core import Metric

from ml_exporter.delta import OWN_COLUMNS

Column = tuple[str, str]
"""Model and column."""


def limited(families: Sequence[Metric], limit: int) -> int:
    """Take columns out of families until at most `limit` series are left; return how many were taken.

    All families of a column go together, the last features of a profile first and the model's own
    columns after them, so that the choice does not change from page to page. What has no column
    always stays.
    """
    excess = sum(len(family.samples) for family in families) - limit
    if excess <= 0:
        return 0
    sizes = Counter(
        column for family in families for sample in family.samples if (column := _column(sample.labels))
    )
    own = [column for column in sizes if column[1] in OWN_COLUMNS]
    features = [column for column in sizes if column[1] not in OWN_COLUMNS]
    dropped: set[Column] = set()
    for column in (*reversed(features), *reversed(own)):
        if sum(sizes[item] for item in dropped) >= excess:
            break
        dropped.add(column)
    for family in families:
        family.samples = [sample for sample in family.samples if _column(sample.labels) not in dropped]
    return sum(sizes[column] for column in dropped)


def _column(labels: dict[str, str]) -> Column | None:
    return (labels["model"], labels["column"]) if "column" in labels else None
