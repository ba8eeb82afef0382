"""Every query of a dashboard: listed, given values for its variables, and run as Grafana would run it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests
from tests.tools import REPOSITORY

DASHBOARDS = REPOSITORY / "grafana" / "dashboards"
ALL = ".+"
MOST_LINES = 5
LABEL_VALUES = re.compile(r"label_values\((.+), *(\w+)\)")
QUERY_RESULT = re.compile(r"query_result\((.+)\)")
LEGEND_LABEL = re.compile(r"{{\s*(\w+)\s*}}")

Json = dict[str, Any]
Series = list[Json]

_FLEET, _MODEL, _DRIFT = "Models: fleet", "Models: one model", "Models: drift and data"
_SERVING, _EXPORTER = "Models: serving and resources", "Models: exporter"
_CALM = "no alert fires"
_EARLY = "version 2 begins in July of the simulated year, half an hour after the demo's start"
_BINARY = "two classes have their metrics in the table of all metrics"
_NO_LIMIT = "the demo has no such limit"
_WEEKS = "hours are those of the clock, and three weeks of them are needed"
_ACCEPTED = "every line is accepted"
_ONE_BY_ONE = "the demo asks for the drift of columns one by one"
_NOT_HERE = "not every machine has this"
_OF_SOME_MACHINES = (
    "What does work wait for?",
    "When did all work stand still?",
    *(f"Which process is closest to a limit? [{letter}]" for letter in "BCDE"),
    "How much of the memory that they may take do the processes take?",
    "How often do the processes wait for their CPU limit?",
    "How busy are the GPUs?",
    "How full is the GPUs' memory?",
    "How hot are the GPUs?",
    "How much power do the GPUs take?",
)
_NO_PUSH = "the demo's records come in logs"
_NO_HOOK = "the demo has no pipeline to retrain, and no hook runs"
_SEASON = "How far is the last hour from the same hour of earlier weeks?"
_TRAFFIC_SEASON = "Is there more or less traffic than at this hour of earlier weeks?"
EMPTY_ON_A_CALM_DEMO = {
    **{
        f"{board}: annotation Firing alerts": _CALM for board in (_FLEET, _MODEL, _DRIFT, _SERVING, _EXPORTER)
    },
    f"{_FLEET}: Which alerts fire now? [A]": _CALM,
    f"{_FLEET}: What is wrong with exporters and hosts? [A]": _CALM,
    f"{_MODEL}: Which version is best, and how surely?": _EARLY,
    f"{_MODEL}: Does the difference in $metric become certain?": _EARLY,
    f"{_MODEL}: Which class does the champion know worst?": _BINARY,
    f"{_MODEL}: Are the champion's scores the probabilities they seem to be? [C]": _NO_LIMIT,
    f"{_MODEL}: {_SEASON} [A]": _WEEKS,
    f"{_MODEL}: {_SEASON} [B]": _NO_LIMIT,
    f"{_MODEL}: {_SEASON} [C]": _NO_LIMIT,
    f"{_MODEL}: How old is the champion?": "the demo's profiles do not tell when models were trained",
    f"{_MODEL}: What became of alerts that ask for retraining?": _NO_HOOK,
    f"{_MODEL}: How long ago was retraining asked for?": _NO_HOOK,
    f"{_DRIFT}: Do columns still go with each other as they did?": _ONE_BY_ONE,
    f"{_DRIFT}: Is it more than noise?": _ONE_BY_ONE,
    **{f"{_SERVING}: {title}": _NOT_HERE for title in _OF_SOME_MACHINES},
    f"{_EXPORTER}: How are pushed records answered?": _NO_PUSH,
    f"{_EXPORTER}: How many pushed records are on the disk?": _NO_PUSH,
    f"{_DRIFT}: {_TRAFFIC_SEASON} [A]": _WEEKS,
    f"{_DRIFT}: {_TRAFFIC_SEASON} [B]": _NO_LIMIT,
    f"{_DRIFT}: {_TRAFFIC_SEASON} [C]": _NO_LIMIT,
    f"{_DRIFT}: How much traffic is there, and how much was there a week ago? [B]": "it is not a week old",
    f"{_DRIFT}: What does every method say of every column? [G]": "p-values are off unless asked for",
    f"{_DRIFT}: Which checks does $column fail?": "the first column is the score, which no check is made of",
    f"{_DRIFT}: Which log lines are rejected, and why? [B]": _ACCEPTED,
}


@dataclass(frozen=True)
class Query:
    """One PromQL query of a dashboard; `name` tells where it stands: dashboard, title and letter."""

    name: str
    expr: str
    instant: bool = False
    panel: Json = field(default_factory=dict, compare=False)
    target: Json = field(default_factory=dict, compare=False)

    @property
    def panel_name(self) -> str:
        """The name of all queries of its panel, and its own where it stands in no panel."""
        return self.name.rsplit(" [", 1)[0]

    @property
    def repeats(self) -> bool:
        """Whether the panel is shown once for each value of a variable."""
        return "repeat" in self.panel


def dashboards() -> dict[str, Json]:
    """Return the committed dashboards by their files' names."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels(dashboard: Json) -> list[Json]:
    """Return the panels that show something, those in collapsed rows as well."""
    every = [inner for panel in dashboard["panels"] for inner in (panel, *panel.get("panels", ()))]
    return [panel for panel in every if panel["type"] != "row"]


