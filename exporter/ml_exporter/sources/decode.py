"""A block of a log becomes columns, and every record of it ends in exactly one outcome.

DuckDB parses with the types that the profile expects. First strictly: a block that passes has no
malformed record and no value of a wrong type, so every NULL is truly missing. Only if it does not
pass is it read leniently, and then the records and values in question are looked at once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_exporter.sources import outcomes, sql
from ml_exporter.sources.batch import ABSENT, INVALID, Labels, Numbers, Outcomes, Predictions
from ml_exporter.sources.blocks import Block
from ml_exporter.sources.database import Database
from ml_exporter.sources.formats import READERS
from ml_exporter.sources.outcomes import Letter
from ml_exporter.sources.reader import Columns, Reader
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray

VERSION_CODES = 64
"""So many versions are told apart; all others are "other"."""
VERSION_LENGTH = 200
"""Longer names of versions are "other"."""
UNKNOWN_VERSION = "unknown"
OTHER_VERSION = "other"


@dataclass(frozen=True)
class Fields:
    """Dotted paths of a record's fields, None where the log has no such field."""

    timestamp: str | None
    id: str | None = None
    version: str | None = None
    score: str | None = None
    prediction: str | None = None
    label: str | None = None
    latency_seconds: str | None = None
    error: str | None = None


class PredictionDecoder:
    """Decodes blocks of a model's prediction log.

    `numbers` and `categories` map feature names to dotted paths; `values` has each category
    column's list; `versions` are names that are known beforehand; `database` is shared by decoders. Raises ValueError where the paths
    contradict each other. Not for use by two threads at once.
    """

    def __init__(
        self,
        fields: Fields,
        positive: str,
        numbers: Mapping[str, str],
        categories: Mapping[str, str],
        values: Mapping[str, Sequence[str]],
        versions: Sequence[str] = (),
        form: str = "jsonl",
        database: Database | None = None,
    ) -> None:
        self._fields = fields
        self._positive = positive
        self._numbers = dict(numbers)
        self._categories = dict(categories)
        self._values = values
        self._versions = list(versions)
        self._types = self._column_types()
        lists = {f"c {name}": values[name] for name in categories}
        self._reader = READERS[form](self._types, _times(fields), lists, database)
        self._select = self._expressions()
        self._reasons: IntArray = np.zeros(0, np.int64)

    def decode(self, block: Block, now: int) -> tuple[Predictions, Outcomes]:
        """Decode a block; `now` is the wall clock in microseconds, which `future` is judged by."""
        self._reader.load(block)
        columns, sound = self._reader.columns(self._select)
        if self._learn_versions(columns["version"]):
            versions, _ = self._reader.columns({"version": self._select["version"]})
            columns = {**columns, **versions}
        self._reasons = outcomes.outcomes_of(columns, now, needs_id=self._fields.id is not None)
        accepted = self._reasons == outcomes.ACCEPTED
        wrong = self._wrong_types(columns, sound, accepted)
        outcomes.settle(self._reasons, self._reader, self._fields.id, self._fields.timestamp)
        batch = self._batch(columns, wrong)
        return batch if accepted.all() else batch.take(accepted), outcomes.count(self._reasons, self._reader)

    def letters(self) -> list[Letter]:
        """Return what was rejected of the last block."""
        return outcomes.letters(self._reasons, self._reader)

    def _column_types(self) -> dict[str, str]:
        """Return the type to read each path with: text where anything needs it as text."""
        fields = self._fields
        numbers = (fields.score, fields.latency_seconds, *self._numbers.values())
        texts = (fields.timestamp, fields.id, fields.version, fields.prediction, fields.label, fields.error)
        types = {path: "DOUBLE" for path in numbers if path}
        return types | {path: "VARCHAR" for path in (*texts, *self._categories.values()) if path}

    def _expressions(self) -> dict[str, str]:
        fields, column = self._fields, self._reader.column
        error = column(fields.error) if fields.error else "NULL"
        select = {
            "id": sql.id_hash(column(fields.id)) if fields.id else "0::UBIGINT",
            **_time_columns(self._reader, fields.timestamp),
            "version": self._version_code(),
            "class": _class_column(self._reader, fields.prediction, self._positive),
            "label": _class_column(self._reader, fields.label, self._positive),
            "score": self._number(fields.score),
            "latency": self._number(fields.latency_seconds),
            "error": f"coalesce({error}, '') NOT IN ('', 'false', 'null')",
        }
        select |= {f"n {name}": self._number(path) for name, path in self._numbers.items()}
        for name, path in self._categories.items():
            select[f"c {name}"] = sql.member(column(path), f"c {name}", len(self._values[name]))
        return select

    def _number(self, path: str | None) -> str:
        if not path:
            return "NULL::DOUBLE"
        column = self._reader.column(path)
        return column if self._types[path] == "DOUBLE" else f"try_cast({column} AS DOUBLE)"

    def _version_code(self) -> str:
        if not self._fields.version:
            return "0"
        column = self._reader.column(self._fields.version)
        known = sql.code(column, self._versions, -1)
        return f"CASE WHEN {column} IS NULL THEN -2 ELSE {known} END"

    def _learn_versions(self, codes: Any) -> bool:
        """Take up names that are met for the first time; return whether there are any."""
        free = VERSION_CODES - len(self._versions)
        if not self._fields.version or free <= 0 or not np.any(codes == -1):
            return False
        found = self._reader.distinct(self._fields.version)
        new = [name for name in found if name not in self._versions and len(name) <= VERSION_LENGTH]
        self._versions += new[:free]
        self._select["version"] = self._version_code()
        return bool(new)

    def _version_columns(self, codes: Any) -> tuple[IntArray, tuple[str, ...]]:
        if not self._fields.version:
            return np.zeros(codes.size, np.int64), (UNKNOWN_VERSION,)
        names = (*self._versions, OTHER_VERSION, UNKNOWN_VERSION)
        return np.where(codes < 0, len(names) + np.where(codes == -1, -2, -1), codes).astype(np.int64), names

    def _wrong_types(self, columns: Columns, sound: bool, accepted: BoolArray) -> dict[str, BoolArray]:
        """Return where a number should stand and something else does, by column."""
        numbers = {f"n {name}": path for name, path in self._numbers.items()}
        if self._fields.score:
            numbers["score"] = self._fields.score
        # What is read as text passes the strict look whatever it is.
        unsure = {key: path for key, path in numbers.items() if not (sound and self._types[path] == "DOUBLE")}
        null = {key: np.ma.getmaskarray(columns[key]) & accepted for key in unsure}
        suspects = {key: path for key, path in unsure.items() if null[key].any()}
        return self._reader.wrong_types(suspects, null) if suspects else {}

    def _batch(self, columns: Columns, wrong: Mapping[str, BoolArray]) -> Predictions:
        versions, names = self._version_columns(columns["version"])
        scores = _scores(columns["score"], wrong.get("score"))
        classes = columns["class"].astype(np.int8)
        derived = (classes == ABSENT) & np.isfinite(scores)
        classes[derived] = scores[derived] >= 0.5
        return Predictions(
            np.ma.filled(columns["id"], 0),
            np.ma.filled(columns["time"], 0),
            versions,
            names,
            scores,
            classes,
            columns["label"].astype(np.int8) if self._fields.label else None,
            np.ma.filled(columns["latency"], np.nan),
            columns["error"],
            {name: _numbers(columns[f"n {name}"], wrong.get(f"n {name}")) for name in self._numbers},
            {name: columns[f"c {name}"].astype(np.int64) for name in self._categories},
            self._values,
        )


