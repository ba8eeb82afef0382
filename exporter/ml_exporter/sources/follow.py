"""Following the files of a log: they stay open between looks, so that none is lost when it is deleted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from ml_exporter.sources.blocks import Block
from ml_exporter.sources.files import Listing, Position, Seen, list_files, matches
from ml_exporter.sources.followed import Followed, Identity, identity_of

HELD = 32
"""So many of the newest files stay open, and so many of those that are not read to their end."""
PATIENCE = 20
"""So many looks without a change, and a file that was deleted is taken to be finished."""


class Follower:
    """Follows the files of one log: `pattern` is its glob, `form` jsonl, csv or parquet.

    A file that is deleted or renamed away is read to its end first, for as long as it grows.
    """

    def __init__(self, pattern: str, form: str = "jsonl") -> None:
        self.pattern = pattern
        self.form = form
        self._files: dict[Identity, Followed] = {}
        self._chosen: dict[str, Followed] = {}
        self._problems: list[str] = []

    @property
    def problems(self) -> tuple[str, ...]:
        """What cannot be read, as far as it is known by now; it is tried again with every look."""
        files = (f"{file.path}: {file.problem}" for file in self._files.values() if file.problem)
        return (*self._problems, *files)

    def look(self, known: Mapping[str, Position], from_end: bool = False) -> Listing:
        """Look for files and match them with known positions (by `Position.key`).

        A file without a position is read from its start, or from its end where `from_end` is true.
        """
        self._problems = []
        named = self._named()
        gone = {key: file for key, file in self._files.items() if key not in named and file.is_open}
        self._files = gone | named
        looks = [(file, self._look(file, from_end)) for file in self._files.values()]
        seen = [(file, look) for file, look in looks if look]
        listing = list_files((look for _, look in seen), known)
        by_name = {(look.path, look.inode): (file, look) for file, look in seen}
        pairs = [(position, *by_name[position.path, position.inode]) for position in listing.positions]
        self._chosen = {position.key: file for position, file, _ in pairs}
        unread = [file for position, file, look in pairs if look.unread(position)]
        self._let_go(list(gone.values()), list(named.values()), unread)
        return listing

    def blocks(
        self, position: Position, line_limit: int, complete: bool = False, block: int | None = None
    ) -> Iterator[Block]:
        """Read on from a position of the last look, in blocks of about `block` bytes.

        Lines of more than `line_limit` bytes are skipped and counted. The last line of a file waits
        for its end; where `complete` is true nothing more will be written, and it is read as it
        stands. There is nothing where the file is not any more the one that was looked at.
        """
        file = self._chosen[position.key]
        held = file.is_open
        try:
            yield from file.blocks(position, line_limit, complete, block)
        except FileNotFoundError:  # it is not held, and has gone since the look, or has another name
            return
        except OSError as error:
            self._problems.append(f"{file.path}: {error.strerror}")
        finally:
            if not held:
                file.let_go()

    def _named(self) -> dict[Identity, Followed]:
        """Return the files that the pattern matches now, oldest first."""
        paths = matches(self.pattern)
        if not paths:
            folder = Path(re.split(r"[*?\[]", self.pattern)[0] + "x").parent
            missing = "" if folder.is_dir() else f", and no folder {folder}"
            self._problems.append(f"{self.pattern}: no file{missing}")
        named: dict[Identity, Followed] = {}
        for path in paths:
            with suppress(OSError):  # it has gone meanwhile
                identity = identity_of(os.stat(path))
                # Another link to the same file adds nothing.
                if identity not in named:
                    named[identity] = self._files.get(identity) or Followed(identity, self.form)
                    named[identity].path = path
        return named

    def _look(self, file: Followed, from_end: bool) -> Seen | None:
        held = file.is_open
        try:
            return file.look(from_end)
        except FileNotFoundError:  # it has gone meanwhile
            return None
        except OSError as error:
            self._problems.append(f"{file.path}: {error.strerror}")
            return None
        finally:
            # All of them at once would be too many where a year of logs is kept.
            if not held:
                file.let_go()

    def _let_go(self, gone: list[Followed], named: list[Followed], unread: list[Followed]) -> None:
        """Hold on to files that may be deleted before they are read, and let others go."""
        paths = {file.path for file in named}
        for file in gone:
            if file.is_finished and file not in unread:
                file.let_go()
            # Whoever deletes a file may still write to it, until there is another of its name.
            file.is_finished = file.quiet_looks >= (1 if file.path in paths else PATIENCE)
        held = {id(file) for file in (*named[max(len(named) - HELD, 0) :], *unread[:HELD])}
        for file in named:
            file.is_finished = False
            if id(file) not in held:
                file.let_go()
                continue
            with suppress(OSError):
                file.open()
