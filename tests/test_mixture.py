"""Good and odd lines in any mixture, of every task: each has one outcome, and nothing stops the exporter."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.made import drained, fields, site_of
from tests.support.site import stamp

from ml_exporter.snapshot import log_page

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 0.5, 1.5, 1e200, -1e308, 1e-320, 10**400, "", "a", "b", "A", "other", "missing",
    "0.25", "nan", "inf", "soon", "ä\"'\\", [], [1], {}, {"a": 0.5}, {"a": 0.5, "b": 0.5}, {"a": "x", "b": 1},
    float("nan"), float("-inf"), "x" * 300,
]  # fmt: skip
VALUE = st.sampled_from(VALUES)
LINES: list[bytes] = [
    b"{bad",
    b"[1, 2]",
    b"null",
    b"3",
    b"{}",
    b'"text"',
    b"\xff\xfe",
    b'{"id": 1',
    b"{" * 50,
]
FIELDS = fields(score="s", label=...)
RECORD = st.fixed_dictionaries(
    {"id": st.sampled_from(["1", "2", "3", 4, "", None]), "ts": st.sampled_from([0, 1, 2, 59, 3.5, "late", None, 10**6])},
    optional={"prediction": VALUE, "s": VALUE, "low": VALUE, "high": VALUE, "version": VALUE, "label": VALUE,
              "features": st.one_of(VALUE, st.fixed_dictionaries({}, optional={"k": VALUE})), "error": VALUE},
)  # fmt: skip


def line(record: dict[str, Any] | bytes) -> bytes:
    if isinstance(record, bytes):
        return record + b"\n"
    offset = record["ts"]
    own = {**record, "ts": stamp(offset) if isinstance(offset, int | float) else offset}
    return json.dumps(own).encode() + b"\n"


LOG = st.lists(st.one_of(RECORD, st.sampled_from(LINES)), min_size=30, max_size=80)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@settings(max_examples=2, suppress_health_check=[HealthCheck.too_slow])
@given(predictions=LOG, labels=LOG, more=LOG)
def test_every_line_has_one_outcome_and_the_page_is_written(
    task: str, predictions: list[Any], labels: list[Any], more: list[Any]
) -> None:
    own = {
        "segments": ["k"],
        "quality": {"accuracy": {"min": 0.5}} if task != "regression" else {"bias": {"max": 1}},
        "detectors": ["ecusum", "page_hinkley", "ddm", "adwin"],
        "labels": {"min_coverage": 0},
        "shadow": ["a"],
        "windows": ["1m", "1h"],
        "alert_window": "1h",
    }
    scores = {"binary": "s", "multiclass": {"a": "s.a", "b": "s.b"}, "regression": ...}
    if task == "regression":
        own["interval"] = {"lower": "low", "upper": "high"}
    with TemporaryDirectory() as folder:
        site = site_of(Path(folder), task, fields(score=scores[task]), **own)
        site.config()
        logs = {name: site.folder / f"m-{name}.jsonl" for name in ("predictions", "labels")}
        logs["predictions"].write_bytes(b"".join(map(line, predictions)))
        logs["labels"].write_bytes(b"".join(map(line, labels)))
        for site.now in (30, 1_000):
            engine = site.engine()
            _, state = drained(engine)
            assert log_page(engine.cycle(), 0.0, 20_000).page.text
            engine.store.close()
            if site.now == 30:
                with logs["predictions"].open("ab") as log:
                    log.write(b"".join(map(line, more)))
        written = len(predictions) + len(more)
        assert state.outcomes["predictions"].total() == written
        assert state.outcomes["labels"].total() == len(labels)
        rows = sum(version.totals["inputs"].count("rows") for version in state.versions.values())
        assert rows == state.outcomes["predictions"]["accepted"]
        judged = sum(version.totals["judged"].count("mature") for version in state.versions.values())
        failed = sum(version.totals["inputs"].count("errors") for version in state.versions.values())
        assert judged == rows - failed
