from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.support.site import START, Site, label, model, prediction

from ml_exporter.engine import Snapshot
from ml_exporter.evaluation import ModelReport
from ml_exporter.sources import blocks
from ml_exporter.state import ModelState
from ml_exporter.stats.result import Unavailable, Value
from ml_exporter.store import Store


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def small_blocks(monkeypatch: pytest.MonkeyPatch, size: int = 4096) -> None:
    """Make blocks so small that a short log has many of them."""
    monkeypatch.setattr(blocks, "BLOCK", size)


def only(snapshot: Snapshot, number: int = 0) -> tuple[ModelReport, ModelState]:
    return snapshot.reports[number]


def judged(report: ModelReport, version: str = "1") -> Counter[str]:
    """What was counted of a version's mature predictions since ever."""
    tally = next(item for item in report.versions if item.name == version).judged
    return Counter(mature=tally.count("mature"), labelled=tally.count("labelled"))


def predictions(report: ModelReport, version: str = "1") -> int:
    return next(item for item in report.versions if item.name == version).inputs.count("rows")


def test_a_row_goes_from_the_log_to_the_report(site: Site) -> None:
    site.predict(*(prediction(number, number, score=number % 10 / 10) for number in range(100)))
    site.label(*(label(number, number + 5, number % 10 > 6) for number in range(100)))
    site.now = 200
    report, state = only(site.engine().cycle())
    window = report.versions[0].windows[2]
    assert (window.rows, window.quality.mature, window.quality.labelled, window.quality.coverage) == (
        100,
        100,
        100,
        1.0,
    )
    accuracy = window.quality.metrics["accuracy"]
    assert isinstance(accuracy, Value)
    assert (accuracy.value, accuracy.n) == (0.8, 100)
    assert state.label_outcomes == {"matched": 100}
    assert report.pending == 0


def test_nothing_is_read_twice_or_lost_over_restarts(site: Site) -> None:
    for number in range(0, 60, 10):
        site.predict(*(prediction(number + i, number + i) for i in range(10)))
        site.label(*(label(number + i, number + i) for i in range(10)))
        site.now = number + 10
        engine = site.engine()
        engine.cycle()
        engine.store.close()
    site.now = 400
    report, state = only(site.engine().cycle())
    assert predictions(report) == 60
    assert judged(report) == {"mature": 60, "labelled": 60}
    assert state.outcomes["labels"]["accepted"] == state.label_outcomes["matched"] == 60


