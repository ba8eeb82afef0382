"""Bars of bins: two distributions of one column over each other."""

from __future__ import annotations

from collections.abc import Mapping

from grafana_foundation_sdk.builders import barchart, common
from grafana_foundation_sdk.builders.dashboard import FieldColor
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, FieldColorModeId, Panel
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from .names import NEUTRAL
from .panels import About, Line, describe, properties, query, refs, thresholds


def distribution(about: About, label: str, series: Mapping[str, tuple[str, str]], *, unit: str) -> Panel:
    """Return bars side by side for each value of `label`, in the order of its names.

    `series` has for each name its (query, colour).
    """
    panel = barchart.Panel()
    targets = [
        query(Line(expr, ""), ref).format(PromQueryFormat.TABLE).instant()
        for ref, (expr, _) in refs(series.values())
    ]
    describe(panel, about, targets)
    panel.unit(unit).decimals(1).min(0).thresholds(thresholds(((None, NEUTRAL),))).x_field(label)
    panel.color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    panel.orientation(kinds.VizOrientation.VERTICAL).stacking(kinds.StackingMode.NONE)
    panel.show_value(kinds.VisibilityMode.NEVER).bar_width(0.95).group_width(0.8)
    panel.x_tick_label_rotation(-30).x_tick_label_max_length(18)
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(kinds.LegendDisplayMode.LIST)
        .placement(kinds.LegendPlacement.BOTTOM)
        .calcs([])
    )
    panel.tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.NONE))
    panel.transformations(_side_by_side(label, list(series)))
    for name, (_, color) in series.items():
        panel.override_by_name(name, properties({"color": {"mode": "fixed", "fixedColor": color}}))
    return panel.build()


def _side_by_side(label: str, names: list[str]) -> list[DataTransformerConfig]:
    fields = {f"Value #{ref}": name for ref, name in refs(names)}
    shown = [label, *fields]
    arrange = {
        "excludeByName": {},
        "includeByName": {},
        "indexByName": {name: index for index, name in enumerate(shown)},
        "renameByName": {label: label, **fields},
    }
    return [
        DataTransformerConfig(id_val="merge", options={}),
        DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": shown}}),
        DataTransformerConfig(
            id_val="sortBy", options={"fields": {}, "sort": [{"field": label, "desc": False}]}
        ),
        DataTransformerConfig(id_val="organize", options=arrange),
    ]
