"""The hard limit of series: over it whole columns are left out, never infos, targets or self metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from prometheus_client.core import Metric

from ml_exporter.delta import OWN_COLUMNS
from ml_exporter.drift import association
from ml_exporter.evaluation import ModelReport

Column = tuple[str, str]
"""Model and column."""
Rank: TypeAlias = tuple[float, float]
"""Configured importance, 1 where there is none, and how much of the loss the column tells."""
Ranks: TypeAlias = Callable[[], Mapping[Column, Rank]]
_LOWEST: Rank = (1.0, 0.0)
_ALIKE: Ranks = dict


def limited(families: Sequence[Metric], limit: int, ranks: Ranks = _ALIKE) -> int:
    """Take columns out of families until at most `limit` series are left; return how many were taken.

    All families of a column go together: features first, those of the lowest rank before others and
    of equal ones the last of a profile, then the model's own columns. Ranks come from profiles and
    configurations, so that the choice does not change from page to page. What has no column always
    stays.
    """
    excess = sum(len(family.samples) for family in families) - limit
    if excess <= 0:
        return 0
    sizes = Counter(
        column for family in families for sample in family.samples if (column := _column(sample.labels))
    )
    features = [column for column in reversed(sizes) if column[1] not in OWN_COLUMNS]
    own = [column for column in sizes if column[1] in OWN_COLUMNS]
    known = ranks()
    features.sort(key=lambda column: known.get(column, _LOWEST))  # keeps the order of equals
    dropped: set[Column] = set()
    taken = 0
    for column in (*features, *reversed(own)):
        if taken >= excess:
            break
        dropped.add(column)
        taken += sizes[column]
    for family in families:
        family.samples = [sample for sample in family.samples if _column(sample.labels) not in dropped]
    return taken


def ranks_of(reports: Iterable[ModelReport]) -> dict[Column, Rank]:
    """What columns are worth: as configured, and of equal ones by how much of the loss they tell."""
    found: dict[Column, Rank] = {}
    for report in reports:
        model = report.model
        for version in report.versions:
            for name, cells in version.layout.cells.items():
                own = model.columns.get(name)
                importance = 1.0 if own is None or own.importance is None else own.importance
                rank = importance, association(cells.column)
                found[model.name, name] = max(found.get((model.name, name), rank), rank)
    return found


def _column(labels: dict[str, str]) -> Column | None:
    return (labels["model"], labels["column"]) if "column" in labels else None
