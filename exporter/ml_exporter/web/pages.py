"""The status page: plain HTML without scripts, everything that comes from outside escaped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from ml_exporter.web.markup import ICONS, text
from ml_exporter.web.model_card import model_card
from ml_exporter.web.sections import log_table, model_table, overview, worst_first
from ml_exporter.web.status import ModelStatus, Report, Status
from ml_exporter.web.style import STYLE
from ml_exporter.words import duration

_LINKS = (
    ("/metrics", "Metrics"),
    ("/-/ready", "Ready"),
    ("/-/healthy", "Healthy"),
    ("/config", "Configuration"),
)
_CARDS = 12
"""Up to so many models each has its card on the page; of more, those in trouble."""
_ALL_OPEN = 3
"""Up to so many cards are all open."""

_LEGEND = """<h2>How to read this page</h2>
<ul>
<li>It shows how things stood at the last evaluation; load it again for newer numbers. Alerts wait until
something has lasted, so that not everything here has paged somebody.</li>
<li>Brackets hold 95 % bounds. A target counts as missed only when the bound on its far side is beyond it:
a small sample alone is no trouble.</li>
<li>A column has drifted when its distance exceeds both its limit and its noise, which is what it shows
without any drift. In the pictures bars are now and the line is the reference; the bar that stands apart
holds missing values.</li>
<li>Names such as MLModelDrift are alerts: each has a runbook of that name.</li>
</ul>
"""


class StatusPage:
    """Makes the page; what comes from a report is written once, and shown again as long as it is the newest."""

    def __init__(self) -> None:
        self._drawn: tuple[Report, str] | None = None

    def html(self, status: Status, only: str | None = None) -> str:
        """Return the page, or that of one model; KeyError where there is no model of that name."""
        report = status.report
        shown = [] if report is None else _shown(report.models, only)
        body = ""
        if report is not None:
            body = self._body(report, shown) if only is None else report_body(report, shown)
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{_title(status)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{ICONS}{_head(status)}"
            f"<main>\n{overview(status.troubles, report, shown)}{body}{_LEGEND}</main>\n</body>\n</html>\n"
        )

    def _body(self, report: Report, shown: Sequence[int]) -> str:
        drawn = self._drawn
        if drawn is None or drawn[0] is not report:
            self._drawn = drawn = report, report_body(report, shown)
        return drawn[1]


def report_body(report: Report, shown: Sequence[int]) -> str:
    """Return what the page shows of a report below its overview; `shown` are the models with a card."""
    models = report.models
    opened = len(shown) <= _ALL_OPEN
    cards = "".join(
        model_card(
            models[place], report.detail(place), place, report.time, opened or _pressing(models[place])
        )
        for place in shown
    )
    title = "Each model" if len(shown) == len(models) else "In detail"
    return (
        f"{model_table(models, report.time, shown)}{f'<h2>{title}</h2>' if cards else ''}\n{cards}"
        f"{log_table(report.logs)}"
    )


def _shown(models: Sequence[ModelStatus], only: str | None) -> list[int]:
    """Return the places of models that are shown in full: all of a few, else those in trouble, worst first."""
    if only is not None:
        return [{model.name: place for place, model in enumerate(models)}[only]]
    ordered = worst_first(models)
    if len(models) > _CARDS:
        ordered = [item for item in ordered if _pressing(item[1])][:_CARDS]
    return [place for place, _ in ordered]


def _pressing(model: ModelStatus) -> bool:
    return model.level in ("failing", "warning")


def _head(status: Status) -> str:
    version = f"{_evaluated(status)} Version {text(status.version)}."
    return f"<header><h1>ml_exporter</h1><p>{version}</p>{_navigation()}</header>\n"


def _title(status: Status) -> str:
    models = status.report.models if status.report else ()
    failing = sum(model.level == "failing" for model in models)
    if any(trouble.level == "failing" for trouble in status.troubles):
        return "ml_exporter: in trouble"
    return f"ml_exporter: {failing} failing" if failing else "ml_exporter"


def _evaluated(status: Status) -> str:
    if status.report is None:
        return "Nothing was evaluated yet."
    moment = datetime.fromtimestamp(status.report.time, UTC).isoformat(timespec="seconds")
    age = duration(status.clock - status.report.time)
    return f'Evaluated <time datetime="{moment}">{age} ago</time>.'


def _navigation() -> str:
    items = "".join(f'<li><a href="{path}">{name}</a></li>' for path, name in _LINKS)
    return f'<nav aria-label="Pages"><ul>{items}</ul></nav>\n'
