from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_exporter.stats.sparse import SparseCounts


@dataclass(frozen=True, eq=False, slots=True)
class One(SparseCounts):
    title: ClassVar[str] = "one column"
    magic: ClassVar[bytes] = b"ONE1"
    columns: ClassVar[int] = 1
    key_limit: ClassVar[int] = 160


@dataclass(frozen=True, eq=False, slots=True)
class Three(SparseCounts):
    title: ClassVar[str] = "three columns"
    magic: ClassVar[bytes] = b"THR1"
    columns: ClassVar[int] = 3
    key_limit: ClassVar[int] = 160


Kind = TypeVar("Kind", bound=SparseCounts)
KINDS = pytest.mark.parametrize("kind", [One, Three])
# From 20 keys on the dense way is taken, so both ways and their mixture are drawn.
PARTS = st.lists(st.lists(st.integers(0, 159), max_size=40), max_size=5)


def histogram(kind: type[Kind], rows: list[int]) -> Kind:
    """Row i stands in column i modulo the columns of the kind."""
    keys = np.array(rows, np.int64)
    return kind.of_cells(keys * kind.columns + keys % kind.columns)


@KINDS
@given(parts=PARTS)
@settings(max_examples=60, deadline=None)
def test_merge_of_parts_is_the_histogram_of_the_whole(
    kind: type[SparseCounts], parts: list[list[int]]
) -> None:
    whole = histogram(kind, [row for part in parts for row in part])
    split = [histogram(kind, part) for part in parts]
    assert kind.merge(split) == whole
    assert sum(split, kind.empty()) == whole


@KINDS
@given(rows=st.lists(st.integers(0, 159), max_size=60))
@settings(max_examples=60, deadline=None)
def test_counts_are_those_of_a_plain_table_and_come_back_from_bytes(
    kind: type[SparseCounts], rows: list[int]
) -> None:
    found = histogram(kind, rows)
    table = np.zeros((160, kind.columns), np.int64)
    for row in rows:
        table[row, row % kind.columns] += 1
    assert found.keys.tolist() == np.flatnonzero(table.sum(axis=1)).tolist()
    assert np.array_equal(found.counts, table[found.keys])
    assert kind.from_bytes(found.to_bytes()) == found
    assert found.keys.dtype == np.uint32
    assert found.counts.dtype == np.int64


@KINDS
@given(rows=st.lists(st.tuples(st.integers(0, 159), st.integers(0, 1 << 40)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_weights_add_up_in_their_columns(kind: type[SparseCounts], rows: list[tuple[int, int]]) -> None:
    keys = np.array([key for key, _ in rows], np.int64)
    weights = np.array(
        [[1 if column == 0 else weight for _, weight in rows] for column in range(kind.columns)]
    )
    found = kind.of_weights(keys, weights.reshape(kind.columns, keys.size))
    assert found.keys.tolist() == sorted(set(keys.tolist()))
    for key, counts in zip(found.keys, found.counts, strict=True):
        assert counts.tolist() == weights[:, keys == key].sum(axis=1).tolist()


def test_merging_changes_no_part() -> None:
    for rows in ([3, 5], list(range(40))):
        part = histogram(Three, rows)
        before = part.to_bytes()
        Three.merge([part, part])
        assert part.to_bytes() == before


def test_kinds_are_never_equal_nor_read_as_each_other() -> None:
    assert One.empty() != Three.empty()
    with pytest.raises(ValueError, match="three columns: unknown form"):
        Three.from_bytes(histogram(One, [1, 2]).to_bytes())


def test_damaged_bytes_are_refused() -> None:
    good = histogram(One, [1, 2]).to_bytes()
    for bad, reason in (
        (b"", "too short"),
        (good[:-1], "wrong length"),
        (good[:8] + good[12:16] + good[8:12] + good[16:], "damaged"),
        (good[:8] + b"\xff" * 8 + good[16:], "damaged"),
        (good[:-1] + b"\xff", "damaged"),
    ):
        with pytest.raises(ValueError, match=f"one column: .*{reason}"):
            One.from_bytes(bad)
