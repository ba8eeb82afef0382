r"""The grammar of CSV: where a record ends, and which ones are malformed.

RFC 4180: fields in quotes may hold delimiters, line ends, and quotes written twice. The delimiter
is the one of `, ; \t |` that the header has most of; the quote is `"`, or `'` where the header's
names stand in such. Blanks around a quoted field do not belong to it.

A quote that stands where it must not, or is never closed, must not swallow what follows it. So a
record that breaks the grammar ends with its first line, and reading goes on with the next.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

_DELIMITERS = ",;\t|"
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Header:
    """The first line of a file: its columns' names, how fields are told apart, and its bytes."""

    names: tuple[str, ...]
    delimiter: str
    quote: str
    length: int


def read_header(data: bytes) -> Header | None:
    """Read the header at the beginning of a file, None while its line has no end."""
    end = data.find(b"\n") + 1
    if not end:
        return None
    text = data[:end].removeprefix(_MARK).decode("utf-8", "replace").strip("\r\n")
    quote = "'" if text.startswith("'") else '"'
    bare = re.sub(f"{quote}[^{quote}]*{quote}", "", text)
    delimiter = max(_DELIMITERS, key=bare.count)
    # One line, so one row, whatever stands in it.
    line = text.replace("\r", " ")[: csv.field_size_limit()]
    names = next(csv.reader([line], delimiter=delimiter, quotechar=quote), [])
    return Header(tuple(name.strip() for name in names), delimiter, quote, end)


class Grammar:
    """What the records of a file with this header look like."""

    def __init__(self, header: Header) -> None:
        mark, quote = re.escape(header.delimiter.encode()), header.quote.encode()
        # All is possessive: what runs over whole blocks must never go back.
        opened = rb" *+%b[^%b\0]*+(?:%b%b[^%b\0]*+)*+" % ((quote,) * 5)
        plain = rb"(?! *+%b)[^%b\r\n\0]*+" % (quote, mark)
        field = rb"(?:%b%b *+|%b)" % (opened, quote, plain)
        line_end = rb"(?:\r?+\n|\r?+\Z)"
        blank = rb"[ \t\x0b\x0c]*+\r?+\n|[ \t\x0b\x0c]++\r?+\Z|\r\Z"
        number = max(len(header.names), 1) - 1
        # In a file of a single column an empty line is no record.
        start = rb"(?!\Z)" if number else rb"(?!\Z|%b)" % blank
        row = rb"%b%b(?:%b%b){%d}%b" % (start, field, mark, field, number, line_end)
        other = rb"(?!\Z)%b(?:%b%b)*+%b" % (field, mark, field, line_end)
        self._row = re.compile(row)
        self._sound = re.compile(rb"(?:%b|%b)*+" % (row, blank))
        self._other = re.compile(other)
        self._open = re.compile(rb"(?:%b%b)*+%b\Z" % (field, mark, opened))
        line = rb"[^\n]*+\n|[^\n]++\Z"
        self._parts = re.compile(rb"(?P<rows>(?:%b)++)|%b|(?P<malformed>%b|%b)" % (row, blank, other, line))

    def sift(self, data: bytes) -> tuple[bytes, list[bytes]]:
        """Return the sound records of a block that ends where a record does, and the malformed ones."""
        sound, malformed = [], []
        for part in self._parts.finditer(data):
            if part.lastgroup == "rows":
                sound.append(part[0])
            elif part.lastgroup == "malformed":
                malformed.append(part[0])
        return b"".join(sound), malformed

    def records(self, data: bytes) -> list[bytes]:
        """Return the records of a block one by one, if all of them are sound."""
        return self._row.findall(data)

    def settled(self, data: bytes, start: int, patience: int) -> int:
        """Return where the last record ends of which it is certain that nothing follows.

        Records begin at `start`, and `data` ends with a line. A quote that is open there may be
        closed by what comes, unless its record has more than `patience` bytes.
        """
        while (start := self._end_of_sound(data, start)) < len(data):
            if len(data) - start <= patience and self._open.match(data, start):
                break
            start = self._end_of_malformed(data, start)
        return start

    def _end_of_sound(self, data: bytes, start: int) -> int:
        found = self._sound.match(data, start)
        return found.end() if found else start

    def _end_of_malformed(self, data: bytes, start: int) -> int:
        other = self._other.match(data, start)
        return other.end() if other else data.find(b"\n", start) + 1 or len(data)
