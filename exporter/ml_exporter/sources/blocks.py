"""Blocks of complete records, each with the position it ends at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from mmap import mmap

import numpy as np

from ml_exporter.sources.csv_records import Grammar, Header
from ml_exporter.sources.files import Position
from ml_exporter.sources.opened import Content, OpenFile, line_end

BLOCK = 16 << 20
CSV_BLOCK = 8 << 20
"""Records of CSV are shorter, and what is made of them takes more memory than they do."""


@dataclass(frozen=True)
class Block:
    """Complete records of one file: `start` is the position before them, `end` the one after.

    `header` is that of a CSV file. Where there is a `file` there is no `data`: the bytes from `start`
    to `end`, or the rows of a Parquet file, are still to be read, by the thread that decodes them. Then
    lines of more than `line_limit` bytes are still among them. `size` is how much of the file this
    is, in bytes on disk.
    """

    data: bytes
    start: Position
    end: Position
    too_long: int = 0
    header: Header | None = None
    file: OpenFile | None = None
    size: int = 0
    line_limit: int = 0


def read_blocks(
    content: Content,
    position: Position,
    line_limit: int,
    header: Header | None = None,
    block: int | None = None,
) -> Iterator[Block]:
    """Read complete lines, or records of CSV, from a position on in blocks of about `block` bytes.

    Lines of more than `line_limit` bytes are skipped and counted. The last line of a file waits for
    its end; where nothing more will be written it is read as it stands.
    """
    cutter = _Cutter(content, line_limit, header, block or (CSV_BLOCK if header else BLOCK))
    while part := cutter.next_block(position):
        yield part
        position = part.end


class _Cutter:
    def __init__(self, content: Content, limit: int, header: Header | None, block: int) -> None:
        self._content = content
        self._limit = limit
        self._header = header
        # Where a record of CSV ends is known only when all before it is read.
        self._file = content if isinstance(content, OpenFile) and not header else None
        # A line may be longer than a block.
        self._lengths = (block,) if block > limit else (block, limit + 1)

    def next_block(self, position: Position) -> Block | None:
        start = position.offset
        for length in self._lengths:
            stop = self._content.reach(start, start + length)
            end = line_end(self._content, start, stop)
            if self._file and end > start and not position.skipping:
                return self._unread(position, end)
            data = self._content.read(start, end)
            skip = data.find(b"\n") + 1 if position.skipping else 0
            if data and self._header:
                data = self._whole_records(data, skip, position, stop, stop < start + length)
            if data:
                return self._without_long_lines(data, skip, position)
        if stop - start > self._limit or (position.skipping and stop > start):
            # The line goes on, but it is known already that nobody wants it.
            after = replace(position, offset=stop, skipping=True)
            return self._block(b"", position, after, too_long=0 if position.skipping else 1)
        if self._content.complete and stop > start:
            return self._block(self._content.read(start, stop), position, replace(position, offset=stop))
        return None

    def _whole_records(self, data: bytes, skip: int, position: Position, stop: int, at_end: bool) -> bytes:
        """Leave out the last lines where they stand in a quoted field whose end is not there yet."""
        assert self._header is not None
        quote = self._header.quote.encode()
        if data.find(quote, skip) < 0 or data.count(quote, skip) % 2 == 0:
            return data
        if at_end and self._content.complete:
            return self._content.read(position.offset, stop)
        patience = self._limit - (stop - position.offset - len(data))
        return data[: Grammar(self._header).settled(data, skip, patience)]

    def _without_long_lines(self, data: bytes, skip: int, position: Position) -> Block:
        end = replace(position, offset=position.offset + len(data), skipping=False)
        body = data[skip:] if skip else data
        if all_fit(body, len(body), self._limit):
            return self._block(body, position, end)
        fitting, too_long = cut_out(body, self._limit)
        return self._block(fitting, position, end, too_long)

    def _unread(self, start: Position, stop: int) -> Block:
        end = replace(start, offset=stop)
        return Block(b"", start, end, file=self._file, size=stop - start.offset, line_limit=self._limit)

    def _block(self, data: bytes, start: Position, end: Position, too_long: int = 0) -> Block:
        size = end.offset - start.offset
        return Block(data, start, end, too_long, self._header, size=size, line_limit=self._limit)


def all_fit(body: bytes | mmap, size: int, limit: int) -> bool:
    """Whether it is certain that no line in the first `size` bytes has more than `limit` bytes."""
    # A line that is too long covers at least one whole span of half its length.
    span = (limit + 1) // 2
    return all(body.find(b"\n", low, min(low + span, size)) >= 0 for low in range(0, size, span))


def cut_out(body: bytes, limit: int) -> tuple[bytes, int]:
    """Return complete lines without those of more than `limit` bytes, and how many these were."""
    ends = np.flatnonzero(np.frombuffer(body, np.uint8) == ord("\n")) + 1
    starts = np.concatenate([[0], ends[:-1]])
    too_long = ends - starts - 1 > limit
    cuts = [0, *np.stack([starts[too_long], ends[too_long]], axis=1).ravel().tolist(), len(body)]
    pieces = (body[low:high] for low, high in zip(cuts[::2], cuts[1::2], strict=True))
    return b"".join(pieces), int(np.count_nonzero(too_long))
