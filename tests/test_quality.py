"""Quality of windows: reasons where there is none, design effects, segments, and what the page says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.made import after, drained, fields, longest, site_of, write
from tests.support.site import Site

from ml_exporter.quality import widening
from ml_exporter.snapshot import log_page
from ml_exporter.stats.intervals import wilson
from ml_exporter.stats.result import Unavailable, Value

TASKS = ("binary", "multiclass", "regression")
ANSWERS: dict[str, list[Any]] = {
    "binary": [True, False],
    "multiclass": ["a", "b"],
    "regression": [1.0, 2.0],
}
MAIN = {"binary": "accuracy", "multiclass": "accuracy", "regression": "mean_absolute_error"}


def site_for(folder: Path, task: str, **more: object) -> Site:
    own = fields(score=...) if task == "binary" else None
    return site_of(folder, task, own, **more)


def filled(site: Site, task: str, n: int, labelled: int | None = None) -> None:
    """n predictions, a third of them wrong, of which the first `labelled` have a label."""
    answers = [ANSWERS[task][row % 2] for row in range(n)]
    truth = [ANSWERS[task][(row + (row % 3 == 0)) % 2] for row in range(n)]
    labels = [value if labelled is None or row < labelled else None for row, value in enumerate(truth)]
    write(site, {"prediction": answers}, labels)


def page_of(site: Site, now: float) -> dict[tuple[str, ...], float]:
    """Values of the page by name and labels, those of quality and of what is missing."""
    site.now = now
    engine = site.engine()
    while (snapshot := engine.cycle()).behind:
        pass
    engine.store.close()
    text = log_page(snapshot, 0.0, 20_000).page.text.decode()
    return {
        (sample.name, *sorted(f"{key}={value}" for key, value in sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def reasons(page: dict[tuple[str, ...], float], subject: str, window: str = "10m") -> set[str]:
    """Why a subject is unavailable in a window."""
    return {
        label.removeprefix("reason=")
        for (name, *labels), value in page.items()
        if name == "ml_unavailable" and f"subject={subject}" in labels and f"window={window}" in labels
        for label in labels
        if label.startswith("reason=") and value == 1
    }


@pytest.mark.parametrize("task", TASKS)
class TestReasons:
    """Each reason is on the page, and the metric is not."""

    def check(self, site: Site, task: str, now: float, reason: str) -> dict[tuple[str, ...], float]:
        page = page_of(site, now)
        assert reasons(page, f"quality:{MAIN[task]}") == {reason}
        assert not [key for key in page if key[0] == "ml_quality" and "window=10m" in key]
        return page

    def test_immature(self, tmp_path: Path, task: str) -> None:
        site = site_for(tmp_path, task)
        filled(site, task, 40)
        page = self.check(site, task, 30, "immature")
        assert not [key for key in page if key[0] == "ml_quality_samples"]

    def test_too_few_rows(self, tmp_path: Path, task: str) -> None:
        site = site_for(tmp_path, task)
        filled(site, task, 9)
        page = self.check(site, task, 100, "too_few_rows")
        assert {
            value for key, value in page.items() if key[0] == "ml_quality_samples" and "window=10m" in key
        } == {9}

    def test_nothing_left_in_the_window(self, tmp_path: Path, task: str) -> None:
        site = site_for(tmp_path, task)
        filled(site, task, 40)
        assert reasons(page_of(site, 120), f"quality:{MAIN[task]}") == set()
        self.check(site, task, 669, "too_few_rows")

    def test_no_labels(self, tmp_path: Path, task: str) -> None:
        site = site_for(tmp_path, task)
        filled(site, task, 40, labelled=0)
        write(site, {"prediction": [ANSWERS[task][0]]}, [ANSWERS[task][0]], first=900, start=900)
        self.check(site, task, 150, "no_labels")

    def test_low_coverage(self, tmp_path: Path, task: str) -> None:
        site = site_for(tmp_path, task)
        filled(site, task, 100, labelled=89)
        page = self.check(site, task, 150, "low_coverage")
        assert [
            v for key, v in page.items() if key[0] == "ml_label_coverage_ratio" and "window=10m" in key
        ] == [0.89]

    def test_enough_coverage(self, tmp_path: Path, task: str) -> None:
        site = site_for(tmp_path, task)
        filled(site, task, 100, labelled=90)
        page = page_of(site, 150)
        found = {key: value for key, value in page.items() if key[0] == "ml_quality" and "window=10m" in key}
        (value,) = (value for key, value in found.items() if f"metric={MAIN[task]}" in key)
        assert value == pytest.approx(2 / 3 if MAIN[task] == "accuracy" else 1 / 3)


def test_one_class_alone_says_nothing_of_metrics_that_need_two(tmp_path: Path) -> None:
    site = site_for(tmp_path, "binary")
    write(site, {"prediction": [True] * 40}, [True] * 40)
    page = page_of(site, 150)
    assert reasons(page, "quality:balanced_accuracy") == {"single_class"}
    assert reasons(page, "quality:accuracy") == set()


def test_classes_and_segments_are_on_the_page(tmp_path: Path) -> None:
    site = site_for(tmp_path, "multiclass", segments=["k"], quality={"accuracy": {"min": 0.5}})
    filled(site, "multiclass", 120)
    page = page_of(site, 150)
    classes = {
        key[1]: value for key, value in page.items() if key[0] == "ml_class_quality" and "window=10m" in key
    }
    assert set(classes) == {"class=a", "class=b"}
    segments = {key[-3]: value for key, value in page.items() if key[0] == "ml_segment_samples"}
    assert segments == {f"value={value}": 24 for value in range(5)}
    assert {key[1] for key in page if key[0] == "ml_segment_quality"} == {"metric=accuracy"}


class TestSegments:
    def test_their_bounds_are_those_of_looking_at_all_of_them_at_once(self, tmp_path: Path) -> None:
        site = site_for(tmp_path, "binary", segments=["k"], quality={"accuracy": {"min": 0.5}})
        filled(site, "binary", 300)
        quality = longest(after(site, 200)[0]).quality
        (part, *others) = quality.segments
        assert len(others) == 4
        result = part.quality["accuracy"]
        assert isinstance(result, Value)
        right = round(result.value * part.rows)
        effect = quality.design_effect * widening(5)
        lower, upper = wilson(right / effect, part.rows / effect)
        assert (result.lower, result.upper) == (pytest.approx(lower), pytest.approx(upper))

    def test_widening_is_bonferronis_correction(self) -> None:
        """z at 1 - 0.025 / k over z at 0.975, squared."""
        assert widening(0) == widening(1) == pytest.approx(1.0)
        assert widening(5) == pytest.approx((2.5758293 / 1.9599640) ** 2)
        assert widening(20) == pytest.approx((3.0233414 / 1.9599640) ** 2)

    def test_only_metrics_with_a_target_are_told(self, tmp_path: Path) -> None:
        site = site_for(tmp_path, "regression", segments=["k"], quality={"bias": {"max": 1}})
        filled(site, "regression", 100)
        parts = longest(after(site, 200)[0]).quality.segments
        assert {name for part in parts for name in part.quality} == {"bias"}
        assert sum(part.rows for part in parts) == 100


class TestDesignEffect:
    """Twelve blocks of five panes each; a window of a minute has panes of a second."""

    def rows(self, site: Site, n: int, apart: float) -> None:
        """Every 50 seconds the model is nearly always right or nearly always wrong."""
        draw = np.random.default_rng(2)
        rates = np.where(np.arange(12) % 2, 0.95, 0.4)
        times = np.arange(n) * apart
        right = draw.random(n) < rates[(times // 50).astype(int) % 12]
        write(site, {"prediction": [True] * n}, [bool(value) for value in right], apart=apart)

    def test_a_short_window_takes_that_of_the_next_longer_one(self, tmp_path: Path) -> None:
        site = site_for(tmp_path, "binary", windows=["1m", "10m"])
        self.rows(site, 1_080, 0.5)
        # All rows of the last minute come within two of its twelve blocks.
        write(site, {"prediction": [True] * 40}, [True] * 40, first=592, apart=0.2, start=1_080)
        report, _ = after(site, 661)
        short, long = (window.quality for window in report.versions[0].windows)
        assert long.design_effect == short.design_effect > 10.0
        assert short.labelled == 40
        assert short.effective == pytest.approx(40 / short.design_effect)

    def test_a_long_window_that_has_just_begun_takes_that_of_the_next_shorter_one(
        self, tmp_path: Path
    ) -> None:
        site = site_for(tmp_path, "binary", windows=["10m", "1h", "1d"])
        self.rows(site, 1_200, 0.5)
        windows = [window.quality for window in after(site, 670)[0].versions[0].windows]
        assert windows[0].design_effect == windows[1].design_effect == windows[2].design_effect > 10.0
        assert windows[2].effective == pytest.approx(windows[2].labelled / windows[2].design_effect)

    def test_where_no_window_tells_it_is_one(self, tmp_path: Path) -> None:
        site = site_for(tmp_path, "binary", windows=["1m", "10m"])
        self.rows(site, 30, 0.5)
        report, _ = after(site, 80)
        assert [window.quality.design_effect for window in report.versions[0].windows] == [1.0, 1.0]

    def test_bounds_are_made_of_the_effective_rows(self, tmp_path: Path) -> None:
        site = site_for(tmp_path, "binary")
        self.rows(site, 1_200, 0.5)
        quality = longest(after(site, 670)[0]).quality
        accuracy = quality.metrics["accuracy"]
        assert isinstance(accuracy, Value)
        assert quality.design_effect > 10
        assert quality.effective == pytest.approx(quality.labelled / quality.design_effect)
        lower, upper = wilson(accuracy.value * quality.effective, quality.effective)
        assert (accuracy.lower, accuracy.upper) == (pytest.approx(lower), pytest.approx(upper))


def test_a_model_without_labels_has_no_quality(tmp_path: Path) -> None:
    site = site_for(tmp_path, "regression")
    del site.models[0]["labels"]
    filled(site, "regression", 40)
    site.now = 60
    engine = site.engine()
    report, _ = drained(engine)
    engine.store.close()
    assert set(longest(report).quality.metrics.values()) == {Unavailable("no_labels")}
