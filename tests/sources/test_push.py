"""The spool of pushed records: durable, bounded, and read like any other log."""

from __future__ import annotations

import gzip
import json
import stat
from pathlib import Path

import pytest
from tests.support.faults import full_disk
from tests.support.site import Site, prediction

from ml_exporter.config_types import single_file
from ml_exporter.engine import Engine
from ml_exporter.sources.push import Spool, SpoolFullError, Spools

LIMIT = 80_000
LINE = b'{"a": "' + b"x" * 990 + b'"}\n'


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "deep/down/log.jsonl", LIMIT)


def lines(spool: Spool) -> list[bytes]:
    """All lines that are not blank, in the order in which they came."""
    files = sorted(spool.path.parent.iterdir(), key=lambda file: (file == spool.path, file.name))
    return [line for file in files for line in file.read_bytes().split(b"\n") if line.strip()]


def test_lines_are_appended_to_a_file_that_only_its_owner_can_read(spool: Spool) -> None:
    spool.prepare()
    assert spool.size() == 0
    for text in (b"1\n", b"2\n3\n"):
        spool.append(text)
    assert lines(spool) == [b"1", b"2", b"3"]
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600
    assert spool.size() == spool.path.stat().st_size


def test_a_file_that_was_there_becomes_its_owners_alone(spool: Spool) -> None:
    spool.path.parent.mkdir(parents=True)
    spool.path.touch(0o644)
    spool.path.chmod(0o644)
    spool.prepare()
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600


def test_a_line_that_was_broken_off_does_not_run_into_the_next(spool: Spool) -> None:
    spool.append(b"1\n")
    with spool.path.open("ab") as file:
        file.write(b'{"broken')
    Spool(spool.path, LIMIT).append(b"2\n")
    assert lines(spool) == [b"1", b'{"broken', b"2"]


def test_files_that_begin_with_the_same_records_differ(spool: Spool) -> None:
    heads = []
    for _ in range(3):
        spool.append(LINE * 11)
        heads.append(spool.path.read_bytes()[:4096])
    assert len(set(heads)) == 3


def test_it_takes_no_more_than_its_limit(spool: Spool) -> None:
    while spool.size() + len(LINE) <= LIMIT:
        spool.append(LINE)
    assert LIMIT - 2000 < spool.size() <= LIMIT
    with pytest.raises(SpoolFullError):
        Spool(spool.path, LIMIT).append(LINE)


def test_a_link_is_not_followed(spool: Spool, tmp_path: Path) -> None:
    spool.path.parent.mkdir(parents=True)
    spool.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        spool.append(b"1\n")
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_is_told_and_got_over(spool: Spool) -> None:
    spool.append(b"1\n")
    with full_disk(500), pytest.raises(OSError, match="File too large"):
        spool.append(LINE)
    spool.append(b"2\n")
    found = lines(spool)
    assert (found[0], found[-1]) == (b"1", b"2")


@pytest.mark.parametrize(
    ("pattern", "file"),
    [
        ("/a/b.jsonl", "/a/b.jsonl"),
        ("/a/[[]b].jsonl", "/a/[b].jsonl"),
        ("/a/*.jsonl", None),
        ("/a/[bc]", None),
    ],
)
def test_a_glob_that_names_one_file(pattern: str, file: str | None) -> None:
    assert single_file(pattern) == (file and Path(file))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    found = Site(tmp_path)
    found.exporter["push"] = {"spool_limit": "1MiB", "body_limit": "100KiB"}
    found.models[0]["predictions"]["push"] = True
    found.label()
    return found


def test_everything_is_counted_once_and_deleted_when_it_is_committed(site: Site) -> None:
    engine = site.engine()
    spools = Spools(site.config())
    spool = spools.get("flight-delay", "predictions")
    assert spool is not None
    rows = 0
    for _ in range(10):
        batch = [prediction(rows + place, 0, padding="x" * 500) for place in range(300)]
        site.predict(*batch, name="draft")
        draft = site.folder / "draft-predictions.jsonl"
        spool.append(draft.read_bytes())
        draft.unlink()
        rows += len(batch)
        read_on(engine, spool)
    assert spool.size() < 2**18
    state = engine.pipelines[0].state
    assert state.outcomes["predictions"] == {"accepted": rows}
    assert state.truncations["predictions"] == 0
    assert len(list(site.folder.glob("flight-delay-predictions.jsonl*"))) <= 2


def read_on(engine: Engine, spool: Spool) -> None:
    engine.cycle()
    spool.release(engine.pipelines[0].state.positions["predictions"].values())


def written(*numbers: int) -> bytes:
    return b"".join(json.dumps(prediction(number, 0)).encode() + b"\n" for number in numbers)


def test_what_others_have_written_is_counted_and_never_deleted(site: Site) -> None:
    log = site.folder / "flight-delay-predictions.jsonl"
    others = {
        f"{log}.1": written(1),
        f"{log}-2026-11-01.gz": gzip.compress(written(2)),
        f"{log}.1700000000000000000": written(3),
        str(log): written(4),
    }
    for path, data in others.items():
        Path(path).write_bytes(data)
    engine = site.engine()
    # Large enough that each push renames what is there.
    spool = Spool(log, LIMIT)
    for line in (LINE * 11, LINE * 11, LINE):
        read_on(engine, spool)
        spool.append(line)
    read_on(engine, spool)
    kept = [path.read_bytes() for path in site.folder.glob(f"{log.name}*")]
    assert engine.pipelines[0].state.outcomes["predictions"]["accepted"] == 4
    assert all(any(found.startswith(data) for found in kept) for data in others.values())
    # The file that began with another's line is one of them; what was begun here is gone but for the newest.
    assert len(kept) == len(others) + 1
    assert spool.size() == log.stat().st_size
    assert Spool(log, LIMIT).size() == spool.size()


def test_what_is_not_read_is_not_deleted(site: Site) -> None:
    engine = site.engine()
    spool = Spool(site.folder / "flight-delay-predictions.jsonl", LIMIT)
    engine.cycle()
    for _ in range(40):
        spool.append(LINE)
    size = spool.size()
    spool.release(engine.pipelines[0].state.positions["predictions"].values())
    assert spool.size() == size
    read_on(engine, spool)
    assert spool.size() < LIMIT // 4
    read_on(engine, Spool(spool.path, LIMIT))
    assert spool.path.exists()


def test_a_reload_keeps_the_spool_of_a_file(site: Site) -> None:
    spools = Spools(site.config())
    before = spools.get("flight-delay", "predictions")
    assert before is not None
    assert spools.get("flight-delay", "labels") is None
    site.exporter["push"]["spool_limit"] = "2MiB"
    spools.configure(site.config())
    assert spools.get("flight-delay", "predictions") is before
    assert before.limit == 2**21
    site.models[0]["predictions"]["push"] = False
    spools.configure(site.config())
    assert spools.items() == []
