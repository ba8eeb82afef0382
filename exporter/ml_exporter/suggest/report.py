"""Prints what is proposed as YAML, and what the alerts would have done as comments in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import yaml

from ml_exporter.config import Config, Model
from ml_exporter.suggest.backtest import Firing, Verdict, backtest
from ml_exporter.suggest.prometheus import Prometheus, selector
from ml_exporter.suggest.propose import Proposal, proposals

_DAY = 86_400.0
_FINEST = 60.0
_LOOKS = 1_000
_SHOWN = 5
_HIDDEN_LABELS = ("model", "team", "job")


@dataclass(frozen=True)
class Span:
    """The time of which there are samples, in Unix seconds."""

    start: float
    end: float

    def __str__(self) -> str:
        seconds = self.end - self.start
        for unit, length in (("days", _DAY), ("hours", 3_600.0)):
            if seconds >= length:
                return f"{seconds / length:.3g} {unit}"
        return f"{seconds / 60:.3g} minutes"


def report(config: Config, prometheus: Prometheus, days: float, now: float) -> tuple[str, list[str]]:
    """Return the text, which is YAML as a whole, and a sentence for each model without a history."""
    spans = {model.name: _span(prometheus, model, days, now) for model in config.models}
    problems = [
        f"model {name}: Prometheus has no ml_model_info of it in the last {days:g} days; is its exporter scraped?"
        for name, span in spans.items()
        if span is None
    ]
    known = {name: span for name, span in spans.items() if span is not None}
    if not known:
        return "", problems
    lines = ["models:"]
    for model in config.models:
        if model.name in known:
            lines += _model(prometheus, model, known[model.name])
    whole = Span(min(span.start for span in known.values()), max(span.end for span in known.values()))
    lines += _backtest(backtest(prometheus, known, whole.start, whole.end), whole)
    return "\n".join(lines) + "\n", problems


def _span(prometheus: Prometheus, model: Model, days: float, now: float) -> Span | None:
    """Find the first and the last look at a model, coarsely and then within one step."""
    info = selector("ml_model_info", model=model.name)
    step = max(_FINEST, float(round(days * _DAY / _LOOKS)))
    coarse = _moments(
        prometheus, f"present_over_time({info}[{step:.0f}s])", now - days * _DAY, now + step, step
    )
    if not coarse:
        return None
    fine = max(15.0, step / _LOOKS)
    starts, ends = (
        _moments(prometheus, info, moment - step, moment, fine) for moment in (min(coarse), max(coarse))
    )
    return Span(min(starts or coarse), min(max(ends or coarse), now))


def _moments(prometheus: Prometheus, query: str, start: float, end: float, step: float) -> list[float]:
    return [moment for series in prometheus.between(query, start, end, step) for moment, _ in series.samples]


def _model(prometheus: Prometheus, model: Model, span: Span) -> Iterator[str]:
    step = max(_FINEST, (span.end - span.start) / _LOOKS)
    found = list(proposals(model, lambda query: prometheus.between(query, span.start, span.end, step)))
    yield f"# From {span}, to {_time(span.end)}. What 99 of 100 looks kept; a comment says what was seen."
    if span.end - span.start < 10 * model.alert_window.seconds:
        yield f"# That is less than ten times the alert window of {model.alert_window.name}: look again later."
    yield f"- name: {_yaml(model.name)}"
    if not found:
        yield f"# There is nothing in the window {model.alert_window.name} to propose anything from."
    yield from _tree(found, 1)


def _tree(found: Sequence[Proposal], depth: int) -> Iterator[str]:
    """Write nested keys, one to a line, in the order in which they come."""
    indent = "  " * depth
    for key in dict.fromkeys(proposal.path[depth - 1] for proposal in found):
        below = [proposal for proposal in found if proposal.path[depth - 1] == key]
        if len(below[0].path) == depth:
            yield f"{indent}{_yaml(key)}: {_yaml(below[0].value)}  # {_printable(below[0].why)}"
        else:
            yield f"{indent}{_yaml(key)}:"
            yield from _tree(below, depth + 1)


def _backtest(verdicts: Mapping[str, Sequence[Verdict]], span: Span) -> Iterator[str]:
    yield f"\n# What the alerts that Prometheus has loaded would have done in {span}, with today's limits:"
    if not any(verdicts.values()):
        yield "# it has loaded none; rule_files: [prometheus/rules/*.yml]"
        return
    for name, found in verdicts.items():
        yield f"# {_printable(name)}"
        yield from (f"#   {_firings(verdict, span)}" for verdict in found if verdict.firings)
        others = [verdict for verdict in found if not verdict.firings]
        unjudged: dict[str, list[str]] = {}
        for verdict in others:
            unjudged.setdefault(verdict.unjudged, []).append(verdict.rule.name)
        fired = {verdict.rule.name for verdict in found if verdict.firings}
        for reason, names in unjudged.items():
            told = f"cannot be told, since {_printable(reason)}" if reason else "never"
            yield f"#   {told}: {', '.join(name for name in dict.fromkeys(names) if name not in fired)}"


def _firings(verdict: Verdict, span: Span) -> str:
    number = len(verdict.firings)
    times = "once" if number == 1 else f"{number} times"
    shown = "; ".join(map(_firing, verdict.firings[:_SHOWN]))
    more = f"; and {number - _SHOWN} more" if number > _SHOWN else ""
    severity = f" ({verdict.rule.severity})" if verdict.rule.severity else ""
    return f"{verdict.rule.name}{severity} would have fired {times} in {span}: {shown}{more}"


def _firing(firing: Firing) -> str:
    labels = ", ".join(
        f"{name} {_printable(text)}"
        for name, text in sorted(firing.labels.items())
        if name not in _HIDDEN_LABELS
    )
    return f"{_time(firing.start)} for {_duration(firing.end - firing.start)} ({labels})"


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")


def _duration(seconds: float) -> str:
    minutes = max(round(seconds / 60), 1)
    if minutes < 120:
        return f"{minutes}m"
    return f"{minutes / 60:.3g}h" if minutes < 2_880 else f"{minutes / 1_440:.3g}d"


def _yaml(value: object) -> str:
    """Return a scalar as YAML writes it on one line."""
    text: str = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=float("inf"))
    return text.strip().removeprefix("[").removesuffix("]")


def _printable(text: str) -> str:
    """Return a text of others in a form that stays within its comment."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
