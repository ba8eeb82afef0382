"""Log files as blocks of complete lines, each with the position it ends at.

A file is what its first bytes are: a fingerprint of up to 4 KiB, extended while the file is shorter.
So a rotated log that was renamed is still the same file, and is read to its end under its new name.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

FINGERPRINT = 4096
BLOCK = 16 << 20
_ROTATED = re.compile(r"\.\d+$|[.-]\d{4}-?\d{2}-?\d{2}([T_.-]?\d{2}[:-]?\d{2}([:-]?\d{2})?)?$")


@dataclass(frozen=True)
class Position:
    """How far a file is read.

    `head` is the hash of its first `length` bytes; `offset` is where the next line starts;
    `skipping` is true inside a line that is too long.
    """

    path: str
    head: str
    length: int
    offset: int
    skipping: bool = False

    @property
    def key(self) -> str:
        """What tells this file from others."""
        return f"{self.length}:{self.head}"


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

    `matched` are the keys of the known positions that were found again; `truncated` files were read
    further than they are long now; `problems` say what could not be read.
    """

    positions: tuple[Position, ...]
    matched: frozenset[str]
    lag: int
    truncated: int
    problems: tuple[str, ...]


def matches(pattern: str) -> list[str]:
    """Return the files of a glob and their rotated forms (P.1, P-2026-01-31), oldest first."""
    found = set(glob.glob(pattern, recursive=True))
    found |= {path for path in glob.glob(pattern + "[.-]*", recursive=True) if _ROTATED.search(path)}
    files = [path for path in found if os.path.isfile(path)]
    return sorted(files, key=lambda path: (os.stat(path).st_mtime_ns, path))


def list_files(pattern: str, known: Mapping[str, Position], from_end: bool = False) -> Listing:
    """Match the files on disk with known positions (by `Position.key`).

    A file without a position is read from its start, or from its end where `from_end` is true.
    """
    positions: list[Position] = []
    matched: set[str] = set()
    problems: list[str] = []
    lag = truncated = 0
    for path in _existing(pattern, problems):
        try:
            position, size, shorter = _position(path, known, matched, from_end)
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
            continue
        if position is None or any(position.key == other.key for other in positions):
            continue
        truncated += shorter
        lag += size - position.offset
        positions.append(position)
    return Listing(tuple(positions), frozenset(matched), lag, truncated, tuple(problems))


def read_blocks(
    position: Position, line_limit: int, complete: bool = False, block: int = BLOCK
) -> Iterator[Block]:
    """Read complete lines from a position on, in blocks of about `block` bytes.

    Lines of more than `line_limit` bytes are skipped and counted. The last line of a file waits for
    its end; where `complete` is true nothing more will be written, and it is read as it stands.
    """
    with open(position.path, "rb") as file:
        file.seek(position.offset)
        while data := file.read(block):
            cut = data.rfind(b"\n") + 1
            if not cut and complete and len(data) < block:
                cut = len(data)
            part = _without_long_lines(data[:cut], position, line_limit)
            if not cut:
                if len(data) <= line_limit:
                    return
                part = Block(
                    b"", position, replace(position, offset=position.offset + len(data), skipping=True)
                )
                part = replace(part, too_long=0 if position.skipping else 1)
            yield part
            position = part.end
            file.seek(position.offset)


def _without_long_lines(data: bytes, position: Position, limit: int) -> Block:
    end = replace(position, offset=position.offset + len(data), skipping=False)
    body = data[data.find(b"\n") + 1 :] if position.skipping else data
    if len(body) <= limit:
        return Block(body, position, end)
    lines = body.splitlines(keepends=True) if b"\r" not in body else re.findall(rb"[^\n]*\n|[^\n]+", body)
    fitting = [line for line in lines if len(line) <= limit]
    too_long = len(lines) - len(fitting)
    return Block(b"".join(fitting) if too_long else body, position, end, too_long)


def _existing(pattern: str, problems: list[str]) -> list[str]:
    found = matches(pattern)
    if not found:
        folder = Path(re.split(r"[*?\[]", pattern)[0]).parent
        problems.append(f"{pattern}: no file" + ("" if folder.is_dir() else f", and no folder {folder}"))
    return found


def _position(
    path: str, known: Mapping[str, Position], matched: set[str], from_end: bool
) -> tuple[Position | None, int, int]:
    """Return where to read a file on, its size, and 1 where it became shorter than what was read."""
    with open(path, "rb") as file:
        head, size = file.read(FINGERPRINT), os.fstat(file.fileno()).st_size
    if not head:
        return None, 0, 0
    fresh = Position(path, _hash(head), len(head), 0)
    for key, old in known.items():
        if old.length <= len(head) and _hash(head[: old.length]) == old.head:
            matched.add(key)
            if old.offset <= size:
                return replace(fresh, offset=old.offset, skipping=old.skipping), size, 0
            return fresh, size, 1
    before = next((old for old in known.values() if old.path == path), None)
    shorter = int(before is not None and before.length <= len(head) and not _renamed(before, path))
    return replace(fresh, offset=_last_line_end(path, size) if from_end else 0), size, shorter


def _renamed(position: Position, path: str) -> bool:
    """Tell whether the file that was read at `path` lives on under a rotated name."""
    for other in glob.glob(glob.escape(path) + "[.-]*"):
        try:
            with open(other, "rb") as file:
                if _hash(file.read(position.length)) == position.head:
                    return True
        except OSError:
            continue
    return False


def _last_line_end(path: str, size: int) -> int:
    """Return the offset after the last newline."""
    with open(path, "rb") as file:
        for start in range(max(size - BLOCK, 0), -1, -BLOCK):
            file.seek(start)
            cut = file.read(min(BLOCK, size - start)).rfind(b"\n")
            if cut >= 0:
                return start + cut + 1
    return 0


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
