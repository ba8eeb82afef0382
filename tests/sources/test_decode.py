"""Every line has exactly one outcome, whatever stands in it or beside it."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.records import (
    BAD,
    GOOD,
    MICROSECONDS,
    NOW,
    TIME,
    block,
    decoded,
    decoder,
    label,
    label_decoder,
    line,
    nested,
    prediction,
    raw,
)

from ml_exporter.sources.decode import LabelDecoder, PredictionDecoder
from ml_exporter.sources.outcomes import REASONS


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (GOOD, "accepted"),
        (b"  \t" + GOOD + b" \t ", "accepted"),
        (GOOD + b"\r", "accepted"),
        (GOOD.replace(b", ", b",\r\t "), "accepted"),
        (GOOD[:-1] + b', "id": "again"}', "accepted"),
        (GOOD[:-1] + b', "ID": "other", "Score": 7}', "accepted"),
        (GOOD[:-1] + b', "more": ' + nested(b"[", 3000, b"]") + b"}", "accepted"),
        (raw(rb'"a\u0000b"', "id").strip(), "accepted"),
        (raw("\u2028é日".encode().join([b'"', b'"']), "id").strip(), "accepted"),
        (raw(b"123456789012345678901234567890", "id").strip(), "accepted"),
        (raw(rb'"\ud800"', "id").strip(), "malformed"),
        (raw(b'"\xff\xfe"', "id").strip(), "malformed"),
        (raw(b'"\xff"', "c").strip(), "malformed"),
        (raw(b'"a\x00b"', "id").strip(), "malformed"),
        (raw(b'"a\x01b"', "id").strip(), "malformed"),
        (raw(b"+1").strip(), "malformed"),
        (raw(b"01").strip(), "malformed"),
        (raw(b"0x10").strip(), "malformed"),
        (GOOD + GOOD, "malformed"),
        (GOOD + b" " + GOOD, "malformed"),
        (GOOD + b" and more", "malformed"),
        (GOOD[:40], "malformed"),
        (GOOD.replace(b'"', b"'"), "malformed"),
        (b"\xc2\xa0" + GOOD, "malformed"),
        (b"\x00", "malformed"),
        (b"// a comment", "malformed"),
        (b"[" * 200_000, "malformed"),
        (nested(b'{"a":', 5000, b"}"), "malformed"),
        (b"12", "not_an_object"),
        (b"-1.5e3", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"true", "not_an_object"),
        (b"null", "not_an_object"),
        (b"[1, 2]", "not_an_object"),
        (b"[" + GOOD + b"]", "not_an_object"),
        (b"1" * 5000, "not_an_object"),
        (b"{}", "no_id"),
        (line(prediction(id=...)).strip(), "no_id"),
        (line(prediction(id=None)).strip(), "no_id"),
        (line(prediction(id="")).strip(), "no_id"),
        (line(prediction(ts=...)).strip(), "no_timestamp"),
        (line(prediction(ts=None)).strip(), "no_timestamp"),
        (line(prediction(ts="yesterday")).strip(), "bad_timestamp"),
        (line(prediction(ts={"at": TIME})).strip(), "bad_timestamp"),
        (line(prediction(ts="2026-01-02T01:00:00.000Z")).strip(), "accepted"),
        (line(prediction(ts="2026-01-02T01:00:00.001Z")).strip(), "future"),
        (line(prediction(ts="1970-01-01T00:00:00Z")).strip(), "accepted"),
    ],
    ids=lambda value: value[:24].decode(errors="replace") if isinstance(value, bytes) else value,
)
def test_a_line_has_one_outcome(text: bytes, outcome: str) -> None:
    found = decoder()
    rows, outcomes = found.decode(block(text + b"\n"), NOW)
    assert outcomes == {outcome: 1}
    assert len(rows) == outcomes["accepted"]
    rows, beside_bad = found.decode(block(BAD + text + b"\n"), NOW)
    assert beside_bad == Counter(["malformed", outcome])
    assert len(rows) == outcomes["accepted"]


def test_an_object_over_two_lines_is_two_malformed_lines() -> None:
    head, tail = GOOD.split(b", ", 1)
    assert decoded(head + b",\n" + tail + b"\n")[1] == {"malformed": 2}


def test_a_byte_order_mark_belongs_to_the_start_of_a_file_only() -> None:
    mark = b"\xef\xbb\xbf"
    assert decoded(mark + GOOD + b"\n" + GOOD + b"\n")[1] == {"accepted": 2}
    assert decoded(GOOD + b"\n" + mark + GOOD + b"\n")[1] == {"accepted": 1, "malformed": 1}


@pytest.mark.parametrize("blank", [b"", b"   ", b"\t", b"\r", b"\x0b", b"\x0c"])
def test_blank_lines_do_not_count_and_do_not_shift_what_is_said_of_others(blank: bytes) -> None:
    data = b"\n".join([blank, b"{}", blank, b"[1]", blank, GOOD, blank, b"{bad", b""])
    assert decoded(data)[1] == {"no_id": 1, "not_an_object": 1, "accepted": 1, "malformed": 1}


@pytest.mark.parametrize("data", [b"", b"\n", b"\n \n\r\n"])
def test_a_block_without_lines_gives_no_rows(data: bytes) -> None:
    rows, outcomes = decoded(data)
    assert (len(rows), outcomes) == (0, {})


def test_the_last_line_needs_no_newline() -> None:
    assert decoded(GOOD + b"\n" + GOOD)[1] == {"accepted": 2}


def test_a_line_of_forty_megabytes_is_read_like_any_other() -> None:
    long = line(prediction(note="x" * (40 << 20)))
    assert decoded(GOOD + b"\n" + long + GOOD + b"\n")[1] == {"accepted": 3}


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        (label(), "accepted"),
        (label(label="1"), "accepted"),
        (label(label=0), "accepted"),
        (label(ts=...), "accepted"),
        (label(id=None), "no_id"),
        (label(label=None), "no_label"),
        (label(label="perhaps"), "bad_label"),
        (label(label={"late": True}), "bad_label"),
        (label(ts="soon"), "bad_timestamp"),
        (label(ts="2027-01-01T00:00:00Z"), "future"),
        ({}, "no_id"),
    ],
)
def test_labels_have_one_outcome_too(record: dict[str, Any], outcome: str) -> None:
    rows, outcomes = label_decoder().decode(block(line(record) + b"[]\n{bad\n"), NOW)
    assert outcomes == {outcome: 1, "not_an_object": 1, "malformed": 1}
    assert rows.ids.size == rows.times.size == rows.labels.size == int(outcome == "accepted")


def test_a_label_without_a_time_takes_the_time_it_is_read() -> None:
    data = line(label(ts=...)) + line(label(label=False))
    rows, _ = label_decoder().decode(block(data), NOW)
    assert rows.times.tolist() == [NOW, MICROSECONDS]
    assert rows.labels.tolist() == [1, 0]


def test_an_id_is_the_same_in_both_logs() -> None:
    ids = ["flight 7", 7, 7.0, True, "é", {"a": 1}]
    predictions, _ = decoded(b"".join(line(prediction(id=value)) for value in ids))
    labels, _ = label_decoder().decode(block(b"".join(line(label(id=value)) for value in ids)), NOW)
    assert predictions.ids.tolist() == labels.ids.tolist()
    assert len(set(predictions.ids.tolist())) == len(ids)


PIECES = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\n",
    b"\r",
    b"\x00",
    b"\xff",
    b"null",
    b"1e999",
    b" ",
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(b"".join(line(prediction(id=number)) for number in range(draw(st.integers(1, 4)))))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        stop = start + draw(st.integers(0, 12))
        data[start:stop] = draw(st.sampled_from(PIECES) | st.binary(max_size=4))
    return bytes(data)


@pytest.fixture(scope="module")
def decoders() -> tuple[PredictionDecoder, LabelDecoder]:
    return decoder(), label_decoder()


@given(data=mutated())
@settings(max_examples=100)
def test_no_line_is_lost_and_none_is_counted_twice(
    decoders: tuple[PredictionDecoder, LabelDecoder], data: bytes
) -> None:
    lines = sum(1 for text in data.split(b"\n") if text.strip())
    rows, outcomes = decoders[0].decode(block(data), NOW)
    assert sum(outcomes.values()) == lines
    assert outcomes.keys() <= set(REASONS)
    assert len(rows) == outcomes["accepted"]
    labels, outcomes = decoders[1].decode(block(data), NOW)
    assert sum(outcomes.values()) == lines
    assert labels.ids.size == outcomes["accepted"]