@pytest.mark.parametrize("failing", ["read", "judge", "evaluate", "save", "commit"])
def test_a_cycle_that_fails_changes_nothing_and_the_next_succeeds(
    site: Site, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    site.predict(*(prediction(number, number) for number in range(50)))
    site.label(*(label(number, number) for number in range(50)))
    engine = site.engine()
    site.now = 20
    engine.cycle()
    site.predict(*(prediction(number, number) for number in range(50, 80)))
    site.now = 300
    targets = {
        "read": "ml_exporter.state.ModelState.add",
        "judge": "ml_exporter.state.ModelState.prune",
        "evaluate": "ml_exporter.pipeline.evaluate",
        "save": "ml_exporter.store.Store.save_panes",
        "commit": "ml_exporter.store.Store.save_documents",
    }

    def fail(*_: object, **__: object) -> None:
        raise MemoryError("enough")

    with monkeypatch.context() as patch:
        patch.setattr(targets[failing], fail)
        for _ in range(3):
            with pytest.raises(MemoryError):
                engine.cycle()
    report, state = only(engine.cycle())
    assert predictions(report) == 80
    assert judged(report) == {"mature": 80, "labelled": 50}
    assert state.label_outcomes == {"matched": 50}
    engine.store.close()
    again, _ = only(site.engine().cycle())
    assert predictions(again) == 80


def test_one_models_failure_holds_back_the_other_too_and_none_counts_twice(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.models = [model("first"), model("second")]
    for name in ("first", "second"):
        site.predict(*(prediction(number, number) for number in range(10)), name=name)
    site.now = 30
    engine = site.engine()
    real = ModelState.choose_champion

    def fail_for_second(state: ModelState, time: int) -> None:
        if state.model.name == "second":
            raise RuntimeError("only here")
        real(state, time)

    with monkeypatch.context() as patch:
        patch.setattr(ModelState, "choose_champion", fail_for_second)
        with pytest.raises(RuntimeError):
            engine.cycle()
    snapshot = engine.cycle()
    assert [predictions(report) for report, _ in snapshot.reports] == [10, 10]


def test_two_models_in_one_configuration_share_nothing(site: Site) -> None:
    site.models = [model("first"), model("second", labels={"maturity": "2m"})]
    site.predict(*(prediction(number, number) for number in range(20)), name="first")
    site.predict(*(prediction(number, number, version="9") for number in range(30)), name="second")
    site.label(*(label(number, number) for number in range(20)), name="second")
    site.now = 100
    first, second = site.engine().cycle().reports
    assert predictions(first[0]) == 20
    assert predictions(second[0], "9") == 30
    assert (first[1].label_outcomes, second[1].label_outcomes) == ({}, {})
    site.now = 300
    first, second = site.engine(Store(None)).run_once(round((START + 300) * 1e6)).reports
    assert first[1].label_outcomes == {}
    assert second[1].label_outcomes == {"matched": 20}


def test_a_model_without_labels_says_so(site: Site) -> None:
    own = model()
    del own["labels"]
    site.models = [own]
    site.predict(*(prediction(number, number) for number in range(20)))
    site.now = 60
    report, _ = only(site.engine().cycle())
    assert report.pending == 0
    assert set(report.versions[0].windows[2].quality.metrics.values()) == {Unavailable("no_labels")}
    assert report.versions[0].windows[2].recent == {}


def test_labels_in_the_record_are_judged_at_once(site: Site) -> None:
    own = model()
    del own["labels"]
    own["predictions"]["fields"] = {**own["predictions"]["fields"], "label": "late"}
    site.models = [own]
    rows = [prediction(number, number, late=number % 2 == 0) for number in range(40)]
    rows += [prediction(100, 41), prediction(101, 42, error="overload", late=True)]
    site.predict(*rows)
    site.now = 60
    live, _ = only(site.engine().cycle())
    looked_back, _ = only(site.engine(Store(None)).run_once(None))
    for report in (live, looked_back):
        window = report.versions[0].windows[2]
        assert (window.quality.mature, window.quality.labelled) == (41, 40)
        accuracy = window.quality.metrics["accuracy"]
        assert isinstance(accuracy, Value)
        assert accuracy.value == 0.5
        assert report.pending == 0


def test_evaluating_the_past_keeps_its_windows(site: Site) -> None:
    """The wall clock is years ahead of the log's rows."""
    own = model()
    del own["labels"]
    own["predictions"]["fields"] = {**own["predictions"]["fields"], "label": "late"}
    site.models = [own]
    site.predict(*(prediction(number, number, late=True) for number in range(40)))
    site.now = 1e8
    for at in (None, round((START + 39) * 1e6)):
        report, _ = only(site.engine(Store(None)).run_once(at))
        assert [window.quality.labelled for window in report.versions[0].windows] == [40, 40, 40]
        assert report.time == START + 39


def test_evaluate_at_a_time_knows_nothing_later(site: Site) -> None:
    site.predict(*(prediction(number, number) for number in range(400)))
    site.label(*(label(number, number + 30) for number in range(400)))
    site.now = 1e6
    report, state = only(site.engine(Store(None)).run_once(round((START + 200) * 1e6)))
    assert predictions(report) == 201
    assert report.pending == 60
    # Of the 141 that are mature at 200 all have their label: the last one's came at 170.
    assert judged(report) == {"mature": 141, "labelled": 141}
    assert state.outcomes["labels"]["accepted"] == 171


class TestMaturityWaits:
    def test_for_a_label_log_that_is_missing(self, site: Site) -> None:
        site.predict(*(prediction(number, number) for number in range(30)))
        engine = site.engine()
        for site.now in (100, 1_000, 10_000):
            report, _ = only(engine.cycle())
            assert report.pending == 30
            assert report.versions[0].windows[0].quality.metrics["accuracy"] == Unavailable("immature")
        site.label(*(label(number, number + 3) for number in range(30)))
        report, state = only(engine.cycle())
        assert judged(report) == {"mature": 30, "labelled": 30}
        assert state.label_outcomes == {"matched": 30}

    def test_evaluate_waits_for_it_too(self, site: Site) -> None:
        site.predict(*(prediction(number, number) for number in range(30)))
        site.now = 1_000
        snapshot = site.engine(Store(None)).run_once(round((START + 1_000) * 1e6))
        assert only(snapshot)[0].pending == 30
        assert [source.source for source in snapshot.sources if source.problems] == ["labels"]

    def test_for_labels_that_are_behind(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        small_blocks(monkeypatch)
        site.predict(*(prediction(number, number) for number in range(600)))
        site.label(*(label(number, number + 1) for number in range(600)))
        site.now = 5_000
        engine = site.engine()
        seen, behind = [], True
        while behind:
            snapshot = engine.cycle(limit=1)
            report, state = only(snapshot)
            counts = judged(report)
            assert counts["mature"] == counts["labelled"]
            seen.append(counts["mature"])
            behind = snapshot.behind
        assert seen[-1] == 600
        assert len(set(seen)) > 5
        assert state.label_outcomes == {"matched": 600}

    def test_for_each_of_several_logs_that_are_written_side_by_side(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small_blocks(monkeypatch)
        site.models = [model(labels={"path": "worker-*.jsonl"})]
        site.predict(*(prediction(number, number) for number in range(300)))
        for worker in range(3):
            rows = [label(number, number + 1) for number in range(worker, 300, 3)]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (site.folder / f"worker-{worker}.jsonl").write_text(text, encoding="utf-8")
        site.now = 5_000
        engine = site.engine()
        while (snapshot := engine.cycle(limit=1)).behind:
            assert judged(only(snapshot)[0])["mature"] == judged(only(snapshot)[0])["labelled"]
        assert judged(only(snapshot)[0]) == {"mature": 300, "labelled": 300}

    def test_after_an_outage_of_hours(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        small_blocks(monkeypatch)
        site.predict(*(prediction(number, number) for number in range(100)))
        site.label(*(label(number, number + 1) for number in range(100)))
        site.now = 101
        engine = site.engine()
        engine.cycle()
        engine.store.close()
        site.predict(*(prediction(number, number * 10) for number in range(100, 900)))
        site.label(*(label(number, number * 10 + 1) for number in range(100, 900)))
        site.now = 40_000
        engine = site.engine()
        while (snapshot := engine.cycle(limit=2)).behind:
            counts = judged(only(snapshot)[0])
            assert counts["mature"] == counts["labelled"]
        assert judged(only(snapshot)[0]) == {"mature": 900, "labelled": 900}

    def test_one_wrong_time_stamp_does_not_move_it(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        small_blocks(monkeypatch)
        site.predict(*(prediction(number, number) for number in range(300)))
        site.now = 5_000
        engine = site.engine()
        engine.cycle()
        site.label(label("of tomorrow", 4_990), *(label(number, number + 1) for number in range(300)))
        while (snapshot := engine.cycle(limit=1)).behind:
            counts = judged(only(snapshot)[0])
            assert counts["mature"] == counts["labelled"]
        assert judged(only(snapshot)[0]) == {"mature": 300, "labelled": 300}


def test_in_memory_files_are_read_from_their_end(site: Site) -> None:
    site.exporter = {}
    site.predict(*(prediction(number, number) for number in range(20)))
    site.label(label(0, 0))
    store = Store(None)
    engine = site.engine(store)
    site.now = 30
    assert only(engine.cycle())[0].versions == ()
    site.predict(*(prediction(number, number) for number in range(30, 35)))
    site.now = 40
    assert predictions(only(engine.cycle())[0]) == 5


def test_in_memory_a_failed_first_cycle_or_a_reload_reads_nothing_old_and_misses_nothing_new(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.exporter = {}
    site.predict(*(prediction(number, number) for number in range(20)))
    site.label(label(0, 0))
    store = Store(None)
    engine = site.engine(store)
    with monkeypatch.context() as patch:
        patch.setattr("ml_exporter.pipeline.evaluate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.cycle()
    assert only(engine.cycle())[0].versions == ()
    engine = site.engine(store)
    other = site.folder / "flight-delay-predictions.jsonl.1"
    (site.folder / "flight-delay-predictions.jsonl").rename(other)
    site.predict(*(prediction(number, number) for number in range(30, 37)))
    site.now = 40
    assert predictions(only(engine.cycle())[0]) == 7


def test_changed_fields_drop_what_waits_and_keep_the_counters(site: Site) -> None:
    site.predict(*(prediction(number, number) for number in range(20)))
    site.label(label(0, 0))
    site.now = 30
    engine = site.engine()
    assert only(engine.cycle())[0].pending == 20
    engine.store.close()
    site.models[0]["positive"] = "on_time"
    engine = site.engine()
    report, state = only(engine.cycle())
    assert report.pending == 0
    assert predictions(report) == 20
    site.predict(prediction(100, 31))
    assert only(engine.cycle())[0].pending == 1
    assert state.outcomes["labels"].total() == 1


def test_a_model_that_is_gone_leaves_no_rows_and_finds_its_counters_again(site: Site) -> None:
    site.models = [model("first"), model("second")]
    site.predict(*(prediction(number, number) for number in range(20)), name="second")
    site.now = 30
    engine = site.engine()
    engine.cycle()
    engine.store.close()
    second = site.models.pop()
    engine = site.engine()
    assert engine.store.connection.execute("SELECT count(*) FROM pending").fetchone() == (0,)
    engine.store.close()
    site.models.append(second)
    report, _ = only(site.engine().cycle(), 1)
    assert predictions(report) == 20


def test_too_many_waiting_predictions_lower_coverage(site: Site) -> None:
    site.exporter["pending_limit"] = 50
    site.predict(*(prediction(number, number) for number in range(80)))
    site.label(*(label(number, number) for number in range(80)))
    site.now = 80.5
    engine = site.engine()
    snapshot = engine.cycle()
    report, _ = only(snapshot)
    # 21 are mature, 30 of the other 59 may wait: 9 too many.
    assert snapshot.evicted == 9
    assert report.pending == 50
    assert judged(report) == {"mature": 30, "labelled": 21}
    assert engine.cycle().evicted == 0
    site.now = 200
    assert judged(only(engine.cycle())[0]) == {"mature": 80, "labelled": 71}
    site.now = 4_000
    assert only(engine.cycle())[1].label_outcomes == {"matched": 71, "late": 9}


def test_counters_and_truncations_never_fall_over_restarts(site: Site) -> None:
    log = site.folder / "flight-delay-predictions.jsonl"
    seen: list[tuple[int, ...]] = []
    for round_ in range(6):
        site.predict(
            *(prediction(f"{round_}-{i}", site.now + i, padding="x" * 200) for i in range(40 - round_))
        )
        if round_ in (2, 4):
            lines = log.read_bytes().splitlines(keepends=True)
            log.write_bytes(b"".join(lines[:20]))
        site.now += 60
        engine = site.engine()
        snapshot = engine.cycle()
        report, state = only(snapshot)
        seen.append(
            (
                predictions(report),
                state.truncations["predictions"],
                snapshot.sources[1].truncations,
                state.outcomes["predictions"]["accepted"],
                judged(report)["mature"],
            )
        )
        engine.store.close()
    for before, after in pairwise(seen):
        assert all(np.asarray(after) >= before)
    assert seen[-1][1] == seen[-1][2] == 2


def test_lag_and_problems_of_a_source(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)
    site.predict(*(prediction(number, number) for number in range(100)))
    site.now = 200
    labels, read = site.engine().cycle(limit=1).sources
    assert (labels.source, labels.read_until, labels.lag) == ("labels", 0, 0)
    assert "no file" in labels.problems[0]
    size = (site.folder / "flight-delay-predictions.jsonl").stat().st_size
    assert size - 4096 <= read.lag < size - 3000
    assert read.read_until is not None
    assert START < read.read_until / 1e6 < START + 30


def test_a_version_in_a_backlog_is_not_forgotten_while_its_rows_are_read(site: Site) -> None:
    """The clock is an hour ahead of what lies unread, and the longest window has ten minutes."""
    log = site.folder / "flight-delay-predictions.jsonl"
    for part, start in enumerate((0, 100, 200)):
        site.predict(
            *(prediction(start + row, start + row, version=str(1 + row % 2)) for row in range(100)),
        )
        log.rename(log.with_name(f"{log.name}.{3 - part}"))
    site.now = 3_600
    engine = site.engine()
    seen = []
    while True:
        snapshot = engine.cycle(limit=1)
        versions = {version.name for version in snapshot.reports[0][0].versions}
        seen.append(predictions(snapshot.reports[0][0], "2") if "2" in versions else None)
        if not snapshot.behind:
            break
    # Once all is read, the version is older than every window, and its place is free again.
    assert seen[:-1] == [50, 100]
    assert seen[-1] in (150, None)
