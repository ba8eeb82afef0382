"""How good the demo's models are: what the README says, against the committed data."""

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import flight_quality
import make_flights
import pandas as pd
import pytest

FOLDER = Path(make_flights.__file__).parent
ROWS = f"""
SELECT ts::TIMESTAMP AS ts, version, score::DOUBLE AS score, label, arr_delay::DOUBLE AS arr_delay,
    minutes.prediction AS minutes, minutes.lower AS minutes_lower, minutes.upper AS minutes_upper,
    outcome.late AS p_late, outcome.cancelled AS p_cancelled,
    CASE WHEN cancelled_ts IS NOT NULL THEN 'cancelled' WHEN label THEN 'late'
        WHEN label IS NOT NULL THEN 'on_time' END AS outcome
FROM '{FOLDER / "flights.parquet"}' WHERE year(ts) = 2013
"""
COLUMNS = {
    "flight-delay": ("labelled", "late", "roc_auc", "brier_score"),
    "delay-minutes": (
        "labelled",
        "mean_delay",
        "mean_absolute_error",
        "root_mean_squared_error",
        "r2_score",
        "bias",
        "interval_coverage",
    ),
    "flight-outcome": ("labelled", "cancelled", "accuracy", "f1_macro", "log_loss", "roc_auc_ovr_macro"),
}


@pytest.fixture(scope="module")
def report() -> dict[str, pd.DataFrame]:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET timezone = 'UTC'")
        columns = connection.execute(ROWS).df()
    return flight_quality.report(columns)


def table(model: str) -> Iterator[list[str]]:
    """The cells of the table below a model's heading, a row a month."""
    text = (FOLDER / "README.md").read_text()
    section = text.split(f"### {model}\n")[1].split("\n#")[0]
    for line in section.splitlines():
        if line.startswith("| ") and "2013" not in line and "---" not in line:
            yield [cell.strip() for cell in line.strip("|").split("|")][1:]


def shown(value: float, cell: str) -> str:
    """The value with as many digits as the cell has, and as a share where the cell is one."""
    digits = len(re.sub(r"^[^.]*\.?", "", cell.removesuffix(" %")))
    if cell.endswith(" %"):
        return f"{100 * value:.{digits}f} %"
    return f"{value:z,.{digits}f}"


@pytest.mark.parametrize("model", COLUMNS)
def test_the_readme_tells_what_scikit_learn_says(model: str, report: dict[str, pd.DataFrame]) -> None:
    first = report[model].loc["1"]
    rows = list(table(model))
    assert len(rows) == len(first) == 12
    for cells, (_, month) in zip(rows, first.iterrows(), strict=True):
        values = [month[column] for column in COLUMNS[model]]
        assert cells[: len(values)] == [shown(v, cell) for v, cell in zip(values, cells, strict=False)]
