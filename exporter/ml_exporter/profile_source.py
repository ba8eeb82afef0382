"""Files of logs as relations: what a profile is made from, and where a path stands in them."""

from __future__ import annotations

import glob
from collections.abc import Collection, Sequence
from pathlib import Path

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
}
_JSON = "format='newline_delimited', records=true, ignore_errors=true"
_LAST = 2**62
"""Later than any time stamp: that of a label that has none."""


def relation(files: Sequence[Path]) -> str:
    """The rows of some files; raises ProfileError where one is missing or of an unknown kind."""
    suffixes = {_suffix(file) for file in files}
    if len(suffixes) != 1 or not suffixes <= _READERS.keys():
        known = ", ".join(_READERS)
        raise ProfileError(f"{', '.join(map(str, files))}: not files of one known kind; use one of {known}")
    suffix = suffixes.pop()
    for file in files:
        if not file.exists():
            raise ProfileError(f"{file}: does not exist; name the log files to build the profile from")
    listed = "[" + ", ".join(sql.text(str(file)) for file in files) + "]"
    options = ", union_by_name=true"
    if _READERS[suffix] == "read_json":
        options += f", {_JSON}, sample_size=-1, map_inference_threshold=-1"
    if _READERS[suffix] == "read_csv":
        options += ", sample_size=-1"
    return f"{_READERS[suffix]}({listed}{options})"


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
    paths = [path for path in (fields.id, fields.timestamp, fields.label) if path]
    rows = _label_rows(labels, paths)
    found = db.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()
    columns = {row[0] for row in found}
    known, given = (f"CAST({place(path, columns)} AS VARCHAR)" for path in (fields.id, fields.label))
    time = str(_LAST)
    if fields.timestamp:
        text = f"CAST({place(fields.timestamp, columns)} AS VARCHAR)"
        time = f"coalesce({sql.microseconds(text)}, {_LAST})"
    db.execute(
        "CREATE TEMP TABLE label_log AS SELECT known_id, arg_min(own, (time, own)) AS known_label FROM ("
        f"SELECT known_id, time, {answer} AS own FROM "
        f"(SELECT {known} AS known_id, {time} AS time, {given} AS given FROM {rows})) "
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
    return f"read_json({path}, {_JSON}, columns={columns})"


def _suffix(file: Path) -> str:
    name = file.name.removesuffix(".gz").removesuffix(".zst")
    stem = name.rstrip("0123456789").rstrip(".")  # predictions.jsonl.1
    return Path(stem).suffix.lower()
