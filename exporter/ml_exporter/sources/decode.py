"""A block of JSON lines becomes columns, and every line ends in exactly one outcome.

DuckDB parses with the types that the profile expects. First strictly: a block that passes has no
malformed line and no value of a wrong type, so every NULL is truly missing. Only if it does not
pass is it read leniently, and then the lines and values in question are looked at once more.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from ml_exporter.sources import sql
from ml_exporter.sources.batch import ABSENT, INVALID, Labels, Numbers, Outcomes, Predictions
from ml_exporter.stats.arrays import BoolArray, IntArray

FUTURE_TOLERANCE = 3600 * 1_000_000
"""A time stamp further ahead of the wall clock than this, in microseconds, is rejected."""

VERSION_CODES = 64
UNKNOWN_VERSION = "unknown"
OTHER_VERSION = "other"
_LENIENT_BLOCKS = 8
_NO_TIME = -(2**63)


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


class _Reader:
    """Parses blocks of JSON lines with given types; remembers when strict parsing is not worth a try."""

    def __init__(self, types: Mapping[str, str]) -> None:
        self.connection = duckdb.connect(":memory:", config={"threads": 1})
        self.connection.execute("SET timezone = 'UTC'")
        self._columns = sql.columns(types)
        self._lenient = 0

    def columns(self, data: bytes, select: Mapping[str, str]) -> tuple[dict[str, Any], bool]:
        """Return arrays by name, one row for each non-blank line, and whether all lines were sound."""
        expressions = ", ".join(f"{expression} AS {sql.name(key)}" for key, expression in select.items())
        with _in_memory_file(data) as path:
            if not self._lenient:
                try:
                    return self._fetch(expressions, path, lenient=False), True
                except duckdb.Error:
                    self._lenient = _LENIENT_BLOCKS
            self._lenient -= 1
            return self._fetch(expressions, path, lenient=True), False

    def wrong_types(self, data: bytes, paths: Mapping[str, str]) -> dict[str, BoolArray]:
        """Return where a number should stand and a string, object or list does, by column."""
        tops = {dotted.split(".")[0] for dotted in paths.values()}
        kinds = sql.columns(dict.fromkeys(tops, "JSON"))
        select = ", ".join(f"{_not_a_number(dotted)} AS {sql.name(key)}" for key, dotted in paths.items())
        with _in_memory_file(data) as path:
            return self._query(select, path, kinds, lenient=True)

    def distinct(self, data: bytes, expression: str) -> list[str]:
        """Return the distinct texts of an expression, in order."""
        with _in_memory_file(data) as path:
            found = self._query(f"DISTINCT {expression} AS value", path, self._columns, lenient=True)["value"]
        return sorted(value for value in np.ma.compressed(found) if value is not None)

    def _fetch(self, select: str, path: str, lenient: bool) -> dict[str, Any]:
        return self._query(select, path, self._columns, lenient)

    def _query(self, select: str, path: str, columns: str, lenient: bool) -> dict[str, Any]:
        flags = f"format='newline_delimited', columns={columns}, ignore_errors={str(lenient).lower()}"
        # The path is ours and the rest is quoted by `sql`, so nothing from a log enters the statement.
        return dict(
            self.connection.execute(f"SELECT {select} FROM read_json('{path}', {flags})").fetchnumpy()
        )


class PredictionDecoder:
    """Decodes blocks of a model's prediction log.

    `numbers` and `categories` map feature names to dotted paths; `values` has each category
    column's list. Not for use by two threads at once.
    """

    def __init__(
        self,
        fields: Fields,
        positive: str,
        numbers: Mapping[str, str],
        categories: Mapping[str, str],
        values: Mapping[str, Sequence[str]],
    ) -> None:
        self._fields = fields
        self._positive = positive
        self._numbers = dict(numbers)
        self._categories = dict(categories)
        self._values = values
        self._versions: list[str] = []
        self._reader = _Reader(self._types())

    def decode(self, data: bytes, now: int) -> tuple[Predictions, Outcomes]:
        """Decode complete lines; `now` is the wall clock in microseconds, which `future` is judged by."""
        columns, sound = self._reader.columns(data, self._select())
        if self._learn_versions(data, columns["version"]):
            columns, sound = self._reader.columns(data, self._select())
        wrong = {} if sound else self._wrong_types(data, columns)
        rejected = _rejections(columns, now, needs_id=self._fields.id is not None)
        outcomes = _outcomes(rejected, data)
        batch = self._batch(columns, wrong)
        return (batch if not outcomes.rejected else batch.take(rejected == _ACCEPTED)), outcomes.counts

    def _types(self) -> dict[str, str]:
        fields = self._fields
        texts = (fields.timestamp, fields.id, fields.version, fields.prediction, fields.label, fields.error)
        types = {path: "VARCHAR" for path in (*texts, *self._categories.values()) if path}
        numbers = (fields.score, fields.latency_seconds)
        return types | {path: "DOUBLE" for path in (*numbers, *self._numbers.values()) if path}

    def _select(self) -> dict[str, str]:
        fields = self._fields
        error = sql.path(fields.error) if fields.error else "NULL"
        select = {
            "id": sql.id_hash(sql.path(fields.id)) if fields.id else "0::UBIGINT",
            **_time_columns(fields.timestamp),
            "version": self._version_code(),
            "score": sql.path(fields.score) if fields.score else "NULL::DOUBLE",
            "class": _class_column(fields.prediction, self._positive),
            "label": _class_column(fields.label, self._positive),
            "latency": sql.path(fields.latency_seconds) if fields.latency_seconds else "NULL::DOUBLE",
            "error": f"coalesce({error}, '') NOT IN ('', 'false', 'null')",
        }
        select |= {f"n {name}": sql.path(path) for name, path in self._numbers.items()}
        for name, path in self._categories.items():
            select[f"c {name}"] = sql.category(sql.path(path), self._values[name])
        return select

    def _version_code(self) -> str:
        if not self._fields.version:
            return "0"
        path = sql.path(self._fields.version)
        known = sql.code(path, self._versions, -1)
        return f"CASE WHEN {path} IS NULL THEN -2 ELSE {known} END"

    def _learn_versions(self, data: bytes, codes: Any) -> bool:
        if not self._fields.version or len(self._versions) >= VERSION_CODES or not np.any(codes == -1):
            return False
        for name in self._reader.distinct(data, sql.path(self._fields.version)):
            if name not in self._versions and len(self._versions) < VERSION_CODES:
                self._versions.append(name)
        return True

    def _version_columns(self, codes: Any) -> tuple[IntArray, tuple[str, ...]]:
        if not self._fields.version:
            return np.zeros(codes.size, np.int64), (UNKNOWN_VERSION,)
        names = (*self._versions, OTHER_VERSION, UNKNOWN_VERSION)
        return np.where(codes < 0, len(names) + np.where(codes == -1, -2, -1), codes).astype(np.int64), names

    def _wrong_types(self, data: bytes, columns: Mapping[str, Any]) -> dict[str, BoolArray]:
        suspects = {
            name: path
            for name, path in self._numbers.items()
            if isinstance(columns[f"n {name}"], np.ma.MaskedArray)
        }
        if self._fields.score and isinstance(columns["score"], np.ma.MaskedArray):
            suspects["\0score"] = self._fields.score
        return self._reader.wrong_types(data, suspects) if suspects else {}

    def _batch(self, columns: Mapping[str, Any], wrong: Mapping[str, BoolArray]) -> Predictions:
        versions, names = self._version_columns(columns["version"])
        scores, classes = _nan_filled(columns["score"]), columns["class"].astype(np.int8)
        derived = (classes == ABSENT) & np.isfinite(scores)
        classes = np.where(derived, scores >= 0.5, classes).astype(np.int8)
        scores = np.where(wrong["\0score"], np.inf, scores) if "\0score" in wrong else scores
        return Predictions(
            np.ma.filled(columns["id"], 0),
            np.ma.filled(columns["time"], 0),
            versions,
            names,
            scores,
            classes,
            columns["label"].astype(np.int8) if self._fields.label else None,
            _nan_filled(columns["latency"]),
            columns["error"],
            {name: _numbers(columns[f"n {name}"], wrong.get(name)) for name in self._numbers},
            {name: columns[f"c {name}"].astype(np.int64) for name in self._categories},
            self._values,
        )


class LabelDecoder:
    """Decodes blocks of a label log. Not for use by two threads at once."""

    def __init__(self, fields: Fields, positive: str) -> None:
        assert fields.id
        assert fields.label
        types = {path: "VARCHAR" for path in (fields.id, fields.timestamp, fields.label) if path}
        self._reader = _Reader(types)
        self._select = {
            "id": sql.id_hash(sql.path(fields.id)),
            **_time_columns(fields.timestamp),
            "label": _class_column(fields.label, positive),
        }
        self._timed = fields.timestamp is not None

    def decode(self, data: bytes, now: int) -> tuple[Labels, Outcomes]:
        """Decode complete lines; a label without a time stamp takes `now` (microseconds)."""
        columns, _ = self._reader.columns(data, self._select)
        rejected = _rejections(columns, now, needs_id=True, needs_time=False)
        rejected[(rejected == _ACCEPTED) & (columns["label"] == ABSENT)] = _NO_LABEL
        rejected[(rejected == _ACCEPTED) & (columns["label"] == INVALID)] = _BAD_LABEL
        outcomes = _outcomes(rejected, data)
        times = np.where(np.ma.getmaskarray(columns["time"]), now, np.ma.filled(columns["time"], 0))
        labels = Labels(np.ma.filled(columns["id"], 0), times, columns["label"].astype(np.int8))
        return (labels if not outcomes.rejected else labels.take(rejected == _ACCEPTED)), outcomes.counts


REASONS = (
    "accepted",
    "no_id",
    "no_timestamp",
    "bad_timestamp",
    "future",
    "no_label",
    "bad_label",
    "malformed",
    "not_an_object",
    "too_long",
)
"""The outcomes of a line."""

(_ACCEPTED, _NO_ID, _NO_TIMESTAMP, _BAD_TIMESTAMP, _FUTURE, _NO_LABEL, _BAD_LABEL) = range(7)


def _rejections(columns: Mapping[str, Any], now: int, needs_id: bool, needs_time: bool = True) -> IntArray:
    """Return each row's outcome as an index into REASONS, as far as its columns tell."""
    times = columns["time"]
    no_time = np.ma.getmaskarray(times)
    reasons = np.where(np.ma.filled(times, _NO_TIME) > now + FUTURE_TOLERANCE, _FUTURE, _ACCEPTED)
    reasons[no_time & columns["timed"]] = _BAD_TIMESTAMP
    if needs_time:
        reasons[no_time & ~columns["timed"]] = _NO_TIMESTAMP
    if needs_id:
        reasons[np.ma.getmaskarray(columns["id"])] = _NO_ID
    return reasons


