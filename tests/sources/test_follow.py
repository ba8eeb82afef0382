"""Files that are compressed, deleted or cut while they are followed, and records that blocks must not cut."""

import csv
import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.blocks import text_of

from ml_exporter.sources import follow
from ml_exporter.sources.files import Position
from ml_exporter.sources.follow import Follower
from ml_exporter.sources.opened import zstd

LIMIT = 1 << 20
Pack = Callable[[bytes], bytes]

packed = pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstd.compress)])


class Tail:
    """Follows a log as the engine does; `restart` leaves only what is committed."""

    def __init__(self, pattern: Path, form: str = "jsonl") -> None:
        self.pattern, self.form = pattern, form
        self.known: dict[str, Position] = {}
        self.data = b""
        self.truncated = self.lag = 0
        self.restart()

    def restart(self) -> None:
        self.files = Follower(str(self.pattern), self.form)

    def read(self, limit: int = 1000, block: int = 1 << 20, commit: bool = True) -> None:
        """One cycle of at most `limit` blocks."""
        listing = self.files.look(self.known)
        known = {key: old for key, old in self.known.items() if key not in listing.matched}
        known |= {position.key: position for position in listing.positions}
        data, self.lag = b"", listing.lag
        for position in listing.positions:
            for part in self.files.blocks(position, LIMIT, block=block):
                if limit == 0:
                    break
                limit -= 1
                known[part.end.key] = part.end
                data += text_of(part)
                self.lag -= part.size
        if commit:
            self.known, self.data = known, self.data + data
            self.truncated += listing.truncated


def lines(first: int, last: int) -> bytes:
    return b"".join(b'{"id": "line %d"}\n' % number for number in range(first, last))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@packed
@pytest.mark.parametrize("size", [3, 1000])
@pytest.mark.parametrize("restart", [False, True])
def test_a_compressed_rotation_adds_what_was_unread(
    log: Path, suffix: str, pack: Pack, size: int, restart: bool
) -> None:
    tail = Tail(log)
    log.write_bytes(lines(0, size))
    tail.read()
    data = lines(0, 2 * size)
    log.write_bytes(data)
    log.unlink()
    log.with_name(f"log.1{suffix}").write_bytes(pack(data))
    log.write_bytes(lines(2 * size, 3 * size))
    if restart:
        tail.restart()
    tail.read()
    tail.read()
    assert sorted(tail.data.splitlines()) == sorted(lines(0, 3 * size).splitlines())
    assert (tail.lag, tail.truncated, tail.files.problems) == (0, 0, ())


@packed
def test_a_compressed_rotation_of_what_was_read_adds_nothing(log: Path, suffix: str, pack: Pack) -> None:
    tail = Tail(log)
    log.write_bytes(lines(0, 1000))
    tail.read()
    log.rename(log.with_name("log.1"))
    tail.read()
    rotated = log.with_name("log.1")
    log.with_name(f"log.1{suffix}").write_bytes(pack(rotated.read_bytes()))
    tail.read()
    rotated.unlink()
    for name in (f"log.2{suffix}", f"log-20260131{suffix}", f"log.3{suffix}"):
        tail.read()
        tail.restart()
        tail.read()
        max(log.parent.iterdir()).rename(log.with_name(name))
    assert tail.data == lines(0, 1000)
    assert tail.truncated == 0


@packed
def test_compressed_files_that_were_never_read_are_read_once_in_blocks(
    log: Path, suffix: str, pack: Pack
) -> None:
    for age in range(3):
        path = log.with_name(f"log.{3 - age}{suffix}")
        path.write_bytes(
            pack(lines(100 * age, 100 * age + 50)) + pack(lines(100 * age + 50, 100 * age + 100))
        )
        os.utime(path, (age, age))
    tail = Tail(log)
    for _ in range(40):
        tail.read(limit=2, block=300)
        tail.read(limit=2, block=300, commit=False)
    assert tail.data == lines(0, 300)
    assert tail.lag == 0


@packed
def test_the_last_line_of_a_compressed_file_needs_no_newline(log: Path, suffix: str, pack: Pack) -> None:
    Path(f"{log}{suffix}").write_bytes(pack(lines(0, 2) + b"end"))
    tail = Tail(log)
    tail.read()
    assert tail.data == lines(0, 2) + b"end"


