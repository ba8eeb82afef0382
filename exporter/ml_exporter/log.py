"""Log lines on stderr: one event a line, logfmt or JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

LEVELS = ("debug", "info", "warning", "error")


class _Formatter(logging.Formatter):
    def __init__(self, style: Literal["logfmt", "json"]) -> None:
        super().__init__()
        self._json = style == "json"

    def format(self, record: logging.LogRecord) -> str:
        """Return the event as one line."""
        fields = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "msg": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        if self._json:
            return json.dumps(fields, ensure_ascii=False)
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _quoted(value: str) -> str:
    plain = value and all(character.isprintable() and character not in ' "=' for character in value)
    return value if plain else json.dumps(value)


def configure(level: str, style: Literal["logfmt", "json"]) -> logging.Logger:
    """Set up and return the program's logger."""
    logger = logging.getLogger("ml_exporter")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(style))
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    # What it warns of has URLs in it, and they may have passwords.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    return logger
