"""Parquet: files that are finished, rows in blocks, types of columns."""

import datetime
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.records import (
    ANSWERS,
    FIELDS,
    MICROSECONDS,
    NOW,
    TIME,
    binary,
    decoder,
    line,
    masks,
    prediction,
)
from tests.support.records import block as line_block

from ml_exporter.sources import parquet_file
from ml_exporter.sources.batch import Predictions
from ml_exporter.sources.blocks import Block
from ml_exporter.sources.decode import Fields, LabelDecoder, PredictionDecoder
from ml_exporter.sources.files import Position
from ml_exporter.sources.follow import Follower

LIMIT = 1 << 20


def parquet_decoder(fields: Fields = FIELDS, prefix: str = "features.") -> PredictionDecoder:
    return PredictionDecoder(
        fields,
        ANSWERS,
        {"x": f"{prefix}x", "y": f"{prefix}y"},
        {"c": f"{prefix}c"},
        {"c": ["red", "blue"]},
        form="parquet",
    )


def write(path: Path, columns: dict[str, Any], **options: Any) -> None:
    pq.write_table(pa.table(columns), path, **options)


def blocks(path: Path, known: dict[str, Position] | None = None) -> Iterator[Block]:
    files = Follower(str(path), "parquet")
    for position in files.look(known or {}).positions:
        yield from files.blocks(position, LIMIT)


def decoded(path: Path, found: PredictionDecoder | None = None) -> tuple[Predictions, dict[str, int]]:
    (block,) = blocks(path)
    rows, outcomes = (found or parquet_decoder()).decode(block, NOW)
    return rows, dict(outcomes)


def table(n: int, **changes: Any) -> dict[str, Any]:
    """Columns of n sound predictions; `changes` replace columns, and None leaves one out."""
    columns = {
        "id": [f"id {number}" for number in range(n)],
        "ts": [TIME] * n,
        "version": ["1"] * n,
        "score": [0.75] * n,
        "prediction": [True] * n,
        "latency_s": [0.25] * n,
        "features": [{"x": 1.5, "y": 2, "c": "red"}] * n,
    } | changes
    return {name: column for name, column in columns.items() if column is not None}


