"""What a reader of lines leaves behind, and how it takes up blocks."""

import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.records import block

from ml_exporter.sources import sql
from ml_exporter.sources.database import Database
from ml_exporter.sources.json_reader import JsonReader

DESCRIPTORS = Path("/proc/self/fd")


def test_a_reader_that_is_let_go_closes_its_file() -> None:
    before = set(os.listdir(DESCRIPTORS))
    readers = [JsonReader({"a": "DOUBLE"}) for _ in range(3)]
    for reader in readers:
        reader.load(block(b'{"a": 1}\n'))
        reader.columns({"a": reader.column("a")})
    assert len(set(os.listdir(DESCRIPTORS)) - before) >= 3
    del reader, readers
    gc.collect()
    assert set(os.listdir(DESCRIPTORS)) <= before


def test_a_smaller_block_leaves_nothing_of_the_one_before() -> None:
    reader = JsonReader({"a": "DOUBLE"})
    for numbers in ([1, 2, 3, 4, 5], [6], [], [7, 8]):
        reader.load(block(b"".join(b'{"a": %d}\n' % number for number in numbers)))
        columns, sound = reader.columns({"a": reader.column("a")})
        assert columns["a"].tolist() == numbers
        assert sound


def test_a_block_that_is_not_sound_is_read_leniently_and_so_are_some_after_it() -> None:
    reader = JsonReader({"a": "DOUBLE"})
    seen = []
    for data in (b'{"a": 1}\n', b'{"a": "x"}\n', *[b'{"a": 1}\n'] * 12):
        reader.load(block(data))
        seen.append(reader.columns({"a": reader.column("a")})[1])
    assert seen[:3] == [True, False, False]
    assert seen[-1]
    assert sorted(seen[1:]) == seen[1:]


def test_distinct_texts_come_in_order_and_without_null() -> None:
    reader = JsonReader({"a": "VARCHAR"})
    reader.load(block(b'{"a": "y"}\n{"a": null}\n{"a": "x"}\n{"a": "y"}\n{bad\n'))
    assert reader.distinct("a") == ["x", "y"]


def test_paths_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="only in case"):
        JsonReader({"a": "DOUBLE", "A": "DOUBLE"})


def test_readers_of_one_database_keep_apart_what_they_read_in_turn() -> None:
    database = Database()
    texts = {"a": ["x", "y"]}
    first = JsonReader({"a": "VARCHAR"}, (), texts, database)
    second = JsonReader({"a": "VARCHAR"}, (), {"a": ["y"]}, database)
    member = {"a": sql.member(first.column("a"), "a", 2)}
    for data, one, two in ((b'{"a": "y"}\n', [1], [0]), (b'{"a": "x"}\n{"a": "y"}\n', [0, 1], [2, 0])):
        for reader, codes in ((first, one), (second, two)):
            reader.load(block(data))
            assert reader.columns(member)[0]["a"].tolist() == codes


def test_threads_read_through_one_database_at_the_same_time() -> None:
    database = Database()
    both = threading.Barrier(2)

    def total(number: int) -> int:
        reader = JsonReader({"a": "DOUBLE"}, (), None, database)
        both.wait()
        found = 0
        for size in range(1, 30):
            reader.load(block(b'{"a": %d}\n' % number * size))
            found += int(reader.columns({"a": reader.column("a")})[0]["a"].sum())
        return found

    with ThreadPoolExecutor(2) as executor:
        assert list(executor.map(total, [1, 3])) == [435, 1305]
