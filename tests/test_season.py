"""An hour against the same hour of earlier weeks: four simulated weeks through the engine, on event time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.made import after, fields, looked_back, site_of, write
from tests.support.site import START, Site

from ml_exporter.season import Deviation, deviations
from ml_exporter.stats.result import Unavailable, Value
from ml_exporter.store import Store

HOURS = 4 * 168
FIRST = START // 3_600 * 3_600 + 3_600 - START
"""The first full hour, in seconds after START."""


def weeks(
    hours: int, volume: float = 300.0, seed: int = 1, positives: float = 0.3, errors: float = 0.1
) -> tuple[Any, Any, Any]:
    """Times (seconds after START), predictions and labels with a rhythm of the day and of the week."""
    draw = np.random.default_rng(seed)
    hour = np.arange(hours)
    expected = volume * (1 + 0.4 * np.sin(2 * np.pi * hour / 24)) * (1 - 0.3 * (hour // 24 % 7 > 4))
    counts = draw.poisson(expected)
    times = np.repeat(hour * 3_600.0, counts) + draw.uniform(1, 3_599, counts.sum())
    predicted = draw.random(times.size) < positives
    truth = predicted ^ (draw.random(times.size) < errors)
    order = np.argsort(times)
    return FIRST + times[order], predicted[order], truth[order]


def written(
    site: Site, parts: Sequence[tuple[Any, Any, Any]], versions: Sequence[str], number: int = 1
) -> None:
    """Write parts, each of a version, as one Parquet file in the order of time."""
    times = np.concatenate([part[0] for part in parts])
    order = np.argsort(times, kind="stable")
    version = np.repeat(np.asarray(versions, object), [part[0].size for part in parts])
    columns = {
        "ts": pa.array(((times + START) * 1e6).astype(np.int64)[order], pa.timestamp("us", tz="UTC")),
        "version": version[order].tolist(),
        "prediction": np.concatenate([part[1] for part in parts])[order],
        "label": np.concatenate([part[2] for part in parts])[order],
    }
    pq.write_table(pa.table(columns), site.folder / f"log-{number}.parquet")


def parquet_site(folder: Path, **more: object) -> Site:
    own = fields(score=..., latency_seconds=..., error=..., label="label", features=["none"])
    site = site_of(folder, "binary", own, windows=["1h", "1d"], alert_window="1d", **more)
    del site.models[0]["labels"]
    site.models[0]["predictions"] |= {"path": "log-*.parquet", "format": "parquet"}
    site.now = FIRST + (HOURS + 400) * 3_600
    return site


def found(site: Site, hours: float) -> dict[str, float]:
    """Deviations at the end of an hour, in standard errors."""
    report, state = looked_back(site, FIRST + hours * 3_600 + 1)
    results = {item.subject: item.result for item in report.deviations}
    assert results == {item.subject: item.result for item in deviations(state, round(report.time * 1e6))}
    return {name: result.value for name, result in results.items() if isinstance(result, Value)}


@pytest.fixture(scope="module")
def usual_and_halved(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Four weeks, then an hour like the others, and one with half of the rows, more positives and more errors."""
    site = parquet_site(tmp_path_factory.mktemp("season"))
    usual = weeks(HOURS + 1)
    odd = weeks(1, 150.0, 2, positives=0.6, errors=0.35)
    written(site, [usual, (odd[0] + (HOURS + 1) * 3_600, *odd[1:])], ["1", "1"])
    return site


def test_a_usual_hour_is_near_its_like(usual_and_halved: Site) -> None:
    values = found(usual_and_halved, HOURS + 1)
    assert set(values) == {"volume", "positive_rate", "error_rate"}
    assert all(abs(value) < 4 for value in values.values())


def test_half_of_the_rows_and_twice_the_rates_are_far_from_it(usual_and_halved: Site) -> None:
    values = found(usual_and_halved, HOURS + 2)
    assert values["volume"] < -6
    assert values["positive_rate"] > 6
    assert values["error_rate"] > 6


def test_silence_is_far_from_it_too(usual_and_halved: Site) -> None:
    assert found(usual_and_halved, HOURS + 4)["volume"] < -6


def test_below_three_weeks_nothing_is_said(tmp_path: Path) -> None:
    site = parquet_site(tmp_path)
    written(site, [weeks(100, 3.0)], ["1"])
    report, _ = looked_back(site, FIRST + 100 * 3_600)
    assert [item.result for item in report.deviations] == [Unavailable("short_reference")] * 3


def test_a_shadows_rows_are_no_volume(tmp_path: Path) -> None:
    site = parquet_site(tmp_path, shadow=["2"])
    shadow = weeks(200, 20.0, 3)
    written(site, [weeks(HOURS, 20.0), (shadow[0] + 400 * 3_600, *shadow[1:])], ["1", "2"])
    assert abs(found(site, 590)["volume"]) < 4


def test_what_a_version_has_served_before_it_was_retired_counts(tmp_path: Path) -> None:
    """One that served a tenth of the rows for weeks and then all of them has not become ten times as busy."""
    site = parquet_site(tmp_path)
    before, canary, later = weeks(504, 36.0, 1), weeks(504, 4.0, 2), weeks(HOURS - 504 + 30, 40.0, 3)
    written(site, [before, canary], ["1", "2"])
    written(site, [(later[0] + 504 * 3_600, *later[1:])], ["2"], number=2)
    site.models[0]["champion"] = "2"
    for hours in (510, 530, 560, HOURS):
        report, state = looked_back(site, FIRST + hours * 3_600 + 1)
        volume = {item.subject: item.result for item in report.deviations}["volume"]
        assert isinstance(volume, Value)
        assert abs(volume.value) < 4
        assert set(state.versions) == ({"1", "2"} if hours == 510 else {"2"})


def test_what_a_retired_version_has_served_survives_restarts(tmp_path: Path) -> None:
    site = site_of(tmp_path, "binary", fields(score=...), windows=["1m", "10m"])
    for version, first in (("old", 0), ("1", 3_000)):
        columns = {"prediction": [True, False] * 20, "version": [version] * 40}
        write(site, columns, [True] * 40, first=first, apart=1.0, start=first)
        _, state = after(site, first + 200)
    first_hour = int(START + 0) // 3_600
    for now in (5_000, 5_100):
        _, state = after(site, now)
        assert "old" not in state.versions
        kept = {hour: sums[:5].tolist() for hour, sums in state.retired.sums.items()}
        assert kept == {first_hour: [40, 20, 40, 20, 20]}
    _, state = after(site, (13 * 7 * 24 + 3) * 3_600)
    assert state.retired.sums == {}
    store = Store(site.folder / "state.duckdb")
    assert [key for key, _ in store.panes(0) if key[0] not in ("1", "old")] == []
    store.close()


@pytest.mark.parametrize(
    ("task", "subjects"),
    [
        ("binary", ["volume", "positive_rate", "error_rate"]),
        ("multiclass", ["volume", "error_rate"]),
        ("regression", ["volume"]),
    ],
)
def test_each_task_has_its_subjects(tmp_path: Path, task: str, subjects: list[str]) -> None:
    site = parquet_site(tmp_path)
    site.models[0]["task"] = task
    written(site, [weeks(2, 5.0)], ["1"])
    named: list[Deviation] = list(looked_back(site, FIRST + 7_201)[0].deviations)
    assert [item.subject for item in named] == subjects
