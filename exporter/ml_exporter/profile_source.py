"""Files of logs as relations: what a profile is made from, and where a path stands in them."""

from __future__ import annotations

import glob
import shutil
import weakref
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp

import duckdb

from ml_exporter.config_logs import Labels
from ml_exporter.profile import ProfileError
from ml_exporter.sources import sql

_READERS = {
    ".parquet": "read_parquet",
    ".csv": "read_csv",
    ".jsonl": "read_json",
    ".json": "read_json",
    ".ndjson": "read_json",
    ".log": "read_json",
}
_SHOWN = 100_000
"""Records of a file that tell which columns it has, and of which types."""
_JSON = "format='newline_delimited', records=true"
_BLANK = 4_096
"""Bytes of white space that make a file blank."""
_LAST = 2**62
"""Later than any time stamp: that of a label that has none."""


class Records:
    """The records of some files: which paths they have, by their first records, and how to read them.

    Raises ProfileError where a file is missing or of an unknown kind, and where all of them are blank.
    """

    def __init__(self, db: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
        self._db = db
        self._reader = _reader(files)
        files = _written(files)
        self._files = "[" + ", ".join(sql.text(str(file)) for file in files) + "]"
        self._shown = f"{self._reader}({self._files}, union_by_name=true{self._inferred()})"
        # No rows: its columns and types are what is asked for again and again.
        show = "CREATE TEMP TABLE shown AS SELECT * FROM {} LIMIT 0"
        try:
            db.execute(show.format(self._shown))
        except duckdb.BinderException:
            if self._reader != "read_json":
                raise
            # A line that is JSON and no object; DuckDB leaves those that are no JSON out by itself.
            self._shown = f"read_json({sql.text(self._objects_alone())}{self._inferred()})"
            db.execute(show.format(self._shown))
        self.columns = tuple(row[0] for row in db.execute("DESCRIBE shown").fetchall())

    def has(self, path: str | None) -> bool:
        """Whether there is anything at a path."""
        if path is None:
            return False
        names = sql.parts(path)
        if ".".join(names) in self.columns:
            return True
        if sql.root(path) not in self.columns:
            return False
        try:
            self._db.execute(f"DESCRIBE SELECT {sql.path(path)} FROM shown")
        except duckdb.Error:
            return False
        return True

    def kinds(self, paths: Sequence[str]) -> list[str]:
        """Types of what stands at the paths."""
        if not paths:
            return []
        values = ", ".join(f"{place(path, self.columns)} AS value_{i}" for i, path in enumerate(paths))
        found = self._db.execute(f"DESCRIBE SELECT {values} FROM shown").fetchall()
        kinds = [str(row[1]) for row in found]
        return [
            self._kind_inside(path) if kind == "VARCHAR" and sql.inside(path) else kind
            for path, kind in zip(paths, kinds, strict=True)
        ]

    def _kind_inside(self, path: str) -> str:
        """The type of what stands inside of a text: of numbers where nothing else does."""
        own = place(path, self.columns)
        numbers = f"SELECT bool_and(try_cast({own} AS DOUBLE) IS NOT NULL) FROM {self._shown}"
        return (
            "DOUBLE" if self._db.execute(f"{numbers} WHERE {own} IS NOT NULL").fetchall()[0][0] else "VARCHAR"
        )

    def names_below(self, parent: str) -> list[str] | None:
        """The names in an object, or after a prefix of columns; None where there is neither."""
        prefix = f"{parent}."
        below = [name.removeprefix(prefix) for name in self.columns if name.startswith(prefix)]
        if below or not self.has(parent):
            return below or None
        own = place(parent, self.columns)
        if self.kinds([parent])[0].startswith("STRUCT"):
            return [
                row[0] for row in self._db.execute(f"DESCRIBE SELECT unnest({own}) FROM shown").fetchall()
            ]
        some = f"SELECT count(*) FROM {self._shown} WHERE coalesce({own}::VARCHAR, '{{}}') <> '{{}}'"
        return None if self._db.execute(some).fetchall()[0][0] else []

    def read(self, types: Mapping[str, str], strict: bool) -> str:
        """The relation that reads the paths with these types, DOUBLE or VARCHAR.

        A strict one fails at the first line that is malformed and at the first value that does not
        fit. The other leaves such lines out and has text for all values, so that none is lost.
        """
        options = ", union_by_name=true"
        if self._reader == "read_csv":
            options += f", header=true, all_varchar=true{'' if strict else ', ignore_errors=true'}"
        if self._reader == "read_json":
            typed = {self._key(path): kind if strict else "VARCHAR" for path, kind in types.items()}
            options += f", {_JSON}, columns={sql.columns(typed)}{'' if strict else ', ignore_errors=true'}"
        return f"{self._reader}({self._files}{options})"

    def _objects_alone(self) -> str:
        """The path of a file with the first objects, which is there as long as this is."""
        folder = mkdtemp(prefix="ml-exporter-records-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        path = Path(folder, "objects.jsonl")
        with path.open("w", encoding="utf-8") as file, self._db.cursor() as cursor:
            cursor.execute(
                f"SELECT json FROM read_json_objects({self._files}, format='newline_delimited', ignore_errors=true) "
                f"WHERE json_type(json) = 'OBJECT' LIMIT {_SHOWN}"
            )
            while some := cursor.fetchmany(1_000):
                file.writelines(f"{line}\n" for (line,) in some)
        if not path.stat().st_size:
            raise ProfileError(
                f"{self._files}: has no JSON object on a line; name log files with predictions"
            )
        return str(path)

    def _key(self, path: str) -> str:
        dotted = ".".join(sql.parts(path))
        return sql.escaped(dotted) if dotted in self.columns else path

    def _inferred(self) -> str:
        if self._reader == "read_json":
            return f", {_JSON}, ignore_errors=true, sample_size={_SHOWN}, map_inference_threshold=-1"
        return f", header=true, sample_size={_SHOWN}" if self._reader == "read_csv" else ""


def _reader(files: Sequence[Path]) -> str:
    suffixes = {_suffix(file) for file in files}
    if len(suffixes) != 1 or not suffixes <= _READERS.keys():
        known = ", ".join(_READERS)
        raise ProfileError(f"{', '.join(map(str, files))}: not files of one known kind; use one of {known}")
    for file in files:
        if not file.exists():
            raise ProfileError(f"{file}: does not exist; name the log files to build the profile from")
    return _READERS[suffixes.pop()]


def _written(files: Sequence[Path]) -> list[Path]:
    """The files with anything in them: one that was just rotated has nothing, and cannot be read as records."""
    found = [file for file in files if not _blank(file)]
    if not found:
        names = ", ".join(map(str, files))
        raise ProfileError(f"{names}: has no rows; name log files with predictions")
    return found


def _blank(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return not opened.read(_BLANK).strip()
    except OSError:
        return False  # whoever reads it tells why it cannot


def place(path: str, columns: Collection[str]) -> str:
    """The expression of a dotted path: the column of that name, as CSV has it, or what is below an object."""
    dotted = ".".join(sql.parts(path))
    return sql.name(dotted) if dotted in columns else sql.path(path)


def label_log(db: duckdb.DuckDBPyConnection, labels: Labels, answer: str) -> bool:
    """Make the table `label_log` with the first label in time of each id; false where there is no log.

    `answer` is the expression that makes a label of the text `given`, NULL where it is none.
    """
    if not glob.glob(labels.path):
        return False
    fields = labels.fields
    paths = [path for path in (fields.id, fields.timestamp, fields.label, *labels.where) if path]
    rows = _label_rows(labels, paths)
    found = db.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()
    columns = {row[0] for row in found}

    def text(path: str) -> str:
        return f"CAST({place(path, columns)} AS VARCHAR)"

    time = (
        f"coalesce({sql.microseconds(text(fields.timestamp))}, {_LAST})" if fields.timestamp else str(_LAST)
    )
    other = sql.other_than({text(path): wanted for path, wanted in labels.where.items()})
    db.execute(
        "CREATE TABLE label_log AS SELECT known_id, arg_min(own, (time, own)) AS known_label FROM ("
        f"SELECT known_id, time, {answer} AS own FROM "
        f"(SELECT {text(fields.id)} AS known_id, {time} AS time, {text(fields.label)} AS given FROM {rows} "
        f"WHERE NOT {other})) "
        "WHERE own IS NOT NULL GROUP BY known_id"
    )
    return True


def _label_rows(labels: Labels, paths: Sequence[str]) -> str:
    path = sql.text(labels.path)
    if labels.format == "parquet":
        return f"read_parquet({path}, union_by_name=true)"
    if labels.format == "csv":
        return f"read_csv({path}, all_varchar=true, header=true, union_by_name=true, ignore_errors=true)"
    columns = sql.columns(dict.fromkeys(sorted(paths), "VARCHAR"))
    return f"read_json({path}, {_JSON}, ignore_errors=true, columns={columns})"


def _suffix(file: Path) -> str:
    name = file.name.removesuffix(".gz").removesuffix(".zst")
    stem = name.rstrip("0123456789").rstrip(".")  # predictions.jsonl.1
    return Path(stem).suffix.lower()
