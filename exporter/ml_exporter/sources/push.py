"""Pushed records: appended to a file, made durable, and read from there as from any other log.

The file is a model's configured log. When it has grown it is renamed, as a model server would rotate
it, and deleted once all of it is counted and committed. So nothing that was acknowledged is lost,
however the process ends, and the disk that it takes is bounded. Only files that were begun here are
deleted: they begin with a mark, and what somebody else has written under these names stays.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from glob import escape, glob
from pathlib import Path

from ml_exporter.config import Config
from ml_exporter.config_types import single_file
from ml_exporter.sources.files import Position

Log = tuple[str, str]
"""A model's name, and which of its logs: predictions or labels."""

_PARTS = 8
"""Into so many files the spool is cut; all of them but the newest can be deleted."""
_MARK_BITS = 64
_MARK = re.compile(rb"[ \t]+\n")
_RENAMED = "." + "[0-9]" * 19
"""What `time.time_ns` adds to the name."""
CODES = (202, 400, 408, 413, 415, 429, 503)
"""What a push for a model is answered with."""


class SpoolFullError(Exception):
    """Too much is not counted yet."""


class Spool:
    """The file that a log's pushed records go to, and what it was renamed to. Any thread may use it."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.limit = limit
        self._lock = threading.Lock()
        renamed = map(Path, glob(escape(str(path)) + _RENAMED))
        self._renamed = {found: found.stat().st_size for found in renamed if _is_marked(found)}

    def prepare(self) -> None:
        """Make an empty file where there is none, so that it can be looked at. Raises OSError."""
        with self._lock:
            os.close(self._open())

    def append(self, lines: bytes) -> None:
        """Append whole lines; they are on the disk when it returns.

        Raises SpoolFullError before anything is written, and OSError; after that a part of them may
        be there, and its last line ends where the next ones begin.
        """
        with self._lock:
            self._rename_full()
            descriptor = self._open()
            try:
                size = os.fstat(descriptor).st_size
                if size + len(lines) + sum(self._renamed.values()) > self.limit:
                    raise SpoolFullError
                _write(descriptor, _lead(descriptor, size) + lines)
            finally:
                os.close(descriptor)

    def release(self, read: Iterable[Position]) -> None:
        """Delete renamed files of which everything is counted and committed."""
        ends = {(position.path, position.inode): position.offset for position in read}
        with self._lock:
            for path, size in list(self._renamed.items()):
                with suppress(FileNotFoundError):
                    if ends.get((str(path), path.stat().st_ino), -1) < size:
                        continue
                    path.unlink()
                del self._renamed[path]

    def size(self) -> int:
        """Bytes on the disk."""
        with self._lock:
            try:
                newest = self.path.stat().st_size
            except OSError:
                newest = 0
            return newest + sum(self._renamed.values())

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path, flags)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, flags | os.O_CREAT, 0o600)
            _make_durable(self.path.parent)
        try:
            os.fchmod(descriptor, 0o600)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _rename_full(self) -> None:
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return
        if size < self.limit // _PARTS:
            return
        # A name that no file has had: one that comes back under it would seem to have been cut.
        aside = self.path.with_name(f"{self.path.name}.{time.time_ns()}")
        self.path.rename(aside)
        if _is_marked(aside):
            self._renamed[aside] = size


class Spools:
    """The spools of all logs that records may be pushed to, as configured; and answers by status code."""

    def __init__(self, config: Config) -> None:
        self.answers: Counter[tuple[str, str, int]] = Counter()
        self.body_limit = 0
        self._spools: Mapping[Log, Spool] = {}
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Take over what is configured now. A file keeps its spool, which may be in use."""
        known = {spool.path: spool for spool in self._spools.values()}
        found: dict[Log, Spool] = {}
        limits = config.exporter.push
        for model in config.models:
            for source, log in (("predictions", model.predictions), ("labels", model.labels)):
                if log is not None and log.push and (path := single_file(log.path)):
                    spool = known.get(path) or Spool(path, limits.spool_limit)
                    spool.limit = limits.spool_limit
                    found[model.name, source] = spool
        self._spools, self.body_limit = found, limits.body_limit

    def get(self, model: str, source: str) -> Spool | None:
        """Return the log's spool, None where there is no such model or it takes none. Looks at no file."""
        return self._spools.get((model, source))

    def items(self) -> list[tuple[Log, Spool]]:
        """Return all spools."""
        return list(self._spools.items())


def _is_marked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _MARK.match(file.read(_MARK_BITS + 1)) is not None
    except OSError:
        return False


def _lead(descriptor: int, size: int) -> bytes:
    """What has to stand before new lines."""
    if size == 0:
        # Files are told apart by what they begin with, and two may begin with the same records: a
        # blank line that no other file has.
        bits = secrets.randbits(_MARK_BITS)
        return bytes(b" \t"[bits >> place & 1] for place in range(_MARK_BITS)) + b"\n"
    # A write that was broken off must not run into the next line.
    return b"" if os.pread(descriptor, 1, size - 1) == b"\n" else b"\n"


def _write(descriptor: int, data: bytes) -> None:
    disk = os.fstatvfs(descriptor)
    if disk.f_bavail * disk.f_frsize < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


def _make_durable(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
