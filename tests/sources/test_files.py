"""Blocks of complete lines: offsets, partial lines, lines that are too long."""

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.blocks import text_of, too_long_in

from ml_exporter.sources import follow
from ml_exporter.sources.blocks import Block
from ml_exporter.sources.files import Position, matches
from ml_exporter.sources.follow import Follower
from ml_exporter.sources.memory import Memory

LIMIT = 1 << 20


class Log:
    """The one file of a log, followed from its start."""

    def __init__(self, path: Path) -> None:
        self.files = Follower(str(path))
        self.start: Position = self.files.look({}).positions[0]

    def read(
        self,
        position: Position | None = None,
        limit: int = LIMIT,
        complete: bool = False,
        block: int = 1 << 20,
    ) -> Iterator[Block]:
        start = position or self.start
        (position,) = self.files.look({start.key: start}).positions
        return self.files.blocks(position, limit, complete, block)


def read(path: Path, limit: int = LIMIT, complete: bool = False, block: int = 1 << 20) -> list[Block]:
    return list(Log(path).read(None, limit, complete, block))


def test_complete_lines_come_in_blocks_that_follow_each_other(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [b"%d %s\n" % (number, b"x" * (number % 90)) for number in range(1000)]
    log.write_bytes(b"".join(lines))
    blocks = read(log, limit=200, block=1000)
    assert b"".join(text_of(block) for block in blocks) == log.read_bytes()
    assert all(text_of(block).endswith(b"\n") and len(text_of(block)) <= 1000 for block in blocks)
    assert blocks[0].start.offset == 0
    assert [block.end for block in blocks[:-1]] == [block.start for block in blocks[1:]]
    assert blocks[-1].end.offset == log.stat().st_size


def test_the_last_line_waits_for_its_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntw")
    followed = Log(log)
    first = list(followed.read())
    assert [text_of(block) for block in first] == [b"one\n"]
    assert list(followed.read(first[0].end)) == []
    with log.open("ab") as file:
        file.write(b"o\nthree")
    assert [text_of(block) for block in followed.read(first[0].end)] == [b"two\n"]


def test_a_file_that_is_complete_is_read_to_its_last_byte(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo")
    blocks = read(log, complete=True)
    assert [text_of(block) for block in blocks] == [b"one\n", b"two"]
    assert blocks[-1].end.offset == 7


@pytest.mark.parametrize("block", [8, 100, 1000])
@pytest.mark.parametrize("complete", [False, True])
def test_lines_that_are_too_long_are_counted_once_and_left_out(
    tmp_path: Path, block: int, complete: bool
) -> None:
    log = tmp_path / "log"
    lines = [b"a" * 10, b"b" * 11, b"c", b"", b"d" * 500, b"e" * 30 + b"\r", b"f" * 9 + b"\r", b"g" * 700]
    log.write_bytes(b"\n".join(lines) + b"\n")
    blocks = read(log, limit=10, complete=complete, block=block)
    assert b"".join(text_of(item) for item in blocks) == b"a" * 10 + b"\nc\n\n" + b"f" * 9 + b"\r\n"
    assert sum(too_long_in(item) for item in blocks) == 4
    assert blocks[-1].end.offset == log.stat().st_size
    assert not blocks[-1].end.skipping


@given(
    lengths=st.lists(st.integers(0, 40), max_size=30),
    limit=st.integers(1, 30),
    block=st.integers(1, 60),
    ended=st.booleans(),
)
@settings(max_examples=150)
def test_no_line_is_lost_whatever_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], limit: int, block: int, ended: bool
) -> None:
    log = tmp_path_factory.getbasetemp() / "lengths"
    lines = [bytes([ord("a") + index % 26]) * length + b"\n" for index, length in enumerate(lengths)]
    data = b"".join([b"#\n", *lines])
    log.write_bytes(data if ended else data[:-1])
    blocks = read(log, limit, complete=True, block=block)
    fitting = b"".join(line for line in (b"#\n", *lines) if len(line) - 1 <= limit)
    cut = not ended and max(lengths[-1:], default=1) <= limit
    assert b"".join(text_of(item) for item in blocks) == (fitting[:-1] if cut else fitting)
    assert sum(too_long_in(item) for item in blocks) == sum(length > limit for length in lengths)


