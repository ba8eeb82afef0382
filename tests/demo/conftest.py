"""A small part of the demo's data."""

from datetime import date
from pathlib import Path

import duckdb
import pytest
import replay
import traffic
from tests.demo.year import evaluate, write_logs


@pytest.fixture(scope="session")
def june(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days at the turn to July, when version 2 begins, as a small file."""
    path = tmp_path_factory.mktemp("data") / "june.parquet"
    query = f"SELECT * FROM '{traffic.DATA}' WHERE epoch_ms(ts) >= {replay.day_ms(date(2013, 6, 30))}"
    until = f"epoch_ms(ts) < {replay.day_ms(date(2013, 7, 3))}"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({query} AND {until}) TO '{path}'")
    return path


@pytest.fixture(scope="session")
def year_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of six weeks' logs of all models."""
    return write_logs(tmp_path_factory.mktemp("year"))


@pytest.fixture(scope="session")
def year_page(year_config: Path) -> str:
    """The page that `evaluate` prints of them."""
    return evaluate(year_config)
