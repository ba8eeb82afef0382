"""The state: one DuckDB file that commits offsets, waiting rows, counts and panes together.

Everything that an evaluation changes is written in one transaction, so that a killed process finds
either all of it or nothing. Without a path the state lives in memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

LAYOUT = "1"
"""Version of the tables below; a file of another version is refused by name."""

_TABLES = """
CREATE TABLE meta (key VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);
CREATE TABLE models (code USMALLINT PRIMARY KEY, name VARCHAR UNIQUE NOT NULL);
CREATE TABLE documents (model USMALLINT, key VARCHAR, value VARCHAR NOT NULL, PRIMARY KEY (model, key));
CREATE TABLE panes (model USMALLINT, version VARCHAR, kind VARCHAR, time_window VARCHAR, pane BIGINT, data BLOB);
CREATE TABLE pending (model USMALLINT, id UBIGINT, time BIGINT, version USMALLINT, score DOUBLE, class TINYINT);
CREATE TABLE labels (model USMALLINT, id UBIGINT, time BIGINT, label TINYINT, used BOOLEAN);
CREATE TABLE matured (model USMALLINT, id UBIGINT, time BIGINT, version USMALLINT, score DOUBLE, class TINYINT,
                      label TINYINT);
"""

PaneKey = tuple[str, str, str, int]
"""Version, kind of tally, window's name, pane number."""


class StateError(Exception):
    """A state file that cannot be used; the text names file and remedy."""


class Store:
    """The state's tables. One thread at a time."""

    def __init__(self, path: Path | None, memory_limit: str = "1GB") -> None:
        self.path = path
        self._memory_limit = memory_limit
        self._broken = False
        self.connection = _open(path, memory_limit)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what happens inside, or none of it."""
        if self._broken:
            self._reopen()
        try:
            self.connection.execute("BEGIN")
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def query(
        self, statement: str, parameters: Mapping[str, object], batch: Mapping[str, Any] | None = None
    ) -> duckdb.DuckDBPyConnection:
        """Run a statement; in it `batch` is a table of the arrays given by that name."""
        found = self.connection.execute(statement, dict(parameters))
        del batch  # DuckDB reads it in place, by the name of the variable
        return found

    def close(self) -> None:
        """Write what the log of changes holds into the file, and let go of it."""
        self.connection.close()

    def size(self) -> int:
        """Bytes on disk, 0 in memory."""
        if self.path is None:
            return 0
        size = 0
        for file in (self.path, self.path.with_name(self.path.name + ".wal")):
            with suppress(FileNotFoundError):  # the second one comes and goes
                size += file.stat().st_size
        return size

    def model_code(self, name: str) -> int:
        """Return the number that stands for a model in the tables, a new one for a new name."""
        found = self.connection.execute("SELECT code FROM models WHERE name = ?", [name]).fetchone()
        if found:
            return int(found[0])
        row = self.connection.execute("SELECT coalesce(max(code) + 1, 0) FROM models").fetchone()
        assert row is not None
        self.connection.execute("INSERT INTO models VALUES (?, ?)", [row[0], name])
        return int(row[0])

    def documents(self, model: int) -> dict[str, Any]:
        """Return what `save_documents` has kept for a model."""
        rows = self.connection.execute("SELECT key, value FROM documents WHERE model = ?", [model]).fetchall()
        return {key: json.loads(value) for key, value in rows}

    def save_documents(self, model: int, documents: Mapping[str, Any]) -> None:
        """Keep small JSON documents by key."""
        for key, value in documents.items():
            self.connection.execute(
                "INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", [model, key, json.dumps(value)]
            )

    def panes(self, model: int) -> list[tuple[PaneKey, bytes]]:
        """Return the stored panes of a model."""
        rows = self.connection.execute(
            "SELECT version, kind, time_window, pane, data FROM panes WHERE model = ?", [model]
        ).fetchall()
        return [((version, kind, window, pane), data) for version, kind, window, pane, data in rows]

    def save_panes(self, model: int, panes: Iterable[tuple[PaneKey, bytes | None]]) -> None:
        """Keep panes by key; None removes one."""
        changed = list(panes)
        if not changed:
            return
        versions, kinds, windows, numbers = zip(*(key for key, _ in changed), strict=True)
        batch = {
            "version": np.asarray(versions, object),
            "kind": np.asarray(kinds, object),
            "time_window": np.asarray(windows, object),
            "pane": np.asarray(numbers, np.int64),
            "data": np.asarray([data for _, data in changed], object),
        }
        # Two statements for all of them: one for each pane takes milliseconds each.
        self.query(
            "DELETE FROM panes USING batch b WHERE panes.model = $model AND panes.version = b.version "
            "AND panes.kind = b.kind AND panes.time_window = b.time_window AND panes.pane = b.pane",
            {"model": model},
            batch,
        )
        self.query(
            "INSERT INTO panes SELECT $model, version, kind, time_window, pane, data FROM batch "
            "WHERE data IS NOT NULL",
            {"model": model},
            batch,
        )

    def drop_panes(self, model: int, versions: Iterable[str]) -> None:
        """Remove everything that is kept of some versions."""
        for version in versions:
            self.query(
                "DELETE FROM panes WHERE model = $model AND version = $version",
                {"model": model, "version": version},
            )

    def forget_rows(self, models: Iterable[str]) -> None:
        """Drop the waiting rows of every model that is not among `models`; its counters stay."""
        names = list(models)
        for table in ("pending", "labels", "matured"):
            self.query(
                f"DELETE FROM {table} WHERE model NOT IN (SELECT code FROM models WHERE list_contains($names, name))",
                {"names": names},
            )

    def insert(self, table: str, columns: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Append columns of equal length to one of the tables of rows."""
        names = ", ".join(columns)
        arrays = dict(columns)  # DuckDB reads the arrays in place, by the name of this variable
        self.connection.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM arrays")
        del arrays

    def _roll_back(self) -> None:
        try:
            self.connection.execute("ROLLBACK")
        except duckdb.TransactionException:
            # A failed COMMIT has rolled back already.
            return
        except duckdb.Error:
            # After a write that failed, as on a full disk, DuckDB refuses everything on this connection.
            self._broken = self.path is not None

    def _reopen(self) -> None:
        self.connection.close()
        self.connection = _open(self.path, self._memory_limit)
        self._broken = False


