"""Texts as lengths, time stamps as ages, and patterns, in every format."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.records import BAD, MICROSECONDS, NOW, TIME, binary, block, line

from ml_exporter.sources.batch import Numbers, Predictions
from ml_exporter.sources.decode import Fields, PredictionDecoder
from ml_exporter.sources.follow import Follower

SECONDS = MICROSECONDS // 1_000_000
CODE = "[A-Z]{2}[0-9]?"
TEXTS: list[str | None] = ["AB", "ab7", None, "日本", "AB7 ", "XY9"]
STAMPS: list[str | None] = [TIME, "2025-12-31T23:58:30Z", None, "soon", str(SECONDS + 5), "2025-12-31"]
AGES = [0.0, 90.0, None, "wrong", -5.0, 86_400.0]


def decoder(form: str = "jsonl", prefix: str = "features.") -> PredictionDecoder:
    """A decoder of a text, of a category with a pattern, and of a time stamp."""
    return PredictionDecoder(
        Fields(timestamp="ts", id="id"),
        binary("score"),
        {},
        {"c": f"{prefix}c"},
        {"c": ["AB", "ab7"]},
        form=form,
        texts={"t": f"{prefix}t"},
        stamps={"s": f"{prefix}s"},
        patterns={"t": CODE, "c": CODE},
    )


def written(folder: Path, form: str, rows: list[dict[str, Any]]) -> Path:
    """Rows as a file of a format; features are an object in JSON and columns elsewhere."""
    path = folder / f"log.{form}"
    flat = [
        {"id": str(number), "ts": TIME, "score": 0.5, **{f"features.{k}": v for k, v in row.items()}}
        for number, row in enumerate(rows)
    ]
    if form == "parquet":
        pq.write_table(pa.table({name: [row[name] for row in flat] for name in flat[0]}), path)
    elif form == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(flat[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(flat)
    else:
        records = [
            {"id": row["id"], "ts": TIME, "score": 0.5, "features": own}
            for row, own in zip(flat, rows, strict=True)
        ]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def states(column: Numbers) -> list[float | str | None]:
    """Each row's number, None where it is missing, "wrong" where something else is there."""
    found: list[float | str | None] = list(column.values.tolist())
    for mask, state in ((column.missing, None), (column.wrong_type, "wrong")):
        for row in np.flatnonzero(np.zeros(0) if mask is None else mask).tolist():
            found[row] = state
    return found


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_every_format_gives_the_same_lengths_ages_and_matches(tmp_path: Path, form: str) -> None:
    rows = [{"t": text, "c": text, "s": stamp} for text, stamp in zip(TEXTS, STAMPS, strict=True)]
    path = written(tmp_path, form, rows)
    files = Follower(str(path), form)
    (position,) = files.look({}).positions
    (part,) = files.blocks(position, 1 << 20, complete=True)
    found, outcomes = decoder(form).decode(part, NOW)
    assert outcomes == {"accepted": 6}
    assert states(found.lengths["t"]) == [2.0, 3.0, None, 2.0, 4.0, 3.0]
    assert states(found.ages["s"]) == AGES
    for name in ("t", "c"):
        assert found.differing[name].tolist() == [False, True, False, True, True, False]
    assert found.categories["c"].tolist() == [0, 1, 3, 2, 2, 2]


def test_time_stamps_of_a_table_are_read_as_they_are(tmp_path: Path) -> None:
    stamps = pa.array([MICROSECONDS - 1_500_000, None], pa.timestamp("us"))
    rows = {"id": ["a", "b"], "ts": [TIME, TIME], "score": [0.5, 0.5], "features.s": stamps}
    pq.write_table(pa.table(rows), tmp_path / "log.parquet")
    files = Follower(str(tmp_path / "log.parquet"), "parquet")
    (position,) = files.look({}).positions
    (part,) = files.blocks(position, 1 << 20)
    found, _ = decoder("parquet").decode(part, NOW)
    assert states(found.ages["s"]) == [1.5, None]
    assert states(found.lengths["t"]) == [None, None]


VALUES = st.one_of(
    st.none(), st.text(max_size=6), st.from_regex(CODE, fullmatch=True), st.integers(0, 10**12), st.booleans()
)


@pytest.fixture(scope="module")
def shared() -> PredictionDecoder:
    """One decoder for all examples: making one takes longer than a block."""
    return decoder()


@given(st.lists(VALUES, min_size=1, max_size=8), st.booleans())
@settings(deadline=None)
def test_texts_are_what_plain_python_says(shared: PredictionDecoder, values: list[Any], bad: bool) -> None:
    lines = [
        line({"id": str(n), "ts": TIME, "score": 0.5, "features": {"t": value}})
        for n, value in enumerate(values)
    ]
    rows, outcomes = shared.decode(block((BAD if bad else b"") + b"".join(lines)), NOW)
    assert outcomes["accepted"] == len(values)
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    assert states(rows.lengths["t"]) == [None if text is None else float(len(text)) for text in texts]
    expected = [text is not None and not re.fullmatch(CODE, text, re.ASCII) for text in texts]
    assert rows.differing["t"].tolist() == expected


def test_rows_are_taken_with_all_that_they_have() -> None:
    found, _ = decoder().decode(
        block(line({"id": "a", "ts": TIME, "features": {"t": "x", "s": TIME}}) * 3), NOW
    )
    part: Predictions = found.take(np.asarray([True, False, True]))
    assert states(part.lengths["t"]) == [1.0, 1.0]
    assert states(part.ages["s"]) == [0.0, 0.0]
    assert part.differing["t"].tolist() == [True, True]
    assert not part.without_features().lengths
