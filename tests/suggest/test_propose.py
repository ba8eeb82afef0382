"""Proposals from series that a test makes up: both sides, bounds that are absent, and numbers that read well."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.site import model

from ml_exporter.config import Model, load
from ml_exporter.suggest.prometheus import Series
from ml_exporter.suggest.propose import Proposal, _outward, proposals

Made = Mapping[str, Sequence[tuple[dict[str, str], Sequence[float]]]]


def configured(folder: Path, **more: Any) -> Model:
    (folder / "config.yml").write_text(yaml.safe_dump({"models": [model(**more)]}))
    return load(folder / "config.yml").models[0]


def proposed(found: Model, made: Made) -> dict[str, Any]:
    """Return values by dotted path, from the series of each family."""

    def ask(query: str) -> list[Series]:
        # The family that is asked for stands first, or after the clock.
        family = next(
            name for name in re.findall(r"ml_\w+", query) if name != "ml_exporter_clock_timestamp_seconds"
        )
        return [
            Series(labels, tuple((float(index), value) for index, value in enumerate(values)))
            for labels, values in made.get(family, ())
        ]

    return {".".join(one.path): one.value for one in proposals(found, ask) if isinstance(one, Proposal)}


def test_without_a_history_nothing_is_proposed(tmp_path: Path) -> None:
    assert proposed(configured(tmp_path), {}) == {}


def test_a_bias_is_bounded_on_both_sides(tmp_path: Path) -> None:
    fields = {"id": "id", "timestamp": "ts", "prediction": "prediction"}
    regression = configured(
        tmp_path,
        task="regression",
        predictions={"path": "p.jsonl", "fields": fields},
        quality={"bias": {"max": 9}},
    )
    made = {
        "ml_quality": [({"metric": "bias"}, [-1.0, 2.0])],
        "ml_quality_lower": [({"metric": "bias"}, [-3.0, -3.0])],
        "ml_quality_upper": [({"metric": "bias"}, [4.0, 4.0])],
    }
    assert proposed(regression, made) == {"quality.bias.min": -3.0, "quality.bias.max": 4.0}


def test_without_bounds_the_values_decide(tmp_path: Path) -> None:
    made = {
        "ml_quality": [
            ({"metric": "accuracy", "instance": name}, [value] * 5)
            for name, value in (("a", 0.8), ("b", 0.9))
        ]
    }
    assert proposed(configured(tmp_path), made) == {"quality.accuracy.min": 0.8}


def test_what_has_no_target_yet_gets_the_usual_ones(tmp_path: Path) -> None:
    made = {
        "ml_quality": [({"metric": name}, [0.7]) for name in ("roc_auc", "accuracy", "recall", "log_loss")]
    }
    keys = ["quality.roc_auc.min", "quality.accuracy.min", "quality.log_loss.max"]
    assert list(proposed(configured(tmp_path), made)) == keys
    targets = {"recall": {"min": 0.1}}
    assert list(proposed(configured(tmp_path, quality=targets), made)) == ["quality.recall.min"]


def test_a_limit_of_drift_is_at_least_the_noise(tmp_path: Path) -> None:
    column = {"method": "psi", "column": "a"}
    made = {"ml_drift": [(column, [0.01])], "ml_drift_noise": [(column, [0.08])]}
    assert proposed(configured(tmp_path), made) == {"drift.psi.max": 0.08}


def test_methods_with_a_limit_get_one(tmp_path: Path) -> None:
    series = [({"method": name, "column": "a"}, [0.1]) for name in ("psi", "ks", "wasserstein")]
    limits = {"columns": {"a": {"ks": {"max": 1}}}}
    assert list(proposed(configured(tmp_path, drift=limits), {"ml_drift": series})) == ["drift.ks.max"]


@pytest.mark.parametrize(("share", "objective"), [(1.0, 0.999), (0.0, 0.001), (0.95678, 0.956)])
def test_an_objective_is_never_all_or_nothing(share: float, objective: float, tmp_path: Path) -> None:
    made = {"ml_good_predictions_total": [({}, [share])]}
    assert proposed(configured(tmp_path, slo={"objective": 0.99}), made)["slo.objective"] == objective


@pytest.mark.parametrize(
    ("value", "up", "digits", "expected"),
    [
        (0.12345, True, 3, 0.124),
        (0.12345, False, 3, 0.123),
        (0.123, True, 3, 0.123),
        (-0.12345, False, 3, -0.124),
        (-0.12345, True, 3, -0.123),
        (123_456.0, True, 2, 130_000.0),
        (0.00071, True, 2, 0.00071),
        (9.999, True, 2, 10.0),
        (0.0, True, 2, 0.0),
    ],
)
def test_numbers_are_rounded_away_from_what_was_seen(
    value: float, up: bool, digits: int, expected: float
) -> None:
    assert _outward(value, up, digits) == expected
