"""Logs that grow day by day, through a state that is opened again and again, give what one look at all of them gives."""

import json
import shutil
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.demo.year import AT, SINCE, Samples, evaluate, write_logs

from ml_exporter.config import load
from ml_exporter.engine import Engine, Snapshot, load_layouts
from ml_exporter.snapshot import log_families
from ml_exporter.store import Store

RESTART_DAYS = 7
OF_THE_WAY = "ml_rows_outside_windows_total"
"""Rows are in no window when they are read, which depends on when that was."""


class Growing:
    """Copies of logs that hold what was written up to a time."""

    def __init__(self, config: Path, folder: Path) -> None:
        content = yaml.safe_load(config.read_text())
        content["exporter"] = {"state": str(folder / "state.duckdb"), "birth_hold": "0s"}
        self.config = folder / "flights.yml"
        self._logs = []
        for number, log in enumerate(
            log for model in content["models"] for log in (model["predictions"], model["labels"])
        ):
            lines = Path(log["path"]).read_bytes().splitlines(keepends=True)
            log["path"] = str(folder / f"{number}.jsonl")
            self._logs.append((Path(log["path"]), [json.loads(line)["ts"] for line in lines], lines))
        self.config.write_text(yaml.safe_dump(content))
        self._written = [0] * len(self._logs)
        self.now = 0.0

    def write_until(self, time: datetime) -> None:
        """Append what is not there yet; time stamps of the logs have milliseconds and a Z."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        for number, (path, stamps, lines) in enumerate(self._logs):
            end = bisect_right(stamps, stamp)
            with path.open("ab") as file:
                file.writelines(lines[self._written[number] : end])
            self._written[number] = end
        self.now = time.timestamp()


def watched(logs: Growing, since: datetime, until: datetime) -> Snapshot:
    """Run an exporter day by day, stopped and started anew each week; return its last snapshot."""
    now = since
    while now < until:
        config = load(logs.config)
        assert config.exporter.state is not None
        logs.now = now.timestamp()
        store = Store(config.exporter.state)
        engine = Engine(config, load_layouts(config), store, clock=lambda: logs.now)
        for _ in range(RESTART_DAYS):
            now = min(now + timedelta(days=1), until)
            logs.write_until(now)
            while (snapshot := engine.cycle()).behind:
                pass
            if now == until:
                break
        store.close()
    return snapshot


def samples(page: str) -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], float]]:
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            yield (sample.name, frozenset(sample.labels.items())), sample.value


def from_logs(snapshot: Snapshot) -> Samples:
    """What the snapshot says of the logs."""
    found, _ = log_families(snapshot, 0.0, 20_000)
    found_samples = samples(generate_latest(found).decode())
    return {key: value for key, value in found_samples if key[0] != OF_THE_WAY}


def compare(found: Samples, once: str) -> None:
    whole = dict(samples(once))
    expected = {key: whole[key] for key in whole.keys() & found.keys()}
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)
    # What only one look at all logs has is what the configuration says.
    assert not {name for name, _ in whole.keys() - found.keys()} & {name for name, _ in found}
    assert len(found) > 1_000


def test_six_weeks_a_day_at_a_time(year_config: Path, year_page: str, tmp_path: Path) -> None:
    since, until = datetime.fromisoformat(SINCE).replace(tzinfo=UTC), datetime.fromisoformat(AT)
    logs = Growing(year_config, tmp_path)
    compare(from_logs(watched(logs, since, until)), year_page)


@pytest.mark.long
def test_a_year_a_day_at_a_time(tmp_path: Path) -> None:
    config = write_logs(tmp_path / "all", since="2013-04-01", until="2014-01-01")
    logs = Growing(config, tmp_path)
    since, until = datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 12, 30, tzinfo=UTC)
    found = from_logs(watched(logs, since, until))
    compare(found, evaluate(config, until.isoformat()))
    shutil.rmtree(tmp_path / "all")
