"""Logs of other shapes: very long, very wide, many."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import yaml
from tests.bench.harness import make_profile

START = 1_767_225_600  # 2026-01-01
DAYS = 6.5
"""A wide log covers so many days, so that the panes of a window of seven days are all in use."""
CATEGORY_EVERY = 4
"""One feature in so many is text, the others are numbers."""


def write_features(folder: Path, features: int, rows: int) -> Path:
    """Write a log with so many features, its profile and its configuration; return the latter."""
    folder = folder / f"features-{features}-{rows}"
    path = folder / "config.yml"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    _copy(_select(features, rows), folder / "log.jsonl")
    unfinished = folder / "unfinished.yml"
    unfinished.write_text(yaml.safe_dump({"models": [_model("bench", "log.jsonl")]}))
    make_profile(unfinished, "bench", folder / "log.jsonl")
    return unfinished.rename(path)


def write_models(folder: Path, models: int, features: int, rows: int) -> Path:
    """Write a log of its own for each of so many models, and the configuration of all."""
    one = write_features(folder, features, rows).parent
    folder = folder / f"models-{models}-{features}-{rows}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(one / "profile.json", folder)
    names = [f"bench-{number:03d}" for number in range(models)]
    for name in names:
        shutil.copy(one / "log.jsonl", folder / f"{name}.jsonl")
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump({"models": [_model(name, f"{name}.jsonl") for name in names]}))
    return path


def _model(name: str, log: str) -> dict[str, Any]:
    fields = {"id": "id", "timestamp": "ts", "version": "version", "score": "score", "label": "label"}
    return {
        "name": name,
        "profile": "profile.json",
        "predictions": {"path": log, "fields": {**fields, "features": "features"}},
        "quality": {"roc_auc": {"min": 0.6}},
        "drift": {"psi": {"max": 0.2}},
        "health": {"missing": {"max": 0.5}},
        "windows": ["1h", "1d", "7d"],
        "alert_window": "1d",
    }


def _select(features: int, rows: int) -> str:
    values = ", ".join(
        f"feature_{index:04d}: {_text() if index % CATEGORY_EVERY == 0 else 'round(-ln(random()) * 10, 4)'}"
        for index in range(features)
    )
    step = DAYS * 86_400 / rows
    return (
        "SELECT *, random() < score AS label FROM (SELECT 'request-' || i AS id, "
        f"strftime(to_timestamp({START} + i * {step})::TIMESTAMP, '%Y-%m-%dT%H:%M:%S.%gZ') AS ts, "
        f"'1' AS version, round(random(), 6) AS score, {{{values}}} AS features FROM range({rows}) r(i))"
    )


def _text() -> str:
    return "['alpha', 'beta', 'gamma', 'delta'][1 + (4 * random())::INT % 4]"


def _copy(select: str, path: Path) -> None:
    # One thread and one seed, so that each run has the same bytes.
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SELECT setseed(0.42)")
    connection.execute(f"COPY ({select}) TO '{path}' (FORMAT json)")
