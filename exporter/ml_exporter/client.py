"""A log for programs that have none: JSON lines that the exporter reads without any mapping of fields.

    from ml_exporter.client import PredictionLogger

    log = PredictionLogger("logs/predictions.jsonl", version="3")
    log.log(id="a17", score=0.82, features={"age": 41, "plan": "pro"})

Nothing but the standard library is needed. Any number of threads and processes may write to one path.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["LabelLogger", "PredictionLogger"]

_LOGGER = logging.getLogger(__name__)
_MODE = 0o640
_KEYS = (str, int, float, bool, type(None))


class _Lines:
    """Appends lines to a file that rotates by size: PATH becomes PATH.1, which becomes PATH.2, and so on.

    A line is one write at the file's end, so that no two lines mix. Before each, the path is looked at:
    where another process has rotated it, or it is too large, the line goes into the new file.
    """

    def __init__(self, path: str | os.PathLike[str], max_bytes: int, backups: int, strict: bool) -> None:
        if max_bytes < 1 or backups < 1:
            raise ValueError("max_bytes and backups must be at least 1")
        self.path = os.path.abspath(path)
        self.lost = 0
        self._max_bytes, self._backups, self._strict = max_bytes, backups, strict
        self._encode = json.JSONEncoder(separators=(",", ":"), default=_plain).encode
        self._lock = threading.Lock()
        self._descriptor, self._file = -1, (0, 0)
        _ALL.add(self)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record; one that cannot be written is counted in `lost`, or raises where `strict`."""
        try:
            line = self._line(record)
            with self._lock:
                self._append(line)
        except Exception as error:  # whatever values of other libraries raise, no prediction fails for it
            if self._strict:
                raise
            if not self.lost:
                _LOGGER.warning("predictions are not logged to %s: %s", self.path, error)
            self.lost += 1

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1

    def forked(self) -> None:
        """Begin anew in a child process: a thread that no longer exists may have held the lock."""
        self._lock = threading.Lock()

    def _line(self, record: Mapping[str, Any]) -> bytes:
        try:
            text = self._encode(record)
        except TypeError:
            # A key that JSON does not have: as long as there are none, nobody pays for looking.
            text = self._encode(_with_plain_keys(record))
        return text.encode("ascii") + b"\n"

    def _append(self, line: bytes) -> None:
        try:
            found = os.stat(self.path)
            if found.st_size >= self._max_bytes:
                self._rotate()
                found = os.stat(self.path)
            current = (found.st_dev, found.st_ino)
        except FileNotFoundError:
            current = (0, 0)
        if self._descriptor < 0 or current != self._file:
            self._open()
        written = os.write(self._descriptor, line)
        if written < len(line):
            # The disk is full. What stands there is ended as a line, which the exporter rejects and counts.
            os.write(self._descriptor, b"\n")
            raise OSError(f"only {written} of {len(line)} bytes could be written")

    def _open(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        found = os.fstat(self._descriptor)
        self._file = found.st_dev, found.st_ino

    def _rotate(self) -> None:
        with self._alone():
            # Another process may have been first.
            if os.stat(self.path).st_size < self._max_bytes:
                return
            for number in range(self._backups - 1, 0, -1):
                if os.path.exists(f"{self.path}.{number}"):
                    os.replace(f"{self.path}.{number}", f"{self.path}.{number + 1}")
            os.replace(self.path, f"{self.path}.1")
            self._open()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from rotating at the same time."""
        folder, name = os.path.split(self.path)
        descriptor = os.open(
            os.path.join(folder, f".{name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


_ALL: weakref.WeakSet[_Lines] = weakref.WeakSet()


def _new_ids() -> Iterator[str]:
    """Yield ids that no other process has: 96 random bits in hex, and a number.

    They are unique, not secret: who knows one can guess its neighbours. Any thread may take the next.
    """
    return map(f"{os.urandom(12).hex()}%08x".__mod__, itertools.count())


_IDS = _new_ids()


def _after_fork() -> None:
    global _IDS
    _IDS = _new_ids()
    for lines in _ALL:
        lines.forked()


os.register_at_fork(after_in_child=_after_fork)


class PredictionLogger:
    """Writes a model's prediction log, in the shape of `predictions: {preset: ml_exporter}`.

    A file of `max_bytes` becomes PATH.1, and PATH.1 becomes PATH.2; of these `backups` are kept, which
    must hold what is written while the exporter is down. With `strict` a line that cannot be written
    raises why (OSError, or such as TypeError where a value cannot be JSON); else it is counted in
    `lost`, since no prediction should fail for its log.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        version: str | None = None,
        max_bytes: int = 64 << 20,
        backups: int = 5,
        strict: bool = False,
    ) -> None:
        self._lines = _Lines(path, max_bytes, backups, strict)
        self._common: dict[str, Any] = {} if version is None else {"version": version}

    @property
    def lost(self) -> int:
        """How many lines could not be written."""
        return self._lines.lost

    def log(
        self,
        *,
        id: str | int | None = None,
        timestamp: float | None = None,
        score: float | Mapping[str, float] | None = None,
        prediction: object = None,
        features: Mapping[str, Any] | None = None,
        latency_seconds: float | None = None,
        error: str | None = None,
        **more: object,
    ) -> str | int:
        """Append a prediction and return its id, which its label has to name.

        `id` is by default one that no other call, process or run has; `timestamp`, in seconds since 1970,
        is now. `score` is the probability of the positive class, or by class, `more` whatever else belongs
        into the record: `version`, `label`, an interval's ends.
        """
        own = next(_IDS) if id is None else id
        record: dict[str, Any] = {
            "id": own,
            "timestamp": time.time() if timestamp is None else timestamp,
            **self._common,
        }
        if score is not None:
            record["score"] = score
        if prediction is not None:
            record["prediction"] = prediction
        if features is not None:
            record["features"] = features
        if latency_seconds is not None:
            record["latency_seconds"] = latency_seconds
        if error is not None:
            record["error"] = error
        if more:
            record.update(more)
        self._lines.write(record)
        return own

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        self._lines.close()


class LabelLogger:
    """Writes a model's label log; arguments as those of `PredictionLogger`."""

    def __init__(
        self, path: str | Path, *, max_bytes: int = 64 << 20, backups: int = 5, strict: bool = False
    ) -> None:
        self._lines = _Lines(path, max_bytes, backups, strict)

    @property
    def lost(self) -> int:
        """How many lines could not be written."""
        return self._lines.lost

    def log(self, id: str | int, label: object, timestamp: float | None = None) -> None:
        """Append what became of a prediction; `timestamp` is when that was known."""
        moment = time.time() if timestamp is None else timestamp
        self._lines.write({"id": id, "timestamp": moment, "label": label})

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        self._lines.close()


def _with_plain_keys(value: Any) -> Any:
    """Return a record with keys that JSON has, such as 1 in place of numpy's; values stay as they are."""
    if isinstance(value, Mapping):
        return {_plain_key(key): _with_plain_keys(item) for key, item in value.items()}
    return [_with_plain_keys(item) for item in value] if isinstance(value, list | tuple) else value


def _plain_key(key: Any) -> Any:
    plain = key if isinstance(key, _KEYS) else _plain(key)
    return plain if isinstance(plain, _KEYS) else str(key)


def _plain(value: Any) -> Any:
    """Return a value of other libraries as JSON has it: mappings, arrays and their numbers, times, else text."""
    if isinstance(value, Mapping):
        return dict(value)
    for name in ("tolist", "isoformat"):
        method = getattr(value, name, None)
        if callable(method):
            return method()
    return str(value)