def test_a_table_means_what_its_rows_mean_as_json(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    random = np.random.default_rng(4)
    records = [
        prediction(
            id=number,
            score=None if number % 5 == 0 else float(random.uniform()),
            prediction=bool(number % 3),
            version=str(number % 2),
            error="late" if number % 7 == 0 else None,
            features={"x": float(random.normal()), "y": None if number % 4 else 1.0, "c": "blue"},
        )
        for number in range(100)
    ]
    pq.write_table(pa.Table.from_pylist(records), path)
    rows, outcomes = decoded(path)
    expected, _ = decoder().decode(line_block(b"".join(map(line, records))), NOW)
    assert outcomes == {"accepted": 100}
    for name in ("ids", "times", "scores", "classes", "latency", "errors"):
        np.testing.assert_array_equal(getattr(rows, name), getattr(expected, name))
    assert [rows.version_names[code] for code in rows.versions] == [str(n % 2) for n in range(100)]
    for name in ("x", "y"):
        np.testing.assert_array_equal(rows.numbers[name].values, expected.numbers[name].values)
        assert masks(rows, name) == masks(expected, name)
    np.testing.assert_array_equal(rows.categories["c"], expected.categories["c"])


def test_flat_columns_may_be_named_by_the_whole_path(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    write(path, table(2, features=None) | {"features.x": [1.0, 2.0], "y": [3, 4], "C": ["red", "red"]})
    rows, outcomes = decoded(path)
    assert outcomes == {"accepted": 2}
    assert rows.numbers["x"].values.tolist() == [1.0, 2.0]
    assert masks(rows, "y") == ([True, True], [False, False])
    rows, _ = decoded(path, parquet_decoder(prefix=""))
    assert rows.numbers["y"].values.tolist() == [3.0, 4.0]


@pytest.mark.parametrize(
    ("column", "times"),
    [
        (pa.array([1_000_000], pa.timestamp("us")), [1_000_000]),
        (pa.array([1_000_001_400], pa.timestamp("ns")), [1_000_001]),
        (pa.array([1_000], pa.timestamp("ms")), [1_000_000]),
        (pa.array([1], pa.timestamp("s", tz="Europe/Berlin")), [1_000_000]),
        (pa.array([datetime.date(1970, 1, 2)]), [86_400_000_000]),
        (pa.array([1_767_225_600]), [MICROSECONDS]),
        (pa.array([1_767_225_600_000]), [MICROSECONDS]),
        (pa.array([1_767_225_600.25]), [MICROSECONDS + 250_000]),
        (pa.array([TIME]), [MICROSECONDS]),
    ],
    ids=str,
)
def test_time_stamps_of_every_type(tmp_path: Path, column: Any, times: list[int]) -> None:
    path = tmp_path / "log.parquet"
    write(path, table(1, ts=column))
    rows, outcomes = decoded(path)
    assert outcomes == {"accepted": 1}
    assert rows.times.tolist() == times


def test_rows_without_id_or_time_have_their_outcome(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    future = "2027-01-01T00:00:00Z"
    write(path, table(5, id=["a", None, "", "b", "c"], ts=[None, TIME, TIME, "now", future]))
    assert decoded(path)[1] == {"no_timestamp": 1, "no_id": 2, "bad_timestamp": 1, "future": 1}
    write(path, {"other": [1, 2]})
    assert decoded(path)[1] == {"no_id": 2}


@pytest.mark.parametrize(
    ("column", "values", "missing", "wrong"),
    [
        (pa.array([1, None]), [1.0, np.nan], [False, True], [False, False]),
        (pa.array(["2.5", "abc"]), [2.5, np.nan], [False, False], [False, True]),
        (pa.array([[1], None]), [np.nan, np.nan], [False, True], [True, False]),
        (pa.array([True, None]), [1.0, np.nan], [False, True], [False, False]),
        (pa.array([float("nan"), float("inf")]), [np.nan, np.inf], [False, False], [False, False]),
        (pa.array([b"2.5", b"\xff"]), [np.nan, np.nan], [False, False], [True, True]),
        (pa.array([1, 2], pa.decimal128(10, 2)), [1.0, 2.0], [False, False], [False, False]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else None,
)
def test_a_wrong_type_is_told_from_a_missing_number(
    tmp_path: Path, column: Any, values: list[float], missing: list[bool], wrong: list[bool]
) -> None:
    path = tmp_path / "log.parquet"
    write(path, table(2, features=None) | {"x": column})
    rows, outcomes = decoded(path, parquet_decoder(prefix=""))
    assert outcomes == {"accepted": 2}
    np.testing.assert_array_equal(rows.numbers["x"].values, values)
    assert masks(rows) == (missing, wrong)


def test_labels_come_as_parquet_too(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    write(path, {"id": [1, 2, 3], "ts": [TIME, None, TIME], "label": [1, 0, 7]})
    found = LabelDecoder(Fields(timestamp="ts", id="id"), binary(label="label"), "parquet")
    (block,) = blocks(path)
    rows, outcomes = found.decode(block, NOW)
    assert outcomes == {"accepted": 2, "bad_label": 1}
    assert rows.labels.tolist() == [1, 0]


def test_files_of_different_columns_follow_each_other(tmp_path: Path) -> None:
    found = parquet_decoder(prefix="")
    for number, column in enumerate(([1.0], ["abc"], None, [2])):
        path = tmp_path / f"{number}.parquet"
        write(path, table(1, features=None, x=column))
        rows, outcomes = decoded(path, found)
        assert outcomes == {"accepted": 1}
        assert masks(rows) == ([number == 2], [number == 1])


def test_a_file_is_read_once_when_its_footer_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    write(tmp_path / "other", table(10))
    data = (tmp_path / "other").read_bytes()
    files = Follower(str(tmp_path / "*.parquet"), "parquet")
    known: dict[str, Position] = {}
    for end in (0, 4, 7, 100, len(data) - 1, len(data), len(data)):
        path.write_bytes(data[:end])
        listing = files.look(known)
        read = [block for position in listing.positions for block in files.blocks(position, LIMIT)]
        known |= {block.end.key: block.end for block in read}
        assert [block.end.offset for block in read] == ([10] if end == len(data) and listing.lag else [])
    assert files.look(known).lag == 0
    assert next(iter(known.values())).ended == len(data)


def test_rows_come_in_blocks_and_are_read_on_after_any_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_file, "ROWS", 30)
    path = tmp_path / "log.parquet"
    write(path, table(100), row_group_size=25)
    seen: list[int] = []
    found = parquet_decoder()
    known: dict[str, Position] = {}
    for _ in range(4):
        block = next(blocks(path, known))
        rows, _ = found.decode(block, NOW)
        known = {block.end.key: block.end}
        seen += rows.ids.tolist()
    monkeypatch.setattr(parquet_file, "ROWS", 100)
    whole, _ = decoded(path)
    assert seen == whole.ids.tolist()
    assert len(set(seen)) == 100
    assert list(blocks(path, known)) == []


def test_an_empty_table_is_read_once_too(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    write(path, {"id": pa.array([], pa.string()), "ts": pa.array([], pa.string())})
    (block,) = blocks(path)
    rows, outcomes = parquet_decoder().decode(block, NOW)
    assert (len(rows), outcomes) == (0, Counter())
    assert list(blocks(path, {block.end.key: block.end})) == []


def test_a_file_that_is_replaced_by_another_was_lost_only_if_it_was_not_read(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    write(path, table(10))
    read = {block.end.key: block.end for block in blocks(path)}
    unread = {position.key: position for position in Follower(str(path), "parquet").look({}).positions}
    write(path, table(11))
    for known, truncated in ((read, 0), (unread, 1)):
        listing = Follower(str(path), "parquet").look(known)
        assert listing.truncated == truncated
        assert [position.offset for position in listing.positions] == [0]


def test_what_cannot_be_read_is_malformed_or_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    write(path, table(50), compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[4:200] = b"\xff" * 196
    path.write_bytes(data)
    rows, outcomes = decoded(path)
    assert (len(rows), outcomes) == (0, {"malformed": 50})
    data[-60:-8] = b"\xff" * 52
    path.write_bytes(data)
    files = Follower(str(path), "parquet")
    (position,) = files.look({}).positions
    assert list(files.blocks(position, LIMIT)) == []
    assert len(files.problems) == 1
    assert files.problems[0].startswith(f"{path}: cannot be read: ")


def test_blocks_end_with_row_groups_where_they_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file, "ROWS", 100)
    write(tmp_path / "small", table(250), row_group_size=40)
    write(tmp_path / "large", table(250), row_group_size=220)
    assert [block.end.offset for block in blocks(tmp_path / "small")] == [80, 160, 250]
    assert [block.end.offset for block in blocks(tmp_path / "large")] == [100, 200, 250]