@packed
def test_a_compressed_file_that_is_not_whole_is_a_problem_until_it_is(
    log: Path, suffix: str, pack: Pack
) -> None:
    path = Path(f"{log}{suffix}")
    whole = pack(b"".join(os.urandom(30).hex().encode() + b"\n" for _ in range(5000)))
    tail = Tail(log)
    for end in (0, 10, 100_000, 120_000):
        path.write_bytes(whole[:end])
        tail.read()
        tail.read()
        assert tail.files.problems == ((f"{path}: ends in the middle",) if end else ())
        assert (tail.lag > 0) == (end > 10)
    assert 1000 < tail.data.count(b"\n") < 5000
    path.write_bytes(whole)
    tail.read()
    assert tail.data.count(b"\n") == 5000
    assert len(set(tail.data.splitlines())) == 5000
    assert tail.files.problems == ()


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_damaged_compressed_file_is_a_problem_and_others_are_read(log: Path, suffix: str) -> None:
    Path(f"{log}.1{suffix}").write_bytes(b"this is something else")
    log.write_bytes(lines(0, 3))
    tail = Tail(log)
    tail.read()
    assert tail.data == lines(0, 3)
    assert len(tail.files.problems) == 1
    assert "cannot be decompressed" in tail.files.problems[0]


def test_a_file_that_is_deleted_is_read_to_its_end_first(log: Path) -> None:
    tail = Tail(log)
    log.write_bytes(lines(0, 100) + b"half a l")
    tail.read(limit=1, block=200)
    writer = log.open("ab")
    log.unlink()
    for _ in range(3):
        tail.read(limit=1, block=200)
    # Whoever has it open may still write to it.
    writer.write(b"ine\n" + lines(100, 110))
    writer.close()
    for _ in range(follow.PATIENCE + 3):
        tail.read()
    assert tail.data == lines(0, 100) + b"half a line\n" + lines(100, 110)
    assert tail.truncated == 0


def test_a_deleted_file_is_let_go_when_nothing_more_comes(log: Path) -> None:
    def held() -> int:
        names = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
        return sum(os.readlink(name).startswith(f"{log} (deleted)") for name in names if os.path.islink(name))

    tail = Tail(log)
    log.write_bytes(lines(0, 10) + b"the end")
    tail.read()
    log.unlink()
    for _ in range(follow.PATIENCE):
        tail.read()
        assert held() == 1
    for _ in range(3):
        tail.read()
    assert held() == 0
    assert tail.data == lines(0, 10) + b"the end"
    # Where another file has taken the name there is less to wait for.
    log.write_bytes(lines(10, 20))
    tail.read()
    log.unlink()
    log.write_bytes(lines(20, 30))
    for _ in range(4):
        tail.read()
    assert held() == 0
    assert tail.data == lines(0, 10) + b"the end" + lines(10, 30)
    assert tail.truncated == 0


def test_a_file_renamed_to_a_name_that_is_not_read_is_read_to_its_end(log: Path) -> None:
    tail = Tail(log)
    log.write_bytes(lines(0, 300))
    tail.read()
    with log.open("ab") as file:
        file.write(lines(300, 310))
    log.rename(log.with_name("log.old"))
    log.write_bytes(lines(310, 320))
    tail.read()
    assert tail.data == lines(0, 320)
    assert tail.truncated == 0


@pytest.mark.parametrize(("copied", "truncated"), [(300, 0), (310, 1)])
def test_after_a_restart_a_copy_that_is_not_read_tells_whether_something_is_lost(
    log: Path, copied: int, truncated: int
) -> None:
    tail = Tail(log)
    log.write_bytes(lines(0, 300))
    tail.read()
    log.with_name("log.old").write_bytes(lines(0, copied))
    log.write_bytes(lines(310, 320))
    tail.restart()
    tail.read()
    assert tail.data == lines(0, 300) + lines(310, 320)
    assert tail.truncated == truncated


@pytest.mark.parametrize("grown", [10, 500])
def test_a_file_cut_and_grown_past_the_old_position_is_noticed_by_its_beginning(
    log: Path, grown: int
) -> None:
    tail = Tail(log)
    log.write_bytes(lines(0, 300))
    tail.read()
    log.write_bytes(lines(1000, 1000 + grown))
    tail.read()
    assert tail.truncated == 1
    assert tail.data == lines(0, 300) + lines(1000, 1000 + grown)


