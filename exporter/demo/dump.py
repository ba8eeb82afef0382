"""The demo's logs of 2013 in one go, as the model servers would have left them."""

from collections.abc import Collection
from datetime import date
from pathlib import Path

import duckdb
import replay
from log_shapes import SHAPES, Shape, select

STAMP = "strftime(make_timestamp({time} * 1000), '%Y-%m-%dT%H:%M:%S.%gZ')"
ROWS = "FROM flights WHERE {condition} ORDER BY {order}"


def write(
    data: Path, folder: Path, since: date, until: date | None, models: Collection[str]
) -> dict[str, tuple[int, int]]:
    """Write each model's predictions.jsonl and labels.jsonl with raw time stamps into `folder`.

    Predictions made from `since` up to `until` (days in UTC; None: the end), sorted by time, and
    their labels, sorted by the labels' time. No request fails here: every row of the data is in.
    Returns the numbers of both by model; raises ``duckdb.Error``, ``OSError``, and ``ValueError`` if
    there are no flights.
    """
    connection = _load(data, since, until)
    counts = {}
    for shape in (shape for shape in SHAPES if shape.model in models):
        predictions, labels = shape.logs(folder)
        predictions.parent.mkdir(parents=True, exist_ok=True)
        known = _copy(connection, _labels(shape), labels, "json")
        fields = shape.prediction(STAMP.format(time="flights.ts"))
        counts[shape.model] = (_copy(connection, _predictions(shape, fields), predictions, "json"), known)
    return counts


def write_labelled(
    data: Path, folder: Path, since: date, until: date | None, models: Collection[str]
) -> dict[str, tuple[int, int]]:
    """Write MODEL.parquet for each model into `folder`: its predictions with the label in each record.

    It is what `ml_exporter profile` reads. Days, numbers and errors are those of `write`.
    """
    connection = _load(data, since, until)
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for shape in (shape for shape in SHAPES if shape.model in models):
        label = f"CASE WHEN {shape.label_time} IS NOT NULL THEN {shape.label} END"
        fields = shape.prediction("make_timestamp(flights.ts * 1000)::TIMESTAMPTZ") | {"label": label}
        path = folder / f"{shape.model}.parquet"
        rows = _copy(connection, _predictions(shape, fields), path, "parquet")
        found = connection.execute("SELECT count(label) FROM read_parquet(?)", [str(path)]).fetchone()
        counts[shape.model] = (rows, int(found[0]) if found else 0)
    return counts


def _load(data: Path, since: date, until: date | None) -> duckdb.DuckDBPyConnection:
    connection = replay.load(data, replay.day_ms(since), threads=2)
    connection.execute("SET timezone = 'UTC'")
    if until is not None:
        connection.execute("DELETE FROM flights WHERE ts >= ?", [replay.day_ms(until)])
    return connection


def _predictions(shape: Shape, fields: dict[str, str]) -> str:
    rows = ROWS.format(condition=shape.versions, order="flights.ts, version, id")
    return f"SELECT {select(fields)} {rows}"


def _labels(shape: Shape) -> str:
    condition = f"version = '1' AND {shape.label_time} IS NOT NULL"
    fields = {"id": "id", "ts": STAMP.format(time=f"({shape.label_time})"), "label": shape.label}
    return f"SELECT {select(fields)} {ROWS.format(condition=condition, order=f'{shape.label_time}, id')}"


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path, kind: str) -> int:
    unfinished = path.with_name(f".{path.name}.new")
    # COPY takes no parameters for its target.
    quoted = str(unfinished).replace("'", "''")
    row = connection.execute(f"COPY ({query}) TO '{quoted}' (FORMAT {kind})").fetchone()
    unfinished.replace(path)
    return int(row[0]) if row else 0