def test_a_line_that_is_too_long_may_grow_over_many_readings(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\n")
    followed = Log(log)
    position, too_long, data = followed.start, 0, b""
    for piece in (b"x" * 8, b"x" * 8, b"x" * 3, b"x" * 90, b"\ntwo\n", b"three\n"):
        with log.open("ab") as file:
            file.write(piece)
        for block in followed.read(position, 10, block=16):
            position, too_long, data = block.end, too_long + too_long_in(block), data + text_of(block)
    assert data == b"one\ntwo\nthree\n"
    assert too_long == 1


def test_a_line_that_is_too_long_is_not_held_in_memory(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.write(b"one\n")
        file.truncate(200 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"\ntwo\n")
    followed = Log(log)
    tracemalloc.start()
    blocks = list(followed.read(block=4 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert b"".join(text_of(block) for block in blocks) == b"one\ntwo\n"
    assert sum(too_long_in(block) for block in blocks) == 1
    assert peak < 20 << 20


def test_a_line_longer_than_a_block_is_read_where_the_limit_allows_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"a\n" + b"b" * 5000 + b"\nc\n")
    blocks = read(log, limit=6000, block=100)
    assert b"".join(text_of(block) for block in blocks) == log.read_bytes()
    assert sum(too_long_in(block) for block in blocks) == 0


def test_the_file_that_took_the_name_meanwhile_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "HELD", 0)
    log = tmp_path / "log"
    log.write_bytes(b"old old old\n")
    files = Follower(str(log))
    (position,) = files.look({}).positions
    log.rename(tmp_path / "log.old")
    assert list(files.blocks(position, LIMIT)) == []
    log.write_bytes(b"new new new new\n")
    assert list(files.blocks(position, LIMIT)) == []
    assert files.problems == ()


def test_rotated_names_are_found_oldest_first(tmp_path: Path) -> None:
    names = ["log.10", "log.2", "log-20260131", "log.2026-01-31", "log-2026-01-31T1200", "log.1", "log"]
    for age, name in enumerate(names):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (age, age))
    for other in ("log.txt", "log.1.txt", "log.old", "logs", "log.lock"):
        (tmp_path / other).write_text(other)
    (tmp_path / "log.3").mkdir()
    assert [Path(path).name for path in matches(str(tmp_path / "log"))] == names
    assert [Path(path).name for path in matches(str(tmp_path / "l?g"))] == names


def test_reading_begins_at_the_end_where_that_is_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\nthr")
    files = Follower(str(log))
    listing = files.look({}, from_end=True)
    assert [position.offset for position in listing.positions] == [8]
    assert listing.lag == 3
    with log.open("ab") as file:
        file.write(b"ee\nfour\n")
    assert [text_of(block) for block in files.blocks(listing.positions[0], LIMIT)] == [b"three\nfour\n"]


def test_the_end_of_a_file_whose_last_line_is_longer_than_a_look(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\n" + b"x" * 300_000)
    assert Follower(str(log)).look({}, from_end=True).positions[0].offset == 4
    log.write_bytes(b"x" * 300_000)
    assert Follower(str(log)).look({}, from_end=True).positions[0].offset == 0


def test_a_folder_that_is_not_there_is_a_problem_until_it_is(tmp_path: Path) -> None:
    pattern = str(tmp_path / "logs" / "*.jsonl")
    files = Follower(pattern)
    files.look({})
    assert files.problems == (f"{pattern}: no file, and no folder {tmp_path / 'logs'}",)
    (tmp_path / "logs").mkdir()
    files.look({})
    assert files.problems == (f"{pattern}: no file",)
    (tmp_path / "logs" / "a.jsonl").write_bytes(b"one\n")
    assert files.look({}).lag == 4
    assert files.problems == ()


def test_a_file_that_cannot_be_read_is_a_problem_until_it_can_and_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"{name}\n")
    real = os.open

    def refuse(path: str, flags: int) -> int:
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied")
        return real(path, flags)

    files = Follower(str(tmp_path / "*"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        listing = files.look({})
    assert [Path(position.path).name for position in listing.positions] == ["b"]
    assert files.problems == (f"{tmp_path / 'a'}: Permission denied",)
    listing = files.look({position.key: position for position in listing.positions})
    assert [Path(position.path).name for position in listing.positions] == ["a", "b"]
    assert files.problems == ()


def test_a_file_that_goes_while_it_is_looked_for_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"{name}\n")
    real = os.stat

    def vanish(path: str, *, follow_symlinks: bool = True) -> os.stat_result:
        if path == str(tmp_path / "a"):
            raise FileNotFoundError(2, "No such file or directory")
        return real(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "stat", vanish)
    assert matches(str(tmp_path / "*")) == [str(tmp_path / "b")]


def test_an_ordinary_block_is_not_cut_into_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    random = np.random.default_rng(3)
    log.write_bytes(b"".join(b"x" * int(size) + b"\n" for size in random.integers(400, 800, 5000)))
    followed = Log(log)
    memory = Memory()
    tracemalloc.start()
    (block,) = followed.read(block=16 << 20)
    assert memory.load(block) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert memory.size == log.stat().st_size
    assert peak < 1 << 18


def test_a_file_that_is_cut_before_a_block_of_it_is_read_gives_the_lines_it_still_has(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\nthree\n")
    blocks = read(log)
    os.truncate(log, 9)
    assert [text_of(block) for block in blocks] == [b"one\ntwo\n"]
