"""The demo's three models of a flight, fitted and applied; part of make_flights.py.

`flight-delay`: arrives more than 15 minutes late, or not. `delay-minutes`: how many minutes late, with an
interval that is to hold 80 % of the truth. `flight-outcome`: on time, late or cancelled. Each was trained on
January to March (the first also on January to June, as version 2); where it was trained its predictions are
out of fold. All of them know no more than what is known at the scheduled departure.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

HOME_ZONE = "America/New_York"
# temp and dewp are left out: over one year they only say which month it is.
WEATHER = ["wind_dir", "wind_speed", "wind_gust", "humid", "precip", "pressure", "visib"]
CATEGORIES = ["carrier", "origin", "dest"]
INTEGERS = ["hour", "weekday", "distance", "plane_age", "seats", "wind_dir"]
FEATURES = [*CATEGORIES, *INTEGERS[:-1], *WEATHER, "mean_dep_delay"]
# The registry's columns are missing where no plane was assigned, which tells that the flight was cancelled.
OUTCOME_FEATURES = [name for name in FEATURES if name not in ("plane_age", "seats")]
OUTCOMES = ["on_time", "late", "cancelled"]
QUANTILES = (0.1, 0.9)
VERSION_1_FROM = pd.Timestamp("2013-04-01", tz="UTC")
VERSION_2_FROM = pd.Timestamp("2013-07-01", tz="UTC")
FOLDS = 5

Predict = Callable[[pd.DataFrame], npt.NDArray[np.float32]]
Fit = Callable[[pd.DataFrame], Predict]


def fit_late(rows: pd.DataFrame) -> Predict:
    """Fit `flight-delay` on labelled rows; it predicts the probability of a late arrival, shape (n,)."""
    rows = rows[rows["label"].notna()]
    model = _classifier().fit(rows[FEATURES], rows["label"].astype(bool))
    return lambda flights: model.predict_proba(flights[FEATURES])[:, 1].astype(np.float32)


def fit_minutes(rows: pd.DataFrame) -> Predict:
    """Fit `delay-minutes` on landed rows; it predicts minutes, shape (n, 3): expected, lower, upper.

    The interval is between the 10 % and the 90 % quantile, widened where it does not hold the expected value.
    """
    rows = rows[rows["arr_delay"].notna()]
    models = [_regressor("squared_error"), *(_regressor("quantile", quantile) for quantile in QUANTILES)]
    models = [model.fit(rows[FEATURES], rows["arr_delay"]) for model in models]

    def predict(flights: pd.DataFrame) -> npt.NDArray[np.float32]:
        all_three = np.column_stack([model.predict(flights[FEATURES]) for model in models])
        ends = all_three.min(axis=1), all_three.max(axis=1)
        return np.column_stack([all_three[:, 0], *ends]).astype(np.float32)

    return predict


def fit_outcome(rows: pd.DataFrame) -> Predict:
    """Fit `flight-outcome` on rows with an outcome; it predicts the probabilities of OUTCOMES, shape (n, 3)."""
    rows = rows[rows["outcome"].notna()]
    model = _classifier().fit(rows[OUTCOME_FEATURES], rows["outcome"].map(OUTCOMES.index).astype(int))
    return lambda flights: model.predict_proba(flights[OUTCOME_FEATURES]).astype(np.float32)


def _classifier() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=100,
        max_leaf_nodes=15,
        min_samples_leaf=200,
        l2_regularization=1.0,
        early_stopping=False,
        categorical_features="from_dtype",
        random_state=0,
    )


def _regressor(loss: str, quantile: float | None = None) -> HistGradientBoostingRegressor:
    same = {
        name: value
        for name, value in _classifier().get_params().items()
        if name not in ("class_weight", "loss")
    }
    return HistGradientBoostingRegressor(**same, loss=loss, quantile=quantile)


def predict_first_version(flights: pd.DataFrame, fit: Fit) -> npt.NDArray[np.float32]:
    """Predictions of a version 1: out of fold (by day) while it was trained, its own afterwards."""
    known = flights["ts"] < VERSION_1_FROM
    # By the airports' day: an evening and the night after it, split, would tell of each other.
    fold = flights["ts"].dt.tz_convert(HOME_ZONE).dt.day_of_year % FOLDS
    predictions = fit(flights[known])(flights)
    for k in range(FOLDS):
        held_out = known & (fold == k)
        predictions[held_out.to_numpy()] = fit(flights[known & (fold != k)])(flights[held_out])
    return predictions


def predict(flights: pd.DataFrame) -> pd.DataFrame:
    """All models' predictions in long form, a row per version of `flight-delay`: sorted by ts, version, id.

    The other models have one version, and stand in the rows of version 1.
    """
    first = flights.assign(version="1", score=predict_first_version(flights, fit_late))
    minutes = predict_first_version(flights, fit_minutes).round(1)
    first[["minutes", "minutes_lower", "minutes_upper"]] = minutes
    outcomes = predict_first_version(flights, fit_outcome).round(4)
    first[["p_late", "p_cancelled"]] = outcomes[:, 1:]
    second = flights[flights["ts"] >= VERSION_2_FROM]
    score = fit_late(flights[flights["ts"] < VERSION_2_FROM])(second)
    rows = pd.concat([first, second.assign(version="2", score=score)])
    rows["prediction"] = rows["score"] >= 0.5
    return rows.sort_values(["ts", "version", "id"], ignore_index=True)
