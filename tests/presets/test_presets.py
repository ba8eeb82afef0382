"""Logs of known programs, read by nothing but their preset: two written by the programs, the others as documented."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import duckdb
import pytest
from tests.support.site import Site

from ml_exporter.config import load
from ml_exporter.config_model import Model
from ml_exporter.evaluation import ModelReport
from ml_exporter.profile_build import build
from ml_exporter.profile_data import Rows
from ml_exporter.sources.presets import PRESETS, LabelPreset, PredictionPreset

HERE = Path(__file__).parent
ROWS = 40
NOW = 4e9


def site_of(folder: Path, predictions: Mapping[str, Any], **more: Any) -> Site:
    own = {"name": "churn", "predictions": predictions, "windows": ["1h", "1d"], "alert_window": "1d", **more}
    return Site(folder, models=[own])


def report_of(site: Site, at: float | None = None) -> ModelReport:
    engine = site.engine()
    engine.clock = lambda: NOW
    found = engine.run_once(None if at is None else round(at * 1e6)).reports[0][0]
    engine.store.close()
    return found


def write(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def profile_of(site: Site, data: Path) -> Any:
    model = site.config().models[0]
    return build(model, Rows(model, [data], None, None))


def test_bentoml_as_the_program_writes_it(tmp_path: Path) -> None:
    shutil.copy(HERE / "bentoml.jsonl", tmp_path / "data.1.log")
    # The answer's header has the log's id in hexadecimal.
    ids = [str(int(own, 16)) for own in json.loads((HERE / "bentoml-ids.json").read_text())]
    truth = [{"id": own, "ts": "2026-11-29T13:00:00Z", "label": number % 2} for number, own in enumerate(ids)]
    write(tmp_path / "l.jsonl", truth)
    fields = {"score": "score", "features": ["age", "plan"]}
    site = site_of(
        tmp_path,
        {"path": "data.*.log", "preset": "bentoml", "fields": fields},
        labels={"path": "l.jsonl", "maturity": "1d", "fields": {"timestamp": "ts"}},
        positive="1",
    )
    found = report_of(site, NOW)
    assert found.accounts.lines["predictions"] == {"accepted": ROWS}
    assert found.accounts.labels == {"matched": ROWS}
    columns = profile_of(site, tmp_path / "data.1.log").columns
    assert (columns["age"].mean, columns["age"].kind) == (pytest.approx(39.5), "numeric")
    assert set(columns["plan"].categories) == {"pro", "basic"}
    assert columns["score"].kind == "numeric"


def test_mlserver_as_the_program_answers(tmp_path: Path) -> None:
    shutil.copy(HERE / "seldon.jsonl", tmp_path / "events.jsonl")
    site = site_of(tmp_path, {"path": "events.jsonl", "preset": "seldon"})
    assert report_of(site).accounts.lines["predictions"] == {"accepted": ROWS}
    score = profile_of(site, tmp_path / "events.jsonl").columns["score"]
    assert score.mean == pytest.approx(0.395)


def test_kserve_as_documented(tmp_path: Path) -> None:
    """CloudEvents 1.0, structured; the V1 protocol's answer is a list of predictions."""
    events = [
        {
            "specversion": "1.0",
            "id": f"{number}",
            "source": "http://localhost:9081/",
            "type": "org.kubeflow.serving.inference.response",
            "time": f"2026-05-04T09:{number:02d}:00Z",
            "inferenceservicename": "churn",
            "data": {"predictions": [number / 100]},
        }
        for number in range(ROWS)
    ]
    requests = [
        {**event, "type": "org.kubeflow.serving.inference.request", "data": {"instances": [[1.0]]}}
        for event in events
    ]
    # The logger's default mode writes both.
    write(tmp_path / "events.jsonl", [event for pair in zip(requests, events, strict=True) for event in pair])
    site = site_of(tmp_path, {"path": "events.jsonl", "preset": "kserve"})
    assert report_of(site).accounts.lines["predictions"] == {"accepted": ROWS, "skipped": ROWS}
    assert profile_of(site, tmp_path / "events.jsonl").columns["score"].mean == pytest.approx(0.195)


def capture(number: int) -> dict[str, Any]:
    """One record of SageMaker's data capture, and of its ground truth by the same event."""
    return {
        "captureData": {
            "endpointInput": {
                "observedContentType": "text/csv",
                "mode": "INPUT",
                "data": f"{20 + number},{'pro' if number % 2 else 'basic'}\n",
                "encoding": "CSV",
            },
            "endpointOutput": {
                "observedContentType": "text/csv; charset=utf-8",
                "mode": "OUTPUT",
                "data": f"{number / 100}",
                "encoding": "CSV",
            },
        },
        "eventMetadata": {"eventId": f"e-{number}", "inferenceTime": f"2026-05-04T09:{number:02d}:00Z"},
        "eventVersion": "0",
    }


def test_sagemaker_as_documented(tmp_path: Path) -> None:
    write(tmp_path / "capture.jsonl", [capture(number) for number in range(ROWS)])
    truth = [
        {
            "groundTruthData": {"data": "1" if number > 25 else "0", "encoding": "CSV"},
            "eventMetadata": {"eventId": f"e-{number}"},
            "eventVersion": "0",
        }
        for number in range(ROWS)
    ]
    write(tmp_path / "truth.jsonl", truth)
    cell = "captureData.endpointInput.data|csv"
    site = site_of(
        tmp_path,
        {
            "path": "capture.jsonl",
            "preset": "sagemaker",
            "fields": {"features": {"age": f"{cell}[0]", "plan": f"{cell}[1]"}},
        },
        labels={"path": "truth.jsonl", "preset": "sagemaker", "maturity": "0s"},
        positive="1",
    )
    columns = profile_of(site, tmp_path / "capture.jsonl").columns
    assert (columns["age"].kind, columns["age"].mean) == ("numeric", pytest.approx(39.5))
    assert set(columns["plan"].categories) == {"pro", "basic"}
    assert columns["score"].mean == pytest.approx(0.195)
    # Labels have no time of their own: they count as of when they are read.
    found = report_of(site)
    assert found.accounts.lines["labels"] == {"accepted": ROWS}
    assert found.accounts.lines["predictions"] == {"accepted": ROWS}


