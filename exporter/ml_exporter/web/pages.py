"""The landing page: plain HTML without scripts, everything that comes from outside escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from html import escape

STYLE = """
:root { color-scheme: light dark; font: 100%/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; opacity: .8; }
th, td { border-bottom: 1px solid #8886; overflow-wrap: anywhere; padding: .3rem .8rem .3rem 0; }
th, td { text-align: left; vertical-align: top; }
dl { display: grid; gap: 0 .8rem; grid-template-columns: max-content 1fr; margin: 0; }
dd { margin: 0; }
nav ul { display: flex; flex-wrap: wrap; gap: 1rem; list-style: none; padding: 0; }
""".strip()

STYLE_SOURCE = f"'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'"

_LINKS = (
    ("/metrics", "Metrics"),
    ("/-/ready", "Ready"),
    ("/-/healthy", "Healthy"),
    ("/config", "Configuration"),
)


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model; `state` are lines of a label and what is to be said under it."""

    name: str
    task: str
    team: str
    versions: tuple[str, ...] = ()
    state: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One log of a model: which (predictions, labels), where, whether it can be read, and how far it is."""

    model: str
    source: str
    path: str
    up: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """What the landing page shows. Times are Unix times; `unavailable` counts statistics by reason."""

    version: str
    clock: float
    evaluated: float | None = None
    not_ready: str | None = None
    models: tuple[ModelStatus, ...] = ()
    sources: tuple[SourceStatus, ...] = ()
    unavailable: tuple[tuple[str, int], ...] = ()


def landing_page(status: Status) -> str:
    """Return the page as HTML."""
    ready = "ready" if status.not_ready is None else f"not ready: {_text(status.not_ready)}"
    parts = (
        f"<p>Version {_text(status.version)}, {ready}. {_evaluated(status)}</p>",
        _navigation(),
        _section(
            "Models", "Configured models", ("Model", "Task", "Team", "Versions", "State"), _models(status)
        ),
        _section("Logs", "Logs that are read", ("Model", "Log", "Path", "State", "Note"), _sources(status)),
        _section(
            "Unavailable", "Statistics that cannot be computed now", ("Reason", "Count"), _reasons(status)
        ),
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>ml_exporter</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>ml_exporter</h1>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )


def _text(value: str) -> str:
    # bdi keeps text that runs from right to left inside its place.
    return f"<bdi>{escape(value)}</bdi>"


def _evaluated(status: Status) -> str:
    if status.evaluated is None:
        return "Nothing was evaluated yet."
    moment = datetime.fromtimestamp(status.evaluated, UTC).isoformat(timespec="seconds")
    age = max(0.0, status.clock - status.evaluated)
    return f'Evaluated <time datetime="{moment}">{age:.0f} seconds ago</time>.'


def _navigation() -> str:
    items = "".join(f'<li><a href="{path}">{name}</a></li>' for path, name in _LINKS)
    return f'<nav aria-label="Pages"><ul>{items}</ul></nav>\n'


def _section(title: str, caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(f"<tr>{_cells(row)}</tr>\n" for row in rows)
    if not body:
        return f"<h2>{title}</h2>\n<p>None.</p>\n"
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f"<h2>{title}</h2>\n<table>\n<caption>{caption}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"
    )


def _cells(row: Sequence[str]) -> str:
    first, *rest = row
    return f'<th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest)


def _models(status: Status) -> Iterable[Sequence[str]]:
    for model in status.models:
        versions = ", ".join(map(_text, model.versions)) or "none seen"
        lines = "".join(f"<dt>{_text(label)}</dt><dd>{_text(text)}</dd>" for label, text in model.state)
        state = f"<dl>{lines}</dl>" if lines else ""
        yield _text(model.name), _text(model.task), _text(model.team), versions, state


def _sources(status: Status) -> Iterable[Sequence[str]]:
    for log in status.sources:
        state = "up" if log.up else "down"
        yield _text(log.model), _text(log.source), f"<code>{_text(log.path)}</code>", state, _text(log.note)


def _reasons(status: Status) -> Iterable[Sequence[str]]:
    for reason, count in status.unavailable:
        yield _text(reason), str(count)
