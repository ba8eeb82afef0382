"""Drift of the concept: detectors fed by the engine, in the order of time, whatever the blocks and restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.made import after, fields, looked_back, profiled, renew, site_of, version_of, write
from tests.support.site import Site

from ml_exporter.concept import KINDS, Pace, Watch
from ml_exporter.hours import KEPT
from ml_exporter.layout import Layout
from ml_exporter.snapshot import log_page
from ml_exporter.sources import blocks
from ml_exporter.stats.detectors import Adwin, Ecusum, PageHinkley
from ml_exporter.tasks.binary import Binary

N = 1_500


def rows(n: int, seed: int, shift: float = 0.0) -> tuple[dict[str, list[Any]], list[bool]]:
    """Calibrated scores with their labels; `shift` of the labels are turned over, whatever the score."""
    draw = np.random.default_rng(seed)
    scores = draw.beta(2, 2, n).round(4)
    labels = (draw.random(n) < scores) ^ (draw.random(n) < shift)
    return {"score": scores.tolist(), "prediction": (scores >= 0.5).tolist()}, labels.tolist()


def prepared(folder: Path, task: str = "binary", **more: object) -> Site:
    """A site with a profile of calibrated scores, and empty logs."""
    site = site_of(folder, task, **more)
    columns, labels = rows(3_000, 1)
    if task == "regression":
        columns, labels = numbers(3_000, 1)
    write(site, columns, labels, apart=0.1)
    profiled(site)
    renew(site)
    return site


def numbers(n: int, seed: int, spread: float = 1.0) -> tuple[dict[str, list[Any]], list[Any]]:
    draw = np.random.default_rng(seed)
    predicted = draw.normal(10, 3, n).round(3)
    return {"prediction": predicted.tolist()}, (predicted + spread * draw.normal(0, 1, n)).round(3).tolist()


def detector_of(site: Site, now: float, name: str = "ecusum") -> Any:
    return version_of(after(site, now)[0]).detectors[name]


class TestEcusum:
    def test_blocks_and_restarts_change_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = prepared(tmp_path)
        columns, labels = rows(N, 2, shift=0.25)
        write(site, columns, labels, apart=0.1)
        (whole,) = [detector_of(site, 300)]
        site.exporter["state"] = "again.duckdb"
        monkeypatch.setattr(blocks, "BLOCK", 16_384)
        pieces = [detector_of(site, now) for now in (70, 130, 190, 300)]
        assert isinstance(whole, Ecusum)
        assert whole.log_m > 2.0
        assert pieces[-1].log_m == pytest.approx(whole.log_m, rel=1e-9)
        assert (pieces[-1].level, pieces[-1].alarms) == (whole.level, whole.alarms)
        assert len({piece.log_m for piece in pieces}) == 4

    def test_it_is_silent_while_labels_are_as_expected(self, tmp_path: Path) -> None:
        site = prepared(tmp_path)
        columns, labels = rows(N, 3)
        write(site, columns, labels, apart=0.1)
        found = detector_of(site, 300)
        assert (found.level, found.alarms) == (0, 0)

    @pytest.mark.parametrize("task", ["binary", "regression"])
    def test_it_alarms_after_a_planted_drift(self, tmp_path: Path, task: str) -> None:
        site = prepared(tmp_path, task)
        columns, labels = rows(N, 4, shift=0.6) if task == "binary" else numbers(N, 4, spread=3.0)
        write(site, columns, labels, apart=0.1)
        found = detector_of(site, 300)
        assert (found.level, found.alarms) == (2, 1)
        site.now = 301
        engine = site.engine()
        page = log_page(engine.cycle(), 0.0, 20_000).page.text.decode()
        engine.store.close()
        for family, value in (("state", 2), ("total", 1)):
            line = f'ml_concept_drift_{family}{{detector="ecusum",model="m",version="1"}} {value}.0'
            assert line in page

    def test_without_a_profile_there_is_none(self, tmp_path: Path) -> None:
        site = site_of(tmp_path, "binary", detectors=["ecusum", "ddm"])
        columns, labels = rows(100, 5)
        write(site, columns, labels)
        assert set(version_of(after(site, 200)[0]).detectors) == {"ddm"}

    def test_rows_without_a_score_are_not_held_against_it(self, tmp_path: Path) -> None:
        """The profile says nothing of them, so any loss may be expected."""
        site = prepared(tmp_path)
        write(site, {"score": [None] * 300, "prediction": [True] * 300}, [False] * 300, apart=0.1)
        found = detector_of(site, 300)
        assert found.log_m <= 0.0
        assert (found.level, found.alarms) == (0, 0)

    def test_what_it_expects_are_the_profiles_upper_bounds(self, tmp_path: Path) -> None:
        site = prepared(tmp_path, tol=0.1)
        columns, labels = rows(200, 6, shift=0.4)
        write(site, columns, labels, apart=0.1)
        report, _ = after(site, 300)
        layout = version_of(report).layout
        assert layout.profile is not None
        assert layout.profile.expected_loss is not None
        upper = [*layout.profile.expected_loss.upper, 1.0]
        codes = layout.cells["score"].numeric_codes(np.asarray(columns["score"]), None)
        log_m = 0.0
        for code, decision, label in zip(codes.tolist(), columns["prediction"], labels, strict=True):
            log_m = max(log_m, 0.0) + np.log1p(0.3 * ((decision != label) - upper[code] - 0.1))
        found = version_of(report).detectors["ecusum"]
        assert isinstance(found, Ecusum)
        assert found.log_m == pytest.approx(log_m, rel=1e-9)


class TestOthers:
    def test_they_come_with_the_configuration(self, tmp_path: Path) -> None:
        site = site_of(tmp_path, "binary", detectors=list(KINDS))
        columns, labels = rows(400, 7)
        write(site, columns, labels, apart=0.1)
        assert set(version_of(after(site, 200)[0]).detectors) == {"page_hinkley", "ddm", "adwin"}
        site.models[0]["detectors"] = []
        assert version_of(after(site, 201)[0]).detectors == {}

    def test_they_watch_the_losses_alone_and_survive_restarts(self, tmp_path: Path) -> None:
        site = site_of(tmp_path, "regression", detectors=["page_hinkley", "adwin"])
        good, bad = numbers(600, 8, 0.1), numbers(600, 9, 5.0)
        columns = {"prediction": good[0]["prediction"] + bad[0]["prediction"]}
        labels = good[1] + bad[1]
        write(site, columns, labels, apart=0.1)
        for now in (100, 140, 300):
            report, _ = after(site, now)
        losses = np.minimum(np.abs(np.asarray(columns["prediction"]) - np.asarray(labels)), 1.0)
        found = version_of(report).detectors
        expected = {"page_hinkley": PageHinkley().update(losses), "adwin": Adwin().update(losses)}
        assert found["adwin"].alarms == expected["adwin"].alarms >= 1
        assert found["page_hinkley"].alarms == expected["page_hinkley"].alarms
        adwin = found["adwin"]
        assert isinstance(adwin, Adwin)
        np.testing.assert_allclose(adwin.totals, Adwin().update(losses).totals)

    def test_evaluate_sees_what_the_exporter_sees(self, tmp_path: Path) -> None:
        site = site_of(tmp_path, "binary", fields(), detectors=["ddm"])
        columns, labels = rows(800, 10)
        write(site, columns, labels, apart=0.1)
        live = version_of(after(site, 300)[0]).detectors
        assert version_of(looked_back(site, 300)[0]).detectors == live


class TestPace:
    hours = np.asarray([10, 11, 12, 15, 15 + KEPT])
    labels = np.asarray([5.0, 7.0, 100.0, 3.0, 8.0])

    def test_it_is_that_of_the_hours_before(self) -> None:
        found = Pace(self.hours, self.labels).a_year(np.asarray([3, 10, 11, 13, 16]))
        assert found.tolist() == pytest.approx([0, 0, 5 / 1 * 8760, 112 / 3 * 8760, 115 / 6 * 8760])

    def test_it_forgets_what_is_older_than_a_quarter(self) -> None:
        found = Pace(self.hours, self.labels).a_year(np.asarray([12 + KEPT, 15 + KEPT, 16 + KEPT]))
        assert found.tolist() == pytest.approx([103 / KEPT * 8760, 3 / KEPT * 8760, 8 / 1 * 8760])

    def test_what_comes_after_or_was_forgotten_does_not_matter(self) -> None:
        hours = np.arange(14, 16 + KEPT)
        later = hours[hours >= 13 + KEPT]
        assert np.array_equal(
            Pace(self.hours, self.labels).a_year(later), Pace(self.hours[3:], self.labels[3:]).a_year(later)
        )
        early = hours[hours < 15 + KEPT]
        assert np.array_equal(
            Pace(self.hours, self.labels).a_year(early), Pace(self.hours[:4], self.labels[:4]).a_year(early)
        )

    def test_without_labels_there_is_none(self) -> None:
        assert Pace(np.zeros(0, np.int64), np.zeros(0)).a_year(np.asarray([1, 2])).tolist() == [0, 0]


def test_a_stored_detector_that_is_none_any_more_is_left_out() -> None:
    watch = Watch(["adwin", "ddm"], 0.02, Layout(None), Binary(scored=True))
    document = {
        "adwin": {"n": 40, "deviations": 1.0, "totals": [3.0, 1.0], "alarms": 2},
        "ecusum": {"log_m": 3.0},
    }
    watch.restore(document)
    assert watch.detectors["adwin"] == Adwin(40, 1.0, (3.0, 1.0), 2)
    assert set(watch.document()) == {"adwin", "ddm"}
