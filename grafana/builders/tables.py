"""Tables: instant queries, joined on their labels, one column a field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.builders.dashboard import FieldColor
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    FieldColorModeId,
    Panel,
    ValueMapping,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.table import Options

from .names import NEUTRAL
from .panels import About, Line, describe, properties, query, refs, thresholds

# A column without a width gets an equal share, in pixels not less than this; Grafana's own least is 150.
NARROWEST = 60


@dataclass(frozen=True, slots=True)
class Column:
    """How a table shows one field: `field` is its name in the data, `name` the heading."""

    field: str
    name: str
    unit: str = "none"
    decimals: int | None = None
    color: bool = False
    width: int | None = None
    link: str = ""
    link_title: str = "Show this model"
    mappings: tuple[ValueMapping, ...] = ()
    steps: tuple[tuple[float | None, str], ...] = ()


def leading(columns: Iterable[Column], url: str, title: str) -> list[Column]:
    """Return the columns with a link in each cell."""
    return [replace(column, link=url, link_title=title) for column in columns]


def rows(
    about: About,
    exprs: Sequence[str],
    columns: Sequence[Column],
    *,
    sort: str,
    descending: bool = True,
    matrix: tuple[str, str] | None = None,
    unit: str = "none",
) -> Panel:
    """Return a table of instant queries, joined on the labels they share.

    Of the fields only `columns` are shown, in their order; `sort` is a column's heading. `matrix` is the
    (row label, column label) of a single query that is to be spread out, its cells in `unit`.
    """
    panel = table.Panel()
    targets = [
        query(Line(expr, ""), ref).format(PromQueryFormat.TABLE).instant() for ref, expr in refs(exprs)
    ]
    describe(panel, about, targets)
    panel.unit(unit).filterable(False).thresholds(thresholds(((None, NEUTRAL),))).min_width(NARROWEST)
    # Why a table is empty is not to be read in each of its empty cells.
    panel.override_by_regexp("/.*/", properties({"noValue": ""}))
    panel.color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
    panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(descending)])
    # Newer versions keep the footer with the fields: none at all is right everywhere.
    options = panel.build().options
    assert isinstance(options, Options)
    options.footer = None
    panel.transformations(_spread(*matrix) if matrix else _joined(columns, many=len(exprs) > 1))
    for column in columns:
        if _looks(column):
            panel.override_by_name(column.name, properties(_looks(column)))
    return panel.build()


def _joined(columns: Sequence[Column], *, many: bool) -> list[DataTransformerConfig]:
    names = [column.field for column in columns]
    arrange = {
        "excludeByName": {},
        "includeByName": {},
        "indexByName": {name: index for index, name in enumerate(names)},
        "renameByName": {column.field: column.name for column in columns},
    }
    steps = [DataTransformerConfig(id_val="merge", options={})] if many else []
    return [
        *steps,
        DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": names}}),
        DataTransformerConfig(id_val="organize", options=arrange),
    ]


def _spread(row: str, column: str) -> list[DataTransformerConfig]:
    options = {"rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "null"}
    return [DataTransformerConfig(id_val="groupingToMatrix", options=options)]


def _looks(column: Column) -> dict[str, object]:
    background = {"type": "color-background", "mode": "basic"}
    looks: dict[str, object | None] = {
        "unit": None if column.unit == "none" else column.unit,
        "decimals": column.decimals,
        "custom.width": column.width,
        "custom.cellOptions": background if column.color else None,
        "mappings": list(column.mappings) or None,
        "thresholds": thresholds(column.steps).build() if column.steps else None,
        "links": [{"title": column.link_title, "url": column.link}] if column.link else None,
    }
    return {key: value for key, value in looks.items() if value is not None}
