"""What a window can say of targets: rows to expect, the width of bounds, and what can be proved."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.made import profiled, site_of, write
from tests.support.site import Site

from ml_exporter.config import Model
from ml_exporter.profile import Chunks, Profile
from ml_exporter.stats.intervals import wilson
from ml_exporter.stats.planning import half_width, provable
from ml_exporter.targets import expected_rows, outlooks

DAY = 86_400


def profile(
    labelled: int = 700, days: float = 7.0, seconds: float = DAY, task: str = "regression"
) -> Profile:
    last = f"2024-01-{1 + int(days):02d}T{round(days % 1 * 24):02d}:00:00Z"
    return Profile.model_validate(
        {
            "format": 1, "model": "m", "task": task, "rows": 2 * labelled, "labelled": labelled,
            "first": "2024-01-01T00:00:00Z", "last": last, "windows": {"1d": Chunks(seconds=seconds, chunks=7)},
            "columns": {}, "ignored": {}, "quality": {},
        }
    )  # fmt: skip


def model_of(folder: Path, task: str = "regression", **quality: dict[str, float]) -> Model:
    own = site_of(folder, task, windows=["1h", "1d"], alert_window="1d", quality=quality)
    return own.config().models[0]


class TestExpectedRows:
    def test_at_the_pace_of_the_profile(self, tmp_path: Path) -> None:
        model = model_of(tmp_path)
        assert expected_rows(model, profile()) == 100
        assert expected_rows(model, profile(days=0.5)) == 700

    def test_of_a_replay_at_another_pace(self, tmp_path: Path) -> None:
        """The profile's chunks tell how long a window is in the data's own time."""
        assert expected_rows(model_of(tmp_path), profile(seconds=3.5 * DAY)) == 350

    def test_of_a_window_that_the_profile_does_not_know(self, tmp_path: Path) -> None:
        model = model_of(tmp_path)
        assert expected_rows(model, profile().model_copy(update={"windows": {}})) == 100

    def test_of_rows_at_a_single_time(self, tmp_path: Path) -> None:
        assert expected_rows(model_of(tmp_path), profile(40, days=0.0)) == 40


def test_each_bound_of_each_target_is_one_outlook(tmp_path: Path) -> None:
    model = model_of(tmp_path, mean_absolute_error={"max": 3.0}, bias={"min": -1.0, "max": 1.0})
    found = [(item.metric, item.bound, item.target, item.rows) for item in outlooks(model, profile())]
    assert found == [
        ("mean_absolute_error", "max", 3.0, 100),
        ("bias", "min", -1.0, 100),
        ("bias", "max", 1.0, 100),
    ]


@pytest.fixture
def rare(tmp_path: Path) -> Site:
    """A model with 4 % of positives; its alert window holds 300 rows."""
    quality = {"accuracy": {"min": 0.9}, "recall": {"min": 0.5}, "precision": {"min": 0.999, "max": 1.0}}
    site = site_of(tmp_path, "binary", quality=quality)
    labels = [row % 25 == 0 for row in range(1_200)]
    scores = [0.1 + 0.8 * label * (row % 2) for row, label in enumerate(labels)]
    write(site, {"score": scores, "prediction": [score > 0.5 for score in scores]}, labels, apart=2.0)
    return site


def test_half_widths_are_those_of_the_bounds_at_the_target(rare: Site) -> None:
    made = profiled(rare)
    model = rare.config().models[0]
    found = {(item.metric, item.bound): item for item in outlooks(model, made)}
    rows = expected_rows(model, made)
    assert rows == round(1_200 * 600 / 2_398)
    accuracy = found["accuracy", "min"]
    lower, upper = wilson(0.9 * rows, rows)
    assert accuracy.half_width == pytest.approx((upper - lower) / 2)
    assert accuracy.provable
    # Only positives count for recall: twelve of 300.
    recall = found["recall", "min"]
    assert recall.half_width == half_width("recall", 0.5, rows, 0.04)
    assert recall.half_width is not None
    assert recall.half_width > 4 * accuracy.half_width
    assert recall.provable == provable("recall", 0.5, "min", rows, 0.04)
    # No precision is above one.
    assert not found["precision", "max"].provable


def test_a_metric_of_two_classes_cannot_be_told_without_their_rate(tmp_path: Path) -> None:
    model = model_of(tmp_path, "binary", recall={"min": 0.5})
    (found,) = outlooks(model, profile(task="binary"))
    assert found.half_width == half_width("recall", 0.5, 100)
    assert found.rows == 100
