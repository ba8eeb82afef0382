"""Names that are counted on their own, up to a limit; all others are "other"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_exporter.stats.arrays import IntArray

OTHER, MISSING = "other", "missing"


class Slots:
    """Bounded names, each with a code for good: those that are known beforehand, else the first met.

    `known` are those that were known; `size` is the code of every other name, `size` + 1 that of a missing value. Where a name that is
    known beforehand is "other", all other names share its code: labels must be unique.
    """

    def __init__(self, limit: int, known: Sequence[str] = ()) -> None:
        self.names = [name for name in known if name != MISSING][:limit]
        self.size = len(self.names) if known else limit
        self.known = tuple(self.names)

    @property
    def rest(self) -> int:
        """The code of names that have none of their own."""
        return self.names.index(OTHER) if OTHER in self.names else self.size

    def codes(self, names: Sequence[str]) -> IntArray:
        """The code of each name, then of "other" and of "missing", shape (len(names) + 2,)."""
        for name in names:
            if len(self.names) < self.size and name not in (*self.names, OTHER, MISSING):
                self.names.append(name)
        rest = self.rest
        known = {name: code for code, name in enumerate(self.names)} | {MISSING: self.size + 1}
        found = [known.get(name, rest) for name in names]
        return np.asarray([*found, rest, self.size + 1], np.int64)

    def restore(self, names: Sequence[str]) -> bool:
        """Take over the names that were met in an earlier run; returns whether codes mean the same."""
        same = len(names) <= self.size and tuple(names[: len(self.known)]) == self.known
        if same:
            self.names = list(names)
        return same

    def recoded(self, names: Sequence[str], size: int) -> IntArray:
        """Own codes of those of an earlier run, which had `names` and places for `size`, shape (size + 2,)."""
        own = self.codes(names)
        return np.concatenate([own[:-2], np.full(size - len(names), self.rest), own[-2:]])

    def label(self, code: int) -> str | None:
        """The name of a code, None where it is not given to a name yet."""
        if code == self.size:
            return None if OTHER in self.names else OTHER
        if code > self.size:
            return MISSING
        return self.names[code] if code < len(self.names) else None