class LabelDecoder:
    """Decodes blocks of a label log. Not for use by two threads at once."""

    def __init__(
        self, fields: Fields, positive: str, form: str = "jsonl", database: Database | None = None
    ) -> None:
        assert fields.id
        assert fields.label
        self._fields = fields
        types = {path: "VARCHAR" for path in (fields.id, fields.timestamp, fields.label) if path}
        self._reader = READERS[form](types, _times(fields), None, database)
        self._reasons: IntArray = np.zeros(0, np.int64)
        self._select = {
            "id": sql.id_hash(self._reader.column(fields.id)),
            **_time_columns(self._reader, fields.timestamp),
            "label": _class_column(self._reader, fields.label, positive),
        }

    def decode(self, block: Block, now: int) -> tuple[Labels, Outcomes]:
        """Decode a block; a label without a time stamp takes `now` (microseconds)."""
        self._reader.load(block)
        columns, _ = self._reader.columns(self._select)
        self._reasons = outcomes.outcomes_of(columns, now, needs_id=True, needs_time=False)
        accepted = self._reasons == outcomes.ACCEPTED
        self._reasons[accepted & (columns["label"] == ABSENT)] = outcomes.NO_LABEL
        self._reasons[accepted & (columns["label"] == INVALID)] = outcomes.BAD_LABEL
        accepted = self._reasons == outcomes.ACCEPTED
        outcomes.settle(self._reasons, self._reader, self._fields.id, None)
        times = np.where(np.ma.getmaskarray(columns["time"]), now, np.ma.filled(columns["time"], 0))
        labels = Labels(np.ma.filled(columns["id"], 0), times, columns["label"].astype(np.int8))
        return labels if accepted.all() else labels.take(accepted), outcomes.count(
            self._reasons, self._reader
        )

    def letters(self) -> list[Letter]:
        """Return what was rejected of the last block."""
        return outcomes.letters(self._reasons, self._reader)


def _times(fields: Fields) -> list[str]:
    return [fields.timestamp] if fields.timestamp else []


def _time_columns(reader: Reader, path: str | None) -> dict[str, str]:
    if not path:
        return {"time": "NULL::BIGINT", "timed": "false"}
    return {"time": reader.time(path), "timed": f"{reader.column(path)} IS NOT NULL"}


def _class_column(reader: Reader, path: str | None, positive: str) -> str:
    return sql.binary_class(reader.column(path), positive) if path else f"{ABSENT}::TINYINT"


def _scores(column: Any, wrong: BoolArray | None) -> FloatArray:
    """Return scores with NaN where there is none, and infinity for what is no number."""
    scores: FloatArray = np.ma.filled(column, np.inf)
    scores[np.isnan(scores)] = np.inf
    absent = np.ma.getmaskarray(column)
    scores[absent if wrong is None else absent & ~wrong] = np.nan
    return scores


def _numbers(column: Any, wrong: BoolArray | None) -> Numbers:
    if not np.ma.is_masked(column):
        return Numbers(np.ma.getdata(column), None, None)
    absent = np.ma.getmaskarray(column)
    return Numbers(column.filled(np.nan), absent if wrong is None else absent & ~wrong, wrong)
