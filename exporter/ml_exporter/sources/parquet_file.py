"""Parquet files as blocks of rows. A file is read when its footer is complete, and only once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

import duckdb

from ml_exporter.sources.blocks import Block
from ml_exporter.sources.files import Position
from ml_exporter.sources.opened import FINGERPRINT, OpenFile

ROWS = 1 << 17
_MAGIC = b"PAR1"


def mark(file: OpenFile) -> bytes:
    """Return the bytes by which a file is known again, none while its footer is not complete.

    Columns may begin alike for long, so its end and its size belong to it.
    """
    size = file.status().st_size
    end = file.read(size - 8, size)
    footer = int.from_bytes(end[:4], "little")
    if size < 12 or not end.endswith(_MAGIC) or footer + 12 > size or file.read(0, 4) != _MAGIC:
        return b""
    return b"%d " % size + file.read(0, FINGERPRINT) + file.read(max(size - FINGERPRINT, 0), size)


def row_groups(file: OpenFile) -> list[int]:
    """Return the rows at which the row groups of a file end. Raises duckdb.Error where its footer cannot be read."""
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        found = connection.execute(
            "SELECT any_value(row_group_num_rows) FROM parquet_metadata(?) GROUP BY row_group_id ORDER BY row_group_id",
            [file.path],
        ).fetchall()
    return list(accumulate(int(rows) for (rows,) in found))


def read_rows(file: OpenFile, ends: Sequence[int], position: Position, size: int) -> Iterator[Block]:
    """Read a file of `size` bytes, whose row groups end at `ends`, from a row on."""
    start, total = position.offset, max(ends, default=0)
    while True:
        # A part of a row group costs more than its share.
        whole = [end for end in ends if start < end <= start + ROWS]
        stop = min(max(whole, default=start + ROWS), total)
        ended = size if stop == total else 0
        before, after = replace(position, offset=start), replace(position, offset=stop, ended=ended)
        yield Block(b"", before, after, file=file, size=ended)
        if ended:
            return
        start = stop
