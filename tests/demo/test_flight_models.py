"""The demo's models: what they are fitted on, what comes out, and that it is the same each time."""

from collections.abc import Callable, Iterator

import flight_models
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

FITS = (flight_models.fit_late, flight_models.fit_minutes, flight_models.fit_outcome)
Floats = npt.NDArray[np.float32]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other busily cost far more than such small fits."""
    with threadpool_limits(limits=1):
        yield


def flights(rows: int = 1_500) -> pd.DataFrame:
    """Flights whose delay grows with the wind and the delays before; the windiest are cancelled."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.normal(size=rows).round(2) for name in flight_models.FEATURES})
    for name in flight_models.CATEGORIES:
        table[name] = pd.Categorical(rng.choice(["A", "B", "C"], rows))
    minutes = 20 * table["wind_speed"] + 10 * table["mean_dep_delay"] + rng.normal(0, 10, rows)
    table["arr_delay"] = minutes.round().mask(table["wind_speed"] > 1.5)
    table["label"] = table["arr_delay"].gt(15).astype("boolean").mask(table["arr_delay"].isna())
    table["outcome"] = table["label"].map({True: "late", False: "on_time"})
    table["outcome"] = table["outcome"].mask(table["arr_delay"].isna(), "cancelled")
    table["ts"] = pd.Timestamp("2013-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows) * 2, unit="h")
    table["id"] = [f"f{row:04}" for row in range(rows)]
    return table


@pytest.mark.parametrize("fit", FITS)
def test_the_same_rows_give_the_same_predictions(fit: flight_models.Fit) -> None:
    table = flights()
    first, second = fit(table)(table), fit(table)(table)
    assert first.dtype == np.float32
    assert np.array_equal(first, second)


def test_probabilities_are_of_all_outcomes_in_order() -> None:
    table = flights()
    scores = flight_models.fit_outcome(table)(table)
    assert scores.shape == (1_500, 3)
    assert scores.sum(axis=1) == pytest.approx(np.ones(1_500), abs=1e-6)
    likely = [flight_models.OUTCOMES[k] for k in scores.argmax(axis=1)]
    assert np.mean(table["outcome"] == likely) > 0.8


def test_interval_holds_the_expected_minutes_and_most_of_the_truth() -> None:
    table = flights()
    expected, lower, upper = flight_models.fit_minutes(table)(table).T
    assert np.all((lower <= expected) & (expected <= upper))
    assert np.all(lower < upper)
    landed = table["arr_delay"].notna()
    held = table["arr_delay"].between(lower, upper)[landed]
    assert 0.7 < held.mean() < 0.9


@pytest.mark.parametrize("column", ["plane_age", "seats"])
def test_the_outcome_does_not_look_at_the_plane(column: str) -> None:
    table = flights()
    # As in the data: no plane, so no entry in the registry.
    told = table.assign(**{column: table[column].mask(table["outcome"] == "cancelled")})
    assert np.array_equal(flight_models.fit_outcome(told)(told), flight_models.fit_outcome(table)(table))


@pytest.mark.parametrize("column", ["arr_delay", "dep_delay", "arr_time", "label_ts", "outcome"])
def test_what_comes_later_is_no_feature(column: str) -> None:
    assert column not in flight_models.FEATURES


def recording(seen: list[set[str]]) -> Callable[[pd.DataFrame], flight_models.Predict]:
    """A fit that predicts which of its calls made the model, and remembers the rows it was given."""

    def fit(rows: pd.DataFrame) -> Callable[[pd.DataFrame], Floats]:
        seen.append(set(rows["id"]))
        number = len(seen) - 1
        return lambda flights: np.full(len(flights), number, np.float32)

    return fit


def test_no_flight_is_predicted_by_a_model_that_saw_its_day() -> None:
    table = flights()
    seen: list[set[str]] = []
    models = flight_models.predict_first_version(table, recording(seen)).astype(int)
    assert not any(key in seen[model] for key, model in zip(table["id"], models, strict=True))
    before = table["ts"] < flight_models.VERSION_1_FROM
    assert seen[0] == set(table["id"][before])
    assert set(models[~before]) == {0}
    day = table["ts"].dt.tz_convert(flight_models.HOME_ZONE).dt.date
    for fold, ids in enumerate(seen[1:], 1):
        assert not set(day[table["id"].isin(ids)]) & set(day[models == fold])


def constant(columns: tuple[int, ...]) -> flight_models.Fit:
    return lambda _rows: lambda table: np.full((len(table), *columns), 0.25, np.float32)


def test_second_version_has_scores_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, columns in (("fit_late", ()), ("fit_minutes", (3,)), ("fit_outcome", (3,))):
        monkeypatch.setattr(flight_models, name, constant(columns))
    table = flights(2_500)
    rows = flight_models.predict(table)
    first, second = rows[rows["version"] == "1"], rows[rows["version"] == "2"]
    others = ["minutes", "minutes_lower", "minutes_upper", "p_late", "p_cancelled"]
    assert first[others].notna().all(axis=None)
    assert second[others].isna().all(axis=None)
    assert rows["score"].notna().all()
    assert len(first) == len(table)
    assert second["ts"].min() >= flight_models.VERSION_2_FROM
