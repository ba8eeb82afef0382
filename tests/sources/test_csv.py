"""CSV: records, quoting and dialects, and what becomes of a record that breaks the grammar."""

import csv
import io
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.records import ANSWERS, FIELDS, NOW, TIME, binary, masks

from ml_exporter.sources.batch import Predictions
from ml_exporter.sources.blocks import Block
from ml_exporter.sources.csv_records import Grammar, read_header
from ml_exporter.sources.decode import Fields, LabelDecoder, PredictionDecoder
from ml_exporter.sources.files import Position
from ml_exporter.sources.outcomes import REASONS

NAMES = ("id", "ts", "version", "score", "prediction", "latency_s", "x", "y", "c")
GOOD = f"a,{TIME},1,0.75,true,0.25,1.5,2,red".encode()


def decoder(fields: Fields = FIELDS) -> PredictionDecoder:
    return PredictionDecoder(
        fields, ANSWERS, {"x": "x", "y": "y"}, {"c": "c"}, {"c": ["red", "blue"]}, form="csv"
    )


def block(data: bytes, header: bytes = ",".join(NAMES).encode()) -> Block:
    position = Position("log", "", 0, 0)
    return Block(data, position, position, header=read_header(header + b"\n"))


@pytest.fixture(scope="module")
def shared() -> PredictionDecoder:
    """One decoder for all examples: making one takes longer than a block."""
    return decoder()


def decoded(data: bytes, header: bytes = ",".join(NAMES).encode()) -> tuple[Predictions, dict[str, int]]:
    rows, outcomes = decoder().decode(block(data, header), NOW)
    return rows, dict(outcomes)


def record(**changes: str) -> bytes:
    """A sound record; `changes` replace fields as they stand in the file."""
    fields = dict(zip(NAMES, GOOD.decode().split(","), strict=True)) | changes
    return ",".join(fields.values()).encode() + b"\n"


def test_a_sound_record_arrives_in_all_its_columns() -> None:
    rows, outcomes = decoded(GOOD)
    assert outcomes == {"accepted": 1}
    assert [rows.version_names[code] for code in rows.versions] == ["1"]
    assert (rows.scores.tolist(), rows.classes.tolist(), rows.latency.tolist()) == ([0.75], [1], [0.25])
    assert (rows.numbers["x"].values.tolist(), rows.numbers["y"].values.tolist()) == ([1.5], [2.0])
    assert rows.categories["c"].tolist() == [0]
    assert rows.errors.tolist() == [False]


BAD = b"too,few\n"


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (GOOD, "accepted"),
        (GOOD + b"\r", "accepted"),
        (record(id='"a"').strip(), "accepted"),
        (record(id='"a,b"').strip(), "accepted"),
        (record(id='"a""b"').strip(), "accepted"),
        (record(id='"a\nb"').strip(), "accepted"),
        (record(id='"a\r\n\r\nb"').strip(), "accepted"),
        (record(id='"a\n\n,,\n"').strip(), "accepted"),
        (record(id=' "a" ').strip(b"\n"), "accepted"),
        (record(id='a"b').strip(), "accepted"),
        (record(id="é日").strip(), "accepted"),
        (record(id="#a").strip(), "accepted"),
        (record(id="").strip(), "no_id"),
        (record(id='""').strip(), "no_id"),
        (b"," * (len(NAMES) - 1), "no_id"),
        (record(ts="").strip(), "no_timestamp"),
        (record(ts="yesterday").strip(), "bad_timestamp"),
        (record(ts="2027-01-01").strip(), "future"),
        (",".join(NAMES).encode(), "bad_timestamp"),
        (GOOD + b",more", "malformed"),
        (GOOD.rsplit(b",", 1)[0], "malformed"),
        (b"no record at all", "malformed"),
        (record(id='"a"b').strip(), "malformed"),
        (record(id='"a').strip(), "malformed"),
        (record(c='"red').strip(), "malformed"),
        (record(c='red"').replace(b'red"', b'"red""').strip(), "malformed"),
        (record(id="a\0b").strip(), "malformed"),
        (record(id="a\rb").strip(), "malformed"),
        (b"\0", "malformed"),
        (record(c="?").strip().replace(b"?", b"\xff"), "malformed"),
        (record(id='"?"').strip().replace(b"?", b"\xed\xa0\x80"), "malformed"),
    ],
    ids=lambda value: value[:24].decode(errors="replace") if isinstance(value, bytes) else value,
)
def test_a_record_has_one_outcome(shared: PredictionDecoder, text: bytes, outcome: str) -> None:
    for before in ((), (BAD,), (BAD, BAD)):
        for after in ((), (GOOD,)):
            data = b"".join((*before, text, b"\n", *after))
            rows, outcomes = shared.decode(block(data), NOW)
            assert outcomes == Counter([*["malformed"] * len(before), outcome, *["accepted"] * len(after)])
            assert len(rows) == outcomes["accepted"]


