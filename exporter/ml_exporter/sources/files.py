"""Which file is which: files are known again by what they begin with, under whatever name.

A file is what its first bytes are: a fingerprint of up to 4 KiB, extended while the file is shorter.
So a rotated log that was renamed or compressed is still the same file, and is read on from where it
was. Where a short fingerprint fits several files, inode and path tell which of them was meant.

What is cut is noticed where a file is shorter than it was read, or begins differently. A file that
was cut behind its first 4 KiB, or to nothing and begins with the same 4 KiB again, and that has
grown past the old position before the next look, cannot be told from one that has only grown.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ml_exporter.sources.globs import fits

PACKED = (".gz", ".zst")
"""Endings of compressed files."""

_ROTATED = re.compile(r"\.\d+$|[.-]\d{4}-?\d{2}-?\d{2}([T_.-]?\d{2}[:-]?\d{2}([:-]?\d{2})?)?$")


@dataclass(frozen=True)
class Position:
    """How far a file is read.

    `head` is the hash of its first `length` bytes; `offset` is where the next line starts, in
    decompressed bytes, or the number of the next row; `skipping` is true inside a line that is too
    long. `inode` is a hint only: it changes when a file is copied or mounted anew. `ended` is the
    size that a file had when it was read to its end, and nothing more is to come, else 0.
    """

    path: str
    head: str
    length: int
    offset: int
    skipping: bool = False
    inode: int = 0
    ended: int = 0

    @property
    def key(self) -> str:
        """What tells this file from others."""
        return _key(self.length, self.head)


@dataclass(frozen=True)
class Seen:
    """What a look at a file shows.

    `sized` tells that offsets are bytes on disk, so that they can be compared with `size`. If nothing
    is known of it, it is read from `start` on, and to its end already where `ended` is its size.
    """

    path: str
    head: bytes
    size: int
    inode: int
    sized: bool = True
    start: int = 0
    ended: int = 0

    def position(self, old: Position | None) -> Position:
        """Return where to read on: at the old position, or at the start."""
        head, length = digest(self.head), len(self.head)
        if old is None:
            return Position(self.path, head, length, self.start, False, self.inode, self.ended)
        # A position before the start is one from when a CSV file had but a part of its header.
        offset = max(old.offset, self.start)
        ended = old.ended if not self.sized else self.ended if offset == self.size else 0
        return Position(self.path, head, length, offset, old.skipping, self.inode, ended)

    def unread(self, position: Position) -> int:
        """Return how many bytes on disk are left to read."""
        if self.sized:
            return self.size - position.offset
        return 0 if position.ended == self.size else self.size


@dataclass(frozen=True)
class Listing:
    """The files of a log, oldest first, with the positions they are read to, and what is left to read.

    `matched` are the keys of the known positions that were found again; `truncated` counts files
    that were cut or replaced, so that what was unread of them is lost.
    """

    positions: tuple[Position, ...]
    matched: frozenset[str]
    lag: int
    truncated: int


def matches(pattern: str) -> list[str]:
    """Return the files of a glob and their rotated forms (P.1, P-2026-01-31, .gz or .zst), oldest first."""
    found = {path for ending in ("", *PACKED) for path in glob.glob(pattern + ending, recursive=True)}
    more = glob.glob(pattern + "[.-]*", recursive=True)
    found |= {path for path in more if _ROTATED.search(plain_name(path))}
    return [path for _, path in sorted(_dated(found))]


def would_match(pattern: str, path: str) -> bool:
    """Tell whether `matches` would return the path if there were such a file."""
    if any(fits(pattern + ending, path) for ending in ("", *PACKED)):
        return True
    return _ROTATED.search(plain_name(path)) is not None and fits(pattern + "[.-]*", path)


def plain_name(path: str) -> str:
    """Return the name that a compressed file had before it was compressed."""
    root, suffix = os.path.splitext(path)
    return root if suffix in PACKED else path


def log_name(path: str) -> str:
    """Return the name that a rotated file had when it was written."""
    return re.sub(r"[.-]\d[\dT_:.-]*$", "", plain_name(path))


def list_files(seen: Iterable[Seen], known: Mapping[str, Position]) -> Listing:
    """Match files with known positions (by `Position.key`)."""
    files = _distinct(seen)
    claims = _claims(files, known)
    taken = {position.key for position in claims.values()}
    positions: list[Position] = []
    truncated = 0
    for number, file in enumerate(files):
        old = claims.get(number)
        cut = _is_replaced(file, known, taken) if old is None else file.sized and old.offset > file.size
        truncated += cut
        positions.append(file.position(None if cut else old))
    lag = sum(file.unread(position) for file, position in zip(files, positions, strict=True))
    return Listing(tuple(positions), frozenset(taken), lag, truncated)


def digest(data: bytes) -> str:
    """Return the hash of a file's first bytes."""
    return hashlib.sha256(data).hexdigest()[:32]


def _key(length: int, head: str) -> str:
    return f"{length}:{head}"


def _dated(paths: Iterable[str]) -> Iterator[tuple[int, str]]:
    for path in paths:
        with suppress(OSError):  # it may have gone since it was listed
            if os.path.isfile(path):
                yield os.stat(path).st_mtime_ns, path


def _distinct(files: Iterable[Seen]) -> list[Seen]:
    """Leave out files that begin like another one: links to it, or copies, compressed or not."""
    found: dict[bytes, Seen] = {}
    for file in files:
        other = found.get(file.head)
        if other is None or (file.sized and not other.sized):
            found[file.head] = file
    return list(found.values())


def _claims(files: Sequence[Seen], known: Mapping[str, Position]) -> dict[int, Position]:
    """Return the known position of each file that has one; the longest fingerprints choose first."""
    lengths = {position.length for position in known.values()}
    by_key: dict[str, list[int]] = {}
    for number, file in enumerate(files):
        for length in lengths:
            if length <= len(file.head):
                by_key.setdefault(_key(length, digest(file.head[:length])), []).append(number)
    claims: dict[int, Position] = {}
    for key, position in sorted(known.items(), key=lambda item: -item[1].length):
        fitting = [number for number in by_key.get(key, ()) if number not in claims]
        if fitting:
            claims[max(fitting, key=lambda number: _likeness(files[number], position))] = position
    return claims


def _likeness(file: Seen, position: Position) -> tuple[bool, bool, bool]:
    long_enough = not file.sized or file.size >= position.offset
    return file.inode == position.inode, long_enough, file.path == position.path


def _is_replaced(file: Seen, known: Mapping[str, Position], taken: set[str]) -> bool:
    """Tell whether a new file stands where another was read that is lost with what was unread of it."""
    # The newest position of a path is its last one.
    before = next((old for old in reversed(list(known.values())) if old.path == file.path), None)
    return before is not None and not before.ended and before.key not in taken and not _lives_on(before)


def _lives_on(position: Position) -> bool:
    """Tell whether a file lives on under a name that is not read, with nothing unread in it."""
    for other in glob.glob(glob.escape(position.path) + "[.-]*"):
        with suppress(OSError), open(other, "rb") as file:
            same = digest(file.read(position.length)) == position.head
            if same and os.fstat(file.fileno()).st_size <= position.offset:
                return True
    return False