def test_a_year_of_rotated_files_needs_few_descriptors(log: Path) -> None:
    for age in range(1, 400):
        log.with_name(f"log.{age}").write_bytes(lines(10 * age, 10 * age + 10))
    before = len(os.listdir("/proc/self/fd"))
    tail = Tail(log)
    tail.read()
    tail.read()
    assert len(os.listdir("/proc/self/fd")) - before <= 2 * follow.HELD + 1
    assert tail.data.count(b"\n") == 3990


def test_a_file_whose_reading_fails_is_a_problem(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_bytes(lines(0, 300))
    tail = Tail(log)
    listing = tail.files.look({})

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", fail)
        assert list(tail.files.blocks(listing.positions[0], LIMIT)) == []
        assert tail.files.problems == (f"{log}: Input/output error",)
    tail.read()
    assert tail.data == lines(0, 300)
    assert tail.files.problems == ()


HEADER = b"id,text\n"


def test_the_header_is_no_record_and_no_fingerprint(tmp_path: Path) -> None:
    header = b"id," + b",".join(b"column_%05d" % number for number in range(2000)) + b"\n"
    tail = Tail(tmp_path / "*.csv", "csv")
    for name in "abc":
        (tmp_path / f"{name}.csv").write_bytes(header[:5000])
    tail.read()
    for name in b"abc":
        (tmp_path / f"{chr(name)}.csv").write_bytes(header + b"%c,1\n" % name)
    tail.read()
    tail.read()
    assert sorted(tail.data.splitlines()) == [b"a,1", b"b,1", b"c,1"]
    assert (tail.truncated, tail.lag) == (0, 0)


@packed
def test_csv_may_be_compressed(log: Path, suffix: str, pack: Pack) -> None:
    tail = Tail(log, "csv")
    log.write_bytes(HEADER + b"1,a\n")
    tail.read()
    log.write_bytes(HEADER + b'1,a\n2,"b\nb"\n3,c')
    Path(f"{log}.1{suffix}").write_bytes(pack(log.read_bytes()))
    log.unlink()
    tail.restart()
    tail.read()
    assert tail.data == b'1,a\n2,"b\nb"\n3,c'


def test_a_quoted_line_end_does_not_cut_a_block(log: Path) -> None:
    tail = Tail(log, "csv")
    records = [b'%d,"one\ntwo,\n""%d"""\n' % (number, number) for number in range(100)]
    log.write_bytes(HEADER + b"".join(records))
    files = Follower(str(log), "csv")
    (position,) = files.look({}).positions
    parts = [text_of(part) for part in files.blocks(position, LIMIT, block=100)]
    assert b"".join(parts) == b"".join(records)
    assert all(
        part.count(b'"') % 2 == 0 and part.startswith(b"%d," % int(part.split(b",")[0])) for part in parts
    )
    # Written byte by byte, records come as they are finished.
    log.write_bytes(HEADER)
    with log.open("ab", buffering=0) as file:
        for byte in b"".join(records[:3]):
            file.write(bytes([byte]))
            tail.read()
            assert tail.data in [b"".join(records[:count]) for count in range(4)]
    assert tail.data == b"".join(records[:3])


def test_a_quote_that_is_never_closed_holds_nothing_back_for_long(log: Path) -> None:
    tail = Tail(log, "csv")
    log.write_bytes(HEADER + b'1,"open\n2,b\n')
    tail.read()
    assert tail.data == b""
    with log.open("ab") as file:
        file.write(b'3,"c"\n')  # here it becomes clear that the first one is wrong
    tail.read()
    assert tail.data == b'1,"open\n2,b\n3,"c"\n'
    with log.open("ab") as file:
        file.write(b'4,"open\n' + b"5,b\n" * (LIMIT // 4))
    tail.read()
    assert tail.data.count(b"\n") == 4 + LIMIT // 4


@given(
    texts=st.lists(st.text(st.sampled_from('a,"\n é'), max_size=9), max_size=12),
    block=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 200), max_size=4),
)
@settings(max_examples=60)
def test_records_are_whole_whatever_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], block: int, cuts: list[int]
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for number, value in enumerate(texts):
        writer.writerow([number, value])
    data = HEADER + text.getvalue().encode()
    log = tmp_path_factory.mktemp("csv") / "log"
    tail = Tail(log, "csv")
    for cut in (*sorted(cuts), len(data)):
        log.write_bytes(data[:cut])
        tail.read(block=block)
    assert tail.data == data[len(HEADER) :]