@dataclass(frozen=True)
class _Counted:
    counts: Outcomes
    rejected: int


def _outcomes(reasons: IntArray, data: bytes) -> _Counted:
    """Count the outcomes; lines without id or time are looked at once more to tell what they are."""
    counts = Counter({REASONS[code]: int(n) for code, n in enumerate(np.bincount(reasons)) if n})
    suspects = np.flatnonzero((reasons == _NO_ID) | (reasons == _NO_TIMESTAMP))
    if suspects.size:
        lines = [line for line in data.split(b"\n") if line.strip(b" \t\r")]
        for row in suspects:
            better = _defect(lines[row])
            if better:
                counts[REASONS[reasons[row]]] -= 1
                counts[better] += 1
    return _Counted(+counts, int(reasons.size) - counts["accepted"])


def _defect(line: bytes) -> str | None:
    """Return what is wrong with a line as a whole, None where it is a JSON object."""
    try:
        return None if isinstance(json.loads(line.decode("utf-8-sig")), dict) else "not_an_object"
    except (ValueError, RecursionError):
        return "malformed"


def _time_columns(path: str | None) -> dict[str, str]:
    if not path:
        return {"time": "NULL::BIGINT", "timed": "false"}
    return {"time": sql.microseconds(sql.path(path)), "timed": f"{sql.path(path)} IS NOT NULL"}


