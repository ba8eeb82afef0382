"""Put panels, variables, annotations and links together to one dashboard's JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationContainer,
    AnnotationQuery,
    Dashboard,
    DashboardCursorSync,
    DashboardDashboardTemplating,
    DashboardDashboardTime,
    DashboardLink,
    DashboardLinkType,
    GridPos,
    Panel,
    RowPanel,
    TimePickerConfig,
    VariableModel,
)

from .names import TAG

COLUMNS = 24
# Written for Grafana's classic schema: later numbers are the newer kind of dashboard.
SCHEMA_VERSION = 42


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the panels below it, each with its width and height in grid cells."""

    title: str
    panels: Sequence[tuple[Panel, int, int]] = field(default_factory=tuple)


def dashboard(
    uid: str,
    title: str,
    description: str,
    variables: list[VariableModel],
    annotations: list[AnnotationQuery],
    rows: Sequence[Row],
    empty: str,
) -> Dashboard:
    """Return a read-only dashboard of `rows`, linked with all others that have the tag.

    `empty` is what a panel says in place of data if it does not know better why there are none.
    """
    for panel in (panel for row in rows for panel, _, _ in row.panels):
        assert panel.field_config is not None
        panel.field_config.defaults.no_value = panel.field_config.defaults.no_value or empty
    return Dashboard(
        uid=uid,
        title=title,
        description=description,
        tags=[TAG],
        timezone="browser",
        editable=False,
        graph_tooltip=DashboardCursorSync.CROSSHAIR,
        time=DashboardDashboardTime(from_val="now-3h", to="now"),
        timepicker=TimePickerConfig(refresh_intervals=["5s", "15s", "30s", "1m", "5m", "15m", "1h"]),
        refresh="30s",
        schema_version=SCHEMA_VERSION,
        panels=place(rows),
        templating=DashboardDashboardTemplating(list_val=variables),
        annotations=AnnotationContainer(list_val=annotations),
        links=[_links_by_tag()],
        version=1,
    )


def place(rows: Sequence[Row]) -> list[Panel | RowPanel]:
    """Number the panels and put them on the grid, left to right; a panel that does not fit begins a line."""
    placed: list[Panel | RowPanel] = []
    top = 0
    for row in rows:
        if row.title:
            header = GridPos(x=0, y=top, w=COLUMNS, h=1)
            placed.append(RowPanel(id_val=len(placed) + 1, title=row.title, grid_pos=header))
            top += 1
        left = line = 0
        for panel, width, height in row.panels:
            if left + width > COLUMNS:
                left, top, line = 0, top + line, 0
            panel.id_val, panel.grid_pos = len(placed) + 1, GridPos(x=left, y=top, w=width, h=height)
            placed.append(panel)
            left, line = left + width, max(line, height)
        top += line
    return placed


def encode(built: Dashboard) -> str:
    """Return the dashboard's JSON, keys sorted, without what the SDK adds by itself."""
    data: dict[str, Any] = json.loads(json.dumps(built, cls=JSONEncoder))
    for variable in data["templating"]["list"]:
        for key in ("auto", "auto_min", "auto_count"):
            del variable[key]
    for link in (*data["links"], *data["annotations"]["list"]):
        del link["placement"]  # it would hide them in a menu
    for panel in data["panels"]:
        if "repeat" not in panel:
            panel.pop("repeatDirection", None)
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _links_by_tag() -> DashboardLink:
    return DashboardLink(
        title="Model monitoring",
        type_val=DashboardLinkType.DASHBOARDS,
        tags=[TAG],
        icon="external link",
        tooltip="The other dashboards of model monitoring, same time and selection",
        include_vars=True,
        keep_time=True,
        as_dropdown=False,
        target_blank=False,
    )
