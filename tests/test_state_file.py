"""What becomes of a state file that cannot be used: refused, tried again, or set aside."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
from tests.support.faults import full_disk, read_only, unprivileged

from ml_exporter.state_file import LAYOUT, StateDamagedError, StateError, StateUnavailableError, explain
from ml_exporter.store import Store

ROWS = 150_000


@pytest.fixture(autouse=True)
def logged_to_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever tests before have configured."""
    monkeypatch.setattr(logging.getLogger("ml_exporter"), "handlers", [])
    monkeypatch.setattr(logging.getLogger("ml_exporter"), "propagate", True)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """File and log of changes of a state whose process was killed."""
    path = tmp_path_factory.mktemp("killed") / "state.duckdb"
    store = Store(path)
    with store.transaction():
        columns = {
            "model": np.zeros(ROWS, np.uint16),
            "id": np.random.default_rng(1).integers(0, 2**62, ROWS).astype(np.uint64),
            "time": np.arange(ROWS),
        }
        store.insert("pending", columns)
    store.connection.execute("CHECKPOINT")
    with store.transaction():
        store.save_documents(0, {"state": 1})
    parts = path.read_bytes(), path.with_name("state.duckdb.wal").read_bytes()
    store.close()
    return parts


def put(folder: Path, file: bytes, log: bytes | None = None) -> Path:
    path = folder / "state.duckdb"
    path.write_bytes(file)
    if log is not None:
        path.with_name("state.duckdb.wal").write_bytes(log)
    return path


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def works(store: Store) -> bool:
    with store.transaction():
        store.save_documents(0, {"state": 2})
    return store.documents(0) == {"state": 2}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def damage(name: str, file: bytes, log: bytes) -> tuple[bytes, bytes | None]:
    """A state file and its log of changes, damaged in one of several ways."""
    kinds: dict[str, tuple[bytes, bytes | None]] = {
        "text": (b'{"id": 1}\n' * 1000, None),
        "empty": (b"", None),
        "zeros": (bytes(len(file)), log),
        "torn in its head": (file[:8192], None),
        "torn": (file[:13_000], log),
        "wrong checksum": (flipped(file, 4096 + 20), None),
        "wrong checksum of the log": (file, flipped(log, len(log) - 30)),
    }
    return kinds[name]


