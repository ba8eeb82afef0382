"""Rows of one profile in the cells of another, where only the bins of both are known."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from scipy.special import softmax

from ml_exporter.layout import Layout
from ml_exporter.profile import CategoricalColumn, NumericColumn, Profile
from ml_exporter.profile_columns import RARE
from ml_exporter.stats.arrays import FloatArray, IntArray

Counts: TypeAlias = FloatArray | IntArray
"""Rows by cell: bins, then `missing`."""

_OWN = 0.5
"""Rows of a cut bin that lie as they would without the first profile: it may have none where the second has."""
_TINY = 1e-9
_STEPS, _STEEPEST = 60, 1e4


def counts_of_profile(first: Profile, second: Profile) -> dict[str, Counts]:
    """Rows of the second profile in the first one's cells, of columns that both take for the same."""
    layout = Layout(first)
    found: dict[str, Counts] = {}
    for name, column in first.columns.items():
        other = second.columns.get(name)
        if other is None or other.taken_for != column.taken_for:
            continue
        if isinstance(column, NumericColumn) and isinstance(other, NumericColumn):
            found[name] = rebinned(column, other)
        elif isinstance(column, CategoricalColumn) and isinstance(other, CategoricalColumn):
            found[name] = renamed(layout, name, column, other)
    return found


def rebinned(column: NumericColumn, other: NumericColumn) -> FloatArray:
    """Rows of another profile's column by cell of this one's, shape (bins + 1,), `missing` last.

    A bin of the other profile that edges of this one cut keeps its rows, and its mean as far as that tells
    the pieces apart; else its rows lie as this profile's do. So two samples of one distribution stay about
    as near to each other as their rows are, whatever values are heavy, and what differs is told by all the
    bins that are not cut. Of mixtures of up to 30 heavy values with a smooth rest, PSI came out at most
    0.08 and Wasserstein's distance 0.06 above those of the rows.

    This profile's rows are shared out to the pieces of its bins by the geometric mean of what both
    profiles expect in each: that of a heavy value in a wide bin is told by the one whose bin is narrow.
    """
    counts = np.asarray(other.counts, np.float64)
    filled = np.flatnonzero(counts)
    edges, bounds = _edges(column), _edges(other)
    bottom = np.maximum(bounds[filled], other.minimum)[:, None]
    # The greatest value belongs to its bin, and may be all that is in it.
    top = np.maximum(np.minimum(bounds[filled + 1], other.maximum)[:, None], bottom)
    low, high = np.maximum(bottom, edges[:-1]), np.minimum(top, edges[1:])
    held = (low < high) | ((low == high) & (top < edges[1:]))
    here, there = (np.where(held, _between(side, low, high), 0.0) for side in (column, other))
    both = np.where(held, np.sqrt(here * there) + _TINY, 0.0)
    expected = np.asarray(column.counts) * both / np.maximum(both.sum(axis=0), _TINY)
    expected += np.where(held, _OWN * there / counts[filled, None] + _TINY, 0.0)
    shares = expected / expected.sum(axis=1, keepdims=True)
    shares = _allowing(shares, low, high, np.asarray(other.positions)[filled, None])
    return np.append(counts[filled] @ shares, other.missing)


def _edges(column: NumericColumn) -> FloatArray:
    """The ends of all bins in the column's unit, shape (bins + 1,), infinite at both ends."""
    return np.concatenate([[-np.inf], np.asarray(column.edges) * column.scale + column.center, [np.inf]])


