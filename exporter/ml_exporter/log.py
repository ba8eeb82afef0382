"""Log lines on stderr: one event a line, logfmt or JSON, and what repeats itself now and then only."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

LEVELS = ("debug", "info", "warning", "error")
QUIET_SECONDS = 60.0
"""The same event is written once in this time."""
OTHERS = ("uvicorn", "asyncio", "py.warnings")
"""Loggers of libraries whose warnings are events too."""
_REMEMBERED = 1000


class _Formatter(logging.Formatter):
    def __init__(self, style: Literal["logfmt", "json"]) -> None:
        super().__init__()
        self._json = style == "json"

    def format(self, record: logging.LogRecord) -> str:
        """Return the event as one line."""
        fields = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "msg": record.getMessage().strip(),
        }
        if error := _error(record):
            fields["error"] = error
        if repeated := getattr(record, "repeated", 0):
            fields["repeated"] = str(repeated)
        if self._json:
            return json.dumps(fields, ensure_ascii=False)
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


class _Seldom(logging.Filter):
    """Lets the same warning through once in `QUIET_SECONDS`, then with how often it was left out.

    An event that is `asked` for is the answer to what somebody did just now, and always written.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        # When it was written last, and how often it came since; the longest ago first.
        self._seen: OrderedDict[tuple[int, str, str], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the event is to be written."""
        if record.levelno < logging.WARNING or getattr(record, "asked", False):
            return True
        event = record.levelno, record.getMessage(), _error(record)
        with self._lock:
            written, count = self._seen.get(event, (float("-inf"), 0))
            if record.created - written < QUIET_SECONDS:
                self._seen[event] = written, count + 1
                return False
            self._seen[event] = record.created, 0
            self._seen.move_to_end(event)
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        record.repeated = count
        return True


class _Counting(logging.Handler):
    def __init__(self, count: Callable[[], object]) -> None:
        super().__init__()
        self._count = count

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            self._count()


def _error(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"


def _quoted(value: str) -> str:
    plain = value and all(character.isprintable() and character not in ' "=' for character in value)
    return value if plain else json.dumps(value)


def configure(level: str, style: Literal["logfmt", "json"]) -> logging.Logger:
    """Set up and return the program's logger; libraries' warnings take the same form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(style))
    handler.addFilter(_Seldom())
    logging.captureWarnings(True)
    for name in ("ml_exporter", *OTHERS):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level.upper() if name == "ml_exporter" else logging.WARNING)
        logger.propagate = False
    # What it warns of has URLs in it, and they may have passwords.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    return logging.getLogger("ml_exporter")


def fatal(level: str, style: Literal["logfmt", "json"], error: Exception) -> None:
    """Log what ends the program, as one event whatever was set up before."""
    configure(level, style).error("%s", error)


def count_others(count: Callable[[], object]) -> None:
    """Call `count` for each error that a library logs."""
    for name in OTHERS:
        logging.getLogger(name).addHandler(_Counting(count))
