"""What a reload changes and what it keeps, and how the exporter stops in the middle of its work."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.process import Exporter, wait_for
from tests.support.serving import FAST, live, running, values
from tests.support.site import START, Site, label, model, prediction, stamp

from ml_exporter.engine import Engine, Snapshot, load_layouts
from ml_exporter.labels import Verdict, Waiting
from ml_exporter.service import Service
from ml_exporter.store import Store

READ = "ml_predictions_total{flight-delay,1}"
WAITING = "ml_labels_pending{flight-delay}"
MATURE = "ml_labeled_predictions_total{flight-delay,1}"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Predictions from two minutes ago to now, so that some are mature and some wait."""
    found = Site(tmp_path, exporter=dict(FAST))
    for number in range(40):
        found.predict(prediction(number, live(3 * number - 120)))
        found.label(label(number, live(3 * number - 119)))
    return found


@pytest.fixture
def service(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr("ml_exporter.service._WATCH_SECONDS", 0.05)
    with running(site) as made:
        wait_for(lambda: made.not_ready() is None)
        yield made


def reloaded(service: Service, site: Site) -> dict[str, float]:
    """Reload, and return the page of the evaluation after it."""
    site.config()
    service.reload()
    reload = time.time()
    wait_for(lambda: values(service)["ml_exporter_evaluation_timestamp_seconds{}"] > reload)
    return values(service)


def of_windows(found: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in found.items() if name.startswith("ml_quality_samples")}


def test_team_and_thresholds_keep_everything(service: Service, site: Site) -> None:
    before = values(service)
    assert before[READ] == 40
    assert before[WAITING] > 0
    assert before[MATURE] > 0
    assert of_windows(before)
    site.models[0] |= {
        "team": "others",
        "quality": {"accuracy": {"min": 0.9}},
        "slo": {"objective": 0.95},
        "latency": {"limit": 5},
        "prediction_age_limit": "2h",
    }
    found = reloaded(service, site)
    assert found["ml_model_info{flight-delay,binary,others}"] == 1
    assert found[READ] == 40
    assert found[WAITING] + found[MATURE] == 40
    assert of_windows(found).keys() == of_windows(before).keys()
    assert all(found[name] >= value for name, value in of_windows(before).items())


def test_another_window_begins_empty_and_counters_survive(service: Service, site: Site) -> None:
    before = values(service)
    site.models[0] |= {"windows": ["1m", "5m", "20m"], "alert_window": "20m"}
    found = reloaded(service, site)
    assert found[READ] == before[READ]
    assert found[WAITING] + found[MATURE] == 40
    samples = of_windows(found)
    assert not any("10m" in name for name in samples)
    assert samples["ml_quality_samples{flight-delay,1,5m}"] >= before["ml_quality_samples{flight-delay,1,5m}"]
    # What was judged before is in no window of that length; what is judged from now on is.
    assert samples.get("ml_quality_samples{flight-delay,1,20m}", 0) < found[MATURE]


def test_other_fields_drop_what_waits_and_counters_survive(service: Service, site: Site) -> None:
    before = values(service)
    site.models[0]["predictions"]["fields"]["score"] = "other_score"
    found = reloaded(service, site)
    assert found[WAITING] == 0
    assert (found[READ], found[MATURE]) == (before[READ], before[MATURE])


def test_the_series_of_a_removed_model_vanish_at_once_and_come_back_with_it(
    service: Service, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.models.append(model("shop"))
    site.predict(prediction(1, live()), name="shop")
    site.label(name="shop")
    assert reloaded(service, site)["ml_predictions_total{shop,1}"] == 1
    removed = site.models.pop()
    site.config()
    with monkeypatch.context() as patch:
        # Nothing is evaluated or watched in between.
        patch.setattr(Engine, "cycle", lambda *_: time.sleep(0.2))
        service.reload()
        names = values(service)
        assert [name for name in names if "shop" in name] == []
        assert names[READ] == 40
        report = service.status().report
        assert report is not None
        assert [model.name for model in report.models] == ["flight-delay"]
    site.models.append(removed)
    site.predict(prediction(2, live()), name="shop")
    wait_for(lambda: reloaded(service, site).get("ml_predictions_total{shop,1}") == 2)


def test_a_deleted_log_is_read_to_its_end_across_a_reload(site: Site, service: Service) -> None:
    path = site.folder / "flight-delay-predictions.jsonl"
    with path.open("a", encoding="utf-8") as log:
        path.unlink()
        site.models[0]["team"] = "others"
        site.config()
        service.reload()
        log.write(json.dumps(prediction(100, live())) + "\n")
        log.flush()
        wait_for(lambda: values(service)[READ] == 41)


def test_a_reload_has_its_turn_in_a_long_backlog(
    service: Service, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, cycles = Engine.cycle, []

    def behind(engine: Engine, limit: int = 8) -> Snapshot:
        cycles.append(engine)
        time.sleep(0.05)
        found = real(engine, limit)
        return Snapshot(**{**vars(found), "behind": True})

    monkeypatch.setattr(Engine, "cycle", behind)
    wait_for(lambda: len(cycles) > 2)
    for team in ("a", "b", "c"):
        site.models[0]["team"] = team
        site.config()
        begun = len(cycles)
        service.reload()
        assert len(cycles) - begun <= 2


class TestStopping:
    def test_a_cycle_is_cut_short_commits_and_is_gone_on_with(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ml_exporter.sources.blocks.BLOCK", 400)
        config = site.config()
        layouts, stop = load_layouts(config), threading.Event()
        store = Store(config.exporter.state)
        engine = Engine(config, layouts, store, stopping=stop.is_set)
        state = engine.pipelines[0].state
        add = state.add

        def stopping(*arguments: object) -> None:
            add(*arguments)
            stop.set()

        monkeypatch.setattr(state, "add", stopping)
        assert engine.cycle(1000).reports == ()
        assert 0 < sum(state.outcomes["labels"].values()) < 40
        assert not state.outcomes["predictions"]
        store.close()
        with running(site) as service:
            wait_for(lambda: values(service).get(READ) == 40)
            wait_for(lambda: values(service)[WAITING] + values(service)[MATURE] == 40)
            assert values(service)["ml_input_rows_total{flight-delay,accepted,labels}"] == 40

    def test_judging_is_cut_short_and_labels_wait_on(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without their labels, mature predictions that are left would count as unlabelled."""
        monkeypatch.setattr("ml_exporter.labels._BATCH", 7)
        config = site.config()
        layouts, stop = load_layouts(config), threading.Event()
        store = Store(config.exporter.state)
        later = START + live() + 3600
        engine = Engine(config, layouts, store, lambda: later, stopping=stop.is_set)
        judge_until = Waiting._judge_until

        def stopping(waiting: Waiting, until: int, verdict: Verdict) -> None:
            judge_until(waiting, until, verdict)
            stop.set()

        with monkeypatch.context() as patch:
            patch.setattr(Waiting, "_judge_until", stopping)
            engine.cycle()
        assert engine.pipelines[0].waiting.pending() == 33
        stop.clear()
        (report, _) = engine.cycle().reports[0]
        assert [version.judged.count("labelled") for version in report.versions] == [40]
        store.close()


@pytest.mark.long
@pytest.mark.parametrize("wait", [0.3, 1.0, 2.5, 5.0, 8.0])
def test_sigterm_during_a_backlog_ends_within_five_seconds_and_loses_nothing(
    tmp_path: Path, wait: float
) -> None:
    rows = 600_000
    site = Site(tmp_path, exporter={"state": "state.duckdb", "birth_hold": "0"})
    begin = live() - 7200
    padding = "x" * 300
    with (
        (tmp_path / "flight-delay-predictions.jsonl").open("w", encoding="utf-8") as predictions,
        (tmp_path / "flight-delay-labels.jsonl").open("w", encoding="utf-8") as labels,
    ):
        for number in range(rows):
            at = stamp(begin + number * 0.005)
            predictions.write(
                f'{{"id":"{number}","ts":"{at}","version":"1","score":0.2,"features":{{"a":1}},"x":"{padding}"}}\n'
            )
            labels.write(f'{{"id":"{number}","ts":"{at}","label":false}}\n')
    site.config()
    for _ in range(2):
        with Exporter(site.config_path) as exporter:
            time.sleep(wait)
            code, seconds = exporter.terminate()
            assert code == 0
            assert seconds < 5
        assert b"Traceback" not in exporter.logged()
        assert not list(tmp_path.glob("*.wal"))
    with Exporter(site.config_path) as exporter:
        wait_for(lambda: exporter.samples().get(READ) == rows, seconds=120)
        wait_for(lambda: exporter.samples().get(MATURE) == rows, seconds=120)
        assert exporter.samples()["ml_input_rows_total{flight-delay,accepted,labels}"] == rows