def queries(dashboard: Json) -> list[Query]:
    """Return the queries of a dashboard's panels, variables and annotations, with variables in them."""
    title = dashboard["title"]
    return [
        *(
            Query(
                f"{title}: {panel['title']} [{target['refId']}]",
                target["expr"],
                target["instant"],
                panel,
                target,
            )
            for panel in panels(dashboard)
            for target in panel["targets"]
        ),
        *(
            Query(f"{title}: annotation {annotation['name']}", annotation["expr"])
            for annotation in dashboard["annotations"]["list"]
        ),
        *(
            Query(f"{title}: variable {variable['name']}", variable_expr(variable["query"]["query"]), True)
            for variable in query_variables(dashboard)
        ),
    ]


def names() -> set[str]:
    """Return the names of all queries and of all panels that have some."""
    every = [query for dashboard in dashboards().values() for query in queries(dashboard)]
    return {name for query in every for name in (query.name, query.panel_name)}


def query_variables(dashboard: Json) -> list[Json]:
    """Return the variables whose values come from Prometheus, in their order."""
    return [variable for variable in dashboard["templating"]["list"] if variable["type"] == "query"]


def variable_expr(text: str) -> str:
    """Return the PromQL in Grafana's label_values(...) or query_result(...)."""
    found = LABEL_VALUES.fullmatch(text) or QUERY_RESULT.fullmatch(text)
    assert found, f"neither label_values nor query_result: {text}"
    return found[1]


