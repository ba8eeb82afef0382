"""How often drift is seen where there is none: real days in any order, and weeks of rows from one distribution."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from tests.rules.bundle import PROMETHEUS, checked
from tests.support.site import FIELDS, Site

from ml_exporter.columns import Columns
from ml_exporter.config import Model
from ml_exporter.drift import floor_of
from ml_exporter.layout import Layout
from ml_exporter.profile import Profile
from ml_exporter.profile_build import build
from ml_exporter.profile_cells import Counts
from ml_exporter.profile_compare import as_in, counts_of_rows
from ml_exporter.profile_data import Rows
from ml_exporter.stats.result import Value

FLIGHTS = Path(__file__).parents[1] / "exporter/demo/flights.parquet"
DAY = 86_400
START = 1_700_006_400
"""A midnight."""
PANES = 60


def configured(folder: Path, **more: object) -> Model:
    model = {
        "name": "m",
        "champion": "1",
        "predictions": {"path": "log.parquet", "format": "parquet", "fields": dict(FIELDS)},
        "windows": ["1d"],
        **more,
    }
    return Site(folder, [model]).config().models[0]


def flat(layout: Layout, counts: dict[str, Counts]) -> NDArray[np.int64]:
    found = np.zeros(layout.size, np.int64)
    for name, cells in layout.cells.items():
        found[cells.offset : cells.offset + cells.bins] = counts[name]
    return found


@pytest.mark.parametrize(
    ("reference", "windows"),
    [pytest.param(60, 30, id="quarter"), pytest.param(120, 200, id="year", marks=pytest.mark.long)],
)
def test_real_days_in_any_order_are_no_drift(tmp_path: Path, reference: int, windows: int) -> None:
    """The floor of sampling alone is exceeded by the weather of nearly every day."""
    log = tmp_path / "log.parquet"
    connection = duckdb.connect()
    days = connection.execute(
        f"SELECT DISTINCT ts::DATE AS day FROM '{FLIGHTS}' WHERE version = '1' ORDER BY day"
    ).fetchnumpy()["day"]
    places = np.random.default_rng(6).permutation(len(days))
    known = ", ".join(f"('{day}'::DATE, {place})" for day, place in zip(days, places, strict=True))
    connection.execute(
        f"COPY (SELECT * EXCLUDE (ts, place, day), to_timestamp({START} + place * {DAY} + epoch(ts) % {DAY}) AS ts "
        f"FROM '{FLIGHTS}' JOIN (VALUES {known}) known(day, place) ON ts::DATE = day WHERE version = '1' "
        f"AND place < {reference + windows} ORDER BY ts) TO '{log}' (FORMAT parquet)"
    )
    model = configured(tmp_path)
    profile = build(model, Rows(model, [log], until=microseconds(reference)))
    layout, own = Layout(profile), as_in(model, profile)
    columns = Columns(layout, model)
    above: dict[str, list[bool]] = {"noise": [], "sampling": []}
    for day in range(reference, reference + windows):
        rows = Rows(own, [log], microseconds(day), microseconds(day + 1))
        for drift in columns.drifts(flat(layout, counts_of_rows(profile, rows)), "1d"):
            if not isinstance(drift.result, Value) or drift.noise is None:
                continue  # on calm days nobody writes gusts down
            column = profile.columns[drift.column]
            floor = floor_of(column, column.noise[drift.method].table, drift.result.n, profile.rows)
            above["noise"].append(drift.result.value > drift.noise)
            above["sampling"].append(drift.result.value > floor)
    assert np.mean(above["noise"]) < 0.05
    assert np.mean(above["sampling"]) > 0.5


def microseconds(day: int) -> int:
    return (START + day * DAY) * 1_000_000


class TestWeeks:
    """Columns of independent rows, pane by pane through the exporter's statistics and the shipped rules."""

    ROWS_A_DAY = 1_200

    def log(self, folder: Path, columns: int, days: int) -> Path:
        path = folder / "log.parquet"
        rng = np.random.default_rng(5)
        rows = self.ROWS_A_DAY * days
        values = {f"c{index}": self.values(rng, rows, index) for index in range(columns)}
        features = ", ".join(f"{name}: {name}" for name in values)
        table = {"ts": START - days * DAY + np.arange(rows) * DAY / self.ROWS_A_DAY, **values}
        connection = duckdb.connect()
        connection.register("drawn", table)
        connection.execute(
            f"COPY (SELECT ts, '1' AS version, 0.5 AS score, {{{features}}} AS features FROM drawn) TO '{path}' (FORMAT parquet)"
        )
        return path

    def values(self, rng: np.random.Generator, rows: int, index: int) -> NDArray[np.float64]:
        """Rows of one of three shapes: of every column its own."""
        if index % 3 == 0:
            return rng.normal(size=rows)
        return rng.lognormal(size=rows) if index % 3 == 1 else rng.integers(0, 6, rows).astype(np.float64)

    def windows(self, profile: Profile, days: int, moved: float) -> Iterator[NDArray[np.int64]]:
        """Counts of a day's window at each pane; in the last quarter the first column has moved."""
        layout, rng = Layout(profile), np.random.default_rng(7)
        step = self.ROWS_A_DAY // PANES
        ring = np.zeros((PANES, layout.size), np.int64)
        for pane in range(PANES * (days + 1)):
            late = pane > PANES * (1 + days * 3 // 4)
            ring[pane % PANES] = 0
            for index, (name, cells) in enumerate(layout.cells.items()):
                if name.startswith("c"):
                    own = self.values(rng, step, int(name[1:])) + moved * (late and index == 0)
                    codes = cells.numeric_codes(own, None)
                    ring[pane % PANES, cells.offset : cells.offset + cells.size] = np.bincount(
                        codes, minlength=cells.size
                    )
            if pane >= PANES:
                yield ring.sum(axis=0)

    def series(self, profile: Profile, model: Model, days: int, moved: float) -> list[dict[str, str]]:
        columns = Columns(Layout(profile), model)
        found: dict[str, list[str]] = {}
        for counts in self.windows(profile, days, moved):
            for drift in columns.drifts(counts, "1d"):
                if not isinstance(drift.result, Value) or drift.noise is None:
                    continue
                on = f'job="e",instance="a",model="m",column="{drift.column}",method="{drift.method}",window="1d",reference="training"'
                for name, value in (
                    (f'ml_drift{{{on},version="1"}}', drift.result.value),
                    (f'ml_drift_noise{{{on},version="1"}}', drift.noise),
                    (f"ml_drift_limit{{{on}}}", drift.limit),
                ):
                    # A pane's value holds for 24 minutes: five scrapes, so that nothing is stale in between.
                    found.setdefault(name, []).extend([f"{value:.6g}"] * 6)
        info = 'ml_model_info{job="e",instance="a",model="m",task="binary",team="t"}'
        role = 'ml_model_version_info{job="e",instance="a",model="m",version="1",role="champion"}'
        length = PANES * days * 6
        found |= {info: [f"1x{length}"], role: [f"1x{length}"]}
        return [{"series": name, "values": " ".join(values)} for name, values in found.items()]

    def alarms(
        self, folder: Path, columns: int, days: int, reference: int, moved: float, expected: str
    ) -> None:
        """Whether the number of alarms, as the rules raise them, is what is expected."""
        # Without a limit of their own all columns depend on the noise alone.
        model = configured(folder, drift={"psi": {"max": 0}, "wasserstein": {"max": 0}})
        log = self.log(folder, columns, reference)
        profile = build(model, Rows(model, [log]))
        firing = 'ALERTS{alertname="MLColumnDrift",alertstate="firing"}'
        # Added up by rules: promtool looks at no more than 10,000 samples at once. They look at the evaluation
        # before, as groups of rules run in any order.
        begun = f"count({firing} offset 4m unless {firing} offset 8m) or vector(0)"
        counting = [
            {"record": "alarms_begun", "expr": begun},
            {"record": "alarms_total", "expr": "(alarms_total offset 4m or vector(0)) + alarms_begun"},
        ]
        (folder / "counting.yml").write_text(
            yaml.safe_dump({"groups": [{"name": "count", "rules": counting}]})
        )
        test = {
            "rule_files": [str(PROMETHEUS / "rules/drift.yml"), "counting.yml"],
            "evaluation_interval": "4m",
            "tests": [
                {
                    "interval": "4m",
                    "external_labels": {"grafana_url": "http://g", "runbooks_url": "http://r"},
                    "input_series": self.series(profile, model, days, moved),
                    "promql_expr_test": [
                        {
                            "expr": f"alarms_total {expected}",
                            "eval_time": f"{days}d",
                            "exp_samples": [{"labels": "{}", "value": 1}],
                        }
                    ],
                }
            ],
        }
        path = folder / "weeks.test.yml"
        path.write_text(yaml.safe_dump(json.loads(json.dumps(test)), width=10**9))
        assert "SUCCESS" in checked("promtool", "test", "rules", path, seconds=1_200)

    def test_clean_days_raise_no_alarm(self, tmp_path: Path) -> None:
        self.alarms(tmp_path, 6, 2, 20, 0.0, "== bool 0")

    def test_a_column_that_moves_raises_one(self, tmp_path: Path) -> None:
        self.alarms(tmp_path, 6, 2, 20, 0.6, ">= bool 1")

    @pytest.mark.long
    def test_four_weeks_of_50_clean_columns_raise_less_than_one_a_week(self, tmp_path: Path) -> None:
        self.alarms(tmp_path, 50, 28, 60, 0.0, "< bool 4")
