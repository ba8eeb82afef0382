"""Versions compared from their logs: canaries, shadows, and another model's champion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.made import CLASSES, Rides, after, fields, looked_back, site_of, write
from tests.support.site import START, Site, model

from ml_exporter.comparison import ALPHA, Difference
from ml_exporter.stats.difference import unpaired_difference
from ml_exporter.stats.result import Unavailable, Value
from ml_exporter.stats.sequential import mean_difference
from ml_exporter.stats.sums import RowSums

N = 20_000
HOURS = 30
LOSSES = ("accuracy", "brier_score", "log_loss")


def parquet_model(name: str, **more: object) -> dict[str, Any]:
    """A binary model whose records carry their label."""
    own = model(name, windows=["1h", "2d"], alert_window="2d", **more)
    del own["labels"]
    names = fields(latency_seconds=..., error=..., label="label", features=["none"])
    own["predictions"] = {"path": f"{name}.parquet", "format": "parquet", "fields": names}
    return own


def traffic(errors: Mapping[str, float], shares: Mapping[str, float], seed: int = 1) -> dict[str, Any]:
    """Rows of versions with these error rates and random shares; at night all err twice as often."""
    draw = np.random.default_rng(seed)
    offsets = np.sort(draw.uniform(0, HOURS * 3_600, N))
    version = draw.choice(list(shares), N, p=list(shares.values()))
    rate = np.asarray([errors[name] for name in version]) * np.where(offsets // 3_600 % 24 < 12, 1.0, 2.0)
    label = draw.random(N) < 0.5
    chosen = label ^ (draw.random(N) < rate)
    return {
        "offset": offsets,
        "version": version,
        "label": label,
        "prediction": chosen,
        "score": np.where(chosen, 0.8, 0.2),
    }


def put(site: Site, name: str, rows: Mapping[str, Any]) -> None:
    columns = {key: pa.array(value) for key, value in rows.items() if key != "offset"}
    stamps = ((np.asarray(rows["offset"]) + START) * 1e6).astype(np.int64)
    pq.write_table(
        pa.table({"ts": pa.array(stamps, pa.timestamp("us", tz="UTC")), **columns}),
        site.folder / f"{name}.parquet",
    )


def site_with(folder: Path, *models: dict[str, Any]) -> Site:
    return Site(folder, models=list(models), now=10 * 86_400)


def differences(site: Site, number: int = 0) -> dict[tuple[str, str, str], Difference]:
    report, _ = looked_back(site, HOURS * 3_600, number)
    return {(item.metric, item.baseline, item.candidate): item for item in report.differences}


def by_hour(rows: Mapping[str, Any], version: str, metric: str) -> np.ndarray[Any, Any]:
    """Rows, losses and their squares by hour since 1970."""
    own = np.asarray(rows["version"]) == version
    right = np.asarray(rows["label"]) == np.asarray(rows["prediction"])
    loss = {
        "accuracy": 1.0 - right,
        "brier_score": np.where(right, 0.04, 0.64),
        "log_loss": -np.log(np.where(right, 0.8, 0.2)),
    }
    hours = ((np.asarray(rows["offset"]) + START) // 3_600).astype(np.int64)
    hours -= hours.min()
    columns = [np.bincount(hours[own], loss[metric][own] ** power, hours.max() + 1) for power in (0, 1, 2)]
    return np.stack(columns, axis=1)


class TestCanary:
    @pytest.mark.parametrize(
        ("rate", "decided"),
        [(0.12, "better"), (0.3, "worse"), (0.2, "open")],
        ids=["better", "worse", "equal"],
    )
    def test_a_tenth_of_the_traffic_is_compared(self, tmp_path: Path, rate: float, decided: str) -> None:
        site = site_with(tmp_path, parquet_model("m"))
        rows = traffic({"1": 0.2, "2": rate}, {"1": 0.9, "2": 0.1})
        put(site, "m", rows)
        found = differences(site)
        for metric in LOSSES:
            item = found[metric, "1", "2"]
            assert item.pairing == "unpaired"
            expected = unpaired_difference(
                by_hour(rows, "1", metric), by_hour(rows, "2", metric), ALPHA / 3, binary=metric == "accuracy"
            )
            assert isinstance(item.result, Value)
            assert isinstance(expected, Value)
            for name in ("value", "lower", "upper", "n"):
                assert getattr(item.result, name) == pytest.approx(getattr(expected, name), rel=1e-9), name
            lower, upper = item.result.lower, item.result.upper
            assert lower is not None
            assert upper is not None
            assert (lower > 0, upper < 0) == (decided == "better", decided == "worse")

    def test_metrics_that_are_no_mean_have_a_block_jackknife(self, tmp_path: Path) -> None:
        site = site_with(tmp_path, parquet_model("m"))
        put(site, "m", traffic({"1": 0.2, "2": 0.05}, {"1": 0.9, "2": 0.1}))
        found = differences(site)
        for metric in ("roc_auc", "f1"):
            result = found[metric, "1", "2"].result
            assert isinstance(result, Value)
            assert result.lower is not None
            assert result.lower > 0

    def test_a_few_rows_say_nothing(self, tmp_path: Path) -> None:
        site = site_with(tmp_path, parquet_model("m"))
        put(site, "m", traffic({"1": 0.1, "2": 0.0}, {"1": 0.999, "2": 0.001}))
        found = differences(site)
        assert {item.result for item in found.values()} == {Unavailable("too_few_rows")}

    def test_more_versions_and_metrics_share_the_chance_of_an_error(self, tmp_path: Path) -> None:
        site = site_with(tmp_path, parquet_model("m"))
        rows = traffic({"1": 0.2, "2": 0.2, "3": 0.2}, {"1": 0.6, "2": 0.2, "3": 0.2})
        put(site, "m", rows)
        result = differences(site)["accuracy", "1", "2"].result
        arms = by_hour(rows, "1", "accuracy"), by_hour(rows, "2", "accuracy")
        split = unpaired_difference(*arms, ALPHA / 6, binary=True)
        assert isinstance(result, Value)
        assert isinstance(split, Value)
        assert result.lower == pytest.approx(split.lower, rel=1e-9)


class TestAnotherModel:
    @pytest.mark.parametrize(("own", "other", "better"), [(0.1, 0.2, True), (0.2, 0.1, False)])
    def test_its_champion_is_the_baseline(
        self, tmp_path: Path, own: float, other: float, better: bool
    ) -> None:
        first, second = parquet_model("first", compare_with="second"), parquet_model("second")
        site = site_with(tmp_path, first, second)
        put(site, "first", traffic({"1": own}, {"1": 1.0}))
        put(site, "second", traffic({"1": other}, {"1": 1.0}, seed=2))
        found = differences(site)
        assert set(found) == {(metric, "second/1", "1") for metric in LOSSES}
        result = found["accuracy", "second/1", "1"].result
        assert isinstance(result, Value)
        assert result.lower is not None
        assert result.upper is not None
        assert (result.lower > 0) == better
        assert (result.upper < 0) == (not better)
        assert differences(site, 1) == {}

    def test_only_losses_that_both_have_are_compared(self, tmp_path: Path) -> None:
        first, second = (
            parquet_model("first", compare_with="second"),
            parquet_model("second", task="multiclass"),
        )
        second["predictions"]["fields"] = {
            key: value for key, value in second["predictions"]["fields"].items() if key != "score"
        }
        site = site_with(tmp_path, first, second)
        put(site, "first", traffic({"1": 0.1}, {"1": 1.0}))
        put(site, "second", traffic({"1": 0.2}, {"1": 1.0}, seed=2))
        found = differences(site)
        assert isinstance(found["accuracy", "second/1", "1"].result, Value)
        assert found["log_loss", "second/1", "1"].result == Unavailable("too_few_rows")

    def test_one_that_has_no_rows_yet_is_no_baseline(self, tmp_path: Path) -> None:
        site = site_with(tmp_path, parquet_model("first", compare_with="second"), parquet_model("second"))
        put(site, "first", traffic({"1": 0.1}, {"1": 1.0}))
        assert differences(site) == {}


def shadowed(
    site: Site, columns: Mapping[str, list[object]], other: Mapping[str, list[object]], labels: list[Any]
) -> None:
    """The same ids answered by the champion and by a shadow."""
    write(site, columns, labels)
    write(site, {**other, "version": ["2"] * len(labels)}, None)


class TestShadow:
    def test_numbers_of_the_same_ids_are_compared(self, tmp_path: Path) -> None:
        draw = np.random.default_rng(1)
        truth = draw.normal(10, 5, 400)
        answers = [(truth + draw.normal(0, spread, 400)).round(3) for spread in (2.0, 1.0)]
        site = site_of(tmp_path, "regression", shadow=["2"])
        shadowed(
            site, {"prediction": answers[0].tolist()}, {"prediction": answers[1].tolist()}, truth.tolist()
        )
        report, _ = after(site, 300)
        errors = [np.abs(answer - truth) for answer in answers]
        better = {
            "mean_absolute_error": errors[0] - errors[1],
            "mean_squared_error": errors[0] ** 2 - errors[1] ** 2,
        }
        found = {item.metric: item for item in report.differences}
        assert set(found) == set(better)
        for metric, sums in better.items():
            expected = mean_difference(RowSums.of(sums), ALPHA / 2)
            result = found[metric].result
            assert isinstance(result, Value)
            assert isinstance(expected, Value)
            assert (found[metric].pairing, found[metric].baseline, found[metric].candidate) == (
                "paired",
                "1",
                "2",
            )
            assert (result.value, result.lower, result.n) == (
                pytest.approx(expected.value),
                pytest.approx(expected.lower),
                400,
            )
        assert [(version.name, version.role) for version in report.versions] == [
            ("1", "champion"),
            ("2", "shadow"),
        ]

    def test_classes_of_the_same_ids_are_compared(self, tmp_path: Path) -> None:
        site = site_of(
            tmp_path, "multiclass", fields(score={name: f"s.{name}" for name in CLASSES}), shadow=["2"]
        )
        first, second = Rides(400, 1), Rides(400, 2)
        second.truth = first.truth
        shadowed(site, first.columns(), second.columns(), list(first.labels()))
        report, _ = after(site, 300)
        found = {item.metric: item.result for item in report.differences}
        assert set(found) == {"accuracy", "log_loss"}
        rows = np.arange(400)
        logs = [-np.log(rides.scores[rows, first.truth]) for rides in (first, second)]
        wrong = [rides.chosen != first.truth for rides in (first, second)]
        for metric, losses in (("accuracy", wrong), ("log_loss", logs)):
            result = found[metric]
            assert isinstance(result, Value)
            assert result.value == pytest.approx(losses[0].mean() - losses[1].mean(), rel=1e-9)
            assert result.n == 400

    def test_pairs_survive_restarts_and_are_counted_once(self, tmp_path: Path) -> None:
        site = site_of(tmp_path, "regression", shadow=["2"])
        shadowed(site, {"prediction": [1.0] * 400}, {"prediction": [2.0] * 400}, [2.0] * 400)
        for now in (100, 130, 300, 310):
            report, _ = after(site, now)
        result = report.differences[0].result
        assert isinstance(result, Value)
        assert (result.value, result.n) == (1.0, 400)


def test_roles(tmp_path: Path) -> None:
    site = site_with(tmp_path, parquet_model("m", shadow=["3"]))
    put(site, "m", traffic(dict.fromkeys("123", 0.1), {"1": 0.5, "2": 0.25, "3": 0.25}))
    report, _ = looked_back(site, HOURS * 3_600)
    assert {version.name: version.role for version in report.versions} == {
        "1": "champion",
        "2": "candidate",
        "3": "shadow",
    }
