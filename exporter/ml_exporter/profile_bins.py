"""Bins of a numeric column: quantiles, snapped to the grid that a tally looks numbers up in."""

from __future__ import annotations

import numpy as np

from ml_exporter.layout import Cells, grid_codes, grid_value
from ml_exporter.profile import NumericColumn
from ml_exporter.profile_answers import digits
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray

FINE_BINS, COARSE_BINS = 20, 10
_STEPS_OUTSIDE = (0.0, 0.5, 1.0, 2.0, 4.0)  # standard deviations beyond the reference's ends
_DISCRETE = 32
_FENCE = 1.5  # interquartile ranges beyond the quartiles (Tukey 1977)


def numeric(
    values: FloatArray, missing: BoolArray, bins: int = FINE_BINS, fenced: bool = False
) -> tuple[NumericColumn, IntArray] | str:
    """Bin a numeric column of n rows into quantiles, as `cut` does; a text says why it cannot be."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "has no number"
    numbers = Numbers(cut(finite, float(finite.min()), float(finite.max()), bins, fenced))
    codes = numbers.add(values, missing)
    counts = np.bincount(codes, minlength=numbers.cells.size)
    return numbers.column(counts[: numbers.cells.bins]), codes


def cut(
    finite: FloatArray, minimum: float, maximum: float, bins: int = FINE_BINS, fenced: bool = False
) -> NumericColumn:
    """Where to cut a column, of which some of the numbers are given, and its ends; nothing is counted.

    Of m numbers that are drawn evenly, a bin of share p has it to about sqrt(p (1 - p) / m) of the
    whole column: 0.0003 of a tenth for a million. What is counted in the bins is not concerned. `fenced`
    columns have Tukey's fences, unless their quartiles are the same.
    """
    quartiles = np.quantile(finite, (0.25, 0.5, 0.75))
    center, scale = _center_and_scale(finite, quartiles)
    distinct, counts = np.unique(finite, return_counts=True)
    fine = _edges(distinct, counts, bins if distinct.size > max(bins, _DISCRETE) else distinct.size)
    coarse = _edges(distinct, counts, COARSE_BINS)
    snapped = [_snap(edges, center, scale) for edges in (fine, coarse)]
    inner = np.concatenate(snapped)
    deviation = float(finite.std())
    low, high = _outer_edges(minimum, maximum, deviation or scale, center, scale)
    fences = _fences(quartiles, center, scale) if fenced else np.zeros(0)
    edges = np.unique(np.concatenate([low, inner[(inner > low[-1]) & (inner < high[0])], high, fences]))
    ends = (fences * scale + center).tolist()
    bounds = edges * scale + center
    step = 2 * (deviation or 1.0)
    middles = np.concatenate([[bounds[0] - step], (bounds[1:] + bounds[:-1]) / 2, [bounds[-1] + step]])
    groups = np.searchsorted(snapped[1], np.concatenate([[-np.inf], edges]), side="right")
    return NumericColumn(
        kind="numeric",
        center=center,
        scale=scale,
        edges=tuple(edges.tolist()),
        positions=tuple(middles.tolist()),
        groups=tuple((np.unique(groups, return_inverse=True)[1]).tolist()),
        counts=(0,) * middles.size,
        missing=0,
        minimum=minimum,
        maximum=maximum,
        mean=center,
        deviation=0.0,
        fences=(ends[0], ends[1]) if ends else None,
    )


class Numbers:
    """A numeric column while its numbers are added: their sums by bin and their moments."""

    def __init__(self, empty: NumericColumn) -> None:
        self._empty = empty
        self.cells = Cells("", empty, 0)
        self._sums = np.zeros(empty.size)
        self._moments = np.zeros(2)

    def add(self, values: FloatArray, missing: BoolArray) -> IntArray:
        """Add n numbers and return their cells."""
        codes, finite = self.codes(values, missing), np.isfinite(values)
        known, places = (values, codes) if finite.all() else (values[finite], codes[finite])
        self._sums += np.bincount(places, known, self._empty.size)
        gaps = known - self._empty.center
        self._moments += gaps.sum(), np.dot(gaps, gaps)
        return codes

    def codes(self, values: FloatArray, missing: BoolArray) -> IntArray:
        """The cells of n numbers."""
        return self.cells.numeric_codes(values, missing)

    def column(self, counts: IntArray) -> NumericColumn:
        """The column, whose rows by bin, then missing, are these."""
        empty, rows = self._empty, counts[:-1]
        mean, square = self._moments / max(int(rows.sum()), 1)
        # Of equal numbers rounding would leave a trace.
        deviation = float(max(square - mean * mean, 0.0)) ** 0.5 if empty.minimum < empty.maximum else 0.0
        positions = np.where(rows > 0, self._sums / np.maximum(rows, 1), empty.positions)
        return empty.model_copy(
            update={
                "positions": tuple(digits(value) for value in positions),
                "counts": tuple(rows.tolist()),
                "missing": int(counts[-1]),
                "mean": digits(empty.center + mean),
                "deviation": digits(deviation),
            }
        )


def _outer_edges(
    minimum: float, maximum: float, step: float, center: float, scale: float
) -> tuple[FloatArray, FloatArray]:
    """Edges at the reference's ends and beyond: nothing of the reference is outside the innermost two."""
    steps = np.asarray(_STEPS_OUTSIDE) * step
    last, next_to_it = grid_codes(maximum + np.asarray([0.0, 1e-3 * step]), center, scale)
    above = grid_value(np.asarray([max(last + 1, next_to_it)], np.uint32))
    low = _snap(minimum - steps, center, scale)
    high = _snap(above * scale + center + steps, center, scale)
    return low, np.union1d(above, high[high > above])


def _fences(quartiles: FloatArray, center: float, scale: float) -> FloatArray:
    """Edges at Tukey's fences, none where the quartiles are the same; a value on a fence is within."""
    low, _, high = quartiles
    if not high > low:
        return np.zeros(0)
    reach = _FENCE * (high - low)
    codes = grid_codes(np.asarray([low - reach, high + reach]), center, scale)
    return grid_value(codes + np.asarray([0, 1], np.uint32))


def _center_and_scale(finite: FloatArray, quartiles: FloatArray) -> tuple[float, float]:
    low, center, high = (digits(value) for value in quartiles)
    scale = digits(high - low) or digits(finite.std())
    return center, scale if scale > 0 else 1.0


def _edges(distinct: FloatArray, counts: IntArray, bins: int) -> FloatArray:
    """Edges of quantile bins, each half-way between two neighbouring values, so heavy values stand alone."""
    if distinct.size <= bins:
        return (distinct[1:] + distinct[:-1]) / 2
    shares = np.cumsum(counts) / counts.sum()
    cuts = np.unique(np.searchsorted(shares, np.arange(1, bins) / bins - 1e-12))
    heavy = np.flatnonzero(counts >= counts.sum() / bins)
    cuts = np.unique(np.concatenate([cuts, heavy, heavy - 1]))
    cuts = cuts[(cuts >= 0) & (cuts < distinct.size - 1)]
    return (distinct[cuts] + distinct[cuts + 1]) / 2


def _snap(edges: FloatArray, center: float, scale: float) -> FloatArray:
    return np.unique(grid_value(grid_codes(edges, center, scale)))
