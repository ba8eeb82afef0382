"""One model on the status page: its troubles, quality, drift, inputs, labels, versions and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ml_exporter.web.markup import code, state, table, text
from ml_exporter.web.pictures import bounds, histogram, most_changed
from ml_exporter.web.sections import trouble_list
from ml_exporter.web.status import (
    Failure,
    LabelStatus,
    Measure,
    Missing,
    ModelDetail,
    ModelStatus,
    Number,
    Shift,
)
from ml_exporter.words import REASONS, duration, number, percent, plural

_VERDICTS = {"failing": "Missed", "fine": "Met"}


def model_card(model: ModelStatus, detail: ModelDetail, place: int, time: float, opened: bool) -> str:
    """Return a model's card; `place` is its anchor, `time` when its numbers were computed (Unix seconds)."""
    parts = (
        trouble_list(model.troubles),
        _facts(model, detail.predictions, time),
        _quality(model, detail.others),
        _drift(model, detail.shifts),
        _inputs(model, detail.failures),
        _labels(detail.labels, model.window),
        _versions(detail, model.window),
        _missing(detail.missing),
    )
    return (
        f'<details class="card {model.level}" id="m{place}"{" open" if opened else ""}>\n'
        f"<summary>{state(model.level)} <h3>{text(model.name)}</h3> "
        f'<span class="muted">{text(model.reason)}</span></summary>\n{"".join(parts)}</details>\n'
    )


def age(newest: float | None, time: float) -> str:
    """Return how old the newest prediction was at `time`."""
    return "none yet" if newest is None else f"{duration(time - newest)} ago"


def value(found: Number) -> str:
    """Return a number with its bounds."""
    if found.lower is None or found.upper is None:
        return number(found.value)
    return (
        f'{number(found.value)} <span class="whole">({number(found.lower)} to {number(found.upper)})</span>'
    )


def _facts(model: ModelStatus, predictions: int, time: float) -> str:
    team = f"team {text(model.team)}"
    newest = f"newest prediction {age(model.newest, time)}"
    rows = f"{plural(predictions, 'prediction')} over {text(model.window)}"
    return f'<p class="muted">{text(model.task)}, {team}; {rows}, {newest}</p>\n'


def _quality(model: ModelStatus, others: Sequence[Measure]) -> str:
    if not model.measures and not others:
        return ""
    rows = [_measure(measure) for measure in model.measures]
    heads = ("Metric", "State", "Value (95 % bounds)", "Target", "Against the target", "Rows#", "Profile#")
    caption = f"Champion over {text(model.window)} of mature predictions"
    shown = table(caption, heads, rows, "measures") if rows else "<p>No metric has a target.</p>\n"
    return f"<h4>Quality</h4>\n{shown}{_others(others)}"


def _measure(measure: Measure) -> tuple[str, ...]:
    name = code(measure.metric)
    found, profile = measure.found, "" if measure.reference is None else number(measure.reference)
    if found is None:
        why = f"none: {text(REASONS.get(measure.missing, measure.missing) or 'not measured')}"
        if measure.estimate is not None:
            why += f"; expected {value(measure.estimate)}"
        return name, state("unjudged"), why, _target(measure), "", "", profile
    return (
        name,
        state(measure.level, _VERDICTS.get(measure.level, "Undecided")),
        value(found),
        _target(measure),
        bounds(measure),
        f"{found.n:,}",
        profile,
    )


def _target(measure: Measure) -> str:
    ends = (("≥", measure.low), ("≤", measure.high))
    return ", ".join(f'<span class="whole">{sign} {end:g}</span>' for sign, end in ends if end is not None)


def _others(others: Iterable[Measure]) -> str:
    items = "".join(
        f"<dt>{code(measure.metric)}</dt><dd>{value(measure.found)}</dd>"
        for measure in others
        if measure.found is not None
    )
    return (
        f"<details><summary>Metrics without a target</summary>\n<dl>{items}</dl></details>\n" if items else ""
    )


def _drift(model: ModelStatus, shifts: Sequence[Shift]) -> str:
    if not shifts:
        return ""
    many = plural(model.compared, "column")
    said = (
        f"{model.drifted} of {many} beyond limit and noise"
        if model.drifted
        else f"none of {many} has drifted"
    )
    figures = "".join(map(_shift, shifts))
    return (
        f'<h4>Drift</h4>\n<p class="muted">Over {text(model.window)}: {said}. Closest to their limits:</p>\n'
        f'<div class="figures">{figures}</div>\n'
    )


