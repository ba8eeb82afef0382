"""Blocks become deltas: rows by version, what is rejected, outside or not yet to be read."""

from typing import Any

import numpy as np
import pytest
from tests.support.records import MICROSECONDS, NOW, label, line, prediction
from tests.support.rows import layout

from ml_exporter.config import Model
from ml_exporter.delta import LabelReader, PredictionReader, feature_path, feature_paths
from ml_exporter.layout import Layout
from ml_exporter.sources.blocks import Block
from ml_exporter.sources.files import Position

SECOND = 1_000_000
START = Position("log", "", 0, 0)


def model(**changes: Any) -> Model:
    config: dict[str, Any] = {
        "name": "m",
        "task": "binary",
        "windows": ("1m", "1h"),
        "predictions": {
            "path": "/log",
            "fields": {
                "timestamp": "ts",
                "score": "score",
                "prediction": "prediction",
                "latency_seconds": "latency_s",
                "error": "error",
            },
        },
        "labels": {"path": "/labels", "fields": {"timestamp": "ts"}},
    }
    return Model.model_validate(config | changes)


def block(*records: dict[str, Any], too_long: int = 0) -> Block:
    data = b"".join(map(line, records))
    return Block(data, START, Position("log", "", 0, len(data)), too_long)


def at(seconds: float, **changes: Any) -> dict[str, Any]:
    """A prediction so many seconds after the first."""
    time = np.datetime64(MICROSECONDS + round(seconds * SECOND), "us")
    return prediction(**({"ts": f"{time}Z", "id": f"at {seconds}"} | changes))


def test_rows_are_counted_by_version_with_the_version_s_own_layout() -> None:
    wide = layout()
    reader = PredictionReader(model(), {"1": wide, "default": Layout(None)})
    delta = reader.read(block(at(0), at(1), at(2, version="2"), at(3, version=None)), NOW, None)
    rows = {name: counts.total.count("rows") for name, counts in delta.counts.items()}
    assert rows == {"1": 2, "2": 1, "unknown": 1}
    cells = {name: counts.total["cells"].size for name, counts in delta.counts.items()}
    assert cells == {"1": wide.size, "2": 0, "unknown": 0}
    assert wide.cells["c"].of(delta.counts["1"].total["cells"]).tolist() == [0, 0, 0, 2, 0, 0]
    assert delta.predictions is not None
    assert len(delta.predictions) == 4
    assert (delta.source, delta.outcomes, delta.outside) == ("predictions", {"accepted": 4}, 0)
    assert delta.newest == MICROSECONDS + 3 * SECOND


def test_the_position_and_the_lines_that_are_too_long_come_from_the_block() -> None:
    given = block(at(0), too_long=3)
    delta = PredictionReader(model(), {"default": layout()}).read(given, NOW, None)
    assert delta.position is given.end
    assert delta.outcomes == {"accepted": 1, "too_long": 3}
    delta = LabelReader(model(), {}).read(block(label(), label(id=None), too_long=1), NOW)
    assert delta.outcomes == {"accepted": 1, "no_id": 1, "too_long": 1}


def test_windows_end_at_the_newest_row_or_at_the_clock() -> None:
    reader = PredictionReader(model(), {"default": layout()})
    rows = block(at(0), at(3500), at(3661), at(7200))
    by_newest = reader.read(rows, NOW, None)
    assert by_newest.outside == 2
    assert {window for window, _ in by_newest.counts["1"].panes} == {0, 1}
    by_clock = reader.read(rows, NOW, MICROSECONDS + 9000 * SECOND)
    assert by_clock.outside == 3
    late = reader.read(rows, NOW, NOW)
    assert late.outside == 4
    assert late.counts["1"].panes == {}
    assert late.counts["1"].total.count("rows") == 4


def test_rows_after_the_given_time_stay_unread() -> None:
    until = MICROSECONDS + 10 * SECOND
    reader = PredictionReader(model(), {"default": layout()})
    delta = reader.read(block(at(0), at(10), at(10.000001), at(20), {"id": 1}), NOW, None, until)
    assert delta.outcomes == {"accepted": 2, "no_timestamp": 1}
    assert delta.newest == until
    assert delta.counts["1"].total.count("rows") == 2
    labels = LabelReader(model(), {}).read(block(label(), label(ts="2026-01-01T00:00:11Z")), NOW, until)
    assert labels.outcomes == {"accepted": 1}
    assert labels.labels is not None
    assert labels.labels.ids.size == 1


@pytest.mark.parametrize("records", [[], [{"id": 1}], [at(100)]])
def test_a_block_without_accepted_rows(records: list[dict[str, Any]]) -> None:
    reader = PredictionReader(model(), {"default": layout()})
    delta = reader.read(block(*records), NOW, None, MICROSECONDS)
    assert (delta.counts, delta.newest, delta.outcomes["accepted"]) == ({}, None, 0)
    assert "accepted" not in delta.outcomes
    assert LabelReader(model(), {}).read(block(), NOW).newest is None


def test_slow_answers_are_those_above_the_configured_limit() -> None:
    reader = PredictionReader(model(latency={"limit": 0.2}), {"default": layout()})
    delta = reader.read(block(at(0, latency_s=0.2), at(1, latency_s=0.21), at(2, latency_s=9)), NOW, None)
    assert delta.counts["1"].total.count("slow") == 2


def test_a_label_in_the_record_needs_no_id() -> None:
    fields = {"timestamp": "ts", "score": "score", "label": "late"}
    own = model(predictions={"path": "/log", "fields": fields}, labels=None)
    reader = PredictionReader(own, {"default": layout()})
    delta = reader.read(block(at(0, id=..., late=True), at(1, id=..., late=False), at(2, id=...)), NOW, None)
    assert delta.outcomes == {"accepted": 3}
    assert delta.predictions is not None
    assert delta.predictions.labels is not None
    np.testing.assert_array_equal(delta.predictions.labels, [1, 0, np.nan])


def test_configured_versions_keep_their_names_among_any_number_of_others() -> None:
    reader = PredictionReader(
        model(champion="live", shadow=("next",)), {"old": layout(), "default": layout()}
    )
    others = [at(number, version=f"a{number}") for number in range(100)]
    reader.read(block(*others), NOW, None)
    delta = reader.read(block(*(at(0, version=name) for name in ("live", "next", "old", "new"))), NOW, None)
    assert set(delta.counts) == {"live", "next", "old", "other"}


def test_features_are_below_their_object_or_where_they_are_listed() -> None:
    assert feature_path(model(), "x") == "features.x"
    assert feature_path(model(), "a.b") == r"features.a\.b"
    fields = {"features": ("in.x", "y", r"in.a\.b")}
    listed = model(predictions={"path": "/log", "fields": fields})
    assert [feature_path(listed, name) for name in ("x", "y", "a.b")] == ["in.x", "y", r"in.a\.b"]


def test_the_model_s_own_columns_are_no_features() -> None:
    found = feature_paths(model(), [layout(), Layout(None)])
    assert found.numbers == {"x": "features.x"}
    assert found.categories == {"c": "features.c"}
    assert found.values == {"c": ["blue", "teal", "moss"]}
    assert found.texts == found.stamps == {}
