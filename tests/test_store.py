from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from ml_exporter.store import Store


def count(store: Store, table: str) -> int:
    row = store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def insert_pending(store: Store, n: int, model: int = 0) -> None:
    numbers = np.arange(n)
    columns = {
        "model": np.full(n, model, np.uint16),
        "id": numbers.astype(np.uint64),
        "time": numbers,
        "version": np.zeros(n, np.uint16),
        "score": np.full(n, 0.5),
        "class": np.zeros(n, np.int8),
    }
    store.insert("pending", columns)


def fail_in_transaction(store: Store) -> None:
    with store.transaction():
        store.model_code("a")
        store.save_documents(0, {"state": 1})
        store.save_panes(0, [(("1", "inputs", "1h", 5), b"new"), (("1", "inputs", "1h", 6), b"more")])
        insert_pending(store, 10)
        raise KeyError


def test_a_transaction_keeps_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "state.duckdb"
    store = Store(path)
    with store.transaction():
        assert store.model_code("a") == 0
        assert store.model_code("b") == 1
        store.save_documents(1, {"state": {"n": 1}, "meaning": [1, 2]})
        store.save_panes(1, [(("1", "inputs", "1h", 5), b"five"), (("1", "inputs", "", 0), b"total")])
        insert_pending(store, 10)
    store.close()
    store = Store(path)
    assert store.model_code("b") == 1
    assert store.documents(1) == {"state": {"n": 1}, "meaning": [1, 2]}
    assert sorted(store.panes(1)) == [(("1", "inputs", "", 0), b"total"), (("1", "inputs", "1h", 5), b"five")]
    assert store.panes(0) == []
    assert count(store, "pending") == 10
    store.close()


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.duckdb")
    with store.transaction():
        store.save_panes(0, [(("1", "inputs", "1h", 5), b"old")])
    with pytest.raises(KeyError):
        fail_in_transaction(store)
    assert store.documents(0) == {}
    assert store.panes(0) == [(("1", "inputs", "1h", 5), b"old")]
    assert count(store, "pending") == count(store, "models") == 0
    with store.transaction():
        insert_pending(store, 3)
    assert count(store, "pending") == 3
    store.close()


def test_panes_are_replaced_removed_and_dropped() -> None:
    store = Store(None)
    store.save_panes(0, [(("1", "inputs", "1h", pane), b"a") for pane in range(4)])
    store.save_panes(1, [(("1", "inputs", "1h", 0), b"other model")])
    store.save_panes(0, [(("1", "inputs", "1h", 1), b"b\0b"), (("1", "inputs", "1h", 2), None)])
    store.save_panes(0, [(("2", "inputs", "1h", 1), b"")])
    store.save_panes(0, [])
    assert dict(store.panes(0)) == {
        ("1", "inputs", "1h", 0): b"a",
        ("1", "inputs", "1h", 1): b"b\0b",
        ("1", "inputs", "1h", 3): b"a",
        ("2", "inputs", "1h", 1): b"",
    }
    store.drop_panes(0, ["1", "never seen"])
    assert store.panes(0) == [(("2", "inputs", "1h", 1), b"")]
    assert store.panes(1) == [(("1", "inputs", "1h", 0), b"other model")]


def test_rows_of_models_that_are_configured_no_more_go() -> None:
    store = Store(None)
    for code, name in enumerate(("kept", "gone")):
        assert store.model_code(name) == code
        insert_pending(store, 5, model=code)
        for table in ("labels", "matured"):
            columns = {"model": np.full(3, code, np.uint16), "id": np.zeros(3, np.uint64)}
            store.insert(table, columns)
    store.forget_rows(name for name in ("kept",))
    for table, rows in (("pending", 5), ("labels", 3), ("matured", 3)):
        found = store.connection.execute(f"SELECT model, count(*) FROM {table} GROUP BY model").fetchall()
        assert found == [(0, rows)]
    assert count(store, "models") == 2


def test_size_counts_the_file_and_its_log(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.duckdb")
    insert_pending(store, 100)
    size = store.size()
    assert size == sum(path.stat().st_size for path in tmp_path.iterdir()) > 0
    store.close()
    assert store.size() == (tmp_path / "state.duckdb").stat().st_size
    assert Store(None).size() == 0


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    import numpy as np
    from ml_exporter.state_file import StateUnavailableError
    from ml_exporter.store import Store

    def add(store, n):
        with store.transaction():
            noise = np.random.default_rng(n).integers(0, 2**62, n)
            store.insert("labels", {"model": np.zeros(n, np.uint16), "id": noise.astype(np.uint64),
                                    "time": noise, "label": np.zeros(n, np.int8), "used": np.zeros(n, np.bool_)})

    def rows(store):
        return store.connection.execute("SELECT count(*) FROM labels").fetchone()[0]

    store = Store(Path(sys.argv[1]))
    store.connection.execute("SET checkpoint_threshold = '300KB'")
    add(store, 1000)
    # A file that may not grow fails like a disk that is full.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    kept, failed = 1000, 0
    for n in range(20001, 20021):
        try:
            add(store, n)
            kept += n
        except StateUnavailableError:
            failed += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    add(store, 500)
    print(failed > 0, rows(store) == kept + 500)
    store.close()
    store = Store(Path(sys.argv[1]))
    print(rows(store) == kept + 500)
"""


@pytest.mark.parametrize("limit", [700_000, 1_500_000, 3_000_000])
def test_a_full_disk_loses_nothing_and_is_got_over(tmp_path: Path, limit: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path / "state.duckdb"), str(limit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.stdout.split() == ["True", "True", "True"], run.stderr


def test_two_thousand_panes_are_written_within_a_second() -> None:
    store = Store(None)
    panes = [(("1", "inputs", "1h", pane), os.urandom(2000)) for pane in range(2000)]
    store.save_panes(0, panes)
    started = time.monotonic()
    store.save_panes(0, panes)
    assert time.monotonic() - started < 1.0
    assert dict(store.panes(0)) == dict(panes)


def test_the_file_stays_small_over_hours_of_evaluations(tmp_path: Path) -> None:
    """A day of evaluations in small: every one inserts, deletes and replaces."""
    store = Store(tmp_path / "state.duckdb")
    store.connection.execute("SET checkpoint_threshold = '200KB'")
    sizes = []
    for cycle in range(300):
        with store.transaction():
            insert_pending(store, 500)
            store.connection.execute("DELETE FROM pending")
            store.save_panes(0, [(("1", "inputs", "1h", cycle % 60), os.urandom(3000))])
            store.save_documents(0, {"state": list(range(300))})
        sizes.append(store.size())
    assert max(sizes[200:]) <= 1.5 * max(sizes[:100])
    store.close()
