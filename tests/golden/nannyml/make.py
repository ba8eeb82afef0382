"""NannyML's confidence-based performance estimation on its own sample, for our tests to compare with.

    python -m venv FOLDER
    FOLDER/bin/pip install nannyml==0.13.1 statsmodels==0.15.0 pandas==2.3.3
    FOLDER/bin/python tests/golden/nannyml/make.py

writes beside itself rows.csv, the sample's rows by period, tenth of the period, score, prediction and
label (all that a classifier's estimates depend on), and estimates.json, NannyML's estimated and
realized metrics of each tenth of the analysis period. The tests read these two only.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"

import nannyml
import pandas as pd

HERE = Path(__file__).parent
VERSIONS = {"nannyml": "0.13.1", "statsmodels": "0.15.0", "pandas": "2.3.3"}
METRICS = ["roc_auc", "average_precision", "accuracy", "precision", "recall", "specificity", "f1"]
CHUNKS = 10


def sample() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return reference and analysis rows in time order, with what a classifier's estimates depend on."""
    reference, analysis, truth = nannyml.load_synthetic_binary_classification_dataset()
    columns = ["tenth", "y_pred_proba", "y_pred", "work_home_actual"]
    both = [reference, analysis.merge(truth, on="id", validate="one_to_one")]
    for rows in both:
        assert rows["timestamp"].is_monotonic_increasing
        rows["tenth"] = pd.RangeIndex(len(rows)) * CHUNKS // len(rows)
    return both[0][columns], both[1][columns]


def count(reference: pd.DataFrame, analysis: pd.DataFrame) -> pd.DataFrame:
    """Return rows by period, tenth, score, prediction and label."""
    both = pd.concat({"reference": reference, "analysis": analysis}, names=["period"]).reset_index("period")
    names = {"y_pred_proba": "score", "y_pred": "prediction", "work_home_actual": "label"}
    both = both.rename(columns=names)
    both["label"] = both["label"].astype(int)
    return both.groupby(["period", "tenth", *names.values()]).size().reset_index(name="rows")


def estimate(reference: pd.DataFrame, analysis: pd.DataFrame) -> dict[str, object]:
    """Return NannyML's estimated and realized metrics, a list of one value for each tenth."""
    estimator = nannyml.CBPE(
        y_pred_proba="y_pred_proba",
        y_pred="y_pred",
        y_true="work_home_actual",
        problem_type="classification_binary",
        metrics=METRICS,
        chunk_number=CHUNKS,
    ).fit(reference)
    found = estimator.estimate(analysis).filter(period="analysis").to_df()
    values = {
        kind: {name: found[(name, column)].round(6).tolist() for name in METRICS}
        for kind, column in (("estimated", "value"), ("realized", "realized"))
    }
    return {"versions": VERSIONS, "calibrated": bool(estimator.needs_calibration), **values}


def main() -> None:
    """Write both files."""
    found = {name: version(name) for name in VERSIONS}
    if found != VERSIONS:
        raise SystemExit(f"wants {VERSIONS}, has {found}")
    reference, analysis = sample()
    count(reference, analysis).to_csv(HERE / "rows.csv", index=False)
    (HERE / "estimates.json").write_text(json.dumps(estimate(reference, analysis), indent=1) + "\n")


if __name__ == "__main__":
    main()
