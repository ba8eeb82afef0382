"""What the readers of all logs share."""

from __future__ import annotations

import threading

import duckdb

from ml_exporter.sources.memory import Memory


class Database:
    """One DuckDB for all readers, and for each thread the memory that it reads blocks into.

    A DuckDB for each of them would take 5 MB and 20 ms. Blocks are decoded one by one in a thread, so
    its memory is free again when the next one comes, whatever log that is of.
    """

    def __init__(self) -> None:
        # Whoever runs a query is its one thread.
        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        # The same path holds other bytes every time.
        self._connection.execute("SET enable_external_file_cache = false")
        self._local = threading.local()

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own, with its own temporary types and prepared statements."""
        connection = self._connection.cursor()
        connection.execute("SET timezone = 'UTC'")
        return connection

    def memory(self) -> tuple[Memory, Memory]:
        """Return this thread's memory for a block, and for a part of it."""
        if not hasattr(self._local, "memory"):
            self._local.memory = Memory(), Memory()
        found: tuple[Memory, Memory] = self._local.memory
        return found
