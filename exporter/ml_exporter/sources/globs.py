"""Globs as names: which paths one stands for, whether or not there are such files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path

from ml_exporter.config_types import single_file


def resolved(pattern: str) -> str:
    """Return the glob without links and ".." as far as it names one folder or file."""
    parts = Path(pattern).parts
    for count in range(len(parts), 0, -1):
        if named := single_file(os.path.join(*parts[:count])):
            return os.path.join(escape(os.path.realpath(named)), *parts[count:])
    return pattern


def fits(pattern: str, path: str) -> bool:
    """Tell whether `glob.glob(pattern, recursive=True)` would return the path if there were such a file."""
    return _fit(Path(pattern).parts, Path(path).parts)


def _fit(patterns: Sequence[str], names: Sequence[str]) -> bool:
    if not patterns or not names:
        return not names and all(pattern == "**" for pattern in patterns)
    pattern, name = patterns[0], names[0]
    if name.startswith(".") and not pattern.startswith("."):
        return pattern == "**" and _fit(patterns[1:], names)
    if pattern == "**":
        return _fit(patterns[1:], names) or _fit(patterns, names[1:])
    return fnmatchcase(name, pattern) and _fit(patterns[1:], names[1:])
