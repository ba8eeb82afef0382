"""A bounded file of rejected records with the reasons, for people to look at.

It may hold what the logs hold, so only its owner can read it. It is no part of what is counted:
what a killed process has not written yet is not in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from ml_exporter.sources.outcomes import Letter

_BUFFER = 4 << 20


class DeadLetters:
    """Writes a model's rejected records as JSON lines to `path`; above `max_bytes` that becomes `path`.1.

    Records wait until `flush`, or until there are too many of them. `problem` says why they could
    not be written.
    """

    def __init__(self, model: str, path: Path, max_bytes: int) -> None:
        self.problem = ""
        self._model = model
        self._path = path
        self._max_bytes = max_bytes
        self._waiting: list[bytes] = []
        self._size = 0

    def add(self, source: str, file: str, time: float, rejected: Iterable[Letter]) -> None:
        """Take records of a file; `time` is when they were read, in Unix seconds."""
        read = datetime.fromtimestamp(time, UTC).isoformat()
        common = {"time": read, "model": self._model, "source": source, "file": file}
        for letter in rejected:
            # Escaped a byte may take six; a line must fit whatever it holds.
            text = letter.text[: self._max_bytes // 8].decode(errors="backslashreplace")
            line = json.dumps({**common, "reason": letter.reason, "line": text}) + "\n"
            self._waiting.append(line.encode())
            self._size += len(line)
            if self._size > _BUFFER:
                self.flush()

    def drop(self) -> None:
        """Forget what waits: it will be read again."""
        self._waiting, self._size = [], 0

    def flush(self) -> None:
        """Write what waits."""
        waiting = self._waiting
        self.drop()
        self.problem = ""
        if waiting:
            try:
                self._write(waiting)
            except OSError as error:
                self.problem = f"{self._path}: {error.strerror}"

    def _write(self, lines: list[bytes]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for part in self._parts(lines):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
            with open(os.open(self._path, flags, 0o600), "ab") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(part)

    def _parts(self, lines: list[bytes]) -> Iterator[bytes]:
        """Gather lines to what fits into one file, and put a full file aside."""
        part = bytearray()
        size = self._path.stat().st_size if self._path.exists() else 0
        for line in lines:
            if size + len(part) + len(line) > self._max_bytes and (size or part):
                yield bytes(part)
                os.replace(self._path, f"{self._path}.1")
                part.clear()
                size = 0
            part += line
        yield bytes(part)