def substitute(expr: str, values: Mapping[str, str]) -> str:
    """Put values for $name; those of Grafana's own variables are called as there, without the $."""
    for name in sorted(values, key=len, reverse=True):
        expr = expr.replace(f"${{{name}}}", values[name]).replace(f"${name}", values[name])
    assert "$" not in expr, f"a variable without a value in {expr}"
    return expr


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus, asked at one moment for the time that a dashboard shows."""

    url: str
    shown: float
    now: float = field(default_factory=time.time)

    def ask(self, expr: str, *, instant: bool) -> Series:
        """Return the series of a query; an error of Prometheus fails with its text."""
        if instant:
            return self._get("query", {"query": expr, "time": str(self.now)})
        step = max(1.0, self.shown / 240)
        span = {"start": str(self.now - self.shown), "end": str(self.now), "step": str(step)}
        return self._get("query_range", {"query": expr, **span})

    def _get(self, path: str, parameters: dict[str, str]) -> Series:
        answer = requests.post(f"{self.url}/api/v1/{path}", data=parameters, timeout=30).json()
        assert answer["status"] == "success", f"{answer.get('error')} in {parameters['query']}"
        result: Series = answer["data"]["result"]
        return result


def variable_values(
    prometheus: Prometheus, dashboard: Json, builtin: Mapping[str, str], model: str = ""
) -> dict[str, list[str]]:
    """Return what each variable offers, by the variables before it: the first value, or all, is chosen.

    `model`, where it is given and offered, comes first.
    """
    offered: dict[str, list[str]] = {}
    for variable in query_variables(dashboard):
        text, chosen = variable["query"]["query"], {**builtin, **chosen_values(dashboard, offered)}
        series = prometheus.ask(substitute(variable_expr(text), chosen), instant=True)
        found = LABEL_VALUES.fullmatch(text)
        values = [
            one["metric"].get(found[2], "") if found else _by_regex(variable["regex"], one) for one in series
        ]
        found_values = list(dict.fromkeys(value for value in values if value))
        offered[variable["name"]] = sorted(found_values, key=lambda value: value != model)
    return offered


def run_queries(
    prometheus_url: str,
    expected_empty: Mapping[str, str] | None = None,
    *,
    shown_seconds: float = 900.0,
    rate_interval: str = "1m",
    model: str = "",
) -> dict[str, int]:
    """Run every query of every dashboard and return how many series each brought, by the query's name.

    `expected_empty` may be EMPTY_ON_A_CALM_DEMO: names of queries, or of panels for all of theirs;
    `shown_seconds` is the dashboards' time range, and `rate_interval` at least four scrape intervals.
    `model` is the one that is looked at, at first the first that the dashboard offers.

    All of these fail, in one message: a query that Prometheus refuses; one that brings nothing and is not
    in `expected_empty` (name to reason); a name there that no query has; a graph with more than five
    lines; a legend or a table's column that names a label the series do not have.
    """
    expected, counts, problems = dict(expected_empty or {}), dict[str, int](), list[str]()
    assert set(expected) <= names(), f"no such query: {sorted(set(expected) - names())}"
    prometheus = Prometheus(prometheus_url.rstrip("/"), shown_seconds)
    builtin = {"__rate_interval": rate_interval, "__range": f"{shown_seconds:.0f}s"}
    for dashboard in dashboards().values():
        offered = variable_values(prometheus, dashboard, builtin, model)
        results: dict[str, list[Series]] = {}
        for query in queries(dashboard):
            exprs = _exprs(query, {**builtin, **chosen_values(dashboard, offered)}, offered)
            results[query.name] = [prometheus.ask(expr, instant=query.instant) for expr in exprs]
            counts[query.name] = sum(map(len, results[query.name]))
            if not counts[query.name] and not {query.name, query.panel_name} & set(expected):
                problems.append(f"nothing from {query.name}: {'; '.join(exprs)}")
        problems += _wrong_shapes(dashboard, results)
    assert not problems, "\n".join(problems)
    return counts


def _exprs(query: Query, chosen: Mapping[str, str], offered: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what is asked: a repeated panel asks once for each value of its variable."""
    if not query.repeats:
        return [substitute(query.expr, chosen)]
    variable = query.panel["repeat"]
    return [substitute(query.expr, {**chosen, variable: value}) for value in offered[variable]]


def chosen_values(dashboard: Json, offered: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return what is chosen when nobody chooses: all, or the first value offered."""
    every = {variable["name"] for variable in query_variables(dashboard) if variable["includeAll"]}
    return {name: ALL if name in every else (values[0] if values else "") for name, values in offered.items()}


def _by_regex(regex: str, series: Json) -> str:
    # Grafana matches against the series as text.
    text = "{" + ",".join(f'{name}="{value}"' for name, value in series["metric"].items()) + "}"
    found = re.search(regex.strip("/"), text)
    return found[1] if found else ""


def _wrong_shapes(dashboard: Json, results: Mapping[str, list[Series]]) -> Iterator[str]:
    for panel in panels(dashboard):
        mine = [(query, results[query.name]) for query in queries(dashboard) if query.panel is panel]
        if panel["type"] == "timeseries":
            shown = [sum(map(len, times)) for times in zip(*(found for _, found in mine), strict=True)]
            yield from (f"{lines} lines in {panel['title']}" for lines in shown if lines > MOST_LINES)
        for query, found in mine:
            labels = set(LEGEND_LABEL.findall(query.target["legendFormat"]))
            missing = {label for one in found for series in one for label in labels - set(series["metric"])}
            yield from (f"{query.name}: no label {label} for the legend" for label in sorted(missing))
        yield from _missing_columns(panel, [series for _, found in mine for one in found for series in one])


def _missing_columns(panel: Json, series: Series) -> Iterator[str]:
    labels = {label for one in series for label in one["metric"]}
    fields = {
        name
        for step in panel.get("transformations", ())
        for name in (*step["options"].get("include", {}).get("names", ()), *_matrix(step["options"]))
    }
    wanted = {name for name in fields if not name.startswith("Value")}
    if series:
        yield from (f"{panel['title']}: no label {name} for a column" for name in sorted(wanted - labels))


def _matrix(options: Json) -> list[str]:
    return [options[key] for key in ("rowField", "columnField") if key in options]
