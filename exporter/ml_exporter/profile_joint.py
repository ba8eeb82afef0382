"""How the columns of a reference go together: which of them are watched, their moments, and noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from ml_exporter.drift import Column, association, reference_cells
from ml_exporter.joint import STEP, absence_of, codes_of
from ml_exporter.profile import Joint, JointNoise
from ml_exporter.profile_answers import digits
from ml_exporter.profile_noise import MINIMUM_CHUNK_ROWS, MINIMUM_CHUNKS
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.multivariate import METHODS, Basis, Moments, correlations, largest_chunks, simulate

COLUMNS, ROWS = 64, 100_000
"""So many codes of a row, and so many rows, are looked at."""
_MISSING = 0.01
"""Share of missing values from which on it is told whether a column's value is missing."""
_SEED = 6


class Gathered:
    """Columns and the cells of some rows, as they are met; of more than 64 those that tell most of the loss stay.

    Columns of which all rows have the same cell are left out.
    """

    def __init__(self, times: IntArray) -> None:
        self.rows = np.arange(0, times.size, max(1, -(-times.size // ROWS)))
        """Which of the rows at `times`, ascending, are looked at: every so many."""
        self.times = times[self.rows]
        self.columns: dict[str, Column] = {}
        self.cells: dict[str, IntArray] = {}

    def add(self, name: str, column: Column, codes: IntArray) -> None:
        """Take a column with its losses; `codes` are the cells of all rows."""
        own = codes[self.rows].astype(np.uint16)
        if np.ptp(codes_of(column)[own]) == 0:
            return
        self.columns[name], self.cells[name] = column, own.astype(np.uint16)
        if len(self.columns) > COLUMNS:
            order = list(self.columns)
            last = min(order, key=lambda name: (association(self.columns[name]), -order.index(name)))
            del self.columns[last], self.cells[last]


def joint_of(gathered: Gathered, seconds: Mapping[str, float], first: int, last: int) -> Joint | None:
    """What the profile keeps of columns together, None where there are not two that vary.

    `seconds` are the lengths of the windows' chunks; these lie between `first` and `last` (microseconds).
    """
    if len(gathered.columns) < 2:
        return None
    indicators = _indicators(gathered)
    tables = [(name, codes_of(column)) for name, column in gathered.columns.items()]
    tables += [(name, absence_of(gathered.columns[name])) for name in indicators]
    rows = np.stack([table[gathered.cells[name]] for name, table in tables], axis=1)
    whole = _sums(rows)
    basis = Basis.fit(Moments.of(len(rows), len(rows), whole["sums"], whole["products"]))
    floors = simulate(basis, rows, np.random.default_rng(_SEED))
    largest = {
        window: _largest(basis, rows, _bounds(gathered.times, round(length * 1e6), first, last))
        for window, length in seconds.items()
    }
    lower = correlations(basis.moments)
    return Joint(
        rows=len(rows),
        columns=tuple(gathered.columns),
        indicators=indicators,
        means=_digits(basis.moments.mean / STEP),
        deviations=_digits(np.sqrt(np.diagonal(basis.moments.covariance)) / STEP),
        correlations=tuple(_digits(lower[row, :row]) for row in range(len(lower))),
        components=tuple(map(_digits, basis.components)),
        noise={
            method: JointNoise(
                sizes=floors[method].sizes,
                scaled=_digits(np.asarray(floors[method].scaled)),
                chunks={window: digits(worst[method]) for window, worst in largest.items() if worst},
            )
            for method in METHODS
        },
    )


def _indicators(gathered: Gathered) -> tuple[str, ...]:
    """Columns of which enough values are missing, as many as there is room for."""
    found = []
    for name, column in gathered.columns.items():
        share = column.missing / max(int(reference_cells(column).sum()), 1)
        varies = np.ptp(absence_of(column)[gathered.cells[name]]) > 0
        if varies and _MISSING <= share <= 1 - _MISSING:
            found.append(name)
    return tuple(found[: COLUMNS - len(gathered.columns)])


def _bounds(times: IntArray, length: int, first: int, last: int) -> list[int]:
    """Where the complete chunks begin and end among rows in the order of time."""
    ends = first + np.arange((last - first) // length + 1) * length
    bounds: list[int] = np.searchsorted(times, ends).tolist()
    return bounds


def _largest(basis: Basis, rows: FloatArray, bounds: Sequence[int]) -> dict[str, float]:
    """The largest change of each method in a chunk with rows enough; empty where there are too few of them."""
    parts = [rows[start:end] for start, end in pairwise(bounds)]
    sums = [_sums(part) for part in parts if len(part) >= MINIMUM_CHUNK_ROWS]
    if len(sums) < MINIMUM_CHUNKS:
        return {}
    return largest_chunks(
        basis, _sums(rows), {name: np.stack([own[name] for own in sums]) for name in sums[0]}
    )


def _sums(rows: FloatArray) -> dict[str, FloatArray]:
    return {"weight": np.asarray(float(len(rows))), "sums": rows.sum(axis=0), "products": rows.T @ rows}


def _digits(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
