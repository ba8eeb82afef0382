"""The parts of the status page that are of all models: what is wrong, the table of models, logs, reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from urllib.parse import quote

from ml_exporter.web.markup import WORDS, code, icon, state, table, text
from ml_exporter.web.status import LEVELS, Level, LogStatus, Measure, ModelStatus, Report, Trouble
from ml_exporter.words import duration, listed, number, percent, plural, size

_SHOWN = 12
"""How many troubles the overview names."""
_JUDGED: tuple[Level, ...] = ("notice", "fine")


def overview(troubles: Sequence[Trouble], report: Report | None, shown: Collection[int]) -> str:
    """Return what is wrong now, the worst first: the exporter's own troubles, then those of models.

    `shown` are the places of models that the page shows in full.
    """
    models = report.models if report else ()
    items = [(trouble, "The exporter") for trouble in troubles]
    items += [
        (trouble, link(place, model, shown))
        for place, model in enumerate(models)
        for trouble in model.troubles
    ]
    items.sort(key=lambda item: LEVELS.index(item[0].level))
    worst = items[0][0].level if items and items[0][0].level != "notice" else _calm(models)
    listed_items = "".join(_trouble(trouble, f"{subject}: ") for trouble, subject in items[:_SHOWN])
    more = (
        f"<p>And {plural(len(items) - _SHOWN, 'more')}, below at their models.</p>\n"
        if len(items) > _SHOWN
        else ""
    )
    return (
        f'<section class="card {worst}" aria-labelledby="now">\n<h2 id="now" class="headline">'
        f"{state(worst, _headline(troubles, models))}</h2>\n<p>{_counts(models)}</p>\n"
        f'{f"""<ul class="troubles">{listed_items}</ul>""" if items else ""}\n{more}</section>\n'
    )


def trouble_list(troubles: Iterable[Trouble]) -> str:
    """Return the troubles of one model."""
    items = "".join(_trouble(trouble) for trouble in troubles)
    return f'<ul class="troubles">{items}</ul>\n' if items else ""


def link(place: int, model: ModelStatus, shown: Collection[int]) -> str:
    """Return a link to a model's card, on this page or on one of its own."""
    page = "" if place in shown else f"/?model={quote(model.name, safe='', errors='replace')}"
    return f'<a href="{page}#m{place}">{text(model.name)}</a>'


def model_table(models: Sequence[ModelStatus], time: float, shown: Collection[int]) -> str:
    """Return all models, a row each, the worst first; `time` is when the numbers were computed."""
    if not models:
        return ""
    rows = (_model_row(place, model, time, shown) for place, model in worst_first(models))
    heads = ("Model", "State", "Quality", "Drift", "Inputs", "Labels", "Newest prediction")
    return "<h2>Models</h2>\n" + table(
        "The champion of each model over its alert window", heads, rows, "models"
    )


def worst_first(models: Sequence[ModelStatus]) -> list[tuple[int, ModelStatus]]:
    """Return models with their places in the configuration, the worst first."""
    return sorted(enumerate(models), key=lambda item: LEVELS.index(item[1].level))


def log_table(logs: Sequence[LogStatus]) -> str:
    """Return all logs: whether they can be read, how far they are, and what became of their lines."""
    if not logs:
        return ""
    heads = ("Model", "Log", "State", "Behind", "Accepted#", "Rejected", "Path")
    rows = map(_log_row, sorted(logs, key=lambda log: not log.problem))
    return "<h2>Logs</h2>\n" + table("Logs that are read, and their lines since the first", heads, rows)


def _calm(models: Sequence[ModelStatus]) -> Level:
    """How all of it stands where nothing is wrong."""
    return "fine" if any(model.level in _JUDGED for model in models) else "unjudged"


def _headline(troubles: Sequence[Trouble], models: Sequence[ModelStatus]) -> str:
    if any(trouble.level == "failing" for trouble in troubles):
        return "The exporter itself is in trouble"
    counts = Counter(model.level for model in models)
    if counts["failing"]:
        return f"{plural(counts['failing'], 'model')} failing"
    if counts["warning"]:
        return f"{plural(counts['warning'], 'model')} with warnings"
    if troubles:
        return "The exporter has a warning"
    return "Nothing is wrong" if any(counts[level] for level in _JUDGED) else "Nothing can be judged yet"


def _counts(models: Sequence[ModelStatus]) -> str:
    counts = Counter(model.level for model in models)
    parts = [f"{counts[level]:,} {WORDS[level].lower()}" for level in LEVELS if counts[level]]
    if not parts:
        return "No model has been evaluated yet."
    return f"Of {plural(len(models), 'model')}: {listed(parts)}."


def _trouble(trouble: Trouble, subject: str = "") -> str:
    alert = f' <span class="alert">{text(trouble.alert)}</span>' if trouble.alert else ""
    return (
        f'<li><span class="{trouble.level}">{icon(trouble.level)}</span><div>'
        f"<p>{subject}<strong>{text(trouble.title)}</strong>{alert}</p><p>{text(trouble.text, 600)}</p></div></li>\n"
    )


def _model_row(place: int, model: ModelStatus, time: float, shown: Collection[int]) -> tuple[str, ...]:
    drift = f"{model.drifted} of {model.compared} drifted" if model.compared else "not compared"
    inputs = "fine" if model.checked else "not checked"
    return (
        link(place, model, shown),
        state(model.level),
        _measures(model.measures),
        drift,
        f"{plural(model.exceeded, 'check')} exceeded" if model.exceeded else inputs,
        "none yet" if model.coverage is None else percent(model.coverage),
        "none yet" if model.newest is None else f"{duration(time - model.newest)} ago",
    )


def _measures(measures: Iterable[Measure]) -> str:
    return "<br>".join(_short(measure) for measure in measures) or "no target"


def _short(measure: Measure) -> str:
    if measure.found is None:
        return f"{code(measure.metric)} unknown"
    return f"{code(measure.metric)} {number(measure.found.value)}"


def _log_row(log: LogStatus) -> tuple[str, ...]:
    return (
        text(log.model),
        text(log.source),
        state("failing", "Down") if log.problem else state("fine", "Up"),
        text(log.problem, 300) if log.problem else _behind(log),
        f"{log.accepted:,}",
        "<br>".join(_rejected(log)) or "none",
        f"<code>{text(log.path, 300)}</code>",
    )


def _behind(log: LogStatus) -> str:
    if not log.lag and not log.behind:
        return "read to its end"
    far = "" if log.behind is None else f", {duration(log.behind)}"
    return f"{size(log.lag)}{far}"


def _rejected(log: LogStatus) -> Iterator[str]:
    for reason, count in log.rejected:
        yield f"{text(reason.replace('_', ' '))} {count:,}"
