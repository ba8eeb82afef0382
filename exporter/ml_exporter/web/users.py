"""Who may come in: names, passwords and a memory of passwords that were right."""

from __future__ import annotations

import hmac
import os
from base64 import b64decode
from collections.abc import Mapping

import bcrypt

from ml_exporter.config_model import Access

_LONGEST = 72
"""Bytes of a password that bcrypt looks at."""


class Users:
    """Names with bcrypt hashes.

    Checking takes as long for any name, known or not and whatever its hash costs: one hash of each cost
    that there is, is tried.
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = {name: hashed.encode() for name, hashed in hashes.items()}
        self._of_each_cost = {_cost(hashed): hashed for hashed in self._hashes.values()}
        # Passwords that were right, as marks that tell nothing without this key.
        self._key = os.urandom(32)
        self._right: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def __contains__(self, name: str) -> bool:
        return name in self._hashes

    def remembered(self, name: str, password: bytes) -> bool:
        """Tell whether this password was found right before; fast."""
        return self._mark(name, password) in self._right

    def check(self, name: str, password: bytes) -> bool:
        """Tell whether the password is the user's; takes the time that bcrypt needs."""
        own = self._hashes.get(name)
        tried = self._of_each_cost if own is None else self._of_each_cost | {_cost(own): own}
        fitting = [hashed for hashed in tried.values() if _fits(password, hashed)]
        right = own in fitting
        if right:
            self._right.add(self._mark(name, password))
        return right

    def _mark(self, name: str, password: bytes) -> bytes:
        # A name holds no colon; a password is cut, so that a user has no more marks than hashes.
        return hmac.digest(self._key, name.encode() + b":" + password[:_LONGEST], "sha256")


def credentials(header: str) -> tuple[str, bytes] | None:
    """Return name and password of an Authorization header, None where it has none in the form Basic."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = b64decode(value.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except ValueError:
        return None


def unknown_users(access: Access, users: Users) -> list[str]:
    """Return a sentence for each name in `exporter.access` that is no user of the web config."""
    lists: Mapping[str, tuple[str, ...]] = dict(access)
    return [
        f"exporter.access.{name}: {user} is not in basic_auth_users of --web.config.file"
        for name, allowed in lists.items()
        for user in allowed
        if user not in users
    ]


def _fits(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:_LONGEST], hashed)
    except ValueError:  # a NUL byte, or a hash that only looks like one
        return False


def _cost(hashed: bytes) -> int:
    return int(hashed.split(b"$")[2])