def _open(path: Path | None, memory_limit: str) -> duckdb.DuckDBPyConnection:
    config: dict[str, Any] = {"threads": 1, "memory_limit": memory_limit}
    if path is None:
        connection = duckdb.connect(":memory:", config=config)
        connection.execute(_TABLES)
        return connection
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = duckdb.connect(str(path), config=config)
    except duckdb.Error as error:
        raise StateError(f"{path}: cannot be opened as state: {_reason(error)}") from None
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if not tables:
        connection.execute(f"BEGIN; {_TABLES} INSERT INTO meta VALUES ('layout', '{LAYOUT}'); COMMIT")
        path.chmod(0o600)
        return
    if not tables >= {"meta", "models", "documents", "panes"}:
        raise StateError(f"{path}: is somebody else's database; name another file in exporter.state")
    found = connection.execute("SELECT value FROM meta WHERE key = 'layout'").fetchone()
    if found != (LAYOUT,):
        version = found[0] if found else "none"
        raise StateError(
            f"{path}: has state layout {version}, this version reads layout {LAYOUT}; "
            "use the exporter that wrote it, or name another file in exporter.state"
        )


def _reason(error: duckdb.Error) -> str:
    """Say why DuckDB could not open a file, and which process has it where DuckDB names one."""
    text = str(error).splitlines()[0].removeprefix("IO Error: ")
    holder = re.search(r"held in (.+ \(PID \d+\))", text)
    if holder:
        return f"{holder[1]} has it open; stop that process, or name another file in exporter.state"
    return f"{text}; name another file in exporter.state"
