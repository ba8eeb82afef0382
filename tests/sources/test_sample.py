"""Names of features in a sample of a block: few lines, whole ones, whatever a log may hold."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.records import BAD, NOW, TIME, block, decoder, line, prediction

from ml_exporter.sources.blocks import Block
from ml_exporter.sources.csv_reader import CsvReader
from ml_exporter.sources.csv_records import read_header
from ml_exporter.sources.files import Position
from ml_exporter.sources.follow import Follower
from ml_exporter.sources.memory import Memory
from ml_exporter.sources.parquet_reader import ParquetReader


@pytest.fixture(scope="module")
def memory() -> Memory:
    return Memory()


@given(
    st.lists(st.binary(max_size=40).filter(lambda text: b"\n" not in text), min_size=1, max_size=40),
    st.booleans(),
)
@settings(deadline=None)
def test_a_sample_has_whole_lines_in_order_and_is_bounded(
    memory: Memory, lines: list[bytes], end: bool
) -> None:
    data = b"\n".join(lines) + (b"\n" if end else b"")
    memory.write(data)
    found = memory.sample(8, 100)
    assert len(found) <= 8
    assert sum(map(len, found)) <= 100
    rest = iter([*lines, b""])
    assert all(any(text == known for known in rest) for text in found)
    if 0 < len(data) <= 100:
        assert found[0] == lines[0]


def test_a_sample_reaches_from_the_first_line_to_the_last_part(memory: Memory) -> None:
    memory.write(b"".join(b"%d\n" % number for number in range(8_000)))
    found = [int(text) for text in memory.sample(8, 1_000)]
    assert found[0] == 0
    assert len(found) == 8
    assert found[-1] > 6_500


def test_long_lines_are_not_looked_at(memory: Memory) -> None:
    memory.write(b"x" * 5_000 + b"\n" + b"y" * 10)
    assert memory.sample(8, 1_000) == []
    memory.write(b"y" * 10 + b"\n" + b"x" * 5_000)
    assert memory.sample(8, 1_000) == [b"y" * 10]


def names(data: bytes) -> frozenset[str]:
    found = decoder()
    found.decode(block(data), NOW)
    return found.names("features")


@pytest.mark.parametrize("bad", [b"", BAD, b"[1]\n", b"[" * 5_000 + b"\n"])
def test_names_are_found_beside_lines_that_are_none(bad: bytes) -> None:
    more = line(prediction(features={"x": 1, "new": None, "naïve": {"a": 1}}))
    assert names(bad + line(prediction()) + more) == {"x", "y", "c", "new", "naïve"}


@pytest.mark.parametrize("features", [None, 7, [1], "text", ...])
def test_what_is_no_object_has_no_names(features: Any) -> None:
    assert names(line(prediction(features=features))) == frozenset()


def test_columns_of_csv_are_those_of_the_header() -> None:
    reader = CsvReader({"features.x": "DOUBLE"})
    position = Position("log", "", 0, 0)
    reader.load(Block(b"1,2,3\n", position, position, header=read_header(b"ts,features.x,features.a.b\n")))
    assert reader.names("features") == {"x", "a.b"}
    assert reader.names("other") == frozenset()


@pytest.mark.parametrize("nested", [True, False])
def test_fields_of_a_struct_are_names_and_so_are_columns_below_it(tmp_path: Path, nested: bool) -> None:
    rows = {"features": [{"x": 1.0, "b": "t"}]} if nested else {"features.x": [1.0], "features.b": ["t"]}
    pq.write_table(pa.table({"ts": [TIME], **rows}), tmp_path / "log.parquet")
    files = Follower(str(tmp_path / "log.parquet"), "parquet")
    (position,) = files.look({}).positions
    (part,) = files.blocks(position, 1 << 20)
    reader = ParquetReader({"features.x": "DOUBLE"})
    reader.load(part)
    assert reader.names("features") == {"x", "b"}
    assert reader.names("ts") == frozenset()
