"""How good the demo's models were, by month and by scikit-learn; make_flights.py prints it."""

from collections.abc import Callable, Mapping

import pandas as pd
from flight_models import OUTCOMES
from sklearn import metrics


def report(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Quality of each model by version and month (UTC); rows as `flight_models.predict` returns them."""
    rows = rows.assign(month=rows["ts"].dt.strftime("%Y-%m"))
    first = rows[rows["version"] == "1"]
    return {
        "flight-delay": _table(rows[rows["label"].notna()], _late),
        "delay-minutes": _table(first[first["arr_delay"].notna()], _minutes),
        "flight-outcome": _table(first[first["outcome"].notna()], _outcome),
    }


def _table(rows: pd.DataFrame, measure: Callable[[pd.DataFrame], Mapping[str, float]]) -> pd.DataFrame:
    groups = rows.groupby(["version", "month"])
    return pd.DataFrame({key: {"labelled": len(group), **measure(group)} for key, group in groups}).T


def _late(rows: pd.DataFrame) -> Mapping[str, float]:
    label = rows["label"].astype(bool)
    return {
        "late": label.mean(),
        "roc_auc": metrics.roc_auc_score(label, rows["score"]),
        "brier_score": metrics.brier_score_loss(label, rows["score"]),
    }


def _minutes(rows: pd.DataFrame) -> Mapping[str, float]:
    label, prediction = rows["arr_delay"], rows["minutes"]
    return {
        "mean_delay": label.mean(),
        "mean_absolute_error": metrics.mean_absolute_error(label, prediction),
        "root_mean_squared_error": metrics.root_mean_squared_error(label, prediction),
        "r2_score": metrics.r2_score(label, prediction),
        "bias": (prediction - label).mean(),
        "interval_coverage": label.between(rows["minutes_lower"], rows["minutes_upper"]).mean(),
    }


def _outcome(rows: pd.DataFrame) -> Mapping[str, float]:
    label = rows["outcome"].map(OUTCOMES.index).astype(int)
    scores = probabilities(rows)
    prediction = scores.to_numpy().argmax(axis=1)
    return {
        "cancelled": (rows["outcome"] == "cancelled").mean(),
        "accuracy": metrics.accuracy_score(label, prediction),
        "f1_macro": metrics.f1_score(label, prediction, average="macro"),
        "log_loss": metrics.log_loss(label, scores),
        "roc_auc_ovr_macro": metrics.roc_auc_score(label, scores, multi_class="ovr"),
    }


def probabilities(rows: pd.DataFrame) -> pd.DataFrame:
    """The probabilities of OUTCOMES as they are logged: four digits, one in sum."""
    late, cancelled = rows["p_late"].astype(float).round(4), rows["p_cancelled"].astype(float).round(4)
    return pd.DataFrame({"on_time": (1 - late - cancelled).round(4), "late": late, "cancelled": cancelled})
