"""Whatever stands in a log: every record has one outcome, the sum is right, and the exporter goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.site import Site, label, model, prediction

from ml_exporter.engine import Engine
from ml_exporter.snapshot import log_page
from ml_exporter.sources.csv_records import Grammar, read_header
from ml_exporter.store import Store

GOOD = json.dumps(prediction(1, 1)).encode()
CSV_HEADER = b"id,ts,version,score,prediction,latency_s,error\n"


def with_value(field: str, value: bytes) -> bytes:
    """A sound line with other bytes where a field's value stands."""
    record = {**prediction(1, 1), field: "?value?"}
    return json.dumps(record).encode().replace(b'"?value?"', value)


def outcomes(engine: Engine) -> dict[str, Counter[str]]:
    ((_, state),) = engine.cycle().reports
    return {source: Counter(counts) for source, counts in state.outcomes.items()}


def non_blank(data: bytes) -> int:
    return sum(1 for text in data.split(b"\n") if text.strip())


class Harness:
    """A running engine; each example appends to its logs, or stands in files of its own."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder, [model(dead_letter={"path": "rejected"})])
        self.site.now = 100
        self.engine = self.site.engine()
        self.seen = {"predictions": Counter[str](), "labels": Counter[str]()}

    def append(self, source: str, data: bytes) -> None:
        with (self.site.folder / f"flight-delay-{source}.jsonl").open("ab") as file:
            file.write(data + b"\n")

    def new_outcomes(self) -> dict[str, Counter[str]]:
        found = outcomes(self.engine)
        new = {source: counts - self.seen[source] for source, counts in found.items()}
        assert all(counts >= self.seen[source] for source, counts in found.items())
        self.seen = found
        return new


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    harness = Harness(tmp_path_factory.mktemp("site"))
    yield harness
    harness.engine.store.close()


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        pytest.param(with_value("score", b"NaN"), "accepted", id="NaN"),
        pytest.param(with_value("score", b"-Infinity"), "accepted", id="Infinity"),
        pytest.param(with_value("score", b"1e400"), "accepted", id="1e400"),
        pytest.param(with_value("latency_s", b"9" * 500), "accepted", id="huge integer"),
        pytest.param(with_value("ts", b"9" * 500), "bad_timestamp", id="huge time"),
        pytest.param(GOOD[:-1] + b', "id": "again", "score": 7}', "accepted", id="duplicate keys"),
        pytest.param(with_value("id", rb'"\ud800"'), "malformed", id="lone surrogate"),
        pytest.param(with_value("version", rb'"\udfff"'), "malformed", id="lone surrogate as a version"),
        pytest.param(with_value("id", b'"\xff"'), "malformed", id="invalid UTF-8"),
        pytest.param(with_value("id", b'"\0"'), "malformed", id="NUL byte"),
        pytest.param(with_value("id", rb'"\u0000"'), "accepted", id="escaped NUL"),
        pytest.param(with_value("version", rb'"\u0000"'), "accepted", id="escaped NUL as a version"),
        pytest.param(with_value("version", rb'"\"\\\n\u2028{}"'), "accepted", id="version to be escaped"),
        pytest.param(
            with_value("features", b'{"a":' * 3000 + b"1" + b"}" * 3000),
            "accepted",
            id="deep where nobody looks",
        ),
        pytest.param(with_value("other", b"[" * 900 + b"]" * 900), "accepted", id="deep elsewhere"),
        pytest.param(b"[" * 100_000, "malformed", id="deep and open"),
        pytest.param(GOOD + GOOD, "malformed", id="two objects"),
        pytest.param(b"7", "not_an_object", id="bare number"),
        pytest.param(b"[" + GOOD + b"]", "not_an_object", id="list"),
        pytest.param(b"null", "not_an_object", id="null"),
        pytest.param(b"{}", "no_id", id="empty object"),
        pytest.param(with_value("features", b"[1, 2]"), "accepted", id="features as a list"),
        pytest.param(with_value("features", b'"text"'), "accepted", id="features as text"),
        pytest.param(GOOD + b" " * (1 << 20), "too_long", id="too long"),
        pytest.param(GOOD.replace(b", ", b",\n", 1), "malformed", id="over two lines"),
    ],
)
def test_each_kind_of_line_ends_as_is_written_here(harness: Harness, text: bytes, outcome: str) -> None:
    harness.append("predictions", b"\n".join([GOOD, text, GOOD]))
    harness.site.now += 1
    expected = Counter({"accepted": 2}) + Counter({outcome: 1 + text.count(b"\n")})
    assert harness.new_outcomes()["predictions"] == expected
    page = log_page(harness.engine.cycle(), 0, 20_000).page
    assert page.text.decode().endswith("\n")


PIECES = [
    b'"',
    b"{",
    b"}",
    b"[",
    b",",
    b":",
    b"\\",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"null",
    b"1e999",
    b" ",
    b"\\u0000",
]


@st.composite
def damaged(draw: st.DrawFn, records: list[bytes], pieces: list[bytes]) -> bytes:
    data = bytearray(b"\n".join(draw(st.lists(st.sampled_from(records), min_size=1, max_size=4))) + b"\n")
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        data[start : start + draw(st.integers(0, 12))] = draw(st.sampled_from(pieces) | st.binary(max_size=3))
    return bytes(data)


PREDICTIONS = [
    json.dumps(prediction(number, number, version=str(number % 3))).encode() for number in range(5)
]
LABELS = [json.dumps(label(number, number)).encode() for number in range(5)]


@given(predictions=damaged(PREDICTIONS, PIECES), labels=damaged(LABELS, PIECES))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_line_of_damaged_logs_is_counted_once(
    harness: Harness, predictions: bytes, labels: bytes
) -> None:
    harness.append("predictions", predictions)
    harness.append("labels", labels)
    harness.site.now += 1
    found = harness.new_outcomes()
    assert found["predictions"].total() == non_blank(predictions)
    assert found["labels"].total() == non_blank(labels)


CSV_PIECES = [b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"'", b" "]
CSV_RECORDS = [
    b'%d,2023-11-14T22:14:00Z,"1",0.5,true,0.1,' % number
    if number % 2
    else b'"a,\n%d",1700000040,1,,,,x' % number
    for number in range(5)
]


@given(data=damaged(CSV_RECORDS, CSV_PIECES))
@settings(max_examples=15, deadline=None)
def test_every_record_of_a_damaged_csv_file_is_counted_once(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    own = model()
    own["predictions"] = {"path": "log.csv", "format": "csv", "fields": own["predictions"]["fields"]}
    del own["labels"]
    site = Site(tmp_path_factory.mktemp("csv"), [own], now=100)
    (site.folder / "log.csv").write_bytes(CSV_HEADER + data)
    ((_, state),) = site.engine(Store(None)).run_once(None).reports
    header = read_header(CSV_HEADER)
    assert header
    text = data.replace(b"\r\n", b"\n").removesuffix(b"\r")
    sound, malformed = Grammar(header).sift(text)
    assert state.outcomes["predictions"].total() == len(Grammar(header).records(sound)) + len(malformed)
    # And the records hold every line.
    assert Counter(b"\n".join([sound, *malformed]).split()) == Counter(text.split())
