from __future__ import annotations

import numpy as np
import pytest
from tests.support.site import START, Site, label, prediction

from ml_exporter.judging import Judging
from ml_exporter.layout import Layout
from ml_exporter.pending import PendingRows
from ml_exporter.recent import Recent, recent
from ml_exporter.stats.classification import BINARY_METRICS, BinaryEvidence
from ml_exporter.stats.result import Value
from ml_exporter.store import Store
from ml_exporter.tasks.binary import Binary

N = 240


def test_labelled_rows_of_the_window_count_mature_or_not(tmp_path_factory: pytest.TempPathFactory) -> None:
    site = Site(tmp_path_factory.mktemp("site"))
    draw = np.random.default_rng(3)
    scores, truth = draw.random(N).round(3), draw.random(N) < 0.4
    labelled = draw.random(N) < 0.8
    site.predict(*(prediction(number, number, score=float(scores[number])) for number in range(N)))
    # Every label comes 20 s after its prediction, if at all.
    rows = [label(number, number + 20, bool(truth[number])) for number in range(N) if labelled[number]]
    site.now = N
    site.label(*(row for row, number in zip(rows, np.flatnonzero(labelled), strict=True) if number + 20 <= N))
    engine = site.engine()
    report = engine.cycle().reports[0][0]
    assert report.pending > 50
    for window in report.versions[0].windows:
        pane = window.window.seconds / 60
        oldest = ((START + N) // pane - 59) * pane - START
        numbers = np.arange(N)
        chosen = labelled & (numbers > oldest) & (numbers + 20 <= N)
        evidence = BinaryEvidence.of(scores[chosen], scores[chosen] >= 0.5, truth[chosen])
        for name in Binary.recent_metrics:
            expected = BINARY_METRICS[name](evidence, 1.0)
            assert isinstance(expected, Value)
            assert window.recent[name] == pytest.approx(expected.value, rel=1e-12)


def test_fewer_than_ten_rows_are_too_few(tmp_path_factory: pytest.TempPathFactory) -> None:
    site = Site(tmp_path_factory.mktemp("site"))
    site.predict(*(prediction(number, number) for number in range(20)))
    site.label(*(label(number, number) for number in range(9)))
    site.now = 30
    engine = site.engine()
    assert engine.cycle().reports[0][0].versions[0].windows[2].recent == {}
    site.label(label(9, 9))
    recent = engine.cycle().reports[0][0].versions[0].windows[2].recent
    assert recent["accuracy"] == 1.0
    assert "recall" not in recent


def test_rows_without_a_score_count_for_decisions_only(tmp_path_factory: pytest.TempPathFactory) -> None:
    site = Site(tmp_path_factory.mktemp("site"))
    rows = [prediction(number, number) for number in range(20)]
    site.predict(*({key: value for key, value in row.items() if key != "score"} for row in rows))
    site.label(*(label(number, number) for number in range(20)))
    site.now = 30
    recent = site.engine().cycle().reports[0][0].versions[0].windows[2].recent
    assert recent["accuracy"] == 1.0
    assert not {"brier_score", "log_loss"} & recent.keys()


def test_versions_are_told_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    site = Site(tmp_path_factory.mktemp("site"))
    site.models[0]["shadow"] = ["2"]
    site.predict(*(prediction(number, number, score=0.1) for number in range(20)))
    site.predict(*(prediction(number, number, score=0.9, version="2") for number in range(20)))
    site.label(*(label(number, number) for number in range(20)))
    site.now = 30
    versions = site.engine().cycle().reports[0][0].versions
    assert {version.name: version.windows[2].recent["accuracy"] for version in versions} == {
        "1": 1.0,
        "2": 0.0,
    }


ROWS = 20_000
HOUR = 3_600_000_000
NOW = 1_000_000 * HOUR


def waiting_rows(rows: int, labels_each: int = 1) -> Store:
    """Predictions of the last hour that wait; version 1 is seldom. Each has a label, or several that differ."""
    draw = np.random.default_rng(8)
    store = Store(None)
    ids = draw.integers(0, 2**64, rows, np.uint64)
    scores = draw.random(rows)
    predictions = {
        "model": np.zeros(rows, np.uint16),
        "id": ids,
        "time": NOW - draw.integers(0, HOUR, rows),
        "version": (np.arange(rows) % 500 == 0).astype(np.uint16),
        "score": scores,
        "class": (scores >= 0.5).astype(np.int16),
    }
    store.insert("pending", predictions)
    truth = draw.random(rows) < scores
    for number in reversed(range(labels_each)):  # the first one comes last
        times = predictions["time"] + number
        labels = {
            "model": predictions["model"],
            "id": ids,
            "time": times,
            "label": (truth ^ bool(number % 2)).astype(np.float64),
        }
        store.insert("labels", {**labels, "used": np.zeros(rows, np.bool_)})
    return store


def look(store: Store) -> Recent:
    rows = PendingRows(store, 0, details=0, segments=0)
    judging = dict.fromkeys((0, 1), Judging(Binary(scored=True), Layout(None)))
    return recent(store, 0, rows, judging, HOUR, NOW, [NOW - HOUR // 2, NOW - 2 * HOUR])


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_exporter.recent._SAMPLE", ROWS // 6)


@pytest.mark.usefixtures("sampled")
def test_where_many_wait_a_sample_stands_for_all() -> None:
    store = waiting_rows(ROWS)
    sample = look(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ml_exporter.recent._SAMPLE", ROWS)
        everything = look(store)
    for window in (0, 1):
        whole, part = everything[0, window], sample[0, window]
        assert set((part["confusion"] % 8).ravel()) == {0}  # every eighth row, and each for eight
        n = whole.count("scored")
        # Eight times a binomial count: four standard deviations.
        assert part["confusion"] == pytest.approx(whole["confusion"], abs=4 * np.sqrt(7 * n / 4))
        assert not np.array_equal(part["confusion"], whole["confusion"])
        assert part.count("scored") == part["confusion"].sum() == pytest.approx(n, abs=4 * np.sqrt(7 * n))
        assert part["losses"] / part.count("scored") == pytest.approx(whole["losses"] / n, rel=0.15)


@pytest.mark.usefixtures("sampled")
def test_the_sample_is_by_id_and_the_same_each_time() -> None:
    store = waiting_rows(ROWS)
    first, again = look(store), look(store)
    assert [(key, tally["confusion"].tolist()) for key, tally in first.items()] == [
        (key, tally["confusion"].tolist()) for key, tally in again.items()
    ]
    kept = "SELECT 8 * count(*) FROM pending WHERE id % 8 = 0 AND version = 0"
    assert store.connection.execute(kept).fetchone() == (first[0, 1].count("scored"),)


@pytest.mark.usefixtures("sampled")
def test_a_version_with_few_rows_in_the_sample_is_left_out() -> None:
    """Forty rows of version 1 wait, about five of them in the sample."""
    store = waiting_rows(ROWS)
    assert set(look(store)) == {(0, 0), (0, 1)}
    store.connection.execute("UPDATE pending SET version = 1 WHERE time % 4 = 0")
    assert set(look(store)) == {(0, 0), (0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize("labels", [5, 6, 7])
def test_all_are_counted_as_long_as_they_are_few(labels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_exporter.recent._SAMPLE", 6)
    found = look(waiting_rows(labels))
    counted = found[0, 1].count("scored") + found[1, 1].count("scored") if found else 0
    assert counted == (labels if labels <= 6 else 0)


def test_a_prediction_with_several_labels_counts_once_with_the_first() -> None:
    one, two = look(waiting_rows(1_000)), look(waiting_rows(1_000, labels_each=2))
    assert one.keys() == two.keys()
    for key, tally in one.items():
        assert np.array_equal(tally["confusion"], two[key]["confusion"])
