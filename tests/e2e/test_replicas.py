"""Replicas are shards: two exporters on the halves of a log say together what one says of the whole."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import yaml
from tests.e2e.stack import free_ports
from tests.support.process import Exporter, wait_for
from tests.support.site import FIELDS
from tests.tools import REPOSITORY, find_tool

from ml_exporter.cli import main

ROWS, REFERENCE_ROWS = 2_000, 3_000
PATIENCE = 200.0
HOLD = 10
"""Seconds for which new counters show 0: a few scrapes."""
JOBS = ("replicas", "single")
COLUMNS = ("amount", "place", "prediction", "score")


def records(rows: int, seed: int, start: float, shift: float) -> list[str]:
    rng = np.random.default_rng(seed)
    places = ["here", "there", "far"]
    return [
        json.dumps(
            {
                "id": f"{seed}-{row}",
                "ts": start + row * 0.01,
                "version": "1",
                "score": round(float(rng.beta(2, 3 - shift)), 4),
                "features": {
                    "amount": None if row % 50 == 0 else round(float(rng.normal(shift)), 4),
                    "place": str(rng.choice(places, p=[0.6 - 0.2 * shift, 0.3, 0.1 + 0.2 * shift])),
                },
            }
        )
        + "\n"
        for row in range(rows)
    ]


def configured(folder: Path) -> Path:
    """An exporter's folder with its configuration; its log is there and empty."""
    folder.mkdir(exist_ok=True)
    model = {
        "name": "m",
        "champion": "1",
        "profile": str(folder.parent / "profile.json"),
        "predictions": {"path": "log.jsonl", "fields": dict(FIELDS)},
        "windows": ["1h"],
        "alert_window": "1h",
        "export_bins": list(COLUMNS),
    }
    exporter = {"state": "state.duckdb", "birth_hold": f"{HOLD}s", "evaluation_interval": "500ms"}
    (folder / "log.jsonl").touch()
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump({"exporter": exporter, "models": [model]}))
    return path


def append(folder: Path, lines: list[str]) -> None:
    with (folder / "log.jsonl").open("a") as file:
        file.writelines(lines)


@dataclass(frozen=True)
class Seen:
    """What Prometheus answers, and the single exporter's own values."""

    address: str
    single: dict[str, float]

    def by_column(self, expression: str) -> dict[str, float]:
        series = self.query(expression)
        return {item["metric"]["column"]: float(item["value"][1]) for item in series}

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = requests.get(f"{self.address}/api/v1/query", {"query": expression}, timeout=30).json()
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def alone(self, column: str) -> float:
        return self.single[f"ml_drift{{{column},psi,m,training,1,1h}}"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("replicas")
    names = ("whole", "first", "second")
    configs = {name: configured(folder / name) for name in names}
    now = time.time()
    (folder / "reference.jsonl").write_text("".join(records(REFERENCE_ROWS, 1, now - 86_400, 0.0)))
    command = ["profile", "--config.file", str(configs["whole"]), "--model", "m"]
    assert main([*command, str(folder / "reference.jsonl")]) == 0
    lines = records(ROWS, 2, now - 60, 0.5)
    with ExitStack() as stack:
        running = {name: stack.enter_context(Exporter(config)) for name, config in configs.items()}
        address = stack.enter_context(_Prometheus(folder, running)).address
        found = Seen(address, {})
        for number, name in enumerate(names):
            append(folder / name, lines[:2] if name == "whole" else [lines[number - 1]])
        # The bins of all are seen at 0 before they are counted, as those of any new version.
        wait_for(lambda: len(found.query("count by (instance) (ml_bin_total)")) == 3, PATIENCE)
        append(folder / "whole", lines[2:])
        append(folder / "first", lines[2::2])
        append(folder / "second", lines[3::2])
        total = 'sum by (job) (ml_bin_total{column="score"})'
        wait_for(lambda: [item["value"][1] for item in found.query(total)] == [str(ROWS)] * 2, PATIENCE)
        increase = "sum by (job, column) (job_model_version_column_bin:ml_bin:increase1d)"
        wait_for(lambda: len(found.query(f"{increase} >= {ROWS}")) == 2 * len(COLUMNS), PATIENCE)
        # What was recorded after that is of all rows.
        recorded = f"timestamp(job_model_version_column:ml_psi:1d) > {time.time()}"
        wait_for(lambda: len(found.query(recorded)) == 2 * len(COLUMNS), PATIENCE)
        yield Seen(address, running["whole"].samples())


class _Prometheus:
    """A real one that scrapes the exporters every two seconds and has the rules as shipped."""

    def __init__(self, folder: Path, exporters: dict[str, Exporter]) -> None:
        jobs = {"single": ["whole"], "replicas": ["first", "second"]}
        scrapes = [
            {
                "job_name": job,
                "static_configs": [{"targets": [f"127.0.0.1:{exporters[name].port}" for name in names]}],
            }
            for job, names in jobs.items()
        ]
        config = {
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"},
            "rule_files": [str(REPOSITORY / "prometheus/rules/drift.yml")],
            "scrape_configs": scrapes,
        }
        self._folder = folder
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        (port,) = free_ports(1)
        self._port = port
        self.address = f"http://127.0.0.1:{port}"

    def __enter__(self) -> _Prometheus:
        command = [str(find_tool("prometheus")), f"--config.file={self._folder / 'prometheus.yml'}"]
        command += [
            f"--storage.tsdb.path={self._folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        with (self._folder / "prometheus.log").open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        wait_for(self._ready, PATIENCE)
        return self

    def _ready(self) -> bool:
        assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()
        try:
            return requests.get(f"{self.address}/-/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(20)


def test_counters_of_replicas_add_up_to_those_of_one(seen: Seen) -> None:
    def bins(job: str) -> dict[tuple[str, str], str]:
        found = seen.query(f'sum by (column, bin) (ml_bin_total{{job="{job}"}})')
        return {(item["metric"]["column"], item["metric"]["bin"]): item["value"][1] for item in found}

    assert bins("replicas") == bins("single")
    assert {column for column, _ in bins("single")} == set(COLUMNS)


def test_psi_from_differences_of_counters_is_the_exporters_own(seen: Seen) -> None:
    counted: dict[str, list[tuple[float, float]]] = {}
    shares = {
        (item["metric"]["column"], item["metric"]["bin"]): float(item["value"][1])
        for item in seen.query('max by (column, bin) (ml_reference_bin_ratio{job="replicas"})')
    }
    for item in seen.query('sum by (column, bin) (ml_bin_total{job="replicas"})'):
        column, name = item["metric"]["column"], item["metric"]["bin"]
        counted.setdefault(column, []).append((float(item["value"][1]), shares[column, name]))
    for column in COLUMNS:
        rows, bins = sum(count for count, _ in counted[column]), len(counted[column])
        ratios = [((count + 0.5) / (rows + bins / 2), share) for count, share in counted[column]]
        psi = sum((p - q) * log(p / q) for p, q in ratios)
        assert psi == pytest.approx(seen.alone(column), abs=1e-9)
        assert psi > 0.02


def test_the_recording_rule_comes_within_2_percent_of_the_exporters_own(seen: Seen) -> None:
    """`increase` extrapolates, by less the longer the counters are known."""

    def close() -> bool:
        found = [seen.by_column(f'job_model_version_column:ml_psi:1d{{job="{job}"}}') for job in JOBS]
        return all(
            columns.keys() == set(COLUMNS)
            and all(value == pytest.approx(seen.alone(column), rel=0.02) for column, value in columns.items())
            for columns in found
        )

    wait_for(close, PATIENCE)
