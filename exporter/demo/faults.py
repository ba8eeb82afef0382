"""The faults that the demo's traffic can play, each one meant to set off its own alert.

A fault changes what a model server would log: single prediction records (`break_record`),
labels (`flip`), or the streams as a whole (`label-stop`, `label-delay`, `traffic-stop`,
`garbage-lines`), which traffic.py and replay.py act on.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Record = dict[str, Any]

# Each share and size is chosen so that the alert's limit is crossed in one to two minutes
# of a 15 minute window in which everything else is clean.
MISSING_SHARE = 0.8
UNSEEN_SHARE = 0.3
ERROR_SHARE = 0.3
GARBAGE_SHARE = 0.3
DISTANCE_SHIFT_MILES = 3000
SLOWDOWN = 25
LABEL_DELAY_SECONDS = 60.0
MIRROR_MINUTES = 60
# What a request that failed does not have.
ANSWER = ("score", "scores", "prediction", "lower", "upper")

GARBAGE = (
    "Traceback (most recent call last):",
    '{"id": "2013-04-01-UA-1545-EWR", "ts": "2013-04-0',
    '["2013-04-01-UA-1545-EWR", 0.4]',
    '{"ts": "2013-04-01T12:00:00.000Z", "score": 0.4}',
    '{"id": "2013-04-01-UA-1545-EWR", "ts": "yesterday", "score": 0.4}',
)


def _missing(record: Record, rng: random.Random) -> None:
    if rng.random() < MISSING_SHARE:
        record["features"]["mean_dep_delay"] = None


def _shift(record: Record, _rng: random.Random) -> None:
    record["features"]["distance"] += DISTANCE_SHIFT_MILES


def _unseen_category(record: Record, rng: random.Random) -> None:
    if rng.random() < UNSEEN_SHARE:
        record["features"]["carrier"] = "XX"


def _schema(record: Record, _rng: random.Random) -> None:
    features = record["features"]
    features["scheduled_hour"] = features.pop("hour")
    features["visib"] = None if features["visib"] is None else f"{features['visib']} miles"


def _latency(record: Record, _rng: random.Random) -> None:
    record["latency_s"] = round(record["latency_s"] * SLOWDOWN, 4)


def _errors(record: Record, rng: random.Random) -> None:
    if rng.random() < ERROR_SHARE:
        fail(record, "feature store timed out")


def fail(record: Record, error: str) -> None:
    """Turn a prediction record into that of a request that failed: an error and no answer."""
    for field in ANSWER:
        record.pop(field, None)
    record["error"] = error


def flip(label: bool | int | str) -> bool | int | str:
    """A label of a world that has turned round: late is on time, and an hour late is to the minute."""
    if isinstance(label, bool):
        return not label
    if isinstance(label, int):
        return MIRROR_MINUTES - label
    return {"on_time": "late", "late": "on_time"}.get(label, label)


RECORD_FAULTS: Mapping[str, Callable[[Record, random.Random], None]] = {
    "missing": _missing,
    "shift": _shift,
    "unseen-category": _unseen_category,
    "schema": _schema,
    "latency": _latency,
    "errors": _errors,
}
STREAM_FAULTS = ("label-stop", "label-delay", "traffic-stop", "garbage-lines", "flip")
# What stops cannot have been stopped all along, or there would be nothing to miss: these spare the backlog.
LIVE_ONLY = frozenset({"label-stop", "traffic-stop"})
FAULTS = (*RECORD_FAULTS, *STREAM_FAULTS)


def break_record(record: Record, active: Iterable[str], rng: random.Random) -> None:
    """Apply every active fault of single records to one prediction record, in place."""
    for name in active:
        if name in RECORD_FAULTS:
            RECORD_FAULTS[name](record, rng)


def add_garbage(lines: list[str], rng: random.Random) -> list[str]:
    """The lines with ones among them that no reader can take for a prediction."""
    result = []
    for line in lines:
        result.append(line)
        if rng.random() < GARBAGE_SHARE:
            result.append(rng.choice(GARBAGE))
    return result


def parse_faults(text: str) -> tuple[frozenset[str], list[str]]:
    """Read a fault file: one name a line, `none` for none; returns the known and the unknown names."""
    names = [line.strip() for line in text.splitlines()]
    names = [name for name in names if name and name != "none"]
    return frozenset(names) & frozenset(FAULTS), [name for name in names if name not in FAULTS]
