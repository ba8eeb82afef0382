"""One file of a log, plain or compressed, of lines or of rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import duckdb

from ml_exporter.sources import parquet_file
from ml_exporter.sources.blocks import Block, read_blocks
from ml_exporter.sources.csv_records import Header
from ml_exporter.sources.files import PACKED, Position, Seen, digest
from ml_exporter.sources.opened import FINGERPRINT, Content, OpenFile, Unpacked, header_of, line_end

Identity = tuple[int, int]
"""Device and inode: they name a file for as long as it is open."""


def identity_of(status: os.stat_result) -> Identity:
    """Return what names a file on this machine."""
    return status.st_dev, status.st_ino


class Followed:
    """A file that is known by its identity, and open or not. Its methods raise OSError.

    `quiet_looks` counts the last looks between which nobody has written to it, `is_finished` tells
    that nobody will, `problem` why it could not be read to its end.
    """

    def __init__(self, identity: Identity, form: str) -> None:
        self.path = ""
        self.is_finished = False
        self.quiet_looks = 0
        self.problem = ""
        self._identity = identity
        self._form = form
        self._file: OpenFile | None = None
        self._unpacked: Unpacked | None = None
        self._size = -1
        self._head = b""
        self._header: Header | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be read even if it is deleted."""
        return self._file is not None

    def open(self) -> OpenFile:
        """Open it under its name, unless it is open."""
        if self._file is None:
            file = OpenFile(self.path)
            if identity_of(file.status()) != self._identity:
                raise FileNotFoundError(self.path)
            self._file = file
        return self._file

    def let_go(self) -> None:
        """Close it."""
        self._file = self._unpacked = None

    def look(self, from_end: bool) -> Seen | None:
        """Look at it; None while there is nothing in it that can be read.

        If nothing is known of it, it is to be read from its start, or where `from_end` is true from
        its end.
        """
        size = self.open().status().st_size
        self.quiet_looks += 1
        if size != self._size:
            self.quiet_looks, self.problem = 0, ""
            self._unpacked = None
            self._size = size
        # What is compressed does not change but in size, and takes long to look at.
        if not (self.quiet_looks and self._is_packed and self._head):
            self._head = self._first_bytes()
        if not self._head:
            return None
        start = self._header.length if self._header else 0
        ended = size if self.is_finished else 0
        if from_end and self._is_sized:
            start = max(start, line_end(self.open(), 0, size))
        elif from_end:
            ended = size
        return Seen(self.path, self._head, size, self._identity[1], self._is_sized, start, ended)

    def blocks(
        self, position: Position, line_limit: int, complete: bool, block: int | None
    ) -> Iterator[Block]:
        """Read on from a position; see `Follower.blocks`."""
        file = self.open()
        if position.ended == self._size or digest(self._mark(position)) != position.head:
            return
        if self._form == "parquet":
            yield from self._rows(file, position)
        elif self._form == "csv" and self._header is None:
            return
        elif self._is_packed:
            yield from self._packed_blocks(position, line_limit, block)
        else:
            file.complete = complete or self.is_finished
            yield from read_blocks(file, position, line_limit, self._header, block)

    @property
    def _suffix(self) -> str:
        return os.path.splitext(self.path)[1]

    @property
    def _is_packed(self) -> bool:
        return self._form != "parquet" and self._suffix in PACKED

    @property
    def _is_sized(self) -> bool:
        return self._form != "parquet" and not self._is_packed

    def _content(self) -> Content:
        if not self._is_packed:
            return self.open()
        self._unpacked = self._unpacked or Unpacked(self.open(), self._suffix)
        return self._unpacked

    def _first_bytes(self) -> bytes:
        """Return the bytes by which it is known again, none where it cannot be told yet."""
        if self._form == "parquet":
            return parquet_file.mark(self.open())
        content = self._content()
        self._header = header_of(content) if self._form == "csv" else None
        # Long headers may be all alike, so they do not count.
        length = FINGERPRINT + (self._header.length if self._header else 0)
        head = content.read(0, content.reach(0, length))
        if self._unpacked and self._size and len(head) < length and not content.complete:
            self.problem = self._unpacked.problem
            return b""
        return head

    def _mark(self, position: Position) -> bytes:
        """Return the bytes of which a position has the hash."""
        return self.open().read(0, position.length) if self._is_sized else self._head

    def _packed_blocks(self, position: Position, line_limit: int, block: int | None) -> Iterator[Block]:
        content = self._content()
        for part in read_blocks(content, position, line_limit, self._header, block):
            yield replace(part, size=0)
            position = part.end
        self.problem = self._unpacked.problem if self._unpacked else ""
        if content.complete:
            yield Block(b"", position, replace(position, ended=self._size), size=self._size)

    def _rows(self, file: OpenFile, position: Position) -> Iterator[Block]:
        try:
            ends = parquet_file.row_groups(file)
        except duckdb.Error as error:
            self.problem = f"cannot be read: {str(error).splitlines()[0]}"
            return
        yield from parquet_file.read_rows(file, ends, position, self._size)
