"""Open files: their bytes as they stand or decompressed."""

from __future__ import annotations

import gzip
import io
import os
import sys
import weakref
import zlib
from typing import Protocol, cast

from ml_exporter.sources.csv_records import Header, read_header

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FINGERPRINT = 4096
_HEADER_LIMIT = 1 << 20
_CHUNK = 1 << 20
_STEP = 64 << 10


class Content(Protocol):
    """The bytes of a file, decompressed. `complete`: nothing more will be written."""

    @property
    def complete(self) -> bool:
        """Whether what has been reached is all there will be."""

    def reach(self, start: int, stop: int) -> int:
        """Return how far it can be read, at most `stop`; nothing before `start` is asked for again."""

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes between two offsets that `reach` has covered."""


class OpenFile:
    """A file that stays open until it is let go, whatever becomes of its name. Raises OSError."""

    def __init__(self, path: str) -> None:
        self.complete = False
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)

    @property
    def path(self) -> str:
        """A path that leads to this very file."""
        return f"/proc/self/fd/{self._descriptor}"

    def status(self) -> os.stat_result:
        """Return its size, inode and times."""
        return os.fstat(self._descriptor)

    def reach(self, _start: int, stop: int) -> int:
        """Return how far it can be read, at most `stop`."""
        return min(self.status().st_size, stop)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes between two offsets, fewer where the file ends before."""
        return os.pread(self._descriptor, max(stop - start, 0), start)

    def read_into(self, view: memoryview, start: int) -> int:
        """Fill a writable view with the bytes from an offset on; return how many there are."""
        filled = 0
        while filled < len(view) and (more := os.preadv(self._descriptor, [view[filled:]], start + filled)):
            filled += more
        return filled


class Unpacked:
    """The decompressed bytes of a file, from front to back; going back begins anew.

    Where they cannot be decompressed to their end, `problem` says why, and what came before is there.
    """

    def __init__(self, file: OpenFile, suffix: str) -> None:
        self._file = file
        self._suffix = suffix
        self._begin()

    def _begin(self) -> None:
        self.problem = ""
        self.complete = False
        self._start = 0
        self._window = bytearray()
        opened = gzip.open if self._suffix == ".gz" else zstd.open
        self._stream = cast(io.BufferedIOBase, opened(self._file.path, "rb"))
        weakref.finalize(self, self._stream.close)

    def reach(self, start: int, stop: int) -> int:
        """Return how far it can be read, at most `stop`; what is before `start` is given up."""
        if start < self._start:
            self._begin()
        while (end := self._start + len(self._window)) < stop:
            chunk = self._chunk(min(_CHUNK, stop - end))
            if not chunk:
                return end
            self._window += chunk
            self._forget(start)
        self._forget(start)
        return stop

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes between two offsets that `reach` has covered."""
        return bytes(memoryview(self._window)[start - self._start : stop - self._start])

    def _forget(self, start: int) -> None:
        passed = min(start - self._start, len(self._window))
        del self._window[:passed]
        self._start += passed

    def _chunk(self, size: int) -> bytes:
        if self.problem or self.complete:
            return b""
        try:
            # Not read(): what it has gathered is gone when the stream breaks off.
            chunk = self._stream.read1(size)
        except EOFError:
            self.problem = "ends in the middle"
            return b""
        except (OSError, zlib.error, zstd.ZstdError) as error:
            self.problem = f"cannot be decompressed: {error}"
            return b""
        self.complete = not chunk
        return chunk


def line_end(content: Content, start: int, stop: int) -> int:
    """Return the offset after the last newline between two offsets, `start` where there is none."""
    while stop > start:
        low = max(start, stop - _STEP)
        cut = content.read(low, stop).rfind(b"\n")
        if cut >= 0:
            return low + cut + 1
        stop = low
    return start


def header_of(content: Content) -> Header | None:
    """Return the header of a CSV file, None where its line has no end yet."""
    for length in (FINGERPRINT, _HEADER_LIMIT):
        header = read_header(content.read(0, content.reach(0, length)))
        if header:
            return header
    return None