@pytest.mark.parametrize(
    "kind",
    [
        "text",
        "empty",
        "zeros",
        "torn in its head",
        "torn",
        "wrong checksum",
        "wrong checksum of the log",
    ],
)
def test_a_damaged_state_is_set_aside_whole(
    kind: str, tmp_path: Path, killed: tuple[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    file, log = damage(kind, *killed)
    path = put(tmp_path, file, log)
    with caplog.at_level(logging.ERROR, logger="ml_exporter"):
        store = Store(path)
    assert store.set_aside == 1
    assert works(store)
    store.close()
    (aside,) = (found for found in tmp_path.glob("state.duckdb.damaged-*Z"))
    assert aside.read_bytes() == file
    assert (log is None) != aside.with_name(f"{aside.name}.wal").exists()
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith(f"{path}: is damaged: ")
    assert f"renamed to {aside}, and a new state begins in {path}" in line


def test_how_often_survives_restarts_and_further_damage(tmp_path: Path) -> None:
    path = put(tmp_path, b"damaged")
    Store(path).close()
    store = Store(path)
    assert store.set_aside == 1
    store.close()
    path.write_bytes(b"damaged again")
    store = Store(path)
    assert store.set_aside == 2
    store.close()
    contents = {found.read_bytes() for found in tmp_path.glob("state.duckdb.damaged-*")}
    assert contents == {b"damaged", b"damaged again"}


def test_damage_that_shows_later_sets_aside_as_well(
    tmp_path: Path, killed: tuple[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """Blocks are read when they are needed, long after the file was opened."""
    file, log = killed
    damaged = bytearray(file)
    # Blocks of rows; what is needed to open the file stands before them.
    for block in range(3, (len(file) - 12_288) // 262_144):
        damaged[12_288 + block * 262_144 + 3000] ^= 0xFF
    store = Store(put(tmp_path, bytes(damaged), log))
    with pytest.raises(StateDamagedError, match="is damaged: "), store.transaction():
        store.connection.execute("SELECT max(hash(id)) FROM pending").fetchone()
    with caplog.at_level(logging.ERROR, logger="ml_exporter"):
        assert works(store)
    assert store.set_aside == 1
    store.close()
    assert "renamed to" in caplog.text
    assert len(names(tmp_path)) >= 2


def test_a_torn_log_of_changes_is_what_a_kill_leaves(tmp_path: Path, killed: tuple[bytes, bytes]) -> None:
    """The transaction that was being written was never committed; the file is sound."""
    file, log = killed
    store = Store(put(tmp_path, file, log[: len(log) - 10]))
    assert store.set_aside == 0
    assert store.connection.execute("SELECT count(*) FROM pending").fetchone() == (ROWS,)
    assert store.documents(0) == {}
    store.close()


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    Store(tmp_path / "new folder" / "state.duckdb").close()
    assert (tmp_path / "new folder" / "state.duckdb").stat().st_mode & 0o777 == 0o600
    assert names(tmp_path / "new folder") == ["state.duckdb"]


def test_another_layout_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "state.duckdb"
    store = Store(path)
    store.connection.execute("UPDATE meta SET value = '99' WHERE key = 'layout'")
    store.close()
    with pytest.raises(StateError) as caught:
        Store(path)
    assert str(caught.value) == (
        f"{path}: has state layout 99, this version reads layout {LAYOUT}; "
        "use the exporter that wrote it, or name another file in exporter.state"
    )
    assert names(tmp_path) == ["state.duckdb"]


def test_a_file_of_a_newer_engine_is_refused(tmp_path: Path) -> None:
    error = duckdb.SerializationException(
        "Serialization Error: Trying to read a database file with version number 99, but we can only read 64"
    )
    assert type(explain(error, tmp_path)) is StateError


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.duckdb"
    with duckdb.connect(str(path)) as other:
        other.execute("CREATE TABLE customers (id INTEGER)")
    with pytest.raises(
        StateError, match=r"is somebody else's database; name another file in exporter\.state"
    ):
        Store(path)
    with duckdb.connect(str(path)) as other:
        assert other.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("customers",)]


def test_a_second_process_is_refused_and_told_who_has_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.duckdb"
    store = Store(path)
    opening = (
        "import sys; from pathlib import Path; from ml_exporter.store import Store; Store(Path(sys.argv[1]))"
    )
    second = subprocess.run(
        [sys.executable, "-c", opening, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    store.close()
    last = second.stderr.splitlines()[-1]
    assert second.returncode == 1
    assert f"{path}: cannot be opened as state: " in last
    assert f"(PID {os.getpid()}) has it open; stop that process, or name another file" in last
    assert names(tmp_path) == ["state.duckdb"]


@pytest.mark.parametrize("size", [0, 5000, 13_000])
def test_a_disk_that_is_full_at_the_start_is_waited_for(tmp_path: Path, size: int) -> None:
    path = tmp_path / "folder" / "state.duckdb"
    with full_disk(size):
        store = Store(path)
        with pytest.raises(StateUnavailableError) as caught, store.transaction():
            pass
    assert str(caught.value) == (
        f"{path}: the state cannot be written: File too large; logs are read on once it can be"
    )
    assert works(store)
    assert store.set_aside == 0
    store.close()
    assert names(path.parent) == ["state.duckdb"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_that_is_read_only_at_the_start_is_waited_for(exists: bool) -> None:
    with unprivileged() as folder:
        path = folder / "state.duckdb"
        if exists:
            Store(path).close()
            path.chmod(0o400)
        with read_only(folder):
            store = Store(path)
            with pytest.raises(StateUnavailableError, match="the state cannot be written: Permission denied"):
                works(store)
        if exists:
            path.chmod(0o600)
        assert works(store)
        store.close()


def test_a_damaged_state_in_a_read_only_folder_is_kept_until_it_can_be_renamed() -> None:
    with unprivileged() as folder:
        path = put(folder, b"damaged")
        with read_only(folder):
            store = Store(path)
            with pytest.raises(StateUnavailableError, match="Permission denied"):
                works(store)
            assert path.read_bytes() == b"damaged"
        assert works(store)
        assert store.set_aside == 1
        store.close()
