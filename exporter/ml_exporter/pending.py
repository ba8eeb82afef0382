"""How predictions that wait stand in the store, and how they come back as judged rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ml_exporter.judged import Judged
from ml_exporter.sources.batch import Predictions
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.store import Store

_SEGMENT_BITS = 8


class PendingRows:
    """The columns of a model's waiting predictions.

    `details` is how many numbers an answer has beside its score, `segments` how many segments the
    model has: their codes share one number, a byte each.
    """

    def __init__(self, store: Store, model: int, details: int, segments: int) -> None:
        self._store = store
        self._model = model
        self._details = details
        self._segments = segments

    def insert(self, rows: Predictions, versions: IntArray, segments: IntArray) -> None:
        """Let rows wait; requests that failed have nothing to be judged."""
        served = ~rows.errors
        listed = [f"d{place}" for place in range(self._details)]
        batch: dict[str, np.ndarray[Any, Any]] = {
            "id": rows.ids[served],
            "time": rows.times[served],
            "version": versions[served].astype(np.uint16),
            "score": rows.scores[served],
            "class": rows.classes[served],
            "segments": self._packed(segments[served]),
            **dict(zip(listed, self._own_details(rows)[served].T.copy(), strict=True)),
        }
        details = f"[{', '.join(listed)}]" if listed else "NULL"
        self._store.query(
            f"INSERT INTO pending SELECT $model, id, time, version, score, class, {details}, segments FROM batch",
            {"model": self._model},
            batch,
        )

    @property
    def columns(self) -> str:
        """SQL of what `judged` wants of a prediction, beside its label."""
        numbers = ["score", *(f"details[{place + 1}] AS d{place}" for place in range(self._details))]
        return ", ".join(["time", "version", "class", "segments", *numbers])

    def judged(self, rows: Mapping[str, Any], chosen: BoolArray, labels: FloatArray) -> Judged:
        """Chosen rows of a result with these columns."""
        details = [_number(rows[f"d{place}"])[chosen] for place in range(self._details)]
        return Judged(
            np.asarray(rows["time"])[chosen],
            _number(rows["score"])[chosen],
            np.asarray(rows["class"])[chosen],
            np.stack(details, axis=1) if details else None,
            labels[chosen],
            self._unpacked(np.asarray(rows["segments"])[chosen]),
        )

    def _own_details(self, rows: Predictions) -> FloatArray:
        if rows.details is not None and rows.details.shape[1] == self._details:
            return rows.details
        return np.full((len(rows), self._details), np.nan)

    def _packed(self, codes: IntArray) -> np.ndarray[Any, np.dtype[np.uint64]]:
        packed = np.zeros(len(codes), np.uint64)
        for place, column in enumerate(codes.T):
            packed |= column.astype(np.uint64) << np.uint64(place * _SEGMENT_BITS)
        return packed

    def _unpacked(self, packed: np.ndarray[Any, np.dtype[np.uint64]]) -> IntArray:
        codes = np.zeros((packed.size, self._segments), np.int64)
        for place in range(self._segments):
            codes[:, place] = (packed >> np.uint64(place * _SEGMENT_BITS)) & np.uint64(255)
        return codes


def recode_segments(store: Store, model: int, moved: Sequence[tuple[int | None, IntArray]]) -> None:
    """Give the segments of waiting rows the codes of another configuration.

    For each segment of now: its place then and its codes by those of then, the last of which is that
    of a missing value; None for a segment that was none then.
    """
    terms = ["0::UBIGINT"]
    for place, (before, codes) in enumerate(moved):
        code = str(codes[-1])
        if before is not None:
            own = f"((segments >> {before * _SEGMENT_BITS}) & 255)::INTEGER"
            code = f"list_extract({codes.tolist()}, {own} + 1)"
        terms.append(f"({code}::UBIGINT << {place * _SEGMENT_BITS})")
    store.query(f"UPDATE pending SET segments = {' | '.join(terms)} WHERE model = $model", {"model": model})


def _number(column: Any) -> FloatArray:
    """A column of numbers; DuckDB takes a NaN of numpy's for NULL."""
    return np.asarray(np.ma.filled(column, np.nan), np.float64)
