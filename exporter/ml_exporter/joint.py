"""Columns together: rows chosen by their ids, coded and summed up to moments, pane by pane.

Each column of a row becomes one number: the normal score of its bin in the reference (a category's
cells stand in the order of the reference's frequency), 0 where the value is missing, invalid or unseen, and
where the reference has missing values one more number that tells so. Numbers are whole multiples of
1 / 64, so sums of them are exact, and parts give to the last bit what the whole gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ml_exporter.drift import Column, reference_cells
from ml_exporter.profile import CategoricalColumn, Joint, Profile
from ml_exporter.sources.batch import Predictions
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.multivariate import (
    METHODS,
    MINIMUM_ROWS,
    Basis,
    Moments,
    changes,
    normal_scores,
    packed,
    unpacked,
)
from ml_exporter.stats.result import Result, Unavailable, Value
from ml_exporter.tally import Shape, Tally

ROWS = 1_000
"""So many rows of a pane, or fewer, are expected to be chosen of one block."""
STEP = 64
"""Steps of a code that make one standard deviation."""

_FURTHEST = 3.0
"""Standard deviations beyond which no code lies: what the reference hardly has must not outweigh the rest."""

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class JointDrift:
    """One method in one window; `noise` and `short_reference` as in `drift.Drift`."""

    method: str
    result: Result
    noise: float | None = None
    short_reference: bool = False


class Coding:
    """How the columns of a profile become vectors, and what these are compared with."""

    def __init__(self, profile: Profile, joint: Joint) -> None:
        self.joint = joint
        tables = [(name, codes_of(profile.columns[name])) for name in joint.columns]
        tables += [(name, absence_of(profile.columns[name])) for name in joint.indicators]
        self.size = len(tables)
        self.tables: dict[str, list[tuple[int, FloatArray]]] = {}
        for place, (name, table) in enumerate(tables):
            self.tables.setdefault(name, []).append((place, table))

    @cached_property
    def basis(self) -> Basis:
        """The reference, in units of a code's step."""
        joint = self.joint
        deviations = np.asarray(joint.deviations) * STEP
        correlations = np.eye(self.size)
        for row, own in enumerate(joint.correlations):
            correlations[row, :row] = correlations[:row, row] = own
        covariance = correlations * np.outer(deviations, deviations)
        return Basis(
            Moments(joint.rows, np.asarray(joint.means) * STEP, covariance), np.asarray(joint.components)
        )

    @cached_property
    def shape(self) -> Shape:
        """What is summed up over chosen rows; `squares` are those of the weights."""
        d = self.size
        return Shape(
            {
                "weight": ((1,), np.int64),
                "squares": ((1,), np.int64),
                "sums": ((d,), np.int64),
                "products": ((d * (d + 1) // 2,), np.int64),
            }
        )

    def drifts(self, tally: Tally, window: str) -> Iterator[JointDrift]:
        """Every method for the rows of a window, with what it shows without drift."""
        weight, squares = tally.count("weight"), tally.count("squares")
        rows = weight * weight / squares if squares else 0.0
        if rows < MINIMUM_ROWS:
            yield from (JointDrift(method, Unavailable("too_few_rows")) for method in METHODS)
            return
        products = unpacked(tally["products"], self.size)
        values = changes(self.basis, Moments.of(weight, squares, tally["sums"].astype(np.float64), products))
        for method in METHODS:
            known = self.joint.noise[method]
            chunk = known.chunks.get(window)
            value = float(values[method])
            result = (
                Value(value, None, None, round(rows)) if np.isfinite(value) else Unavailable("too_few_rows")
            )
            noise = max(known.table.at(rows, self.joint.rows), chunk or 0.0)
            yield JointDrift(method, result, noise, chunk is None)


def coding_of(profile: Profile) -> Coding | None:
    """How a profile's columns are watched together, None where it does not say or has lost one of them."""
    joint = profile.joint
    if joint is None or not profile.columns.keys() >= {*joint.columns, *joint.indicators}:
        return None
    return Coding(profile, joint)


def codes_of(column: Column) -> FloatArray:
    """The code of each cell, in whole steps: normal scores, 0 for unseen, missing and invalid values."""
    known = column.size - isinstance(column, CategoricalColumn)
    scores = np.clip(normal_scores(reference_cells(column)[:known]), -_FURTHEST, _FURTHEST)
    return np.append(np.rint(scores * STEP), np.zeros(column.size + 2 - known))


def absence_of(column: Column) -> FloatArray:
    """1, in steps, for the cells of missing and invalid values, 0 for all others."""
    return np.append(np.zeros(column.size), (float(STEP), float(STEP)))


class Sample:
    """The rows of a block that moments are made from: in some window's panes, and chosen by their ids.

    `panes` are those of a window as `Groups.panes` gives them, `versions` has the place of each row's
    version, below `n_versions`. Of a version's pane with more than
    1,000 rows in the block every second one is chosen by the hash of its id, or every fourth, and so on
    until 1,000 are expected, and each stands for as many as that. So the choice looks at nothing in a row,
    a block costs no more whatever it holds, and sums of blocks are sums over all of their rows.
    """

    def __init__(
        self,
        coding: Coding,
        rows: Predictions,
        panes: tuple[IntArray, IntArray],
        versions: IntArray,
        n_versions: int,
    ) -> None:
        self._coding = coding
        place, self._panes = panes
        slots = np.where(place >= 0, versions * self._panes.size + place, -1)
        counts = np.bincount(slots[slots >= 0], minlength=n_versions * self._panes.size)
        levels = np.ceil(np.log2(np.maximum(counts / ROWS, 1.0))).astype(np.uint64)
        chosen = slots >= 0
        if levels.any():
            chosen &= _hashes(rows) >> np.uint64(1) <= (_HALF >> levels)[slots]
        found = np.flatnonzero(chosen)
        order = np.argsort(slots[found], kind="stable")
        self._rows = found[order]
        self._bounds = np.searchsorted(slots[self._rows], np.arange(counts.size + 1))
        self._weights = np.int64(1) << levels.astype(np.int64)
        self._values = np.zeros((coding.size, self._rows.size))

    def take(self, name: str, codes: IntArray) -> None:
        """Code a column; `codes` are the cells of all rows of the block."""
        for place, table in self._coding.tables.get(name, ()):
            self._values[place] = table[codes[self._rows]]

    def tallies(self) -> Iterator[tuple[int, int, Tally]]:
        """Give the place of a version, a pane and the moments of its rows, for each that has any."""
        for slot in np.flatnonzero(np.diff(self._bounds)).tolist():
            own = self._values[:, self._bounds[slot] : self._bounds[slot + 1]]
            weight = int(self._weights[slot])
            version, pane = divmod(slot, self._panes.size)
            yield version, int(self._panes[pane]), tally_of(own, weight)


_ONE_THREAD = 200_000
"""Multiplications of a matrix product that OpenBLAS does not share among threads."""
_HALF = np.uint64(2**63 - 1)
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def _hashes(rows: Predictions) -> Hashes:
    """A hash of each row: that of its id, or where a log's ids are not read, of its time and answer."""
    if rows.ids.any():
        return rows.ids
    mixed = rows.times.view(np.uint64) * _FACTORS[0] ^ rows.scores.view(np.uint64) * _FACTORS[1]
    for factor in _FACTORS:  # the mixing of splitmix64 (Steele, Lea, Flood 2014)
        mixed = (mixed ^ (mixed >> np.uint64(31))) * factor
    return np.asarray(mixed ^ (mixed >> np.uint64(32)))


def tally_of(values: FloatArray, weight: int = 1) -> Tally:
    """Moments of n coded rows, shape (d, n), each of which stands for `weight` of them."""
    n = values.shape[1]
    return Tally(
        {
            "weight": np.asarray([n * weight], np.int64),
            "squares": np.asarray([n * weight * weight], np.int64),
            "sums": (values.sum(axis=1) * weight).astype(np.int64),
            "products": (packed(_products(values)) * weight).astype(np.int64),
        }
    )


def _products(values: FloatArray) -> FloatArray:
    """Sums of products of d columns, shape (d, d), of n rows, shape (d, n), some rows at a time.

    Of larger matrices BLAS would let threads of its own wait for more work, and they wait busily.
    """
    size, rows = values.shape
    at_once = max(1, _ONE_THREAD // max(size, 1) ** 2)
    parts = (values[:, start : start + at_once] for start in range(0, rows, at_once))
    return np.asarray(sum((part @ part.T for part in parts), np.zeros((size, size))))
