"""Profiles: what is built from rows, how it is stored, and what cannot be."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_exporter.cli import main
from ml_exporter.columns import Columns
from ml_exporter.config import load as load_config
from ml_exporter.drift import coarse, reference_cells
from ml_exporter.layout import Cells, Layout
from ml_exporter.profile import (
    FORMAT,
    CategoricalColumn,
    NumericColumn,
    Profile,
    ProfileError,
    load,
    save,
)
from ml_exporter.profile_bins import numeric
from ml_exporter.profile_build import build
from ml_exporter.profile_data import Rows
from ml_exporter.stats.result import Value

DEMO = Path(__file__).parents[1] / "exporter/demo"
SCHEMA = DEMO.parent / "deploy/profile.schema.json"

CONFIG = """
models:
  - name: churn
    profile: churn.json
    predictions:
      path: log.jsonl
      fields: {id: id, timestamp: at, score: p, features: x}
    labels:
      path: labels.jsonl
      fields: {id: id, timestamp: at, label: y}
      maturity: 1h
    windows: [1h]
    columns: {zip: {kind: categorical}, note: {kind: ignore}}
"""


def record(index: int) -> dict[str, Any]:
    rng = np.random.default_rng(index)
    features = {
        "age": int(rng.integers(18, 90)),
        "balance": None if index % 10 == 0 else round(float(rng.lognormal(5, 2)), 2),
        "plan": "gold" if index % 300 == 7 else ["free", "pro"][index % 2],
        "zip": int(rng.integers(1, 4)),
        "active": bool(index % 3),
        "note": f"text {index}",
        "score": 1.0,
    }
    at = 1_700_000_000 + index * 30
    return {"id": f"c{index}", "at": at, "p": round(float(rng.beta(2, 5)), 4), "x": features}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("churn")
    rows = [record(index) for index in range(3_000)]
    labels = [{"id": row["id"], "at": row["at"] + 60, "y": row["p"] > 0.4} for row in rows if row["at"] % 7]
    for name, lines in (("log.jsonl", rows), ("labels.jsonl", labels)):
        (path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (path / "churn.yml").write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def profile(folder: Path) -> Profile:
    (model,) = load_config(folder / "churn.yml").models
    return build(model, Rows(model, [folder / "log.jsonl"], None, None))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first quarter's answers of the demo's models, with the label in each record."""
    folder = tmp_path_factory.mktemp("labelled")
    command = [sys.executable, str(DEMO / "traffic.py"), "--dump", str(folder), "--labelled"]
    days = ["--since", "2013-01-01", "--until", "2013-04-01"]
    subprocess.run([*command, *days], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(("suffix", "scale"), [("", 2880.0), ("-2013", 1.0)])
@pytest.mark.parametrize("name", ["flight-delay", "delay-minutes", "flight-outcome"])
def test_the_demo_profiles_are_made_from_its_data_byte_for_byte(
    labelled: Path, name: str, suffix: str, scale: float
) -> None:
    (model,) = [model for model in load_config(DEMO / f"flights{suffix}.yml").models if model.name == name]
    made = build(model, Rows(model, [labelled / f"{name}.parquet"], None, None), scale)
    path = model.profile_path("default")
    assert path == DEMO / f"profiles/{name}{suffix}.json"
    assert made.to_json() == path.read_text()


def test_columns_are_taken_for_what_they_are(profile: Profile) -> None:
    kinds = {name: column.kind for name, column in profile.columns.items()}
    assert kinds == {
        "age": "numeric",
        "balance": "numeric",
        "plan": "categorical",
        "zip": "categorical",
        "active": "categorical",
        "score": "numeric",
        "prediction": "categorical",
        "label": "categorical",
    }
    assert profile.ignored == {
        "note": "configured as ignore",
        "score": "the name stands for the model's own column",
    }


def test_counts_are_those_of_the_rows(profile: Profile) -> None:
    rows = [record(index) for index in range(3_000)]
    plan, balance, active = (profile.columns[name] for name in ("plan", "balance", "active"))
    assert isinstance(plan, CategoricalColumn)
    assert plan.categories == ("free", "pro")
    assert plan.rare == ("gold",)
    assert plan.counts == (1500, 1490, 10, 0)
    assert balance.missing == 300
    assert sum(balance.counts) == 2_700
    assert isinstance(active, CategoricalColumn)
    assert dict(zip(active.categories, active.counts, strict=False)) == {"true": 2_000, "false": 1_000}
    assert profile.rows == 3_000
    assert profile.labelled == sum(row["at"] % 7 > 0 for row in rows)


def test_labels_come_from_the_label_log(profile: Profile) -> None:
    assert profile.quality["recall"].n > 0
    label = profile.columns["label"]
    positives = sum(row["p"] > 0.4 and row["at"] % 7 > 0 for row in map(record, range(3_000)))
    assert label.counts[1] == positives
    assert label.missing == 0


def test_numeric_codes_are_searchsorted_on_the_edges(profile: Profile) -> None:
    column = profile.columns["balance"]
    assert isinstance(column, NumericColumn)
    values = np.random.default_rng(5).lognormal(5, 3, 20_000)
    scaled = ((values - column.center) / column.scale).astype(np.float32)
    expected = np.searchsorted(np.asarray(column.edges, np.float32), scaled, side="right")
    codes = Cells("balance", column, 0).numeric_codes(values, None)
    np.testing.assert_array_equal(codes, expected)
    assert len(column.edges) + 1 == len(column.counts) == len(column.positions) == len(column.groups)
    assert np.all(np.diff(column.positions) > 0)


def test_psi_bins_are_near_deciles(profile: Profile) -> None:
    column = profile.columns["balance"]
    counts = coarse(column, reference_cells(column))
    assert len(counts) == len(column.bin_names()) == 11
    assert counts[:-1].min() > 0.8 * 270
    assert counts[:-1].max() < 1.2 * 270


def test_nothing_drifts_from_itself(folder: Path, profile: Profile) -> None:
    (model,) = load_config(folder / "churn.yml").models
    layout = Layout(profile)
    own = np.zeros(layout.size, np.int64)
    for cells in layout.cells.values():
        own[cells.offset : cells.offset + cells.bins] = reference_cells(cells.column)
    found = list(Columns(layout, model).drifts(own, "1h"))
    assert {drift.column for drift in found} == set(profile.columns)
    for drift in found:
        assert isinstance(drift.result, Value)
        assert drift.result.value == pytest.approx(0, abs=1e-12)
        assert drift.noise is not None
        assert drift.noise > 0


def test_a_heavy_value_has_a_bin_of_its_own() -> None:
    values = np.where(np.arange(1_000) % 10 == 0, np.arange(1_000) / 100, 0.0)
    made = numeric(values, np.zeros(1_000, np.bool_))
    assert not isinstance(made, str)
    column, codes = made
    zeros = np.unique(codes[values == 0.0])
    assert zeros.size == 1
    assert column.counts[zeros[0]] == np.count_nonzero(values == 0.0)


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=200))
def test_any_numbers_can_be_binned(numbers: list[float]) -> None:
    values = np.asarray(numbers)
    made = numeric(values, np.zeros(values.size, np.bool_))
    assert not isinstance(made, str)
    column, codes = made
    assert sum(column.counts) == values.size
    np.testing.assert_array_equal(np.bincount(codes, minlength=column.size), column.counts)
    assert np.all(np.diff(column.edges) > 0)
    assert set(np.diff(column.groups)) <= {0, 1}


