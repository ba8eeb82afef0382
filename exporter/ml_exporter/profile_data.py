"""Rows for a profile: prediction logs of any format as columns, with their labels, however many."""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import duckdb

from ml_exporter.config import Model
from ml_exporter.delta import OWN_COLUMNS, feature_path
from ml_exporter.profile import ProfileError
from ml_exporter.profile_part import Feature, Part, Table
from ml_exporter.profile_source import Records, label_log, place
from ml_exporter.slots import MISSING, Slots
from ml_exporter.sources import sql
from ml_exporter.sources.batch import ABSENT, BINARY_CLASSES
from ml_exporter.sources.decode import UNKNOWN_VERSION

CATEGORY_LIMIT = 1_000
BLOCK = 1_000_000
"""Rows that are in memory at once; a sample has about as many at most."""
_LOADING, _COUNTING, _COLUMN_MEMORY = 500_000, 250_000, 600
"""Kilobytes for the engine, and more for each column: a Parquet file's have a buffer each.

With less than the first it reads JSON by one thread only; counting needs memory of its own.
"""
_OWN = 8
"""Columns of the table that are no features, or a few more."""
_GROUP, _VECTOR, _LARGEST = 4_000_000, 2_048, 122_880
"""Values that a group of rows may have; rows come in vectors of so many, and in groups of at most so many."""
_SPREAD = 2_654_435_761
"""2^32 by the golden ratio: multiples of it fall evenly whatever period the rows have."""
_NUMBERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
)
_KINDS = {
    "numeric": "numeric",
    "categorical": "categorical",
    "integer_category": "categorical",
    "boolean": "categorical",
    "text": "text",
    "timestamp": "timestamp",
    "embedding": "embedding",
}
_LIST = re.compile(r"(\w+)(\(.*\))?\[\d*\]")
_ALIKE = 0.99
"""Share of the lists of a column, at least, that must have the same length for it to be an embedding."""
LONGEST = 4_096
"""Numbers of an embedding, at most."""


