"""Input health: what values are checked for, how many failed, and how many may."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from scipy.special import betaln

from ml_exporter.config_model import Model
from ml_exporter.delta import OWN_COLUMNS
from ml_exporter.drift import Column
from ml_exporter.layout import Cells, Layout
from ml_exporter.profile import NumericColumn
from ml_exporter.stats.arrays import IntArray
from ml_exporter.stats.distance import MINIMUM_ROWS
from ml_exporter.tally import COUNTED, Tally
from ml_exporter.targets import window_share

_CHANCE, _MOST_ROWS = 1e-4, 10_000
COMPARED = ("missing", "outlier", "empty")
"""Checks of which the profile knows how many of its own rows failed them."""


@dataclass(frozen=True)
class Violation:
    """How many values failed a check, of how many, and the share that is still fine.

    `noise` is the share that so many rows exceed by chance once in 10,000 times, None where none may fail.
    """

    column: str
    check: str
    count: int
    rows: int
    limit: float | None = None
    noise: float | None = None


Limits: TypeAlias = Mapping[tuple[str, str], float]
"""By column and check, the largest share of failing values that is still fine."""


def checks(layout: Layout, name: str) -> tuple[str, ...]:
    """What a column's values are checked for; labels are not."""
    column, own = layout.cells[name].column, layout.constraint(name)
    if name == "label":
        return ()
    listed = own.allowed and name not in OWN_COLUMNS
    if not isinstance(column, NumericColumn):
        found = {"unseen": True, "not_allowed": listed, "pattern": own.pattern and name not in OWN_COLUMNS}
    else:
        text = column.source == "text"
        found = {
            "wrong_type": not text,
            "out_of_range": True,
            "outlier": column.fences is not None,
            "empty": text,
            "not_allowed": listed and column.source == "number",
            "pattern": own.pattern and text,
        }
    return ("missing", *(check for check, made in found.items() if made))


def violations(
    layout: Layout, inputs: Tally, limits: Mapping[tuple[str, str], float] = {}
) -> Iterator[Violation]:
    """Values that failed a check, by column and check, of the rows in a tally."""
    rows, errors = inputs.count("rows"), inputs.count("errors")
    for name, cells in layout.cells.items():
        n = rows - errors if name in OWN_COLUMNS else rows
        own, failed = cells.of(inputs["cells"]), inputs["failed"][layout.positions[name]]
        for check in checks(layout, name):
            counted = failed[COUNTED.index(check)] if check in COUNTED else _of_cells(cells, own, check)
            limit = limits.get((name, check))
            noise = upper_share(*_failures(cells.column, check), _rounded(n)) if limit and n else None
            yield Violation(name, check, int(counted), n, limit, noise)


def _of_cells(cells: Cells, own: IntArray, check: str) -> int:
    column = cells.column
    if check == "missing":
        return int(own[cells.missing])
    if check == "outlier" and isinstance(column, NumericColumn):
        return int(own[list(column.outlying)].sum())
    if check == "unseen" and not isinstance(column, NumericColumn) and cells.name != "prediction":
        return int(own[column.unseen_code])
    return int(own[cells.invalid])


def reference_share(column: Column, check: str) -> float:
    """The share of the profile's own rows that fail a check; 0 where the profile is what it is checked by."""
    rows = sum(column.counts) + column.missing
    if not rows:
        return 0.0
    if check == "missing":
        return column.missing / rows
    if check == "outlier" and isinstance(column, NumericColumn):
        return sum(column.counts[bin_] for bin_ in column.outlying) / rows
    if check == "empty" and isinstance(column, NumericColumn):
        return column.empty * sum(column.counts) / rows
    return 0.0


def limits_of(model: Model, layouts: Mapping[str, Layout]) -> dict[tuple[str, str], float]:
    """The limits of all columns and checks that have one: configured, else with `limits: auto` the profile's."""
    found = {}
    for name, layout in placed(layouts).items():
        for check in checks(layout, name):
            limit = model.health_limit(name, check)
            if limit is None and model.health.limits == "auto":
                limit = _automatic(model, layout, name, check)
            if limit is not None:
                found[name, check] = limit
    return found


