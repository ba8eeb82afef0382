"""The state's file: created, opened, refused where it is another's, and set aside where it is damaged."""

from __future__ import annotations

import errno
import logging
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

LAYOUT = "3"
"""Version of the tables below; a file of another version is refused by name."""

_TABLES = """
CREATE TABLE meta (key VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);
CREATE TABLE models (code USMALLINT PRIMARY KEY, name VARCHAR UNIQUE NOT NULL);
CREATE TABLE documents (model USMALLINT, key VARCHAR, value VARCHAR NOT NULL, PRIMARY KEY (model, key));
CREATE TABLE panes (model USMALLINT, version VARCHAR, kind VARCHAR, time_window VARCHAR, pane BIGINT, data BLOB);
CREATE TABLE pending (model USMALLINT, id UBIGINT, time BIGINT, version USMALLINT, score DOUBLE, class SMALLINT,
                      details DOUBLE[], segments UBIGINT);
CREATE TABLE labels (model USMALLINT, id UBIGINT, time BIGINT, label DOUBLE, used BOOLEAN);
CREATE TABLE matured (model USMALLINT, id UBIGINT, time BIGINT, version USMALLINT, labelled BOOLEAN,
                      losses DOUBLE[]);
CREATE TABLE settled (model USMALLINT, time BIGINT);
"""

_DAMAGED = ".damaged-"
_CORRUPT = re.compile(
    "Corrupt (database|WAL) file|is not a valid DuckDB database file|Could not read enough bytes from file"
)
# What an operator can mend while the exporter runs. A file that may not grow fails with "too large".
_PASSING = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
)


class StateError(Exception):
    """A state file that cannot be used; the text names file and remedy."""


class StateUnavailableError(StateError):
    """A state file that cannot be read or written now, but may be later: a full disk, a read-only folder."""


class StateDamagedError(StateError):
    """A state file whose content is not what was written."""


def open_state(path: Path | None, memory_limit: str) -> duckdb.DuckDBPyConnection:
    """Open the state, or create it where there is none; None stands for one in memory.

    Raises StateError, of the kind that tells whether trying again or setting the file aside helps.
    """
    config: dict[str, Any] = {"threads": 1, "memory_limit": memory_limit}
    if path is None:
        return _create(":memory:", config, 0)
    try:
        if not path.exists():
            _create_file(path, config)
        connection = duckdb.connect(str(path), config=config)
    except (duckdb.Error, OSError) as error:
        raise explain(error, path) from None
    try:
        _check(connection, path)
    except BaseException as error:
        connection.close()
        if isinstance(error, duckdb.Error):
            raise explain(error, path) from None
        raise
    return connection


def explain(error: duckdb.Error | OSError, path: Path) -> StateError:
    """Return what an error in opening or writing the state means."""
    text = str(error).splitlines()[0]
    reason = text.removeprefix("IO Error: ").removeprefix("TransactionContext Error: ")
    if _CORRUPT.search(str(error)):
        return StateDamagedError(f"{path}: is damaged: {reason}")
    passing = next((os.strerror(number) for number in _PASSING if os.strerror(number) in text), None)
    if passing and (isinstance(error, OSError) or path.name in text):
        return StateUnavailableError(
            f"{path}: the state cannot be written: {passing}; logs are read on once it can be"
        )
    holder = re.search(r"held in (.+ \(PID \d+\))", text)
    if holder:
        reason = f"{holder[1]} has it open; stop that process, or name another file in exporter.state"
        return StateError(f"{path}: cannot be opened as state: {reason}")
    return StateError(f"{path}: cannot be opened as state: {reason}; name another file in exporter.state")


def set_aside(path: Path, reason: StateDamagedError) -> None:
    """Rename a damaged state and its log of changes, so that each still finds the other.

    Raises StateUnavailableError where the folder cannot be written.
    """
    stem = f"{path.name}{_DAMAGED}{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    aside, number = path.with_name(stem), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{stem}-{number}")
    # The log first: left beside a new state it would be taken for that one's.
    try:
        if _log_of(path).exists():
            _log_of(path).rename(_log_of(aside))
        path.rename(aside)
    except OSError as error:
        raise explain(error, path) from None
    logging.getLogger("ml_exporter").error(
        "%s; it was renamed to %s, and a new state begins in %s: all counts begin at 0, "
        "and logs that are still there are read again from their start",
        reason,
        aside,
        path,
    )


def times_set_aside(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how many states were set aside before this one."""
    found = connection.execute("SELECT value FROM meta WHERE key = 'set_aside'").fetchone()
    return int(found[0]) if found else 0


def _create_file(path: Path, config: dict[str, Any]) -> None:
    """Make an empty state under another name first: half a file would pass for a damaged one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Damaged files that lie about go on to count, however often the state is begun anew.
    damaged = sum(not file.name.endswith(".wal") for file in path.parent.glob(f"{path.name}{_DAMAGED}*"))
    draft = path.with_name(f"{path.name}.new-{os.getpid()}")
    try:
        _create(str(draft), config, damaged).close()
        draft.chmod(0o600)
        draft.rename(path)
    finally:
        for file in (draft, _log_of(draft)):
            with suppress(OSError):
                file.unlink(missing_ok=True)


def _create(name: str, config: dict[str, Any], set_aside: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(name, config=config)
    try:
        connection.execute(f"BEGIN; {_TABLES}")
        connection.execute(
            "INSERT INTO meta VALUES ('layout', ?), ('set_aside', ?)", [LAYOUT, str(set_aside)]
        )
        connection.execute("COMMIT; CHECKPOINT")
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if not tables >= {"meta", "models", "documents", "panes"}:
        raise StateError(f"{path}: is somebody else's database; name another file in exporter.state")
    found = connection.execute("SELECT value FROM meta WHERE key = 'layout'").fetchone()
    if found != (LAYOUT,):
        version = found[0] if found else "none"
        raise StateError(
            f"{path}: has state layout {version}, this version reads layout {LAYOUT}; "
            "use the exporter that wrote it, or name another file in exporter.state"
        )


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")