class Rows:
    """The rows of a model's data files.

    They are read once, into a table in a temporary folder, and from there column by column, so that
    memory does not grow with them. `since` and `until` (microseconds, the latter excluded) cut them,
    `block` is how many are looked at together. Raises ProfileError with file and remedy where they cannot be read.
    """

    def __init__(
        self,
        model: Model,
        files: Sequence[Path],
        since: int | None = None,
        until: int | None = None,
        block: int = BLOCK,
    ) -> None:
        self.block = block
        self._model = model
        folder = tempfile.mkdtemp(prefix="ml-exporter-profile-")
        self._db = duckdb.connect(config={"memory_limit": f"{_LOADING} KB", "temp_directory": folder})
        weakref.finalize(self, _remove, self._db, folder)
        try:
            self._db.execute("SET timezone = 'UTC'")
            self._records = Records(self._db, files)
            self.features = tuple(self._find_features())
            self._details = self._detail_paths()
            self._open(Path(folder))
            self._load(since, until)
            self._db.execute(f"SET memory_limit = '{_COUNTING} KB'")
            self.features = tuple(map(self._sized, self.features))
            self.classes = self._find_classes()
            if model.task == "multiclass":
                # Probabilities stand in the order of the classes; without one for each they say nothing.
                complete = set(self.classes) <= self._details.keys()
                self._details = {name: self._details[name] for name in self.classes if complete}
        except (duckdb.Error, ValueError) as error:
            names = ", ".join(map(str, files))
            raise ProfileError(
                f"{names}: {str(error).splitlines()[0]}; compare with predictions.fields"
            ) from None
        self._table = Table(partial(_arrays, self._db), model.task, self.classes, tuple(self._details))
        self._size, self.first, self.last = self._fetch(
            "SELECT count(*), min(time), max(time) FROM kept.rows"
        )[0]
        self.labelled = int(self._fetch(f"SELECT count(*) FROM kept.rows WHERE {self._known}")[0][0])

    def __len__(self) -> int:
        return int(self._size)

    @cached_property
    def sample(self) -> Part:
        """Rows in time order: all of them, or about a million that are spread evenly."""
        return Part(self._table, _spread("true", len(self), self.block), sort=True)

    @cached_property
    def known(self) -> Part:
        """Rows that have a label, in time order: all of them, or about a million that are spread evenly."""
        return Part(self._table, _spread(self._known, self.labelled, self.block), sort=True)

    def blocks(self) -> Iterator[Part]:
        """All rows, a million at a time."""
        for start in range(0, len(self), self.block):
            yield Part(self._table, f"rowid >= {start} AND rowid < {start + self.block}", sort=False)

    def ends(self, feature: Feature) -> tuple[float, float] | None:
        """The least and the greatest number of a feature, None where it has none."""
        own = feature.number
        low, high = self._fetch(f"SELECT min({own}), max({own}) FROM kept.rows WHERE isfinite({own})")[0]
        return None if low is None else (low, high)

    def category_counts(self, feature: Feature, limit: int) -> tuple[list[tuple[str, int]], int]:
        """Up to `limit` categories with their rows, most frequent first, and how many there are."""
        own = sql.name(f"f {feature.name}")
        found = self._fetch(
            f"SELECT {own} AS value, count(*) AS n, count(*) OVER () FROM kept.rows WHERE value IS NOT NULL "
            f"GROUP BY value ORDER BY n DESC, value LIMIT {limit}"
        )
        return [(value, n) for value, n, _ in found], found[0][2] if found else 0

    def earlier(self, times: Mapping[str, int]) -> dict[str, int]:
        """How many rows of each version precede its time (microseconds), 0 where it has none."""
        cases = " ".join(f"WHEN {sql.text(version)} THEN {time}" for version, time in times.items())
        early = f"time < CASE version {cases} END" if cases else "false"
        return dict(
            self._fetch(
                f"SELECT version, count(*) FILTER ({early}) FROM kept.rows GROUP BY version ORDER BY version"
            )
        )

    def _fetch(self, statement: str) -> list[Any]:
        try:
            with self._db.cursor() as cursor:
                return cursor.execute(statement).fetchall()
        except duckdb.Error as error:
            raise ProfileError(_trouble(error)) from None

    @property
    def _known(self) -> str:
        """Which rows have a label."""
        return {"binary": "label >= 0", "regression": "isfinite(label)"}.get(
            self._model.task, "label IS NOT NULL"
        )

    def _find_classes(self) -> tuple[str, ...]:
        """The classes of the data, the most frequent label first."""
        score = self._model.predictions.fields.score
        if self._model.task == "binary":
            return BINARY_CLASSES
        if self._model.task == "regression":
            return ()
        if score is not None and not isinstance(score, str):
            return tuple(Slots(self._model.class_limit, tuple(score)).names)
        found = self._db.execute(
            "SELECT value FROM (SELECT label AS value, 1 AS weight FROM kept.rows UNION ALL SELECT class, 1e-9 FROM kept.rows) "
            f"WHERE value IS NOT NULL AND value <> {sql.text(MISSING)} GROUP BY value ORDER BY sum(weight) DESC, value LIMIT {self._model.class_limit}"
        ).fetchall()
        return tuple(row[0] for row in found)

    def _find_features(self) -> Iterator[Feature]:
        configured = self._model.predictions.fields.features
        if isinstance(configured, str):
            names = self._children(configured)
        else:
            names = [name if isinstance(configured, Mapping) else sql.parts(name)[-1] for name in configured]
        paths = [feature_path(self._model, name) for name in names]
        for name, path, kind in zip(names, paths, self._records.kinds(paths), strict=True):
            yield self._feature(name, path, kind)

    def _children(self, parent: str) -> list[str]:
        names = self._records.names_below(parent)
        optional = "features" not in self._model.predictions.fields.model_fields_set
        if names is None and not (optional and parent not in self._records.columns):
            raise ProfileError(
                f"{parent}: is not an object in the data; name the paths in predictions.fields.features"
            )
        return names or []

    def _feature(self, name: str, path: str, kind: str) -> Feature:
        own = self._model.columns.get(name)
        if name in OWN_COLUMNS:
            return Feature(name, path, None, "the name stands for the model's own column")
        if own is not None and own.kind is not None:
            return Feature(name, path, _KINDS.get(own.kind), f"configured as {own.kind}", sure=True)
        if kind in _NUMBERS or kind.startswith("DECIMAL"):
            return Feature(name, path, "numeric", f"numbers ({kind})")
        if kind == "BOOLEAN":
            return Feature(name, path, "categorical", "truth values")
        if kind in ("VARCHAR", "JSON") or kind.startswith("ENUM"):
            return Feature(name, path, "categorical", "text")
        if kind.startswith("TIMESTAMP") or kind == "DATE":
            return Feature(name, path, "timestamp", f"time stamps ({kind}), watched by their age in seconds")
        if kind == "UUID":
            return Feature(name, path, "text", "identifiers, watched by their length")
        items = _LIST.fullmatch(kind)
        if items and items[1] in _NUMBERS:
            return Feature(name, path, "embedding", f"lists of numbers ({kind})")
        return Feature(name, path, None, f"{kind} is not watched")

    def _sized(self, feature: Feature) -> Feature:
        """An embedding with its length, or why it is none; any other feature as it is."""
        if feature.kind != "embedding":
            return feature
        length = f"len(try_cast({sql.name(f'f {feature.name}')} AS DOUBLE[]))"
        found = self._fetch(
            f"SELECT {length} AS own, count(*) AS n, sum(count(*)) OVER () FROM kept.rows WHERE own IS NOT NULL "
            "GROUP BY own ORDER BY n DESC, own LIMIT 1"
        )
        size, rows, total = found[0] if found else (0, 0, 0)
        if not 2 <= size <= LONGEST:
            return replace(feature, kind=None, note=f"{feature.note}, of which none has 2 to {LONGEST} items")
        if rows < _ALIKE * total and not feature.sure:
            return replace(feature, kind=None, note=f"{feature.note} of different lengths")
        return replace(feature, size=size, note=f"{feature.note}, {size} each, watched by norm and centroid")

    def _open(self, folder: Path) -> None:
        """Open the file for the rows, in groups of as many as fit into memory with all of their columns."""
        columns = len(self.features) + _OWN
        self._db.execute(f"SET memory_limit = '{_LOADING + columns * _COLUMN_MEMORY} KB'")
        rows = _GROUP // columns
        size = max(rows - rows % _VECTOR, _VECTOR)
        self._db.execute(
            f"ATTACH {sql.text(str(folder / 'rows.duckdb'))} AS kept (ROW_GROUP_SIZE {min(size, _LARGEST)})"
        )
        self._db.execute("USE kept")

    def _load(self, since: int | None, until: int | None) -> None:
        """Make the table `rows`; where a line is malformed or a value does not fit, read all as text."""
        self._types: dict[str, str] = {}
        select = f"SELECT {self._columns()}, {self._label()} AS label"
        wanted = " AND ".join(filter(None, [self._version_filter(), self._record_filter()]))
        conditions = ["time IS NOT NULL"]
        conditions += [f"time >= {since}"] if since is not None else []
        conditions += [f"time < {until}"] if until is not None else []
        for strict in (True, False):
            source = f"{select} FROM {self._records.read(self._types, strict)} WHERE {wanted or 'true'}"
            try:
                self._db.execute(
                    f"CREATE OR REPLACE TABLE kept.rows AS SELECT * {self._derived()}FROM ({source}) "
                    f"WHERE {' AND '.join(conditions)}"
                )
                return
            except duckdb.Error:
                if not strict:
                    raise

    def _columns(self) -> str:
        fields = self._model.predictions.fields
        select = {
            "time": sql.microseconds(self._text(fields.timestamp)),
            "version": self._version(),
            "score": self._score(fields.score if self._model.task == "binary" else fields.prediction),
            "class": self._class(fields.prediction),
            **{f"d {name}": self._score(path) for name, path in self._details.items()},
            **{f"f {feature.name}": self._value(feature) for feature in self.features if feature.kind},
        }
        return ", ".join(f"{expression} AS {sql.name(name)}" for name, expression in select.items())

    def _derived(self) -> str:
        """A binary score without a decision decides at one half."""
        if self._model.task != "binary":
            return ""
        decided = (
            f"CASE WHEN class = {ABSENT} AND score IS NOT NULL THEN (score >= 0.5)::TINYINT ELSE class END"
        )
        return f"REPLACE ({decided} AS class) "

    def _detail_paths(self) -> dict[str, str]:
        """Paths of the probabilities by class, or of a predicted interval's ends."""
        model, score = self._model, self._model.predictions.fields.score
        if model.task == "regression" and model.interval:
            return {"lower": model.interval.lower, "upper": model.interval.upper}
        if model.task != "multiclass" or score is None:
            return {}
        if isinstance(score, str):
            return {name: f"{score}.{sql.escaped(name)}" for name in self._records.names_below(score) or ()}
        return dict(score)

    def _score(self, path: str | Mapping[str, str] | None) -> str:
        if not isinstance(path, str) or not self._records.has(path):
            return "NULL::DOUBLE"
        return f"try_cast({self._place(path, 'DOUBLE')} AS DOUBLE)"

    def _class(self, path: str | None) -> str:
        if path is None or not self._records.has(path):
            return f"{ABSENT}::TINYINT" if self._model.task == "binary" else "NULL::VARCHAR"
        return self._answer(self._text(path))

    def _answer(self, text: str) -> str:
        """A class or a label: a code, a name or a number."""
        if self._model.task == "binary":
            return sql.binary_class(text, self._model.positive)
        return f"nullif({text}, '')" if self._model.task == "multiclass" else f"try_cast({text} AS DOUBLE)"

    def _label(self) -> str:
        """Where the label is: in the record, under either name, or in the label log."""
        labels = self._model.labels
        for path in (self._model.predictions.fields.label, labels.fields.label if labels else None):
            if path is not None and self._records.has(path):
                return self._class(path)
        none = f"{ABSENT}::TINYINT" if self._model.task == "binary" else "NULL"
        if labels is None or not label_log(self._db, labels, self._label_of("given")):
            return none
        own = self._text(self._model.predictions.fields.id)
        return f"coalesce((SELECT known_label FROM label_log WHERE known_id = {own}), {none})"

    def _label_of(self, text: str) -> str:
        """A label of the label log, NULL for what is none."""
        answer = self._answer(text)
        if self._model.task == "binary":
            return f"CASE WHEN {answer} >= 0 THEN {answer} END"
        return (
            f"CASE WHEN isfinite({answer}) THEN {answer} END" if self._model.task == "regression" else answer
        )

    def _version(self) -> str:
        path = self._model.predictions.fields.version
        known = f"nullif({self._text(path)}, '')" if self._records.has(path) else "NULL"
        return f"coalesce({known}, {sql.text(UNKNOWN_VERSION)})"

    def _version_filter(self) -> str:
        model, path = self._model, self._model.predictions.fields.version
        if not self._records.has(path):
            return ""
        version = self._text(path)
        if model.champion:
            return f"coalesce({version}, {sql.text(model.champion)}) = {sql.text(model.champion)}"
        listed = ", ".join(map(sql.text, model.shadow)) or "''"
        return f"(coalesce({version}, '') NOT IN ({listed}) OR {version} IS NULL)"

    def _record_filter(self) -> str:
        where = self._model.predictions.where.items()
        return f"NOT {sql.other_than({self._text(path): texts for path, texts in where})}"

    def _place(self, path: str, kind: str) -> str:
        """The expression of a path that is to be read as a number or as text; text has numbers as well."""
        if self._types.get(path) != "VARCHAR":
            self._types[path] = kind
        return place(path, self._records.columns)

    def _text(self, path: str) -> str:
        return f"CAST({self._place(path, 'VARCHAR')} AS VARCHAR)"

    def _value(self, feature: Feature) -> str:
        if feature.kind == "timestamp":
            own = self._model.predictions.fields.timestamp
            return sql.age(*(sql.microseconds(self._text(path)) for path in (own, feature.path)))
        if feature.kind != "numeric":
            return self._text(feature.path)
        own = self._place(feature.path, "DOUBLE")
        return f"CASE WHEN {own} IS NOT NULL THEN coalesce(try_cast({own} AS DOUBLE), 'nan'::DOUBLE) END"


def _spread(condition: str, rows: int, wanted: int) -> str:
    """A condition that about so many of the rows meet, without a pattern in time."""
    if rows <= wanted:
        return condition
    return f"{condition} AND (rowid * {_SPREAD}) % {2**32} < {2**32 * wanted // rows}"


def _arrays(db: duckdb.DuckDBPyConnection, statement: str) -> Mapping[str, Any]:
    """Columns of an answer; raises ProfileError where there is no room for them."""
    try:
        # A cursor of its own: several threads ask at once.
        with db.cursor() as cursor:
            return cursor.execute(statement).fetchnumpy()
    except duckdb.Error as error:
        raise ProfileError(_trouble(error)) from None


def _trouble(error: duckdb.Error) -> str:
    first = str(error).splitlines()[0]
    return f"{first}; the rows are kept in {tempfile.gettempdir()}, name a larger folder in TMPDIR"


def _remove(db: duckdb.DuckDBPyConnection, folder: str) -> None:
    db.close()
    shutil.rmtree(folder, ignore_errors=True)
