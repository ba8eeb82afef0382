"""The demo's logs of 2013 in one go, as the model server would have left them."""

from datetime import date
from pathlib import Path

import duckdb
import replay

STAMP = "strftime(make_timestamp({column} * 1000), '%Y-%m-%dT%H:%M:%S.%gZ') AS ts"
PREDICTIONS = f"""
COPY (
    SELECT id, {STAMP.format(column="flights.ts")}, version, score, prediction, latency_s, features
    FROM flights ORDER BY flights.ts, version, id
) TO '{{path}}' (FORMAT json)
"""
LABELS = f"""
COPY (
    SELECT id, {STAMP.format(column="label_ts")}, label
    FROM flights WHERE version = '1' AND label IS NOT NULL ORDER BY label_ts, id
) TO '{{path}}' (FORMAT json)
"""


def write(data: Path, folder: Path, since: date, until: date | None) -> tuple[int, int]:
    """Write predictions.jsonl and labels.jsonl with raw time stamps into `folder`.

    Predictions made from `since` up to `until` (days in UTC; None: the end), sorted by time, and
    their labels, sorted by the labels' time. No request fails here: every row of the data is in.
    Returns the numbers of rows; raises ``duckdb.Error``, ``OSError``, and ``ValueError`` if there are none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    connection = replay.load(data, replay.day_ms(since), threads=2)
    if until is not None:
        connection.execute("DELETE FROM flights WHERE ts >= ?", [replay.day_ms(until)])
    labels = _copy(connection, LABELS, folder / "labels.jsonl")
    return _copy(connection, PREDICTIONS, folder / "predictions.jsonl"), labels


def _copy(connection: duckdb.DuckDBPyConnection, statement: str, path: Path) -> int:
    unfinished = path.with_name(f".{path.name}.new")
    # COPY takes no parameters for its target.
    quoted = str(unfinished).replace("'", "''")
    row = connection.execute(statement.format(path=quoted)).fetchone()
    unfinished.replace(path)
    return int(row[0]) if row else 0
