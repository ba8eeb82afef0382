"""Columns of embeddings: sums of their vectors, pane by pane, and where their mean lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_exporter.drift import Drift
from ml_exporter.groups import Groups
from ml_exporter.profile import Embedding, NumericColumn, Profile
from ml_exporter.sources.batch import Predictions
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.centroid import centroid_distance, floor_at
from ml_exporter.stats.distance import MINIMUM_ROWS
from ml_exporter.stats.result import Unavailable, Value
from ml_exporter.tally import Shape, Tally

CENTROID = "centroid"
"""The name of the method."""


def read_as(name: str, embedding: Embedding) -> str:
    """The name under which a block has a column's vectors: versions may differ in how long these are."""
    return f"{len(embedding.centroid)} {name}"


def embeddings_of(profile: Profile | None) -> dict[str, Embedding]:
    """What a profile knows of its columns of embeddings."""
    columns = profile.columns.items() if profile else ()
    return {
        name: column.embedding
        for name, column in columns
        if isinstance(column, NumericColumn) and column.embedding is not None
    }


def vector_shape(embeddings: Mapping[str, Embedding]) -> Shape:
    """What is summed up: weights of vectors, their squares, and the weighted vectors."""
    arrays: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {}
    for name, own in embeddings.items():
        arrays |= {f"weights {name}": ((2,), np.int64), f"sums {name}": ((len(own.centroid),), np.float64)}
    return Shape(arrays)


def vector_tallies(
    rows: Predictions,
    embeddings: Mapping[str, Embedding],
    groups: Groups,
    window: int,
    versions: IntArray,
    n_versions: int,
) -> Iterator[tuple[int, int, Tally]]:
    """Give the place of a version, a pane of a window and the sums of its vectors, for each that has rows.

    `versions` has the place of each row's version, below `n_versions`.
    """
    place, panes = groups.panes(window)
    slots = np.where(place >= 0, versions * panes.size + place, -1)
    n = n_versions * panes.size
    sums = {name: _sums(rows, name, own, slots, n) for name, own in embeddings.items()}
    for slot in np.flatnonzero(np.bincount(slots[slots >= 0], minlength=n)).tolist():
        version, pane = divmod(slot, panes.size)
        arrays: dict[str, NDArray[Any]] = {}
        for name, (weights, totals) in sums.items():
            arrays |= {f"weights {name}": weights[slot], f"sums {name}": totals[slot]}
        yield version, int(panes[pane]), Tally(arrays)


def _sums(
    rows: Predictions, name: str, own: Embedding, slots: IntArray, n: int
) -> tuple[IntArray, FloatArray]:
    """Weights, shape (n, 2), and weighted sums of the vectors, shape (n, d), by slot."""
    weights, totals = np.zeros((n, 2), np.int64), np.zeros((n, len(own.centroid)))
    vectors = rows.vectors.get(read_as(name, own))
    if vectors is None:
        return weights, totals
    found = np.flatnonzero((vectors.place >= 0) & (slots >= 0))
    found = found[np.argsort(slots[found], kind="stable")]
    starts = np.flatnonzero(np.diff(slots[found], prepend=-1))
    if starts.size:
        filled, counts = slots[found[starts]], np.diff(np.append(starts, found.size))
        totals[filled] = np.add.reduceat(vectors.values[vectors.place[found]], starts) * vectors.weight
        weights[filled] = np.stack([counts * vectors.weight, counts * vectors.weight**2], axis=1)
    return weights, totals


def vector_drifts(
    embeddings: Mapping[str, Embedding],
    tally: Tally,
    window: str,
    limits: Mapping[tuple[str, str], float],
) -> Iterator[Drift]:
    """How far the mean of each column's vectors is from the reference's, with what it is without drift."""
    for name, own in embeddings.items():
        weight, squares = tally[f"weights {name}"].tolist()
        rows = weight * weight / squares if squares else 0.0
        chunk = own.chunks.get(window)
        limit = limits.get((name, CENTROID))
        if rows < MINIMUM_ROWS:
            yield Drift(name, CENTROID, Unavailable("too_few_rows"), None, chunk is None, limit=limit)
            continue
        mean = tally[f"sums {name}"] / weight
        value = centroid_distance(mean, np.asarray(own.centroid), own.deviation)
        noise = max(floor_at(own.floor, rows, own.rows), chunk or 0.0)
        yield Drift(name, CENTROID, Value(value, None, None, round(rows)), noise, chunk is None, limit=limit)