@pytest.mark.parametrize("blank", [b"", b"   ", b"\t", b"\r", b"\x0b \r"])
def test_blank_lines_are_no_records(blank: bytes) -> None:
    data = b"\n".join([blank, GOOD, blank, BAD.strip(), blank, GOOD, blank, b""])
    assert decoded(data)[1] == {"accepted": 2, "malformed": 1}
    assert decoded(b"\n".join([blank, GOOD, blank, GOOD]))[1] == {"accepted": 2}


@pytest.mark.parametrize(
    ("text", "value", "state"),
    [
        ("2.5", 2.5, "present"),
        ('"2.5"', 2.5, "present"),
        (" 2.5 ", 2.5, "present"),
        ("NaN", np.nan, "present"),
        ("1e400", np.inf, "present"),
        ("-Infinity", -np.inf, "present"),
        ("1" + "0" * 400, np.inf, "present"),
        ("", np.nan, "missing"),
        ('""', np.nan, "missing"),
        ("abc", np.nan, "wrong_type"),
        ("true", np.nan, "wrong_type"),
        ("[1]", np.nan, "wrong_type"),
        ("0x10", np.nan, "wrong_type"),
    ],
)
def test_a_wrong_type_is_told_from_a_missing_number(
    shared: PredictionDecoder, text: str, value: float, state: str
) -> None:
    for before in (b"", BAD):
        rows, outcomes = shared.decode(block(before + record(x=text)), NOW)
        assert outcomes["accepted"] == 1
        np.testing.assert_array_equal(rows.numbers["x"].values, [value])
        assert masks(rows) == ([state == "missing"], [state == "wrong_type"])
        assert masks(rows, "y") == ([False], [False])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_dialects_are_told_by_the_header(delimiter: str, quote: str, line_end: str) -> None:
    text = io.StringIO()
    writer = csv.writer(
        text, delimiter=delimiter, quotechar=quote, lineterminator=line_end, quoting=csv.QUOTE_ALL
    )
    fields = dict(zip(NAMES, GOOD.decode().split(","), strict=True))
    for number in range(5):
        writer.writerow((fields | {"id": f"{number},;\t|{quote}\n{line_end}"}).values())
    header = delimiter.join(f"{quote}{name}{quote}" for name in NAMES) + line_end.strip("\n")
    rows, outcomes = decoded(text.getvalue().encode(), header.encode())
    assert outcomes == {"accepted": 5}
    assert len(set(rows.ids.tolist())) == 5
    assert rows.numbers["x"].values.tolist() == [1.5] * 5


def test_columns_are_found_by_name_in_any_order_and_may_be_missing() -> None:
    header = b'\xef\xbb\xbf"x.y", ts ,more,id,ID,x,x'
    fields = Fields(timestamp="ts", id="id")
    found = PredictionDecoder(fields, binary("score"), {"a": "x.y", "x": "x", "X": "X"}, {}, {}, form="csv")
    rows, outcomes = found.decode(block(f"7,{TIME},,a,b,1,2\n".encode(), header), NOW)
    assert outcomes == {"accepted": 1}
    assert rows.numbers["a"].values.tolist() == [7]
    assert rows.numbers["x"].values.tolist() == [1]
    assert masks(rows, "X") == ([True], [False])
    assert np.isnan(rows.scores).all()


