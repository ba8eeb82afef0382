"""The year of flights as a stream: what is predicted and what is labelled between two moments."""

import json
import random
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import faults
import logs
from log_shapes import Shape, select

DAY_MS = 86_400_000
# Probabilities of one in sum, and decimals as they were rounded, which float32 cannot hold.
LOAD = """
CREATE TABLE flights AS
SELECT id, epoch_ms(ts) AS ts, version, score::DOUBLE AS score, prediction, features,
    label, epoch_ms(label_ts) AS label_ts, arr_delay, epoch_ms(cancelled_ts) AS cancelled_ts,
    round(minutes.prediction::DOUBLE, 1) AS minutes,
    round(minutes.lower::DOUBLE, 1) AS minutes_lower, round(minutes.upper::DOUBLE, 1) AS minutes_upper,
    round(outcome.late::DOUBLE, 4) AS late, round(outcome.cancelled::DOUBLE, 4) AS cancelled,
    round(1 - late - cancelled, 4) AS on_time
FROM read_parquet(?)
WHERE epoch_ms(ts) >= ?
ORDER BY ts, version, id
"""
PREDICTIONS = """
SELECT {fields} FROM flights
WHERE ts >= ? AND ts < ? AND {versions} ORDER BY flights.ts, version, id
"""
# One label per flight, however many versions scored it.
LABELS = """
SELECT id, {time} AS label_time, {label} AS truth FROM flights
WHERE label_time >= ? AND label_time < ? AND ts >= ? AND version = '1' ORDER BY label_time, id
"""


def day_ms(day: date) -> int:
    """Milliseconds since 1970 of a day's first moment in UTC."""
    return (day - date(1970, 1, 1)).days * DAY_MS


def load(path: Path, start_ms: int, threads: int = 1) -> duckdb.DuckDBPyConnection:
    """Read the flights from `start_ms` on into memory; raises ``duckdb.Error`` and ``ValueError`` if none."""
    connection = duckdb.connect(config={"threads": threads})
    connection.execute(LOAD, [str(path), start_ms])
    if connection.execute("SELECT count(*) FROM flights").fetchone() == (0,):
        raise ValueError(f"{path} has no flight after the start")
    return connection


@dataclass(frozen=True)
class Lap:
    """One pass through the year: simulated milliseconds to wall-clock seconds, and the ids' suffix."""

    start_ms: int
    origin: float
    day_seconds: float
    suffix: str
    first_ms: int

    def simulated(self, wall: float) -> int:
        """Simulated milliseconds since 1970 at this wall-clock time."""
        return self.start_ms + int((wall - self.origin) / self.day_seconds * DAY_MS)

    def wall(self, simulated_ms: int) -> float:
        """Wall-clock seconds since 1970 at this simulated time."""
        return self.origin + (simulated_ms - self.start_ms) / DAY_MS * self.day_seconds


class Replay:
    """Plays a model's logs on the wall clock, lap after lap, and remembers how far both have come.

    `origin` is the wall-clock time of the first lap's start, `begin` (not before it) that of the
    first prediction to log: earlier ones are left out, and so are their labels.
    """

    def __init__(
        self,
        flights: duckdb.DuckDBPyConnection,
        shape: Shape,
        start_ms: int,
        day_seconds: float,
        origin: float,
        begin: float,
        run: str,
    ) -> None:
        self._flights = flights
        fields = shape.prediction("ts") | {"failed": shape.failed()}
        self._fields = tuple(fields)
        self._predictions = PREDICTIONS.format(fields=select(fields), versions=shape.versions)
        self._labels = LABELS.format(time=shape.label_time, label=shape.label)
        self._run = run
        self._rng = random.Random(0)
        self._days = _whole_days(flights, start_ms)
        lap = Lap(start_ms, origin, day_seconds, run, start_ms)
        self._laps = [replace(lap, first_ms=lap.simulated(begin))]
        self._count = 1
        self._predicted_to = begin
        self._labelled_to = begin

    @property
    def laps(self) -> int:
        """How many passes through the year have begun."""
        return self._count

    def predictions(self, now: float, active: Collection[str]) -> list[str]:
        """Log lines of the predictions since the last call; `traffic-stop` loses them."""
        self._turn_lap(now)
        since, self._predicted_to = self._predicted_to, now
        if "traffic-stop" in active:
            return []
        lines = []
        for lap in self._laps:
            after = max(lap.simulated(since), lap.first_ms)
            rows = self._flights.execute(self._predictions, [after, lap.simulated(now)]).fetchall()
            lines += [self._prediction(lap, row, active) for row in rows]
        return faults.add_garbage(lines, self._rng) if "garbage-lines" in active else lines

    def labels(self, now: float, active: Collection[str]) -> list[str]:
        """Log lines of the labels since the last call.

        `label-stop` holds them back until it ends; `label-delay` makes them and their stamps later.
        """
        delay = faults.LABEL_DELAY_SECONDS if "label-delay" in active else 0.0
        until = now - delay
        if "label-stop" in active or until <= self._labelled_to:
            return []
        since, self._labelled_to = self._labelled_to, until
        lines = []
        for lap in self._laps:
            span = [lap.simulated(since), lap.simulated(until), lap.first_ms]
            for flight, label_ms, label in self._flights.execute(self._labels, span).fetchall():
                ts = logs.stamp(lap.wall(label_ms) + delay)
                label = faults.flip(label) if "flip" in active else label
                lines.append(json.dumps({"id": f"{flight}-{lap.suffix}", "ts": ts, "label": label}))
        return lines

    def _prediction(self, lap: Lap, row: tuple[Any, ...], active: Collection[str]) -> str:
        record: faults.Record = dict(zip(self._fields, row, strict=True))
        record["id"] = f"{record['id']}-{lap.suffix}"
        record["ts"] = logs.stamp(lap.wall(record["ts"]))
        if record.pop("failed"):
            faults.fail(record, "model worker restarted")
        faults.break_record(record, active, self._rng)
        return json.dumps(record)

    def _turn_lap(self, now: float) -> None:
        lap = self._laps[-1]
        end = lap.wall(lap.start_ms + self._days * DAY_MS)
        if now < end:
            return
        suffix = f"{self._run}.{self._count}"
        # The lap before is kept for its last labels, which arrive after it.
        self._laps = [lap, replace(lap, origin=end, suffix=suffix, first_ms=lap.start_ms)]
        self._count += 1


def _whole_days(flights: duckdb.DuckDBPyConnection, start_ms: int) -> int:
    row = flights.execute("SELECT max(ts) FROM flights").fetchone()
    last_ms = row[0] if row else start_ms
    return int(last_ms - start_ms) // DAY_MS + 1
