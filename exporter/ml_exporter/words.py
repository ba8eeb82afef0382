"""Numbers, times and reasons as people say them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

REASONS: Mapping[str, str] = {
    "too_few_rows": "too few rows",
    "single_class": "only one class in labels or predictions",
    "no_labels": "no labels",
    "low_coverage": "too few labels to be a fair sample",
    "immature": "no prediction is old enough to be judged",
    "no_profile": "no profile to compare with",
    "short_reference": "the profile is too short or too small",
    "error": "cannot be computed from these values",
}
"""Why a statistic is missing; a reason that is not here stands for itself."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def number(value: float) -> str:
    """A number to three digits or so: 0.0123, 0.687, 28.4, 1,234."""
    size = abs(value)
    if size >= 1e9 or value != value:
        return f"{value:.3g}"
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if size >= 0.01 else f"{value:.2g}"


def percent(share: float) -> str:
    """A share as a percentage: 0.03 %, 4.2 %, 37 %; neither 0 % nor 100 % unless it is that."""
    value = 100 * share
    if value in (0, 100):
        return f"{value:.0f} %"
    if value >= 99:
        return f"{min(value, 99.9):.1f} %"
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.2g} %"


def duration(seconds: float) -> str:
    """A time span in its two largest units: 12 s, 3 min 20 s, 2 h 5 min, 4 d."""
    rest, parts = max(0, round(seconds)), []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def size(count: int) -> str:
    """A number of bytes: 120 bytes, 3.4 MiB."""
    value, units = float(count), ["bytes", "KiB", "MiB", "GiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.0f} {units[0]}" if value >= 10 or units[0] == "bytes" else f"{value:.1f} {units[0]}"


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun: 1 column, 2 columns, 1,200 rows."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(items: Iterable[str]) -> str:
    """Items as a list within a sentence: a, b and c."""
    *first, last = list(items)
    return f"{', '.join(first)} and {last}" if first else last
