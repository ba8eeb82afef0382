"""Small pictures as inline SVG: coloured by the page's style, without attributes that its policy forbids."""

from __future__ import annotations

from collections.abc import Sequence

from ml_exporter.web.markup import text
from ml_exporter.web.status import Histogram, Measure
from ml_exporter.words import percent

_WIDTH, _HEIGHT = 240.0, 64.0
_RANGE_WIDTH, _RANGE_HEIGHT = 150.0, 18.0
_MARGIN = 6.0


def histogram(found: Histogram) -> str:
    """Return both distributions over each other: now as bars, the reference as a line; missing values apart."""
    most = max(*found.now, *found.reference) or 1.0
    now = [_HEIGHT * share / most for share in found.now]
    reference = [_HEIGHT * share / most for share in found.reference]
    # Half a bin of space before the missing values.
    step = _WIDTH / (len(now) + 0.5)
    places = [index * step for index in range(len(now))]
    places[-1] = _WIDTH - step
    label = "Share of rows in each bin: bars are now, the line is the reference. The last bin holds missing values."
    return (
        f'<svg class="histogram" viewBox="0 -2 {_WIDTH:.0f} {_HEIGHT + 3:.0f}" preserveAspectRatio="none" '
        f'role="img" aria-label="{label}">'
        f'<path class="base" d="M0 {_HEIGHT:.0f}H{places[-1] - step / 2:.1f}M{places[-1]:.1f} {_HEIGHT:.0f}H{_WIDTH:.0f}"/>'
        f'<path class="now" d="{_bars(places, now, step)}"/>'
        f'<path class="reference" d="{_steps(places, reference, step)}"/></svg>'
    )


def most_changed(found: Histogram) -> str:
    """Return in words which bin's share has changed most."""
    change = [now - before for now, before in zip(found.now, found.reference, strict=True)]
    place = max(range(len(change)), key=lambda index: abs(change[index]))
    name = readable(found.bins[place])
    return f"{text(name, 60)}: {percent(found.reference[place])} → {percent(found.now[place])}"


def readable(name: str) -> str:
    """Return a bin's name without the index that sorts it, and with words for infinite ends."""
    index, _, rest = name.partition(" ")
    name = rest if index.isdigit() else name
    if name.startswith("[-inf, "):
        return f"below {name[7:-1]}"
    if name.startswith("[") and name.endswith(", inf)"):
        return f"{name[1:-6]} or more"
    if name.startswith("[") and name.endswith(")"):
        return f"{name[1:-1].replace(', ', ' to ')}"
    return name


def bounds(measure: Measure) -> str:
    """Return a metric with its bounds beside its target: a dot on a line, and a bar where it must not be.

    All of it stands in the table's cells too, so it is hidden from those who cannot see it.
    """
    if measure.found is None:
        return ""
    value, lower, upper = measure.found.value, measure.found.lower, measure.found.upper
    low = value if lower is None else lower
    high = value if upper is None else upper
    ends = [low, high, *(target for target in (measure.low, measure.high) if target is not None)]
    span = max(max(ends) - min(ends), abs(value) * 0.02, 1e-9)
    start, end = min(ends) - 0.25 * span, max(ends) + 0.25 * span

    def x(number: float) -> float:
        return _MARGIN + (number - start) / (end - start) * (_RANGE_WIDTH - 2 * _MARGIN)

    middle = _RANGE_HEIGHT / 2
    forbidden = ""
    if measure.low is not None:
        forbidden += f"M0 0H{x(measure.low):.1f}V{_RANGE_HEIGHT:.0f}H0z"
    if measure.high is not None:
        forbidden += f"M{_RANGE_WIDTH:.0f} 0H{x(measure.high):.1f}V{_RANGE_HEIGHT:.0f}H{_RANGE_WIDTH:.0f}z"
    return (
        f'<svg class="bounds" viewBox="0 0 {_RANGE_WIDTH:.0f} {_RANGE_HEIGHT:.0f}" aria-hidden="true">'
        f'<path class="forbidden" d="{forbidden}"/>'
        f'<path class="line" d="M{x(low):.1f} {middle:.0f}H{x(high):.1f}M{x(low):.1f} 5v8M{x(high):.1f} 5v8"/>'
        f'<circle class="dot" cx="{x(value):.1f}" cy="{middle:.0f}" r="3.6"/></svg>'
    )


def _bars(places: Sequence[float], heights: Sequence[float], step: float) -> str:
    width = max(step - 1.5, step * 0.6)
    return "".join(
        f"M{place + (step - width) / 2:.1f} {_HEIGHT:.0f}v{-height:.1f}h{width:.1f}v{height:.1f}z"
        for place, height in zip(places, heights, strict=True)
    )


def _steps(places: Sequence[float], heights: Sequence[float], step: float) -> str:
    """A line over all bins but the last, and one over the last."""
    line = "".join(
        f"V{_HEIGHT - height:.1f}H{place + step:.1f}"
        for place, height in zip(places[:-1], heights[:-1], strict=True)
    )
    last = f"M{places[-1]:.1f} {_HEIGHT - heights[-1]:.1f}h{step:.1f}"
    return f"M0 {_HEIGHT:.0f}{line}V{_HEIGHT:.0f}{last}"
