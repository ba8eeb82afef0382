"""The demo's log files: whole lines appended, rotated by size, found again after a restart."""

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

TAIL_BYTES = 65_536
KEPT = 5


def stamp(seconds: float) -> str:
    """A moment (seconds since 1970) as the logs write it: RFC 3339, UTC, milliseconds, Z."""
    moment = datetime.fromtimestamp(round(seconds, 3), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class RotatedLog:
    """A file that only grows by whole lines; beyond `limit` bytes it becomes PATH.1, PATH.1 PATH.2, …

    Not safe for two writers. The oldest of more than five rotated files is deleted.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self._limit = limit
        path.parent.mkdir(parents=True, exist_ok=True)
        self._end_cut_line()

    def append(self, lines: Iterable[str]) -> None:
        """Append the lines in one write; raises ``OSError`` where the disk does not take them."""
        data = "".join(line + "\n" for line in lines).encode()
        if not data:
            return
        size = self.path.stat().st_size if self.path.exists() else 0
        if size and size + len(data) > self._limit:
            self._rotate()
        _write(self.path, data)

    def create(self, lines: Iterable[str]) -> None:
        """Let the file appear with all these lines in it at once."""
        # Readers match PATH*, so the unfinished file starts with a dot.
        unfinished = self.path.with_name(f".{self.path.name}.new")
        unfinished.unlink(missing_ok=True)
        _write(unfinished, "".join(line + "\n" for line in lines).encode())
        unfinished.rename(self.path)

    def last_stamp(self) -> float | None:
        """The last time stamp in the log in seconds since 1970; None where there is none."""
        for path in (self.path, self._rotated(1)):
            if path.exists():
                for line in reversed(_tail(path).splitlines()):
                    seconds = _stamp_of(line)
                    if seconds is not None:
                        return seconds
        return None

    def _rotated(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _rotate(self) -> None:
        for number in range(KEPT - 1, 0, -1):
            if self._rotated(number).exists():
                self._rotated(number).replace(self._rotated(number + 1))
        self.path.replace(self._rotated(1))

    def _end_cut_line(self) -> None:
        # A killed writer may have left half a line, which must not swallow the next one.
        tail = _tail(self.path) if self.path.exists() else ""
        if tail and not tail.endswith("\n"):
            _write(self.path, b"\n")


def _write(path: Path, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        while data:
            data = data[os.write(file, data) :]
    finally:
        os.close(file)


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="replace")


def _stamp_of(line: str) -> float | None:
    try:
        return datetime.fromisoformat(json.loads(line)["ts"]).timestamp()
    except (ValueError, TypeError, KeyError):
        return None
