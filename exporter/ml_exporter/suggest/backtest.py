"""What the alerts that a Prometheus has loaded would have done in its past, with today's limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ml_exporter.suggest.prometheus import AlertRule, Prometheus, PrometheusError

_FINEST, _COARSEST = 15.0, 300.0
_LOOKS_A_WAIT = 3

_MATCHERS = r'\{(?:[^}"]|"(?:[^"\\]|\\.)*")*\}'
_LIMIT = re.compile(
    rf"(?<![\w:])(?P<series>ml_\w*(?:_target|_limit|_limit_seconds|_objective_ratio)(?![\w:])(?:{_MATCHERS})?)(?!\s*[\[@(])"
)
_RECORDED = re.compile(r"(?<![\w:])(?:ALERTS(?![\w:])|[a-z_]\w*:\w+(?::\w+)*)")
_NESTED = 10


@dataclass(frozen=True)
class Firing:
    """One time that an alert would have fired for a series. Times in Unix seconds."""

    start: float
    end: float
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Verdict:
    """What an alert would have done for one model; `unjudged` says why that cannot be told."""

    rule: AlertRule
    firings: tuple[Firing, ...] = ()
    unjudged: str = ""


def backtest(
    prometheus: Prometheus, models: Iterable[str], start: float, end: float
) -> dict[str, list[Verdict]]:
    """Return what each alert about models would have done, by model."""
    verdicts: dict[str, list[Verdict]] = {name: [] for name in models}
    rules = prometheus.rules()
    history = _History(prometheus, rules.records, start, end)
    for rule in rules.alerts:
        if "model" not in rule.condition:
            continue
        firings: dict[str, list[Firing]] = {}
        unjudged = ""
        try:
            firings = history.firings(rule)
        except PrometheusError as error:
            unjudged = str(error)
        for name, found in verdicts.items():
            found.append(Verdict(rule, tuple(firings.get(name, ())), unjudged))
    return verdicts


def with_limits_of(condition: str, moment: float) -> str:
    """Return a condition that compares with the limits and targets of one moment, whatever they were before."""
    return _LIMIT.sub(lambda match: f"{match['series']} @ {moment:.3f}", condition)


def episodes(
    times: Iterable[float], step: float, wait: float, keep_firing: float
) -> Iterator[tuple[float, float]]:
    """Yield from when to when an alert fires whose condition holds at these times, looked at each `step`."""
    firing: tuple[float, float] | None = None
    since = last = float("-inf")
    for moment in times:
        if moment - last > 1.5 * step:
            since = moment
        last = moment
        if firing is not None and moment - firing[1] <= max(keep_firing, 1.5 * step):
            firing = (firing[0], moment)
        elif moment - since >= wait:
            if firing is not None:
                yield firing
            firing = (moment, moment)
    if firing is not None:
        yield firing


def look_every(rule: AlertRule) -> float:
    """Return the seconds between looks: a few in the time that the alert waits."""
    return min(max(rule.wait / _LOOKS_A_WAIT, _FINEST), _COARSEST)


class _History:
    """What was recorded in a time, and what conditions make of it."""

    def __init__(self, prometheus: Prometheus, records: Mapping[str, str], start: float, end: float) -> None:
        self._prometheus, self._records = prometheus, records
        self._start, self._end = start, end
        self._known: dict[str, bool] = {}

    def firings(self, rule: AlertRule) -> dict[str, list[Firing]]:
        """Return when the alert would have fired, by model; PrometheusError where that cannot be told."""
        step = look_every(rule)
        condition = with_limits_of(self._judgeable(rule.condition), self._end)
        firings: dict[str, list[Firing]] = {}
        for series in self._prometheus.between(condition, self._start, self._end, step):
            times = (moment for moment, _ in series.samples)
            for first, last in episodes(times, step, rule.wait, rule.keep_firing):
                firing = Firing(first, last, series.labels)
                firings.setdefault(series.labels.get("model", ""), []).append(firing)
        for several in firings.values():
            several.sort(key=lambda firing: firing.start)
        return firings

    def _judgeable(self, condition: str) -> str:
        """Put the conditions of recording rules in the place of series that were not recorded.

        Without them an alert would look silent.
        """
        for _ in range(_NESTED):
            lacking = [name for name in dict.fromkeys(_RECORDED.findall(condition)) if not self._has(name)]
            if not lacking:
                return condition
            for name in lacking:
                condition = expanded(condition, name, self._records)
        raise PrometheusError("its recording rules need each other")

    def _has(self, name: str) -> bool:
        """Tell whether a series was recorded; one that is made of recorded ones only may have had no samples."""
        if name not in self._known:
            seconds = max(round(self._end - self._start), 1)
            query = f"count(last_over_time({name}[{seconds}s]))"
            self._known[name] = bool(self._prometheus.at(query, self._end))
            parts = set(_RECORDED.findall(self._records.get(name, "")))
            if parts and all(map(self._has, parts)):
                self._known[name] = True
        return self._known[name]


def expanded(condition: str, name: str, records: Mapping[str, str]) -> str:
    """Return a condition with a recorded series replaced by what records it; PrometheusError where it cannot be."""
    if name not in records or re.search(rf"(?<![\w:]){name}\s*[\[{{]", condition):
        raise PrometheusError(f"{name} was not recorded")
    return re.sub(rf"(?<![\w:]){name}(?![\w:])", lambda _: f"({records[name]})", condition)
