"""The state: one DuckDB file that commits offsets, waiting rows, counts and panes together.

Everything that an evaluation changes is written in one transaction, so that a killed process finds
either all of it or nothing. Without a path the state lives in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from ml_exporter.state_file import (
    StateDamagedError,
    StateUnavailableError,
    explain,
    open_state,
    set_aside,
    times_set_aside,
)

PaneKey = tuple[str, str, str, int]
"""Version, kind of tally, window's name, pane number."""


class Store:
    """The state's tables. One thread at a time.

    A file that cannot be written at the moment is tried again by the next transaction. Raises StateError
    for one that never can be used.
    """

    def __init__(self, path: Path | None, memory_limit: str | None = None) -> None:
        self.path = path
        self.set_aside = 0
        # Beside a file 50 million waiting predictions need no more: what does not fit is read again, or
        # spilled beside it. In memory all rows have to fit.
        self._memory_limit = memory_limit or ("1GB" if path is None else "250MB")
        # Stands in until the file can be opened; nothing is asked of it outside a transaction.
        self.connection = duckdb.connect(":memory:")
        self._broken = True
        self._damaged: StateDamagedError | None = None
        with suppress(StateUnavailableError):
            try:
                self._reopen()
            except StateDamagedError:
                self._reopen()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what happens inside, or none of it.

        Raises StateUnavailableError where the file cannot be written, and StateDamagedError where what it
        gave back is not what was written; the next transaction begins with a new state then.
        """
        if self._broken:
            self._reopen()
        try:
            self.connection.execute("BEGIN")
            yield
            self.connection.execute("COMMIT")
        except duckdb.Error as error:
            self._roll_back()
            self._translate(error)
            raise
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

    def _translate(self, error: duckdb.Error) -> None:
        """Raise what is wrong with the state's file; an error of another kind is left alone."""
        if self.path is None:
            return
        meaning = explain(error, self.path)
        if isinstance(meaning, StateDamagedError):
            self._broken, self._damaged = True, meaning
            raise meaning from error
        if isinstance(meaning, StateUnavailableError):
            self._broken = True
            raise meaning from error

    def _reopen(self) -> None:
        self.connection.close()
        if self.path and self._damaged:
            set_aside(self.path, self._damaged)
            self._damaged = None
        try:
            self.connection = open_state(self.path, self._memory_limit)
        except StateDamagedError as error:
            self._damaged = error
            raise
        self.set_aside = times_set_aside(self.connection)
        self._broken = False
