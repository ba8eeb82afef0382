"""Command lines of processes, and which of them a pattern is found in.

Whoever may start a process chooses what stands there. So only its beginning counts, and RE2 searches
it, whose time is linear in what it reads, without the interpreter's lock.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import duckdb

LENGTH = 4096
"""Bytes of a command line that count, as many as Linux itself showed before 4.2."""

_QUERY = "SELECT line FROM unnest($lines::VARCHAR[]) AS t(line) WHERE regexp_matches(line, $pattern, 's')"

_asking = threading.Lock()
# A daemon thread that is inside DuckDB when the interpreter ends would abort the process.
atexit.register(_asking.acquire)


def command_line(proc: Path, pid: int) -> str:
    """Return a process's arguments joined by blanks; empty where it has exited, or shows none."""
    try:
        with (proc / str(pid) / "cmdline").open("rb") as file:
            arguments = file.read(LENGTH)
    except OSError:
        return ""
    return arguments.removesuffix(b"\0").replace(b"\0", b" ").decode(errors="replace")


def lines_with(pattern: str, lines: Iterable[str]) -> frozenset[str]:
    """Return the lines that a pattern of RE2 is found in. Raises duckdb.Error where it is none.

    A dot stands for line ends too, which arguments can hold and nobody thinks of who writes ".*".
    """
    with _asking:
        rows = _database().execute(_QUERY, {"lines": list(lines), "pattern": pattern}).fetchall()
    return frozenset(line for (line,) in rows)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})