def _automatic(model: Model, layout: Layout, name: str, check: str) -> float:
    """The share that chance exceeds in one of 10,000 windows with as many rows as the profile lets one expect.

    It is never less than what the profile's own stretches of the window's length had.
    """
    profile, column = layout.profile, layout.cells[name].column
    assert profile is not None
    failed, rows = _failures(column, check)
    expected = max(round(window_share(model, profile) * rows), 1)
    worst = column.worst.get(model.alert_window.name, {}).get(check, 0.0)
    return max(upper_share(failed, rows, expected), worst)


def _failures(column: Column, check: str) -> tuple[float, int]:
    """How many of the profile's rows stand for a failure of a check, and how many rows it has."""
    rows = sum(column.counts) + column.missing
    if check == "out_of_range":
        return 2.0, rows  # a range ends at its two most extreme rows
    if check == "unseen" and not isinstance(column, NumericColumn):
        return column.singletons, rows  # who was met once might as well have been met later (Good 1953)
    return reference_share(column, check) * rows, rows


def _rounded(n: int) -> int:
    """At most n, and seldom another than a moment ago: of fewer rows chance explains more."""
    step = max(1 << max(n.bit_length() - 5, 0), 1)
    return n - n % step


# Most columns have no failing rows, and as many rows as the others.
@lru_cache(maxsize=65_536)
def upper_share(failed: float, rows: int, expected: int) -> float:
    """The share that a sample of `expected` rows exceeds by chance once in 10,000 times at most.

    That quantile of the beta-binomial distribution which `failed` of `rows` predict, with the prior of
    Jeffreys; of at most 10,000 rows, beyond which chance is the least of what moves a share.
    """
    n = min(expected, _MOST_ROWS)
    a, b, found = failed + 0.5, max(rows - failed, 0) + 0.5, np.arange(n + 1)
    # scipy.stats has it too, and takes 30 MB more than scipy.special.
    rest = n - found
    chances = np.exp(betaln(found + a, rest + b) - betaln(a, b) - betaln(rest + 1, found + 1)) / (n + 1)
    reached = np.cumsum(chances[::-1])[::-1]
    return float(np.count_nonzero(reached > _CHANCE) - 1) / n


def placed(layouts: Mapping[str, Layout]) -> dict[str, Layout]:
    """The columns of all profiles of a model, and whose they are: limits are the same for all versions."""
    default = layouts["default"]
    every = (default, *(layout for layout in layouts.values() if layout is not default))
    return {name: layout for layout in reversed(every) for name in layout.cells}


def cardinalities(layout: Layout, inputs: Tally) -> dict[str, int]:
    """In how many bins, or categories, each column has rows."""
    return {name: _filled(cells.of(inputs["cells"])[:-2]) for name, cells in _watched(layout)}


def reference_cardinalities(layout: Layout) -> dict[str, int]:
    """The same of the profile's rows."""
    return {name: _filled(np.asarray(cells.column.counts)) for name, cells in _watched(layout)}


def constants(layout: Layout, inputs: Tally, window: str) -> tuple[str, ...]:
    """Columns that have one value, or bin, in a window, and so many rows that chance would not do it.

    Those that had one in a stretch of the reference as long, as the day of the week in a day, are
    not meant.
    """
    return tuple(
        name
        for name, cells in _watched(layout)
        if _is_constant(cells, cells.of(inputs["cells"])[:-2], window)
    )


def _is_constant(cells: Cells, own: IntArray, window: str) -> bool:
    counts = np.asarray(cells.column.counts)
    if _filled(own) != 1 or _filled(counts) < 2:
        return False
    if cells.column.worst.get(window, {}).get("constant") == 1.0:
        return False
    return bool((counts.max() / counts.sum()) ** int(own.sum()) < _CHANCE)


def absent(layout: Layout, inputs: Tally) -> tuple[str, ...] | None:
    """Features that no row of a window has, though chance would not do it; None where rows are too few."""
    rows = inputs.count("rows")
    if rows < MINIMUM_ROWS:
        return None
    names, missing = list(layout.cells), inputs["cells"][layout.missing]
    candidates = (names[place] for place in np.flatnonzero(missing == rows).tolist())
    return tuple(name for name in candidates if name not in OWN_COLUMNS and _had(layout, name, rows))


def _had(layout: Layout, name: str, rows: int) -> bool:
    return reference_share(layout.cells[name].column, "missing") ** rows < _CHANCE


def _watched(layout: Layout) -> Iterator[tuple[str, Cells]]:
    return ((name, cells) for name, cells in layout.cells.items() if name != "label")


def _filled(counts: IntArray) -> int:
    return int(np.count_nonzero(counts))
