"""What became of every record of a log: one outcome each, accepted or the reason why not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ml_exporter.sources.batch import Outcomes
from ml_exporter.sources.reader import Columns, Reader
from ml_exporter.stats.arrays import IntArray

FUTURE_TOLERANCE = 3600 * 1_000_000
"""A time stamp further ahead of the wall clock than this, in microseconds, is rejected."""

REASONS = (
    "accepted",
    "no_id",
    "no_timestamp",
    "bad_timestamp",
    "future",
    "no_label",
    "bad_label",
    "skipped",
    "malformed",
    "not_an_object",
    "too_long",
)
"""The outcomes of a record; `skipped` are those that `where` leaves out."""

NOT_REJECTED = ("accepted", "skipped")

ACCEPTED, NO_ID, NO_TIMESTAMP, BAD_TIMESTAMP, FUTURE, NO_LABEL, BAD_LABEL, SKIPPED = range(8)
_DAY = 86_400 * 1_000_000
_NO_TIME = -(2**63)


@dataclass(frozen=True)
class Letter:
    """A record that was rejected, as it stands in the log; a line that was too long is not kept."""

    reason: str
    text: bytes


def outcomes_of(columns: Columns, now: int, needs_id: bool, needs_time: bool = True) -> IntArray:
    """Return each row's outcome as an index into REASONS, as far as its columns tell.

    `now` is the wall clock in microseconds.
    """
    times = columns["time"]
    no_time = np.ma.getmaskarray(times)
    reasons = np.where(np.ma.filled(times, _NO_TIME) > now + FUTURE_TOLERANCE, FUTURE, ACCEPTED)
    reasons[no_time & columns["timed"]] = BAD_TIMESTAMP
    if needs_time:
        reasons[no_time & ~columns["timed"]] = NO_TIMESTAMP
    if needs_id:
        reasons[np.ma.getmaskarray(columns["id"])] = NO_ID
    # What has neither may be no record at all: `settle` looks at it first.
    reasons[columns["other"] & ~np.isin(reasons, (NO_ID, NO_TIMESTAMP))] = SKIPPED
    return reasons


def ahead(columns: Columns, now: int) -> int:
    """Return how far the newest time stamp is ahead of the clock, in microseconds; 0 where none is.

    One that is more than a day ahead comes from no clock.
    """
    times = np.ma.filled(columns["time"], now)
    return int(times[times <= now + _DAY].max(initial=now)) - now


def settle(
    reasons: IntArray, columns: Columns, reader: Reader, id_path: str | None, time_path: str | None
) -> None:
    """Look at rows without id or time once more, to tell what is wrong with them as a whole."""
    expected = {NO_ID: id_path or "", NO_TIMESTAMP: time_path or ""}
    suspects = np.flatnonzero(np.isin(reasons, list(expected))).tolist()
    for row, text in zip(suspects, reader.texts(suspects) if suspects else (), strict=True):
        better = reader.defect(text, expected[int(reasons[row])])
        if better:
            reasons[row] = REASONS.index(better)
        elif columns["other"][row]:
            reasons[row] = SKIPPED


def count(reasons: IntArray, reader: Reader) -> Outcomes:
    """Count the outcomes, those of records without a row too."""
    counts = Counter({REASONS[code]: int(n) for code, n in enumerate(np.bincount(reasons)) if n})
    counts["malformed"] += len(reader.lost())
    counts["too_long"] = reader.too_long
    return +counts


def letters(reasons: IntArray, reader: Reader) -> list[Letter]:
    """Return what was rejected."""
    rows = np.flatnonzero((reasons != ACCEPTED) & (reasons != SKIPPED)).tolist()
    texts = reader.texts(rows) if rows else []
    found = [Letter(REASONS[reasons[row]], text) for row, text in zip(rows, texts, strict=True)]
    found += [Letter("malformed", text) for text in reader.lost()]
    return found + [Letter("too_long", b"")] * reader.too_long
