"""Names in a text column that are told apart by codes and learned as they are met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml_exporter.sources import sql
from ml_exporter.sources.reader import Reader
from ml_exporter.stats.arrays import IntArray

LONGEST = 200
"""Longer names are not told apart."""
UNKNOWN, NONE = -1, -2
"""Codes in a block of names that are not learned, and of values that are none."""


class Names:
    """Codes of a text column's values: those known beforehand first, then others up to `limit`.

    An empty text is no name.
    """

    def __init__(self, path: str, known: Sequence[str], limit: int) -> None:
        self.path = path
        self.names = list(known)
        self._limit = limit

    def expression(self, reader: Reader) -> str:
        """The SQL of a value's code."""
        column = reader.column(self.path)
        code = sql.code(column, self.names, UNKNOWN)
        return f"CASE WHEN {column} IS NULL OR {column} = '' THEN {NONE} ELSE {code} END"

    def learn(self, reader: Reader, codes: Any) -> bool:
        """Take up names that a block has for the first time; return whether there are any."""
        free = self._limit - len(self.names)
        if free <= 0 or not np.any(codes == UNKNOWN):
            return False
        found = reader.distinct(self.path)
        new = [name for name in found if name not in self.names and 0 < len(name) <= LONGEST]
        self.names += new[:free]
        return bool(new)

    def codes(self, column: Any) -> IntArray:
        """Codes into the names, then one more for every other name, and one more for none."""
        codes, size = np.asarray(np.ma.filled(column, NONE), np.int64), len(self.names)
        return np.where(codes >= 0, codes, np.where(codes == UNKNOWN, size, size + 1))