def test_a_log_of_one_column() -> None:
    found = PredictionDecoder(Fields(timestamp="ts"), binary(), {}, {}, {}, form="csv")
    rows, outcomes = found.decode(block(f"\n{TIME}\n\n  \n{TIME}\nnow\n".encode(), b"ts"), NOW)
    assert outcomes == {"accepted": 2, "bad_timestamp": 1}
    assert len(rows) == 2


def test_labels_come_as_csv_too() -> None:
    found = LabelDecoder(Fields(timestamp="ts", id="id"), binary(label="label"), "csv")
    data = f"a,{TIME},true\nb,,0\nc,{TIME},\nd,{TIME},perhaps\ne\n".encode()
    rows, outcomes = found.decode(block(data, b"id,ts,label"), NOW)
    assert outcomes == {"accepted": 2, "no_label": 1, "bad_label": 1, "malformed": 1}
    assert rows.labels.tolist() == [1, 0]
    assert rows.times[1] == NOW


@pytest.mark.parametrize(
    "header", [b"", b"\r", b"a\rb", b'"', b'"a', b",,,", b"\0", b"\xff\xfe", b"x" * 200_000]
)
def test_any_header_is_one(header: bytes) -> None:
    _, outcomes = decoded(GOOD + b"\n" + BAD + b"\n\n'\n\"", header)
    assert outcomes.keys() <= {"no_id", "malformed"}
    assert sum(outcomes.values()) >= 1


TEXTS = st.text(st.sampled_from(["a", "é", ",", '"', "\n", " ", "'", ";"]), max_size=6)


@given(rows=st.lists(st.lists(TEXTS, min_size=3, max_size=3), min_size=1, max_size=8), cut=st.integers(0, 60))
@settings(max_examples=150)
def test_what_a_writer_of_csv_writes_is_sound_and_settled_where_a_record_ends(
    rows: list[list[str]], cut: int
) -> None:
    text = io.StringIO()
    ends = []
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        writer.writerow(row)
        ends.append(len(text.getvalue().encode()))
    data = text.getvalue().encode()
    header = read_header(b"a,b,c\n")
    assert header
    grammar = Grammar(header)
    assert grammar.sift(data) == (data, [])
    assert len(grammar.records(data)) == len(rows)
    lines = data[: data.find(b"\n", min(cut, len(data) - 1)) + 1]
    assert grammar.settled(lines, 0, 1000) == max([0, *(end for end in ends if end <= len(lines))])


PIECES = [b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b" ", b"'", b"\\", b"a"]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    texts = draw(st.lists(st.sampled_from(["a", '"a"', '"a,\nb"', '"""a"""', "é"]), min_size=1, max_size=5))
    data = bytearray(b"".join(record(id=text) for text in texts))
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(data)))
        data[start : start + draw(st.integers(0, 9))] = draw(st.sampled_from(PIECES))
    return bytes(data)


@given(data=mutated())
@settings(max_examples=150)
def test_every_record_of_a_damaged_file_has_one_outcome(shared: PredictionDecoder, data: bytes) -> None:
    header = read_header(",".join(NAMES).encode() + b"\n")
    assert header
    sound, malformed = Grammar(header).sift(data.replace(b"\r\n", b"\n"))
    records = len(Grammar(header).records(sound)) + len(malformed)
    rows, outcomes = shared.decode(block(data), NOW)
    assert sum(outcomes.values()) == records
    assert outcomes.keys() <= set(REASONS)
    assert len(rows) == outcomes["accepted"]
    # No line is lost: what is not blank is in a record.
    rest = b"\n".join([sound, *malformed])
    assert sorted(rest.split()) == sorted(data.replace(b"\r\n", b"\n").split()) or b"\r" in data


def test_damage_stays_where_it_is(shared: PredictionDecoder) -> None:
    seeded = random.Random(3)
    quoted = record(id='"one, two"', c='"red"')
    plain = record()
    for _ in range(60):
        damaged = bytearray(seeded.choice([quoted, plain]))
        damaged.insert(seeded.randrange(len(damaged)), ord('"'))
        _, outcomes = shared.decode(block(quoted * 3 + bytes(damaged) + quoted * 3), NOW)
        assert 6 <= outcomes["accepted"] <= 7
        assert sum(outcomes.values()) <= 8
