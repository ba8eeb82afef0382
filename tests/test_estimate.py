"""Quality without labels, from a profile that `ml_exporter profile` has made to the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.made import CLASSES, after, fields, longest, profiled, renew, site_of, version_of, write
from tests.support.site import Site
from tests.test_quality import page_of, reasons

from ml_exporter.cli import main
from ml_exporter.estimate import estimated, estimated_metrics
from ml_exporter.layout import Layout
from ml_exporter.stats.result import Result, Unavailable, Value
from ml_exporter.tally import Tally, input_shape

N, REFERENCE = 2_000, 6_000
Columns = tuple[dict[str, list[Any]], list[Any]]


def binary(n: int, seed: int, shift: float = 0.0) -> Columns:
    """P(positive | score) is not the score, and does not change when scores move by `shift` logits."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(-0.5 + shift, 1.2, n)
    scores = 1 / (1 + np.exp(-logits))
    labels = draw.random(n) < 1 / (1 + np.exp(0.3 - 0.8 * logits))
    return {"score": scores.tolist(), "prediction": (scores >= 0.5).tolist()}, labels.tolist()


def classes(n: int, seed: int, shift: float = 0.0) -> Columns:
    """The largest probability is right as often as it says; it moves up by `shift`."""
    draw = np.random.default_rng(seed)
    top = np.clip(draw.uniform(0.4, 0.9, n) + shift, 0.4, 0.9)
    chosen = draw.integers(0, 3, n)
    truth = np.where(draw.random(n) < top, chosen, (chosen + draw.integers(1, 3, n)) % 3)
    scores = [
        {name: own if code == place else (1 - own) / 2 for place, name in enumerate(CLASSES)}
        for own, code in zip(top.tolist(), chosen.tolist(), strict=True)
    ]
    return {"s": scores, "prediction": [CLASSES[code] for code in chosen]}, [CLASSES[code] for code in truth]


def numbers(n: int, seed: int, shift: float = 0.0) -> Columns:
    """Errors grow with what is predicted."""
    draw = np.random.default_rng(seed)
    predicted = draw.uniform(5 + 4 * shift, 20, n)
    return {"prediction": predicted.tolist()}, (predicted + draw.normal(0, predicted / 5)).tolist()


MADE = {"binary": binary, "multiclass": classes, "regression": numbers}


def prepared(folder: Path, task: str, n: int = REFERENCE) -> Site:
    own = {"binary": fields(), "multiclass": fields(score="s"), "regression": fields(score=...)}[task]
    site = site_of(folder, task, own)
    columns, labels = MADE[task](n, 1)
    write(site, columns, labels, apart=0.05)
    return site


def with_profile(site: Site) -> None:
    """As a user does it."""
    arguments = ["profile", "--config.file", str(site.config_path), "--model", "m", "--output"]
    site.config()
    path = site.folder / "profile.json"
    assert main([*arguments, str(path), str(site.folder / "m-predictions.jsonl")]) == 0
    site.models[0]["profile"] = "profile.json"
    renew(site)


@pytest.mark.parametrize("task", MADE)
def test_bounds_hold_what_turns_out_after_a_shift_of_the_answers(tmp_path: Path, task: str) -> None:
    site = prepared(tmp_path, task)
    with_profile(site)
    columns, labels = MADE[task](N, 2, 0.5 if task != "multiclass" else 0.1)
    write(site, columns, labels, apart=0.02)
    before, _ = after(site, 50)
    later, _ = after(site, 300)
    found, truth = longest(before).estimated, longest(later).quality.metrics
    shared = [name for name in found if isinstance(truth.get(name), Value)]
    assert len(shared) >= {"binary": 10, "multiclass": 2, "regression": 2}[task]
    held = []
    for name in shared:
        estimate, value = found[name], truth[name]
        assert isinstance(estimate, Value), name
        assert isinstance(value, Value)
        assert estimate.lower is not None
        assert estimate.upper is not None
        held.append(estimate.lower <= value.value <= estimate.upper)
        assert estimate.upper - estimate.lower < (0.2 if task != "regression" else 1.0)
    # Of ten metrics one may miss at 95 %.
    assert sum(held) >= len(held) - 1
    assert before.versions[0].windows[-1].quality.labelled == 0


def test_the_estimate_moves_with_the_answers(tmp_path: Path) -> None:
    """Fewer errors where predictions are small: the labels are not looked at."""
    site = prepared(tmp_path, "regression")
    profiled(site)
    renew(site)
    found = []
    for shift in (0.0, 2.0):
        site.exporter["state"] = f"{shift}.duckdb"
        columns, _ = numbers(N, 3, shift)
        write(site, columns, None, apart=0.05)
        result = longest(after(site, 150)[0]).estimated["mean_absolute_error"]
        assert isinstance(result, Value)
        found.append(result.value)
        expected = np.mean(np.asarray(columns["prediction"]) / 5) * np.sqrt(2 / np.pi)
        assert result.value == pytest.approx(expected, rel=0.05)
        renew(site)
    assert found[1] > found[0] + 0.3


class TestReasons:
    def test_no_profile(self, tmp_path: Path) -> None:
        site = prepared(tmp_path, "regression", 100)
        assert reasons(page_of(site, 150), "estimate") == {"no_profile"}

    def test_a_profile_of_too_few_labelled_rows_learns_nothing(self, tmp_path: Path) -> None:
        site = prepared(tmp_path, "regression", 499)
        assert profiled(site).estimation is None
        # The page cannot tell more than that there is none to estimate from.
        assert reasons(page_of(site, 150), "estimate") == {"no_profile"}

    def test_answers_beyond_the_reference(self, tmp_path: Path) -> None:
        site = prepared(tmp_path, "regression", 1_000)
        profiled(site)
        renew(site)
        write(site, {"prediction": [900.0] * 100}, None)
        assert reasons(page_of(site, 50), "estimate") == {"short_reference"}

    def test_too_few_rows(self, tmp_path: Path) -> None:
        site = prepared(tmp_path, "binary", 1_000)
        profiled(site)
        renew(site)
        columns, _ = binary(9, 2)
        write(site, columns, None)
        page = page_of(site, 50)
        assert reasons(page, "estimate") == {"too_few_rows"}
        assert not [key for key in page if key[0] == "ml_quality_estimated"]


def test_requests_that_failed_and_answers_that_are_none_are_not_estimated(tmp_path: Path) -> None:
    site = prepared(tmp_path, "regression", 1_000)
    profiled(site)
    renew(site)
    columns, _ = numbers(100, 5)
    values: list[Any] = [*columns["prediction"], None, "soon", 12.0]
    write(site, {"prediction": values, "error": [None] * 102 + ["timeout"]}, None)
    result = longest(after(site, 60)[0]).estimated["mean_absolute_error"]
    assert isinstance(result, Value)
    assert result.n == 100


def test_as_many_metrics_as_check_counts(tmp_path: Path) -> None:
    site = prepared(tmp_path, "binary", 1_000)
    profiled(site)
    renew(site)
    columns, labels = binary(400, 6)
    write(site, columns, labels)
    version = version_of(after(site, 150)[0])
    assert estimated_metrics(version.layout) == len(version.windows[-1].estimated)


def test_without_a_profile_the_reason_stands_alone() -> None:
    none = Layout(None)
    found: dict[str, Result] = estimated(none, Tally.zeros(input_shape(0, 0)), 1.0)
    assert list(found.values()) == [Unavailable("no_profile")]
    assert estimated_metrics(none) == 0
