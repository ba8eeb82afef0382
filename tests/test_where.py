"""Logs that hold more than a model's own records: others are skipped, counted, and told from broken lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.site import FIELDS, START, Site, label, model, prediction, stamp

from ml_exporter.config import ConfigError, load
from ml_exporter.profile import ProfileError, save
from ml_exporter.profile_build import build
from ml_exporter.profile_data import Rows
from ml_exporter.store import Store
from ml_exporter.tally import Tally

ROWS = 60


def shared(form: str, where: Mapping[str, Any], **more: object) -> dict[str, Any]:
    """One of the models of which a log holds predictions."""
    return model(
        "fraud",
        {"path": "labels.jsonl", "where": {"model": "fraud"}},
        predictions={"path": f"log.{form}", "format": form, "fields": dict(FIELDS), "where": where},
        **more,
    )


def records() -> list[dict[str, Any]]:
    """Every third is of the other model, which has a feature that this one does not know."""
    found = []
    for number in range(ROWS):
        other = number % 3 == 2
        features = {"b": 2.0 * number} if other else {"a": 1.0 * number}
        own = prediction(number, number, features=features, model="churn" if other else "fraud")
        found.append(dict(own))
    return found


def write(folder: Path, form: str) -> None:
    """The log in one of the formats; jsonl has lines of any kind besides."""
    rows, path = records(), folder / f"log.{form}"
    if form == "jsonl":
        more = [
            "{",
            "[1]",
            json.dumps({"model": "churn"}),
            json.dumps({"model": "fraud"}),
            json.dumps({"id": "x"}),
        ]
        path.write_text("".join(f"{line}\n" for line in [*map(json.dumps, rows), *more]))
        return
    flat = [{**{key: row[key] for key in row if key != "features"}, **below(row)} for row in rows]
    if form == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(flat[0]))
            writer.writeheader()
            writer.writerows(flat)
        return
    (folder / "flat.json").write_text(json.dumps(flat))
    with duckdb.connect() as db:
        db.execute(f"COPY (SELECT * FROM read_json('{folder / 'flat.json'}')) TO '{path}'")


def below(row: Mapping[str, Any]) -> dict[str, Any]:
    return {f"features.{name}": row["features"].get(name) for name in ("a", "b")}


def counted(site: Site) -> tuple[Mapping[str, Mapping[str, int]], Mapping[str, int], Tally]:
    engine = site.engine(Store(None))
    report = engine.run_once(round((START + 600) * 1e6)).reports[0][0]
    return report.accounts.lines, report.accounts.labels, report.versions[0].judged


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_only_a_models_own_records_are_its_predictions(tmp_path: Path, form: str) -> None:
    site = Site(tmp_path, [shared(form, {"model": "fraud"})])
    write(tmp_path, form)
    site.label(*({**label(number, number + 1), "model": "fraud"} for number in range(ROWS)))
    (tmp_path / "flight-delay-labels.jsonl").rename(tmp_path / "labels.jsonl")
    lines, labels, judged = counted(site)
    own = {"accepted": 40, "skipped": 20}
    # Where nothing tells what a record is, its fields do.
    broken = {"malformed": 1, "not_an_object": 1, "no_id": 1, "skipped": 22}
    assert lines["predictions"] == (own | broken if form == "jsonl" else own)
    assert lines["labels"] == {"accepted": ROWS}
    assert labels == {"matched": 40}
    assert judged.count("labelled") == 40


def test_labels_of_others_are_skipped(tmp_path: Path) -> None:
    site = Site(tmp_path, [shared("jsonl", {"model": ["fraud", "scam"]})])
    write(tmp_path, "jsonl")
    texts = [json.dumps({**label(n, n + 1), "model": "fraud" if n % 3 < 2 else "churn"}) for n in range(ROWS)]
    (tmp_path / "labels.jsonl").write_text("\n".join([*texts, "{"]))
    lines, labels, _ = counted(site)
    assert lines["labels"] == {"accepted": 40, "skipped": 20, "malformed": 1}
    assert labels == {"matched": 40}


@pytest.mark.parametrize(
    ("wanted", "accepted"), [(True, 40), ("true", 40), (7, 20), ([True, 7], 60), (1.5, 0)]
)
def test_values_are_compared_as_they_stand_in_the_record(
    tmp_path: Path, wanted: object, accepted: int
) -> None:
    site = Site(
        tmp_path, [model(predictions={"path": "p.jsonl", "fields": dict(FIELDS), "where": {"k.l": wanted}})]
    )
    kinds = [{"l": True} if number % 3 else {"l": 7} for number in range(ROWS)]
    texts = [json.dumps({**prediction(number, number), "k": kind}) for number, kind in enumerate(kinds)]
    (tmp_path / "p.jsonl").write_text("\n".join(texts) + "\n")
    found = counted(site)[0]["predictions"] if accepted else {"skipped": ROWS}
    assert found.get("accepted", 0) == accepted
    assert sum(found.values()) == ROWS


def test_a_profile_is_made_of_the_models_own_records(tmp_path: Path) -> None:
    site = Site(tmp_path, [shared("jsonl", {"model": "fraud"})])
    write(tmp_path, "jsonl")
    texts = [
        json.dumps({**label(n, n + 1, n % 2 == 0), "model": "fraud" if n < 30 else "x"}) for n in range(ROWS)
    ]
    (tmp_path / "labels.jsonl").write_text("\n".join(texts))
    own = site.config().models[0]
    made = build(own, Rows(own, [tmp_path / "log.jsonl"], None, None))
    assert (made.rows, made.labelled) == (40, 20)
    assert made.columns["a"].counts
    assert "b" not in made.columns
    assert "no value" in made.ignored["b"] or made.ignored["b"]


def test_features_of_others_are_not_unexpected(tmp_path: Path) -> None:
    site = Site(tmp_path, [shared("jsonl", {"model": "fraud"}, profile="profile.json")])
    own = [row for row in records() if row["model"] == "fraud"]
    (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in own))
    (tmp_path / "labels.jsonl").touch()
    plain = Site(tmp_path, [shared("jsonl", {"model": "fraud"})]).config().models[0]
    save(build(plain, Rows(plain, [tmp_path / "log.jsonl"], None, None)), tmp_path / "profile.json")
    write(tmp_path, "jsonl")
    engine = site.engine(Store(None))
    report = engine.run_once(round((START + 600) * 1e6)).reports[0][0]
    assert report.unexpected == ()
    new = {**prediction(99, 99, features={"a": 1, "new": 1}), "model": "fraud", "ts": stamp(99)}
    (tmp_path / "log.jsonl").write_text(json.dumps(new) + "\n")
    report = site.engine(Store(None)).run_once(round((START + 600) * 1e6)).reports[0][0]
    assert report.unexpected == ("new",)


@pytest.mark.parametrize("where", ["{}", "fraud", "{model: }", "{model: []}", "{model: {a: b}}", "{a..b: c}"])
def test_what_is_no_choice_is_refused(tmp_path: Path, where: str) -> None:
    path = tmp_path / "c.yml"
    path.write_text(f"models: [{{name: m, predictions: {{path: p.jsonl, where: {where}}}}}]")
    with pytest.raises(ConfigError, match=r"predictions\.where"):
        load(path)


def test_a_log_without_an_object_makes_no_profile(tmp_path: Path) -> None:
    own = Site(tmp_path, [shared("jsonl", {"model": "fraud"})]).config().models[0]
    (tmp_path / "log.jsonl").write_text("[1]\n7\n{\n")
    with pytest.raises(ProfileError, match=r"log\.jsonl.*: has no JSON object on a line; name log files"):
        Rows(own, [tmp_path / "log.jsonl"], None, None)
