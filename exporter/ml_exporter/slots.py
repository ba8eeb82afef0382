"""Names that are counted on their own, up to a limit; all others are "other"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_exporter.stats.arrays import IntArray

OTHER, MISSING = "other", "missing"


class Slots:
    """Bounded names, each with a code for good: those that are known beforehand, else the first met.

    `size` is the code of every other name, `size` + 1 that of a missing value.
    """

    def __init__(self, limit: int, known: Sequence[str] = ()) -> None:
        # A value that is called as the two codes are is counted with them: labels must be unique.
        chosen = [name for name in known if name not in (OTHER, MISSING)][:limit]
        self.names = chosen
        self.size = len(chosen) if known else limit

    def codes(self, names: Sequence[str]) -> IntArray:
        """The code of each name, then of "other" and of "missing", shape (len(names) + 2,)."""
        for name in names:
            if len(self.names) < self.size and name not in (*self.names, OTHER, MISSING):
                self.names.append(name)
        known = {name: code for code, name in enumerate(self.names)}
        known |= {OTHER: self.size, MISSING: self.size + 1}
        found = [known.get(name, self.size) for name in names]
        return np.asarray([*found, self.size, self.size + 1], np.int64)

    def restore(self, names: Sequence[str]) -> None:
        """Take over the names that were met in an earlier run."""
        if len(names) <= self.size:
            self.names = list(names)

    def label(self, code: int) -> str | None:
        """The name of a code, None where it is not given to a name yet."""
        if code >= self.size:
            return OTHER if code == self.size else MISSING
        return self.names[code] if code < len(self.names) else None
