"""A folder with a configuration, its logs and a clock that tests set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ml_exporter.config import Config, load
from ml_exporter.engine import Engine, load_layouts
from ml_exporter.store import Store

START = 1_700_000_040.0
"""A full minute, in Unix seconds."""

# Views, so that a test that changes its own configuration cannot change everybody's.
FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "id": "id",
        "timestamp": "ts",
        "version": "version",
        "score": "score",
        "prediction": "prediction",
        "latency_seconds": "latency_s",
        "error": "error",
        "features": "features",
    }
)
LABEL_FIELDS: Mapping[str, str] = MappingProxyType({"id": "id", "timestamp": "ts", "label": "label"})

Record = Mapping[str, Any]


def stamp(offset: float) -> str:
    """Return the time `offset` seconds after START as logs write it."""
    return datetime.fromtimestamp(START + offset, UTC).isoformat(timespec="milliseconds")


def prediction(number: int | str, offset: float, score: float = 0.25, **more: object) -> Record:
    """Return a record of the prediction log; the decision is that of the score."""
    own = {"id": f"id-{number}", "ts": stamp(offset), "version": "1", "score": score, "latency_s": 0.02}
    return {**own, "prediction": score >= 0.5, "features": {}, **more}


def label(number: int | str, offset: float, value: bool = False) -> Record:
    """Return a record of the label log."""
    return {"id": f"id-{number}", "ts": stamp(offset), "label": value}


def model(
    name: str = "flight-delay", labels: Mapping[str, Any] | None = None, **more: object
) -> dict[str, Any]:
    """Return a model's part of a configuration; its logs are NAME-predictions.jsonl and NAME-labels.jsonl."""
    own = {"path": f"{name}-labels.jsonl", "fields": dict(LABEL_FIELDS), "maturity": "1m", "wait": "10m"}
    return {
        "name": name,
        "champion": "1",
        "predictions": {"path": f"{name}-predictions.jsonl", "fields": dict(FIELDS)},
        "labels": {**own, **(labels or {})},
        "windows": ["1m", "5m", "10m"],
        "alert_window": "10m",
        **more,
    }


@dataclass
class Site:
    """A configuration's folder; `now` is what the engine's clock shows, in seconds after START."""

    folder: Path
    models: list[dict[str, Any]] = field(default_factory=lambda: [model()])
    exporter: dict[str, Any] = field(default_factory=lambda: {"state": "state.duckdb", "birth_hold": "0"})
    now: float = 0.0

    @property
    def config_path(self) -> Path:
        return self.folder / "config.yml"

    def config(self) -> Config:
        """Write the configuration, and return it loaded."""
        # JSON is YAML.
        text = json.dumps({"exporter": self.exporter, "models": self.models})
        self.config_path.write_text(text, encoding="utf-8")
        return load(self.config_path)

    def predict(self, *records: Record, name: str = "flight-delay") -> None:
        self._append(f"{name}-predictions.jsonl", records)

    def label(self, *records: Record, name: str = "flight-delay") -> None:
        self._append(f"{name}-labels.jsonl", records)

    def engine(self, store: Store | None = None) -> Engine:
        """Return an engine on this folder's state, or on the store that is given."""
        config = self.config()
        layouts = load_layouts(config)
        return Engine(config, layouts, store or Store(config.exporter.state), lambda: START + self.now)

    def _append(self, name: str, records: Iterable[Record]) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
