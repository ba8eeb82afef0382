from __future__ import annotations

import numpy as np
import pytest
from tests.support.site import START, Site, label, prediction

from ml_exporter.stats.classification import BINARY_METRICS, BinaryEvidence
from ml_exporter.stats.result import Value
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
