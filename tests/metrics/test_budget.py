from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.made import after, profiled, site_of, write

from ml_exporter.metrics.budget import limited, ranks_of
from ml_exporter.metrics.families import Families


def page(columns: int = 10) -> Families:
    """Three series of each column of two models, and four that have no column."""
    families = Families()
    for model in ("a", "b"):
        families.add("ml_model_info", (model, "binary", "team"), 1)
        families.add("ml_predictions_total", (model, "1"), 5)
        for number in range(columns):
            where = (f"c{number}", "psi", "1d", "training")
            families.add("ml_drift", (model, "1", *where), 0.1)
            families.add("ml_drift_noise", (model, "1", *where), 0.1)
            families.add("ml_input_violations_total", (model, "1", f"c{number}", "missing"), 0)
    return families


def left(families: Families) -> dict[str, int]:
    return {family.name: len(family.samples) for family in families.collect()}


def columns_left(families: Families) -> list[tuple[str, str]]:
    drift = next(family for family in families.collect() if family.name == "ml_drift")
    return [(sample.labels["model"], sample.labels["column"]) for sample in drift.samples]


@pytest.mark.parametrize("limit", [64, 65, 1_000])
def test_within_the_limit_nothing_goes(limit: int) -> None:
    families = page()
    assert limited(families.collect(), limit) == 0
    assert sum(left(families).values()) == 64


@pytest.mark.parametrize(("limit", "dropped"), [(63, 3), (61, 3), (60, 6), (34, 30), (33, 33)])
def test_over_it_whole_columns_go_in_all_their_families(limit: int, dropped: int) -> None:
    families = page()
    assert limited(families.collect(), limit) == dropped
    counts = left(families)
    assert sum(counts.values()) == 64 - dropped <= limit
    assert (
        counts["ml_drift"] == counts["ml_drift_noise"] == counts["ml_input_violations"] == (60 - dropped) / 3
    )


def test_the_last_columns_go_first_and_always_the_same() -> None:
    first, second = page(), page()
    limited(first.collect(), 58)
    limited(second.collect(), 58)
    assert columns_left(first) == columns_left(second)
    assert columns_left(first) == columns_left(page())[:-2]


def test_features_go_before_the_models_own_columns() -> None:
    families = Families()
    for column in ("amount", "score", "country", "prediction"):
        families.add("ml_drift", ("a", "1", column, "psi", "1d", "training"), 0.1)
    assert limited(families.collect(), 2) == 2
    assert columns_left(families) == [("a", "score"), ("a", "prediction")]


def test_what_has_no_column_stays_whatever_the_limit() -> None:
    families = page()
    assert limited(families.collect(), 1) == 60
    assert {name: count for name, count in left(families).items() if count} == {
        "ml_model_info": 2,
        "ml_predictions": 2,
    }


def test_features_of_the_lowest_rank_go_first_whatever_their_place() -> None:
    families = page(4)
    ranks = {
        ("a", "c0"): (1.0, 0.1),
        ("b", "c1"): (0.0, 9.0),
        ("b", "c3"): (2.0, 0.0),
        ("a", "c2"): (1.0, 0.2),
    }
    order = [
        ("b", "c1"),
        ("b", "c2"),
        ("b", "c0"),
        ("a", "c3"),
        ("a", "c1"),
        ("a", "c0"),
        ("a", "c2"),
        ("b", "c3"),
    ]
    for gone in range(1, len(order) + 1):
        families = page(4)
        assert limited(families.collect(), 4 + 24 - 3 * gone, lambda: ranks) == 3 * gone
        assert set(columns_left(families)) == set(order[gone:])


def test_a_column_is_worth_its_importance_and_then_what_it_tells_of_the_loss(tmp_path: Path) -> None:
    site = site_of(tmp_path, "binary", columns={"dull": {"importance": 0.5}, "dear": {"importance": 2}})
    draw = np.random.default_rng(4)
    n = 600
    telling = draw.integers(0, 2, n)
    features = [
        {"telling": int(value), "plain": int(other), "dull": int(value), "dear": 1.0 * row}
        for row, (value, other) in enumerate(zip(telling, draw.integers(0, 2, n), strict=True))
    ]
    # Where `telling` is 1 the model is right in 9 of 10 cases, elsewhere in 5 of 10.
    right = draw.random(n) < np.where(telling, 0.9, 0.5)
    write(
        site,
        {"score": [0.8] * n, "prediction": [True] * n, "features": features},
        [bool(value) for value in right],
    )
    profiled(site)
    ranks = ranks_of([after(site, 300)[0]])
    worth = {column: ranks["m", column] for column in ("telling", "plain", "dull", "dear")}
    assert [importance for importance, _ in worth.values()] == [1.0, 1.0, 0.5, 2.0]
    assert worth["telling"][1] > 10 * worth["plain"][1]
    assert worth["telling"][1] == worth["dull"][1]
    assert sorted(worth, key=lambda column: worth[column]) == ["dull", "plain", "telling", "dear"]