def test_mlflow_inference_tables_as_documented(tmp_path: Path) -> None:
    with duckdb.connect() as database:
        database.execute(
            "COPY (SELECT 'r' || i AS databricks_request_id, DATE '2026-05-04' AS date, "
            "1777885200000 + 1000 * i AS timestamp_ms, 200 AS status_code, 12 AS execution_time_ms, "
            """'{"dataframe_records": [{"age": ' || (20 + i) || '}]}' AS request, """
            """'{"predictions": [' || (i / 100) || ']}' AS response """
            f"FROM range({ROWS}) t(i)) TO '{tmp_path}/table.parquet' (FORMAT parquet)"
        )
    fields = {"features": {"age": "request|json.dataframe_records[0].age"}}
    site = site_of(tmp_path, {"path": "*.parquet", "preset": "mlflow", "fields": fields})
    columns = profile_of(site, tmp_path / "table.parquet").columns
    assert columns["score"].mean == pytest.approx(0.195)
    assert columns["age"].mean == pytest.approx(39.5)
    assert report_of(site).accounts.lines["predictions"] == {"accepted": ROWS}


def model_of(folder: Path, **more: Any) -> Model:
    return site_of(folder, {"path": "p.jsonl", **more.pop("predictions", {})}, **more).config().models[0]


def test_what_is_configured_overrules_the_preset(tmp_path: Path) -> None:
    found = model_of(tmp_path, predictions={"preset": "kserve", "fields": {"score": "s", "id": "own"}})
    fields = found.predictions.fields
    assert (fields.id, fields.timestamp, fields.score) == ("own", "time", "s")


@pytest.mark.parametrize(
    ("task", "score", "prediction"),
    [
        ("binary", "data.predictions[0]", None),
        ("regression", None, "data.predictions[0]"),
        ("multiclass", None, "data.predictions[0]"),
    ],
)
def test_an_answer_is_what_the_task_takes_it_for(
    tmp_path: Path, task: str, score: str | None, prediction: str | None
) -> None:
    fields = model_of(tmp_path, task=task, predictions={"preset": "kserve"}).predictions.fields
    assert (fields.score, fields.prediction) == (score, prediction)


def test_the_clients_preset_suits_every_task(tmp_path: Path) -> None:
    for task in ("binary", "regression", "multiclass"):
        fields = model_of(tmp_path, task=task, predictions={"preset": "ml_exporter"}).predictions.fields
        assert fields.prediction == "prediction"
        assert fields.score == (None if task == "regression" else "score")


def test_every_preset_can_be_named() -> None:
    assert set(get_args(PredictionPreset)) == set(PRESETS)
    assert set(get_args(LabelPreset)) == {name for name, preset in PRESETS.items() if preset.labels}


def test_wrong_values_inside_lists_and_texts_are_violations_not_holes(tmp_path: Path) -> None:
    """The same outcome as for a plain field: missing is one thing, a wrong type another."""
    cell = "captureData.endpointInput.data|csv"
    fields = {"features": {"age": f"{cell}[0]"}}
    predictions = {"path": "capture.jsonl", "preset": "sagemaker", "fields": fields}
    write(tmp_path / "good.jsonl", [capture(number) for number in range(ROWS)])
    site = site_of(tmp_path, predictions)
    profile = profile_of(site, tmp_path / "good.jsonl")
    (tmp_path / "profile.json").write_text(profile.model_dump_json(), encoding="utf-8")
    records = [capture(number) for number in range(ROWS)]
    records[3]["captureData"]["endpointInput"]["data"] = "old,pro"
    records[4]["captureData"]["endpointInput"]["data"] = ""
    del records[5]["captureData"]["endpointInput"]
    write(tmp_path / "capture.jsonl", records)
    site.models[0]["profile"] = "profile.json"
    found = report_of(site).versions[0].windows[-1]
    counts = {(item.column, item.check): item.count for item in found.violations if item.column == "age"}
    assert counts["age", "wrong_type"] == 1
    assert counts["age", "missing"] == 2


def test_an_answer_that_is_no_json_is_a_missing_score(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {"databricks_request_id": f"{n}", "timestamp_ms": 1777885200000, "response": '{"predictions": [0.5]}'}
        for n in range(20)
    ]
    records[0]["response"] = "504 gateway time-out"
    records[1]["response"] = '{"predictions": []}'
    write(tmp_path / "p.jsonl", records)
    site = site_of(tmp_path, {"path": "p.jsonl", "preset": "mlflow", "format": "jsonl"})
    found = report_of(site)
    assert found.accounts.lines["predictions"] == {"accepted": 20}
    assert found.versions[0].inputs.count("rows") == 20


def test_the_example_of_the_readme_is_valid(tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text(
        "models:\n- name: m\n  predictions: {path: p.jsonl, preset: ml_exporter}\n"
        "  labels: {path: l.jsonl, preset: ml_exporter, maturity: 1d, wait: 30d}\n"
    )
    labels = load(tmp_path / "c.yml").models[0].labels
    assert labels is not None
    assert labels.fields.timestamp == "timestamp"