def _shift(shift: Shift) -> str:
    limit = "no limit" if shift.limit is None else f"limit {shift.limit:g}"
    noise = "noise unknown" if shift.noise is None else f"noise {number(shift.noise)}"
    shown = state("warning", "Drifted") if shift.drifted else state("fine", "Steady")
    if shift.limit is None:
        shown = state("unjudged", "No limit")
    picture = change = ""
    if shift.histogram is not None and len(shift.histogram.bins) > 1:
        picture, change = histogram(shift.histogram), f"<br>{most_changed(shift.histogram)}"
    before = "" if shift.reference == "training" else " from the window before"
    return (
        f"<figure>{picture}<figcaption>{shown} <strong>{text(shift.column)}</strong>{before}<br>"
        f"{text(shift.method)} {number(shift.value)}, {limit}, {noise}{change}</figcaption></figure>\n"
    )


def _inputs(model: ModelStatus, failures: Sequence[Failure]) -> str:
    if not model.checked:
        return ""
    checks, over = plural(model.checked, "check"), model.exceeded
    if not failures:
        return f"<h4>Inputs</h4>\n<p>Nothing has failed any of {checks} of columns.</p>\n"
    said = f"{over} of {checks} beyond the limit" if over else f"no limit of {checks} is exceeded"
    caption = f"Values that fail a check most often, over {text(model.window)}: {said}"
    heads = ("Column", "Check", "State", "Share#", "Limit#", "Rows#")
    return "<h4>Inputs</h4>\n" + table(caption, heads, map(_failure, failures))


def _failure(failure: Failure) -> tuple[str, ...]:
    shown = state("warning", "Too many") if failure.over else state("fine", "Within")
    return (
        text(failure.column),
        text(failure.check.replace("_", " ")),
        state("unjudged", "No limit") if failure.limit is None else shown,
        percent(failure.share),
        "" if failure.limit is None else percent(failure.limit),
        f"{failure.rows:,}",
    )


def _labels(labels: LabelStatus | None, window: str) -> str:
    if labels is None:
        return "<h4>Labels</h4>\n<p>None are configured: quality cannot be measured.</p>\n"
    coverage = "no prediction is old enough to be judged"
    if labels.mature:
        share = percent(labels.labelled / labels.mature)
        coverage = f"{share} of {plural(labels.mature, 'mature prediction')}"
        if labels.smallest_coverage is not None:
            coverage += f"; at least {percent(labels.smallest_coverage)} is needed"
    outcomes = ", ".join(f"{text(name)} {count:,}" for name, count in labels.outcomes) or "none arrived yet"
    return (
        f"<h4>Labels</h4>\n<dl><dt>Coverage over {text(window)}</dt><dd>{coverage}</dd>"
        f"<dt>Waiting</dt><dd>{plural(labels.pending, 'prediction')}</dd>"
        f"<dt>Labels since the first</dt><dd>{outcomes}</dd></dl>\n"
    )


def _versions(detail: ModelDetail, window: str) -> str:
    rows = [
        (
            text(version.name),
            text(version.role),
            f"{version.predictions:,}",
            f"<code>{text(version.profile)}</code>" if version.profile else "none",
            text(version.verdict),
        )
        for version in detail.versions
    ]
    if not rows:
        return ""
    heads = ("Version", "Role", "Predictions#", "Profile", "Against the champion")
    return "<h4>Versions</h4>\n" + table(f"Predictions over {text(window)}", heads, rows)


def _missing(missing: Iterable[Missing]) -> str:
    items = "".join(_missing_items(missing))
    if not items:
        return ""
    return f"<details><summary>What cannot be computed now</summary>\n<dl>{items}</dl></details>\n"


def _missing_items(missing: Iterable[Missing]) -> Iterator[str]:
    """By reason and windows, since whole groups of statistics are missing for one reason."""
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for item in missing:
        columns = f" ({plural(item.count, 'column')})" if item.count else ""
        groups.setdefault((item.reason, item.windows), []).append(text(item.subject) + columns)
    for (reason, windows), subjects in groups.items():
        why = text(REASONS.get(reason, reason))
        yield f"<dt>{why}<br>over {', '.join(map(text, windows))}</dt><dd>{', '.join(subjects)}</dd>"
