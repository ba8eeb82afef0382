"""The hook's memory: one small SQLite file, so that a restart asks for nothing a second time.

An incident begins with an alert that asks for retraining. While it waits it has a time at which it is
looked at next; then it is either forgotten, or it has been asked for and stays, open until a version that
was trained later is champion. Each change is one durable transaction.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ml_exporter.hook.message import Alert
from ml_exporter.hook.page import Trained

End = Literal["accepted", "refused", "failed", "unconfirmed"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS incidents (
    id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    opened REAL NOT NULL,
    alerts TEXT NOT NULL,
    state TEXT NOT NULL,   -- waiting, or how asking ended
    tries INTEGER NOT NULL,
    due REAL NOT NULL,     -- when it is looked at next, while it waits
    version TEXT,          -- the champion that was complained of
    seen TEXT,             -- versions that were there, and when they were trained
    asked REAL,            -- when it was asked for last
    closed REAL            -- when a version trained later was seen
);
CREATE UNIQUE INDEX IF NOT EXISTS one_waits ON incidents (model) WHERE state = 'waiting';
"""
_COLUMNS = "id, model, opened, alerts, tries, version, seen, asked"
# Longer than any limit looks back.
_KEPT_SECONDS = 60 * 86_400.0
_MOST_ALERTS = 50


@dataclass(frozen=True)
class Incident:
    """One incident. Times are Unix seconds; `seen` are the versions that were there when it was asked for."""

    id: str
    model: str
    opened: float
    alerts: tuple[Alert, ...]
    tries: int
    version: str | None
    seen: Trained
    asked: float | None


class Incidents:
    """All incidents; `path` None keeps them in memory. Threads may share it."""

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            path or ":memory:", timeout=1.0, check_same_thread=False, isolation_level=None
        )
        try:
            # Held as long as the process lives: two hooks on one file would ask twice.
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(f"BEGIN EXCLUSIVE; {_SCHEMA} COMMIT;")
        except sqlite3.DatabaseError as error:
            self._database.close()
            remedy = "end the other process that uses it" if "locked" in str(error) else "move it away"
            raise OSError(f"{path}: cannot keep incidents ({error}); {remedy}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def note(self, model: str, alerts: Sequence[Alert], now: float) -> None:
        """Let an incident wait for the model, or add the alerts to the one that does."""
        with self._transaction() as database:
            row = database.execute(
                "SELECT id, alerts FROM incidents WHERE model = ? AND state = 'waiting'", (model,)
            ).fetchone()
            if row is None:
                values = (str(uuid.uuid4()), model, now, _written(alerts), now)
                database.execute(
                    "INSERT INTO incidents (id, model, opened, alerts, state, tries, due) VALUES (?, ?, ?, ?, 'waiting', 0, ?)",
                    values,
                )
            else:
                merged = {frozenset(alert.labels.items()): alert for alert in (*_read(row[1]), *alerts)}
                text = _written([*merged.values()])
                database.execute("UPDATE incidents SET alerts = ? WHERE id = ?", (text, row[0]))

    def waiting(self, until: float) -> list[Incident]:
        """Return the incidents that are to be looked at up to a time, oldest first."""
        return self._found("state = 'waiting' AND due <= ? ORDER BY due, opened", until)

    def next_due(self) -> float | None:
        """Return when the next incident is to be looked at, None where none waits."""
        return self._number("SELECT min(due) FROM incidents WHERE state = 'waiting'")

    def postpone(self, incident: Incident, due: float) -> None:
        """Look at it later; that counts as a try."""
        self._do("UPDATE incidents SET tries = tries + 1, due = ? WHERE id = ?", due, incident.id)

    def begin(self, incident: Incident, version: str, seen: Trained, now: float, due: float) -> None:
        """Note that it is asked for now, and again at `due` unless an answer is noted before."""
        self._do(
            "UPDATE incidents SET tries = tries + 1, version = ?, seen = ?, asked = ?, due = ? WHERE id = ?",
            version,
            json.dumps(seen),
            now,
            due,
            incident.id,
        )

    def end(self, incident: Incident, end: End) -> None:
        """Note how asking ended."""
        self._do("UPDATE incidents SET state = ? WHERE id = ?", end, incident.id)

    def forget(self, incident: Incident) -> None:
        """Remove an incident that nothing was asked for."""
        self._do("DELETE FROM incidents WHERE id = ?", incident.id)

    def open(self, model: str) -> Incident | None:
        """Return the accepted incident of the model that no later version has closed."""
        where = "model = ? AND state = 'accepted' AND closed IS NULL ORDER BY opened DESC LIMIT 1"
        return next(iter(self._found(where, model)), None)

    def close_incident(self, incident: Incident, now: float) -> None:
        """Note that the model has been trained since, and remove what is long over."""
        self._do("UPDATE incidents SET closed = ? WHERE id = ?", now, incident.id)
        old = "DELETE FROM incidents WHERE state != 'waiting' AND asked < ? AND (state != 'accepted' OR closed < ?)"
        self._do(old, now - _KEPT_SECONDS, now - _KEPT_SECONDS)

    def asked(self, incident: Incident, since: float) -> int:
        """Return how many other incidents of its model have been asked for since a time."""
        query = "SELECT count(*) FROM incidents WHERE model = ? AND id != ? AND asked > ?"
        return int(self._number(query, incident.model, incident.id, since) or 0)

    def last_accepted(self, model: str) -> float | None:
        """Return when the newest accepted request was made."""
        return self._number("SELECT max(asked) FROM incidents WHERE model = ? AND state = 'accepted'", model)

    def _found(self, where: str, *values: float | str) -> list[Incident]:
        with self._lock:
            rows = self._database.execute(
                f"SELECT {_COLUMNS} FROM incidents WHERE {where}", values
            ).fetchall()
        return [
            Incident(name, model, opened, _read(alerts), tries, version, json.loads(seen or "{}"), asked)
            for name, model, opened, alerts, tries, version, seen, asked in rows
        ]

    def _number(self, query: str, *values: float | str) -> float | None:
        with self._lock:
            (found,) = self._database.execute(query, values).fetchone()
        return None if found is None else float(found)

    def _do(self, statement: str, *values: float | str) -> None:
        with self._transaction() as database:
            database.execute(statement, values)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


def _written(alerts: Sequence[Alert]) -> str:
    return json.dumps([alert.model_dump(by_alias=True) for alert in alerts[-_MOST_ALERTS:]])


def _read(text: str) -> tuple[Alert, ...]:
    return tuple(Alert.model_validate(item) for item in json.loads(text))
