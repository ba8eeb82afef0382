"""The logs of six weeks of 2013 as raw lines, and the page that `evaluate` printed of them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from prometheus_client.parser import text_string_to_metric_families

DEMO = Path(__file__).parents[2] / "exporter/demo"
SINCE, UNTIL = "2013-06-25", "2013-08-02"
AT = "2013-08-01T12:00:00Z"
WINDOW, SECONDS, MATURITY = "28d", 28 * 86_400, 12 * 3_600
VERSIONS = ("1", "2")

Record = dict[str, Any]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True)
class Year:
    """A stretch of one model's year: its lines, its labels by id, its profile, and the page."""

    model: str
    predictions: list[Record]
    labels: dict[str, tuple[float, Any]]
    profile: Record
    page: str
    samples: Samples

    def value(self, name: str, **labels: str) -> float:
        """Return one sample of the model."""
        return self.samples[name, frozenset({"model": self.model, **labels}.items())]

    def window(self, version: str, end: float) -> list[Record]:
        """Return the version's lines in the window that ends at `end`, by the rule of the documentation."""
        step = SECONDS / 60
        start = end // step * step - 59 * step
        lines = (line for line in self.predictions if line["version"] == version)
        return [line for line in lines if start < seconds(line["ts"]) <= end]

    def mature(self, version: str) -> tuple[list[Record], list[Record], np.ndarray[Any, Any]]:
        """Return mature lines of the window, those of them that have a label in time, and these labels."""
        lines = [line for line in self.window(version, seconds(AT) - MATURITY) if "error" not in line]
        labelled, truth = [], []
        for line in lines:
            known = self.labels.get(line["id"])
            if known is not None and known[0] <= min(seconds(line["ts"]) + MATURITY, seconds(AT)):
                labelled.append(line)
                truth.append(known[1])
        return lines, labelled, np.array(truth)


def seconds(text: str) -> float:
    """Return a time of the logs as a Unix time."""
    return datetime.fromisoformat(text).timestamp()


def evaluate(config: Path, at: str = AT) -> str:
    """Return the page at a time."""
    command = [sys.executable, "-m", "ml_exporter", "evaluate", "--config.file", str(config), "--at", at]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write_logs(folder: Path, since: str = SINCE, until: str = UNTIL) -> Path:
    """Write the logs into `folder`, and the demo's own configuration that reads them; return its path."""
    dump = [
        sys.executable,
        str(DEMO / "traffic.py"),
        "--dump",
        str(folder),
        "--since",
        since,
        "--until",
        until,
    ]
    subprocess.run(dump, check=True, capture_output=True)
    content = yaml.safe_load((DEMO / "flights-2013.yml").read_text())
    for model in content["models"]:
        model["profile"] = str(DEMO / model["profile"])
        for log in ("predictions", "labels"):
            path = Path(model[log]["path"])
            model[log]["path"] = str(folder / path.relative_to("../../var/flights-2013"))
    path = folder / "flights.yml"
    path.write_text(yaml.safe_dump(content))
    return path


def read_year(config: Path, name: str, page: str) -> Year:
    """Return what one model's logs hold, beside the page."""
    models = yaml.safe_load(config.read_text())["models"]
    (model,) = (model for model in models if model["name"] == name)
    predictions, labels = (list(_records(Path(model[log]["path"]))) for log in ("predictions", "labels"))
    return Year(
        name,
        predictions,
        {line["id"]: (seconds(line["ts"]), line["label"]) for line in reversed(labels)},
        json.loads(Path(model["profile"]).read_text()),
        page,
        dict(_samples(page)),
    )


def _records(path: Path) -> Iterator[Record]:
    with path.open() as lines:
        yield from map(json.loads, lines)


def _samples(page: str) -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], float]]:
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            yield (sample.name, frozenset(sample.labels.items())), sample.value
