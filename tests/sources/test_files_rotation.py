"""Which file is which: fingerprints over growth, rotation, truncation and copies."""

import os
from pathlib import Path

import pytest
from tests.support.blocks import text_of

from ml_exporter.sources.files import Listing, Position
from ml_exporter.sources.follow import Follower
from ml_exporter.sources.opened import FINGERPRINT


class Tail:
    """Follows a log as the engine does, and keeps what it has read."""

    def __init__(self, pattern: Path) -> None:
        self.pattern = str(pattern)
        self.files = Follower(self.pattern)
        self.known: dict[str, Position] = {}
        self.data = b""
        self.truncated = 0

    def read(self) -> Listing:
        listing = self.files.look(self.known)
        gone = [position for key, position in self.known.items() if key not in listing.matched]
        self.known = {position.key: position for position in (*gone, *listing.positions)}
        self.truncated += listing.truncated
        for position in listing.positions:
            for block in self.files.blocks(position, 1 << 20):
                self.known[block.end.key] = block.end
                self.data += text_of(block)
        return listing


class Log:
    """Writes numbered lines that all begin alike, and rotates by renaming."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = b""
        self.number = 0

    def write(self, lines: int, width: int = 0) -> None:
        with self.path.open("ab") as file:
            for _ in range(lines):
                self.number += 1
                text = b'{"id": "2026-01-01-%d%s"}\n' % (self.number, b"x" * width)
                file.write(text)
                self.written += text

    def rotate(self) -> None:
        for age in range(8, 0, -1):
            old = self.path.with_name(f"{self.path.name}.{age}")
            if old.exists():
                old.rename(self.path.with_name(f"{self.path.name}.{age + 1}"))
        self.path.rename(self.path.with_name(f"{self.path.name}.1"))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


@pytest.fixture
def tail(log: Log) -> Tail:
    return Tail(log.path)


def test_what_is_appended_is_read_once(log: Log, tail: Tail) -> None:
    for lines in (1, 0, 3, 200, 0, 1):
        log.write(lines)
        tail.read()
    assert tail.data == log.written


def test_a_file_that_grows_from_ten_bytes_keeps_its_position(tail: Tail) -> None:
    path = Path(tail.pattern)
    path.write_bytes(b"123456789\n")
    tail.read()
    written = path.read_bytes()
    for size in (1, 100, 2000, 2000, 9000):
        written += b"y" * (size - 1) + b"\n"
        path.write_bytes(written)
        listing = tail.read()
        assert len(listing.positions) == 1
    assert tail.data == written
    assert tail.truncated == 0
    assert [position.length for position in tail.known.values()] == [FINGERPRINT]


@pytest.mark.parametrize("generations", [1, 2, 3])
@pytest.mark.parametrize("lines", [1, 3, 500])
def test_a_rotated_file_is_read_to_its_end(log: Log, tail: Tail, generations: int, lines: int) -> None:
    log.write(lines)
    tail.read()
    for _ in range(generations):
        log.write(lines)  # not read before the rotation
        log.rotate()
        log.write(lines)
    tail.read()
    log.write(1)
    tail.read()
    assert tail.data == log.written
    assert tail.truncated == 0


def test_lines_of_a_rotated_file_come_before_those_of_its_successor(log: Log, tail: Tail) -> None:
    for age in range(6):
        log.write(20)
        os.utime(log.path, (age, age))
        log.rotate()
    log.write(5)
    tail.read()
    assert tail.data == log.written


def test_a_new_file_that_begins_like_the_rotated_one_is_another(tail: Tail) -> None:
    # Both are shorter than a fingerprint, and the first look saw only what they share.
    path = Path(tail.pattern)
    path.write_bytes(b'{"id": "')
    tail.read()
    path.write_bytes(b'{"id": "1"}\n')
    tail.read()
    assert tail.data == b'{"id": "1"}\n'
    with path.open("ab") as file:
        file.write(b'{"id": "2"}\n')
    path.rename(path.with_name("log.1"))
    path.write_bytes(b'{"id": "')
    tail.read()
    path.write_bytes(b'{"id": "3"}\n{"id": "4"}\n')
    tail.read()
    assert tail.data == b"".join(b'{"id": "%d"}\n' % number for number in (1, 2, 3, 4))
    assert tail.truncated == 0


def test_the_same_line_in_both_files_does_not_confuse_them(tail: Tail) -> None:
    path = Path(tail.pattern)
    path.write_bytes(b"same\n")
    tail.read()
    path.rename(path.with_name("log.1"))
    path.write_bytes(b"same\nnew\n")
    # The order of looking must not decide.
    os.utime(path, (1, 1))
    tail.read()
    assert tail.data == b"same\n" + b"same\nnew\n"


def test_an_empty_new_file_waits_for_its_first_line(log: Log, tail: Tail) -> None:
    log.write(3)
    tail.read()
    log.write(2)
    log.rotate()
    log.path.touch()
    tail.read()
    assert tail.files.problems == ()
    assert tail.data == log.written
    log.write(2)
    tail.read()
    assert tail.data == log.written
    assert tail.truncated == 0


def test_copy_and_truncate_loses_nothing_and_doubles_nothing(log: Log, tail: Tail) -> None:
    log.write(300)
    tail.read()
    log.write(10)
    copy = log.path.with_name("log.1")
    copy.write_bytes(log.path.read_bytes())
    tail.read()
    os.truncate(log.path, 0)
    tail.read()
    log.write(5)
    tail.read()
    assert tail.data == log.written
    assert tail.truncated == 0


@pytest.mark.parametrize("before", [2, 500])
@pytest.mark.parametrize("after", [1, 600])
def test_truncation_is_counted_once(log: Log, tail: Tail, before: int, after: int) -> None:
    log.write(before)
    tail.read()
    os.truncate(log.path, 0)
    tail.read()
    log.write(after)
    for _ in range(3):
        tail.read()
    log.write(2)
    tail.read()
    assert tail.truncated == 1
    assert tail.data == log.written
    log.rotate()
    log.write(3)
    tail.read()
    assert tail.truncated == 1
    assert tail.data == log.written


def test_a_file_cut_behind_its_first_bytes_is_read_again_from_its_start(tail: Tail) -> None:
    path = Path(tail.pattern)
    path.write_bytes(b"header\n" * 2000)
    tail.read()
    os.truncate(path, 7000)
    tail.read()
    assert tail.truncated == 1
    assert tail.data == b"header\n" * 3000
    tail.read()
    assert tail.truncated == 1


def test_several_files_are_read_side_by_side(tmp_path: Path) -> None:
    logs = [Log(tmp_path / f"{name}.jsonl") for name in "abc"]
    tail = Tail(tmp_path / "*.jsonl")
    for number, log in enumerate(logs):
        log.number = 1000 * number
    for lines in (1, 5, 0, 100):
        for log in logs:
            log.write(lines)
        logs[1].rotate()
        logs[1].write(2)
        tail.read()
    expected = b"".join(log.written for log in logs)
    assert sorted(tail.data.splitlines()) == sorted(expected.splitlines())
    assert tail.truncated == 0


def test_a_link_to_a_file_is_not_read_twice(log: Log, tmp_path: Path) -> None:
    log.write(10)
    (tmp_path / "log.1").symlink_to(log.path)
    (tmp_path / "log.2").hardlink_to(log.path)
    tail = Tail(log.path)
    tail.read()
    log.write(10)
    tail.read()
    assert tail.data == log.written


def test_the_inode_is_only_a_hint(log: Log, tail: Tail) -> None:
    log.write(10)
    tail.read()
    tail.known = {key: Position(**(vars(position) | {"inode": 1})) for key, position in tail.known.items()}
    log.write(10)
    tail.read()
    assert tail.data == log.written
    assert tail.truncated == 0


def test_a_file_that_went_to_a_name_that_is_not_read_is_no_truncation(log: Log, tail: Tail) -> None:
    log.write(300)
    tail.read()
    log.path.rename(log.path.with_name("log.old"))
    log.write(5)
    tail.read()
    assert tail.data == log.written
    assert tail.truncated == 0


def test_a_deleted_file_is_forgotten_without_noise(log: Log, tail: Tail) -> None:
    log.write(5)
    log.rotate()
    log.write(5)
    tail.read()
    log.path.with_name("log.1").unlink()
    log.write(5)
    tail.read()
    assert tail.files.problems == ()
    assert tail.data == log.written
