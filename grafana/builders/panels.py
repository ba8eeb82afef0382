"""The kinds of panels the dashboards use, each in one house style."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import (
    DashboardFieldConfigSourceOverrides,
    DynamicConfigValue,
    FieldColorModeId,
    MatcherConfig,
    Panel,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)

from .names import BAD, GOOD, NEUTRAL, NOTICE, UNKNOWN

T = TypeVar("T")
DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
PanelBuilder = (
    timeseries.Panel | table.Panel | stat.Panel | statetimeline.Panel | bargauge.Panel | barchart.Panel
)


@dataclass(frozen=True, slots=True)
class About:
    """What a panel says of itself: the question, what a good answer is, and the alerts that watch it.

    `empty` tells why there may be nothing to show; the panel shows it in place of data. Left out, it is
    the dashboard's.
    """

    question: str
    good: str
    alerts: Sequence[str] = ()
    empty: str = ""

    def text(self) -> str:
        """Return the panel's description."""
        good = f"Good: {self.good}"
        if not self.alerts:
            return f"{good} No alert watches this."
        return f"{good} Alert{'s' if len(self.alerts) > 1 else ''}: {', '.join(self.alerts)}."


@dataclass(frozen=True, slots=True)
class Line:
    """One query and how its series are called and drawn. `style` is one of STYLES."""

    expr: str
    legend: str = "__auto"
    style: str = ""


# Field properties by style: limits are red dashes, bounds thin grey dashes, references and
# estimates dots.
STYLES: Mapping[str, Mapping[str, object]] = {
    "limit": {
        "color": {"mode": "fixed", "fixedColor": BAD},
        "custom.lineStyle": {"fill": "dash", "dash": [10, 6]},
        "custom.lineWidth": 1,
    },
    "bound": {
        "color": {"mode": "fixed", "fixedColor": NEUTRAL},
        "custom.lineStyle": {"fill": "dash", "dash": [4, 4]},
        "custom.lineWidth": 1,
    },
    "reference": {
        "color": {"mode": "fixed", "fixedColor": NOTICE},
        "custom.lineStyle": {"fill": "dot", "dash": [2, 6]},
        "custom.lineWidth": 1,
    },
    "estimate": {
        "color": {"mode": "fixed", "fixedColor": UNKNOWN},
        "custom.lineStyle": {"fill": "dot", "dash": [2, 6]},
        "custom.lineWidth": 2,
    },
}


def graph(
    about: About, lines: Sequence[Line], *, unit: str, decimals: int | None = None, low: float | None = None
) -> Panel:
    """Return a time series panel. `unit` is one of Grafana's; `low` fixes the axis' lower end."""
    panel = timeseries.Panel()
    describe(panel, about, [query(line, ref) for ref, line in refs(lines)])
    panel.unit(unit).line_width(2).fill_opacity(0).show_points(kinds.VisibilityMode.NEVER).span_nulls(False)
    panel.thresholds(thresholds(((None, GOOD),)))
    panel.color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    panel.tooltip(
        common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING)
    )
    panel.legend(_legend(True))
    if decimals is not None:
        panel.decimals(decimals)
    if low is not None:
        panel.min(low)
    for ref, line in refs(lines):
        if line.style:
            panel.override_by_query(ref, properties(STYLES[line.style]))
    return panel.build()


def number(
    about: About,
    expr: str,
    *,
    unit: str,
    steps: Iterable[tuple[float | None, str]] = ((None, GOOD),),
    mappings: Iterable[ValueMapping] = (),
    no_value: str = "no data",
) -> Panel:
    """Return a stat panel of one number, now. `steps` are (from, colour), the first from None."""
    panel = stat.Panel()
    describe(panel, about, [query(Line(expr), "A").instant()])
    panel.unit(unit).no_value(no_value).mappings(list(mappings)).thresholds(thresholds(steps))
    panel.color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
    panel.graph_mode(kinds.BigValueGraphMode.NONE).color_mode(kinds.BigValueColorMode.BACKGROUND)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    return panel.build()


def bars(
    about: About, expr: str, legend: str, *, unit: str, steps: Iterable[tuple[float | None, str]]
) -> Panel:
    """Return a bar gauge with one bar per series, now."""
    panel = bargauge.Panel()
    describe(panel, about, [query(Line(expr, legend), "A").instant()])
    panel.unit(unit).decimals(2).min(0).thresholds(thresholds(steps)).no_value("none")
    panel.color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
    panel.display_mode(kinds.BarGaugeDisplayMode.BASIC).orientation(kinds.VizOrientation.HORIZONTAL)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    return panel.build()


def timeline(about: About, lines: Sequence[Line], mappings: Iterable[ValueMapping]) -> Panel:
    """Return a state timeline: one row per series, its values shown by words and colours."""
    panel = statetimeline.Panel()
    describe(panel, about, [query(line, ref) for ref, line in refs(lines)])
    panel.unit("none").mappings(list(mappings)).thresholds(thresholds(((None, NEUTRAL),)))
    panel.color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
    panel.merge_values(True).show_value(kinds.VisibilityMode.AUTO).legend(_legend(False))
    return panel.build()


def for_each(variable: str, panel: Panel) -> Panel:
    """Show the panel once for each chosen value of a variable, two side by side, over the whole width."""
    panel.repeat, panel.repeat_direction, panel.max_per_row = variable, "h", 2
    return panel


def linked(panel: Panel, title: str, url: str) -> Panel:
    """Let a click on any series or bar of the panel offer the link."""
    assert panel.field_config is not None
    link = properties({"links": [{"title": title, "url": url}]})
    every = MatcherConfig(id_val="byRegexp", options="/.*/")
    panel.field_config.overrides.append(DashboardFieldConfigSourceOverrides(matcher=every, properties=link))
    return panel


def words(texts: Mapping[float, tuple[str, str]]) -> ValueMap:
    """Return a mapping of values to (word, colour)."""
    results = {
        f"{value:g}": ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(texts.items())
    }
    return ValueMap(options=results)


def refs(items: Iterable[T]) -> Iterator[tuple[str, T]]:
    """Pair queries with their refIds, A to Z."""
    return zip(ascii_uppercase, items, strict=False)


def query(line: Line, ref: str) -> prometheus.Dataquery:
    """Return a range query; a caller that wants the newest value only makes it an instant one."""
    return (
        prometheus.Dataquery()
        .datasource(DATASOURCE)
        .ref_id(ref)
        .expr(line.expr)
        .legend_format(line.legend)
        .range()
    )


def describe(panel: PanelBuilder, about: About, targets: list[prometheus.Dataquery]) -> None:
    """Give a panel its question, its explanation, its data source and its queries."""
    panel.title(about.question).description(about.text()).datasource(DATASOURCE).transparent(False)
    panel.no_value(about.empty)
    for target in targets:
        panel.with_target(target)


def thresholds(steps: Iterable[tuple[float | None, str]]) -> ThresholdsConfig:
    """Return colours by value: pairs of (from, colour), the first from None."""
    values = [Threshold(value=start, color=color) for start, color in steps]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(values)


def properties(values: Mapping[str, object]) -> list[DynamicConfigValue]:
    """Return the properties of a field override."""
    return [DynamicConfigValue(id_val=key, value=value) for key, value in values.items()]


def _legend(show: bool) -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(show).display_mode(kinds.LegendDisplayMode.LIST)
    return legend.placement(kinds.LegendPlacement.BOTTOM).calcs([])