def _class_column(path: str | None, positive: str) -> str:
    return sql.binary_class(sql.path(path), positive) if path else f"{ABSENT}::TINYINT"


def _not_a_number(dotted: str) -> str:
    """Return an expression that is true where the path, or a parent that should be an object, is neither."""
    top, *rest = dotted.split(".")
    root, steps = sql.name(top), "".join("." + json.dumps(part, ensure_ascii=False) for part in rest)
    leaf = f"json_type({root}, {sql.text('$' + steps)}) IN ('VARCHAR', 'OBJECT', 'ARRAY')"
    if rest:
        leaf += f" OR json_type({root}) NOT IN ('OBJECT', 'NULL')"
    return f"coalesce({leaf}, false)"


def _numbers(column: Any, wrong: BoolArray | None) -> Numbers:
    if not isinstance(column, np.ma.MaskedArray):
        return Numbers(column, None, wrong)
    absent = np.ma.getmaskarray(column)
    if wrong is None:
        return Numbers(column.filled(np.nan), absent, None)
    return Numbers(column.filled(np.nan), absent & ~wrong, absent & wrong)


def _nan_filled(column: Any) -> Any:
    return column.filled(np.nan) if isinstance(column, np.ma.MaskedArray) else column


@contextmanager
def _in_memory_file(data: bytes) -> Iterator[str]:
    """Give a path under which DuckDB can read `data`."""
    descriptor = os.memfd_create("ml_exporter")
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
