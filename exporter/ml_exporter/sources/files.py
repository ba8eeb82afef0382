"""Log files as blocks of complete lines, each with the position it ends at.

A file is what its first bytes are: a fingerprint of up to 4 KiB, extended while the file is shorter.
So a rotated log that was renamed is still the same file, and is read to its end under its new name.
Where a short fingerprint fits several files, inode and path tell which of them was meant.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

FINGERPRINT = 4096
BLOCK = 16 << 20
_STEP = 64 << 10
_ROTATED = re.compile(r"\.\d+$|[.-]\d{4}-?\d{2}-?\d{2}([T_.-]?\d{2}[:-]?\d{2}([:-]?\d{2})?)?$")


@dataclass(frozen=True)
class Position:
    """How far a file is read.

    `head` is the hash of its first `length` bytes; `offset` is where the next line starts;
    `skipping` is true inside a line that is too long. `inode` is a hint only: it changes when a
    file is copied or mounted anew.
    """

    path: str
    head: str
    length: int
    offset: int
    skipping: bool = False
    inode: int = 0

    @property
    def key(self) -> str:
        """What tells this file from others."""
        return _key(self.length, self.head)


@dataclass(frozen=True)
class Block:
    """Complete lines of one file: `start` is the position before them, `end` the one after."""

    data: bytes
    start: Position
    end: Position
    too_long: int = 0


@dataclass(frozen=True)
class Listing:
    """The files of a log, oldest first, with the positions they are read to, and what is left to read.

    `matched` are the keys of the known positions that were found again; `truncated` counts files
    that were cut or replaced, so that what was unread of them is lost; `problems` say what could
    not be read.
    """

    positions: tuple[Position, ...]
    matched: frozenset[str]
    lag: int
    truncated: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _File:
    """What a look at a file shows."""

    path: str
    head: bytes
    size: int
    inode: int

    def at(self, offset: int, skipping: bool = False) -> Position:
        return Position(self.path, _hash(self.head), len(self.head), offset, skipping, self.inode)


def matches(pattern: str) -> list[str]:
    """Return the files of a glob and their rotated forms (P.1, P-2026-01-31), oldest first."""
    found = set(glob.glob(pattern, recursive=True))
    found |= {path for path in glob.glob(pattern + "[.-]*", recursive=True) if _ROTATED.search(path)}
    return [path for _, path in sorted(_dated(found))]


def list_files(pattern: str, known: Mapping[str, Position], from_end: bool = False) -> Listing:
    """Match the files on disk with known positions (by `Position.key`).

    A file without a position is read from its start, or from its end where `from_end` is true.
    """
    problems: list[str] = []
    files = _distinct(_looked_at(pattern, problems))
    claims = _claims(files, known)
    taken = {position.key for position in claims.values()}
    positions: list[Position] = []
    truncated = 0
    for file in files:
        old = claims.get(file.path)
        cut = _is_replaced(file, known, taken) if old is None else old.offset > file.size
        truncated += cut
        if old is not None and not cut:
            positions.append(file.at(old.offset, old.skipping))
        else:
            positions.append(file.at(_last_line_end(file) if from_end and old is None else 0))
    lag = sum(file.size - position.offset for file, position in zip(files, positions, strict=True))
    return Listing(tuple(positions), frozenset(taken), lag, truncated, tuple(problems))


def read_blocks(
    position: Position, line_limit: int, complete: bool = False, block: int = BLOCK
) -> Iterator[Block]:
    """Read complete lines from a position on, in blocks of about `block` bytes.

    Lines of more than `line_limit` bytes are skipped and counted. The last line of a file waits for
    its end; where `complete` is true nothing more will be written, and it is read as it stands.
    """
    # Between the listing and now the file may have gone, or another may have taken its name.
    with suppress(FileNotFoundError), open(position.path, "rb") as file:
        if _hash(file.read(position.length)) != position.head:
            return
        while part := _next_block(file, position, line_limit, complete, block):
            yield part
            position = part.end


def _next_block(file: BinaryIO, position: Position, limit: int, complete: bool, block: int) -> Block | None:
    start, size = position.offset, os.fstat(file.fileno()).st_size
    # A line may be longer than a block.
    for length in (block,) if block > limit else (block, limit + 1):
        stop = min(size, start + length)
        end = _line_end(file, start, stop)
        if end > start:
            return _without_long_lines(_read(file, start, end), position, limit)
    if stop - start > limit or (position.skipping and stop > start):
        # The line goes on, but it is known already that nobody wants it.
        after = replace(position, offset=stop, skipping=True)
        return Block(b"", position, after, too_long=0 if position.skipping else 1)
    if complete and stop > start:
        return Block(_read(file, start, stop), position, replace(position, offset=stop))
    return None


def _line_end(file: BinaryIO, start: int, stop: int) -> int:
    """Return the offset after the last newline between two offsets, `start` where there is none."""
    while stop > start:
        low = max(start, stop - _STEP)
        cut = _read(file, low, stop).rfind(b"\n")
        if cut >= 0:
            return low + cut + 1
        stop = low
    return start


def _read(file: BinaryIO, start: int, stop: int) -> bytes:
    file.seek(start)
    return file.read(stop - start)


def _without_long_lines(data: bytes, position: Position, limit: int) -> Block:
    end = replace(position, offset=position.offset + len(data), skipping=False)
    body = data[data.find(b"\n") + 1 :] if position.skipping else data
    # A line that is too long covers at least one whole span of half its length.
    span = (limit + 1) // 2
    if all(body.find(b"\n", low, low + span) >= 0 for low in range(0, len(body), span)):
        return Block(body, position, end)
    fitting, too_long = _cut_out(body, limit)
    return Block(fitting, position, end, too_long)


def _cut_out(body: bytes, limit: int) -> tuple[bytes, int]:
    """Return complete lines without those of more than `limit` bytes, and how many these were."""
    ends = np.flatnonzero(np.frombuffer(body, np.uint8) == ord("\n")) + 1
    starts = np.concatenate([[0], ends[:-1]])
    too_long = ends - starts - 1 > limit
    cuts = [0, *np.stack([starts[too_long], ends[too_long]], axis=1).ravel().tolist(), len(body)]
    pieces = (body[low:high] for low, high in zip(cuts[::2], cuts[1::2], strict=True))
    return b"".join(pieces), int(np.count_nonzero(too_long))


def _dated(paths: Iterable[str]) -> Iterator[tuple[int, str]]:
    for path in paths:
        try:
            if os.path.isfile(path):
                yield os.stat(path).st_mtime_ns, path
        except OSError:  # it has gone since it was listed
            continue


def _looked_at(pattern: str, problems: list[str]) -> Iterator[_File]:
    """Look at the files of a pattern; empty ones do not count yet."""
    found = matches(pattern)
    if not found:
        folder = Path(re.split(r"[*?\[]", pattern)[0] + "x").parent
        problems.append(f"{pattern}: no file" + ("" if folder.is_dir() else f", and no folder {folder}"))
    for path in found:
        try:
            with open(path, "rb") as file:
                head, status = file.read(FINGERPRINT), os.fstat(file.fileno())
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
            continue
        if head:
            yield _File(path, head, status.st_size, status.st_ino)


def _distinct(files: Iterable[_File]) -> list[_File]:
    """Leave out files that begin like an earlier one: links to it, or copies."""
    seen: dict[bytes, _File] = {}
    for file in files:
        seen.setdefault(file.head, file)
    return list(seen.values())


def _claims(files: list[_File], known: Mapping[str, Position]) -> dict[str, Position]:
    """Return the known position of each file (by path) that has one; the longest fingerprints choose first."""
    lengths = {position.length for position in known.values()}
    by_key: dict[str, list[_File]] = {}
    for file in files:
        for length in lengths:
            if length <= len(file.head):
                by_key.setdefault(_key(length, _hash(file.head[:length])), []).append(file)
    claims: dict[str, Position] = {}
    for key, position in sorted(known.items(), key=lambda item: -item[1].length):
        fitting = [file for file in by_key.get(key, ()) if file.path not in claims]
        if fitting:
            claims[max(fitting, key=lambda file: _likeness(file, position)).path] = position
    return claims


def _likeness(file: _File, position: Position) -> tuple[bool, bool, bool]:
    return file.inode == position.inode, file.size >= position.offset, file.path == position.path


def _is_replaced(file: _File, known: Mapping[str, Position], taken: set[str]) -> bool:
    """Tell whether a new file stands where another was read that is to be found nowhere now."""
    # The newest position of a path is its last one.
    before = next((old for old in reversed(list(known.values())) if old.path == file.path), None)
    return before is not None and before.key not in taken and not _lives_on(before)


def _lives_on(position: Position) -> bool:
    """Tell whether a file lives on under a name that is not read."""
    for other in glob.glob(glob.escape(position.path) + "[.-]*"):
        try:
            with open(other, "rb") as file:
                if _hash(file.read(position.length)) == position.head:
                    return True
        except OSError:
            continue
    return False


def _last_line_end(file: _File) -> int:
    try:
        with open(file.path, "rb") as opened:
            return _line_end(opened, 0, file.size)
    except OSError:
        return 0


def _key(length: int, head: str) -> str:
    return f"{length}:{head}"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
