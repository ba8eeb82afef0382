"""CSV as columns: those whose names are the paths' (features.x is the column "features.x")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import duckdb

from ml_exporter.sources import sql
from ml_exporter.sources.blocks import Block
from ml_exporter.sources.csv_records import Grammar, Header
from ml_exporter.sources.database import Database
from ml_exporter.sources.reader import Columns, Reader

_LENIENT_BLOCKS = 8
_LINE_SIZE = 2 << 20


class CsvReader(Reader):
    """Reads records of CSV; an empty field is a missing value, and so is a column that is not there.

    First the block is read strictly: then no record is malformed and no value of a wrong type. If
    that fails malformed records are taken out and the rest is read as text, and so are some blocks
    after it. CR LF within a quoted field reads as LF.
    """

    def __init__(
        self,
        types: Mapping[str, str],
        times: Iterable[str] = (),
        enumerations: Mapping[str, Sequence[str]] | None = None,
        database: Database | None = None,
    ) -> None:
        super().__init__(types, times, enumerations, database)
        # There is nothing to optimize in a projection, and planning takes time.
        self._db.execute("PRAGMA disable_optimizer")
        self._memory, _ = self._database.memory()
        self._data = b""
        self._header = Header((), ",", '"', 0)
        self._grammar = Grammar(self._header)
        self._lost: list[bytes] = []
        self._sifted = False
        self._lenient = 0

    def load(self, block: Block) -> None:
        """Take a block of records."""
        if block.header and block.header != self._header:
            self._header, self._grammar = block.header, Grammar(block.header)
        self._memory, _ = self._database.memory()
        self._data = block.data
        if b"\r" in self._data:
            self._data = self._data.replace(b"\r\n", b"\n").removesuffix(b"\r")
        self._lost, self._sifted = [], False
        # These DuckDB reads otherwise than the grammar says, and does not complain.
        if b"\r" in self._data or b"\0" in self._data or len(self._header.names) < 2:
            self._sift()
        self._memory.write(self._data)
        self.too_long = block.too_long

    def columns(self, select: Mapping[str, str]) -> tuple[Columns, bool]:
        """Return what expressions give on the block, and whether all of its records were sound."""
        if not (self._lenient or self._sifted):
            try:
                return self._select(select, strict=True), True
            except duckdb.Error:
                self._lenient = _LENIENT_BLOCKS
        if not self._sifted:
            self._sift()
            self._memory.write(self._data)
        self._lenient = max(self._lenient - 1, 0)
        return self._select(select, strict=False), False

    def lost(self) -> Sequence[bytes]:
        """Return the malformed records."""
        return self._lost

    def names(self, path: str, rows: Sequence[int] | None = None) -> frozenset[str]:  # noqa: ARG002 - as in every reader
        """Return the columns below a path, of any block."""
        prefix = ".".join(sql.parts(path)) + "."
        below = (name.removeprefix(prefix) for name in self._header.names if name.startswith(prefix))
        return frozenset(below)

    def texts(self, rows: Sequence[int]) -> list[bytes]:
        """Return the records of rows."""
        records = self._grammar.records(self._data)
        return [records[row].rstrip(b"\n") for row in rows]

    def defect(self, text: bytes, path: str) -> str | None:  # noqa: ARG002 - as in every reader
        """Return nothing: a record that has a row is sound as a whole."""
        return None

    def _sift(self) -> None:
        """Take malformed records out of the block, and those that are not UTF-8."""
        self._data, self._lost = self._grammar.sift(self._data)
        self._sifted = True
        if not _is_text(self._data):
            records = self._grammar.records(self._data)
            self._lost += [record for record in records if not _is_text(record)]
            self._data = b"".join(record for record in records if _is_text(record))
        # Without its end the last record would run into nothing.
        if self._data and not self._data.endswith(b"\n"):
            self._data += b"\n"

    def _relation(self, types: Mapping[str, str], strict: bool) -> str:
        known = {name: f"c{number}" for number, name in reversed([*enumerate(self._header.names)])}
        places = {path: known.get(".".join(sql.parts(path))) for path in types}
        numbers = {path for path, kind in types.items() if kind == "DOUBLE" and places[path]}
        values = {path: place or f"NULL::{types[path]}" for path, place in places.items()}
        if not strict:
            values |= {path: f"try_cast({places[path]} AS DOUBLE)" for path in numbers}
        times = {path: sql.microseconds(values[path]) for path in types if path in self._times}
        typed = {str(places[path]) for path in numbers} if strict else set()
        return f"(SELECT {self._named(values, times)} FROM {self._file(typed)})"

    def _file(self, numbers: set[str]) -> str:
        names = (f"c{number}" for number in range(max(len(self._header.names), 1)))
        columns = ", ".join(f"{name}: '{'DOUBLE' if name in numbers else 'VARCHAR'}'" for name in names)
        # Whatever is one line to us must be one to DuckDB.
        longest = max(_LINE_SIZE, self._memory.size + 1)
        header = self._header
        return (
            f"read_csv('{self._memory.path}', auto_detect=false, header=false, columns={{{columns}}}, "
            f"delim={sql.text(header.delimiter)}, quote={sql.text(header.quote)}, "
            f"escape={sql.text(header.quote)}, comment='', new_line='\\n', max_line_size={longest})"
        )


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
