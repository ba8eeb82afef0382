"""Files that exist in memory only."""

from __future__ import annotations

import os
import weakref
from mmap import mmap

import numpy as np
from numpy.typing import NDArray

from ml_exporter.sources.blocks import Block, all_fit, cut_out
from ml_exporter.stats.arrays import IntArray


class Memory:
    """A file that exists in memory only, so that DuckDB reads bytes of ours.

    `size` is how many there are, `longest` a bound on the length of a line. Its pages are kept:
    fresh ones cost more than what is copied into them.
    """

    def __init__(self) -> None:
        self._file = os.memfd_create("ml_exporter")
        weakref.finalize(self, os.close, self._file)
        self._map: mmap | None = None
        self.size = 0
        self.longest = 0

    @property
    def path(self) -> str:
        """Where DuckDB finds it."""
        return f"/proc/self/fd/{self._file}"

    def load(self, block: Block) -> int:
        """Put the lines of a block in place of what is there; return how many were too long."""
        if block.file is None:
            self.write(block.data, block.line_limit)
            return block.too_long
        with self._view(block.end.offset - block.start.offset) as view:
            filled = block.file.read_into(view, block.start.offset)
        assert self._map is not None
        if filled < self.size:  # the file was cut meanwhile
            self._resize(self._map.rfind(b"\n", 0, filled) + 1)
        self.longest = min(self.size, block.line_limit)
        if all_fit(self._map, self.size, block.line_limit):
            return 0
        fitting, too_long = cut_out(self.array().tobytes(), block.line_limit)
        self.write(fitting, block.line_limit)
        return too_long

    def write(self, data: bytes, line_limit: int = 0) -> None:
        """Put these bytes in place of what is there; no line has more than `line_limit` of them, 0: unknown."""
        with self._view(len(data)) as view:
            view[:] = data
        self.longest = min(self.size, line_limit or self.size)

    def cut(self, starts: IntArray, ends: IntArray) -> list[bytes]:
        """Return the bytes between pairs of offsets."""
        data = self._map or b""
        return [data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    def sample(self, lines: int, size: int) -> list[bytes]:
        """Return at most so many lines that are spread over what is there, with `size` bytes at most."""
        found: list[bytes] = []
        data, following = self._map or b"", 0
        for place in range(lines):
            offset = max(place * self.size // lines, following)
            if offset >= self.size:
                break
            start = max(data.rfind(b"\n", following, offset) + 1, following)
            end = data.find(b"\n", start, min(start + size + 1, self.size))
            end = self.size if end < 0 else end
            if end - start > size:
                break
            found.append(data[start:end])
            size -= end - start
            following = end + 1
        return found

    def array(self) -> NDArray[np.uint8]:
        """Return what is there without a copy; it changes with the next block."""
        return np.frombuffer(self._map or b"", np.uint8, self.size)

    def _view(self, size: int) -> memoryview:
        """Return a writable view of so many bytes; let it go before the next one is asked for."""
        self._resize(size)
        if self._map is None or len(self._map) < size:
            self._map = mmap(self._file, size) if size else None
        return memoryview(self._map)[:size] if self._map is not None else memoryview(bytearray())

    def _resize(self, size: int) -> None:
        os.ftruncate(self._file, size)
        self.size = size