def _between(column: NumericColumn, low: FloatArray, high: FloatArray) -> FloatArray:
    """Rows of a column between places, shape as these, if they lie evenly on either side of their bin's mean.

    So many lie on each side that the mean is what it is: of a bin from 0 to 1 with the mean m it is 1 - m
    below m and m above. Those of one value at an end of its bin lie there.
    """
    bounds, counts = _edges(column), np.asarray(column.counts, np.float64)
    bounds[0], bounds[-1] = min(column.minimum, bounds[1]), max(column.maximum, bounds[-2])
    widths = np.diff(bounds)
    relative = np.divide(
        np.asarray(column.positions) - bounds[:-1],
        widths,
        out=np.full(widths.size, 0.5),
        where=widths > 0,
    )
    # Not on the very end, where rows at a place would count as rows below it.
    relative = np.clip(relative, _TINY, 1 - _TINY)
    ends = np.concatenate([[0.0], np.cumsum(counts)])
    places, below = np.empty(2 * counts.size + 1), np.empty(2 * counts.size + 1)
    places[::2], places[1::2] = bounds, bounds[:-1] + relative * widths
    below[::2], below[1::2] = ends, ends[:-1] + counts * (1 - relative)
    return np.asarray(np.interp(high, places, below) - np.interp(low, places, below))


def _allowing(shares: FloatArray, low: FloatArray, high: FloatArray, means: FloatArray) -> FloatArray:
    """The nearest shares of pieces, shape (n, k), that allow the means of n bins, shape (n, 1).

    The rows of a piece lie anywhere between its ends. Where the shares refute the mean, those that are
    nearest to them by Kullback and Leibler's divergence are proportional to them times exp(t x), x
    being the ends that give way (Kullback 1959).
    """
    over = (shares * low).sum(axis=1, keepdims=True) > means
    under = (shares * high).sum(axis=1, keepdims=True) < means
    gaps = np.where(shares > 0, np.where(over, low, high) - means, 0.0)
    gaps /= np.maximum(np.abs(gaps).max(axis=1, keepdims=True, initial=0.0), np.finfo(float).tiny)
    logs = np.log(shares, out=np.full_like(shares, -np.inf), where=shares > 0)
    least, most = np.full_like(means, -_STEEPEST), np.full_like(means, _STEEPEST)
    for _ in range(_STEPS):
        middle = (least + most) / 2
        beyond = (softmax(logs + middle * gaps, axis=1) * gaps).sum(axis=1, keepdims=True) > 0
        least, most = np.where(beyond, least, middle), np.where(beyond, middle, most)
    return np.asarray(np.where(over | under, softmax(logs + least * gaps, axis=1), shares))


def renamed(layout: Layout, name: str, column: CategoricalColumn, other: CategoricalColumn) -> FloatArray:
    """Rows of another profile's column by cell of this one's, shape (bins + 1,); categories are told by name."""
    counts = np.zeros(column.size + 1)
    codes = layout.category_codes(name, other.categories)[: len(other.categories)]
    np.add.at(counts, codes, other.counts[: len(other.categories)])
    if other.rare:
        rare = layout.category_codes(name, other.rare)[: len(other.rare)]
        counts += _rare(column, rare, other.counts[other.rare_code], RARE * sum(other.counts))
    counts[column.size] = other.missing
    return counts


def _rare(column: CategoricalColumn, codes: IntArray, rows: int, most: float) -> FloatArray:
    """Rows of rare categories by cell, of which the cells of all names are known and the rows of all together.

    A category has one row at least and less than `most`. New ones have no more than they must, as those
    that one sample has and another one lacks are the rarest; the known ones share the rest as here.
    """
    weights = np.zeros(column.size + 1)
    known = codes[codes != column.unseen_code]
    shares = np.asarray(column.counts) / max(sum(column.counts), 1)
    frequent = known[known != column.rare_code]
    weights[frequent] = np.minimum(shares[frequent], RARE)
    weights[column.rare_code] = (
        shares[column.rare_code] * (known.size - frequent.size) / max(len(column.rare), 1)
    )
    new = min(max(codes.size - known.size, rows - most * known.size), rows) if weights.any() else rows
    found = (rows - new) * weights / max(weights.sum(), _TINY)
    found[column.unseen_code] += new
    return np.asarray(found)
