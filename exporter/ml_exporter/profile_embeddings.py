"""What a profile keeps of a column of embeddings: where its vectors lie, and what noise moves their mean."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from ml_exporter.profile import Embedding
from ml_exporter.profile_answers import digits
from ml_exporter.profile_noise import MINIMUM_CHUNK_ROWS, MINIMUM_CHUNKS
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.centroid import centroid_distance, deviation_of, floor_at, scaled_floor

NUMBERS = 8_000_000
"""So many numbers of a column are looked at: the more a vector has, the fewer vectors."""
_VECTORS = 2_000
"""So many vectors tell how they scatter."""


def embedding(
    vectors: FloatArray, times: IntArray, seconds: Mapping[str, float], first: int, last: int
) -> Embedding | None:
    """What is known of vectors, shape (n, d), at ascending times; None where there are none.

    Where all of them are the same, distances are in the vectors' own unit. `seconds` are the lengths of the windows' chunks, which lie between `first` and `last` (microseconds).
    """
    if not len(vectors):
        return None
    spread = deviation_of(vectors)
    deviation = spread if spread > 0 else 1.0
    floor = scaled_floor(vectors[:: max(1, -(-len(vectors) // _VECTORS))]) if spread > 0 else 0.0
    found = {window: _chunks(vectors, times, length, first, last) for window, length in seconds.items()}
    largest = {
        window: float(np.max(values)) / deviation
        for window, (values, _) in found.items()
        if values.size >= MINIMUM_CHUNKS
    }
    return Embedding(
        rows=len(vectors),
        centroid=tuple(float(f"{value:.6g}") for value in vectors.mean(axis=0)),
        deviation=digits(deviation),
        floor=digits(floor),
        chunks={window: digits(value) for window, value in largest.items()},
        limits={
            window: digits(value + floor_at(floor, found[window][1], len(vectors)))
            for window, value in largest.items()
        },
    )


def _chunks(
    vectors: FloatArray, times: IntArray, seconds: float, first: int, last: int
) -> tuple[FloatArray, float]:
    """Distance of each chunk's mean from that of the rest, and how many vectors a chunk has."""
    length = round(seconds * 1e6)
    ends = first + np.arange((last - first) // length + 1) * length
    bounds = np.searchsorted(times, ends)
    total, distances, sizes = vectors.sum(axis=0), [], []
    for start, end in pairwise(bounds.tolist()):
        rest = len(vectors) - (end - start)
        if end - start >= MINIMUM_CHUNK_ROWS and rest:
            own = vectors[start:end].sum(axis=0)
            distances.append(centroid_distance(own / (end - start), (total - own) / rest, 1.0))
            sizes.append(end - start)
    return np.asarray(distances), float(np.mean(sizes)) if sizes else 0.0