def test_a_column_without_numbers_says_so() -> None:
    assert numeric(np.full(3, np.nan), np.ones(3, np.bool_)) == "has no number"


def test_values_beyond_the_reference_are_in_bins_of_their_own(profile: Profile) -> None:
    column = profile.columns["age"]
    assert isinstance(column, NumericColumn)
    cells = Cells("age", column, 0)
    low, high = cells.numeric_codes(np.asarray([column.minimum, column.maximum]), None)
    beyond = cells.numeric_codes(np.asarray([column.minimum - 20, column.maximum + 20]), None)
    assert beyond[0] < low
    assert beyond[1] > high
    assert column.counts[beyond[0]] == column.counts[beyond[1]] == 0


def test_a_stored_profile_reads_back_the_same(profile: Profile, tmp_path: Path) -> None:
    save(profile, tmp_path / "sub" / "p.json")
    again = load(tmp_path / "sub" / "p.json")
    assert again == profile
    assert again.digest == profile.digest


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "(file): Invalid JSON"),
        ("[]", "(file): Input should be an object"),
        ('{"format": "x"}', "format: Input should be 1"),
        ('{"format": 0}', "is of format 0, older than format 1, which this release reads"),
        ('{"format": 2, "rows": []}', "is of format 2, newer than format 1, which this release reads"),
    ],
)
def test_a_damaged_profile_is_named(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(ProfileError) as error:
        load(path)
    assert f"{path}: {text}" in str(error.value)
    assert "ml_exporter profile" in str(error.value)


@pytest.mark.parametrize("path", sorted(DEMO.glob("profiles/*.json")), ids=lambda path: path.stem)
def test_profiles_follow_the_published_schema(path: Path) -> None:
    schema = json.loads(SCHEMA.read_text())
    assert schema["properties"]["format"]["const"] == FORMAT
    jsonschema.validate(json.loads(path.read_text()), schema)
    broken = {**json.loads(path.read_text()), "rows": "many"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_data_that_cannot_be_used_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.jsonl").write_text('{"id": 1}\n')
    (tmp_path / "log.xlsx").write_text("")
    command = [
        "profile",
        "--config.file",
        str(folder / "churn.yml"),
        "--model",
        "churn",
        "--output",
        str(tmp_path / "o"),
    ]
    for name, text in (
        ("empty.jsonl", "x: is not an object in the data"),
        ("log.xlsx", "not files of one known kind"),
        ("nothing.jsonl", "does not exist"),
    ):
        assert main([*command, str(tmp_path / name)]) == 1
        assert text in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_other_formats_give_the_same_profile(
    folder: Path, profile: Profile, tmp_path: Path, suffix: str
) -> None:
    flat = tmp_path / f"log.{suffix}"
    duckdb.execute(
        f"COPY (SELECT id, \"at\", p, unnest(x) FROM read_json('{folder}/log.jsonl')) TO '{flat}' (FORMAT {suffix})"
    )
    text = CONFIG.replace("features: x", "features: [age, balance, plan, zip, active, note]")
    (tmp_path / "churn.yml").write_text(text.replace("labels.jsonl", f"{folder}/labels.jsonl"))
    (model,) = load_config(tmp_path / "churn.yml").models
    made = build(model, Rows(model, [flat], None, None))
    assert {name: made.columns[name] for name in profile.columns} == profile.columns
