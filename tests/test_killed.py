"""kill -9 at any moment loses nothing and counts nothing twice, and no page is ahead of the store."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.process import Exporter, wait_for
from tests.support.site import FIELDS, LABEL_FIELDS


@dataclass
class Writer:
    """Appends to both logs, rotates them, and knows what it has written."""

    folder: Path
    stop: threading.Event = field(default_factory=threading.Event)
    written: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        draw = random.Random(7)
        number = 0
        while not self.stop.is_set():
            for _ in range(draw.randint(1, 40)):
                number += 1
                self.one(draw, number)
            if draw.random() < 0.05:
                self.rotate("predictions.jsonl")
            if draw.random() < 0.03:
                self.rotate("labels.jsonl")
            time.sleep(0.02)

    def one(self, draw: random.Random, number: int) -> None:
        version = draw.choice("112")
        now = time.time()
        record = {
            "id": f"id-{number}",
            "ts": now,
            "version": version,
            "score": round(draw.random(), 3),
            "latency_s": 0.1,
        }
        self.append("predictions.jsonl", json.dumps(record))
        self.written[f"ml_predictions_total{{m,{version}}}"] += 1
        self.written["ml_input_rows_total{m,accepted,predictions}"] += 1
        if draw.random() < 0.1:
            self.append("predictions.jsonl", "{")
            self.written["ml_input_rows_total{m,malformed,predictions}"] += 1
        if draw.random() < 0.7:
            label = {"id": f"id-{number}", "ts": now, "label": draw.random() < 0.5}
            for _ in range(1 if draw.random() < 0.95 else 2):
                self.append("labels.jsonl", json.dumps(label))
                self.written["ml_input_rows_total{m,accepted,labels}"] += 1
            self.written["labelled"] += 1

    def append(self, name: str, line: str) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def rotate(self, name: str) -> None:
        number = sum(1 for _ in self.folder.glob(f"{name}.*")) + 1
        (self.folder / name).rename(self.folder / f"{name}.{number}")


def write_config(folder: Path) -> Path:
    model = {
        "name": "m",
        "champion": "1",
        "predictions": {"path": "predictions.jsonl", "fields": dict(FIELDS)},
        "labels": {"path": "labels.jsonl", "fields": dict(LABEL_FIELDS), "maturity": "1s", "wait": "1h"},
        "windows": ["1m"],
        "alert_window": "1m",
    }
    exporter = {"state": "state.duckdb", "evaluation_interval": "200ms", "birth_hold": "0"}
    path = folder / "config.yml"
    path.write_text(json.dumps({"exporter": exporter, "models": [model]}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(5, id="short"),
        pytest.param(30, id="long", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
def test_every_counter_ends_at_what_was_written(tmp_path: Path, kills: int) -> None:
    draw, exporter, seen = random.Random(11), Exporter(write_config(tmp_path)), dict[str, float]()

    def scrape() -> dict[str, float]:
        found = {
            name: value
            for name, value in exporter.samples(("counter", "histogram")).items()
            if name.startswith("ml_") and "exporter" not in name
        }
        for name, value in seen.items():
            assert found.get(name, value) >= value, name
        seen.update(found)
        return found

    writer = Writer(tmp_path)
    thread = threading.Thread(target=writer.run)
    thread.start()
    try:
        for _ in range(kills):
            with exporter:
                deadline = time.monotonic() + draw.uniform(0.2, 0.9)
                while time.monotonic() < deadline:
                    scrape()
                    time.sleep(0.05)
                exporter.kill()
    finally:
        writer.stop.set()
        thread.join()
    expected = {name: value for name, value in writer.written.items() if name != "labelled"}
    with exporter:
        # Behind means that more can be read at once, so waiting predictions alone tell nothing.
        wait_for(lambda: expected.items() <= scrape().items(), seconds=240)
        wait_for(lambda: exporter.samples().get("ml_labels_pending{m}") == 0)
        found = scrape()
    assert {name: found[name] for name in expected} == expected
    labelled = writer.written["labelled"]
    outcomes = {name: value for name, value in found.items() if name.startswith("ml_labels_total")}
    assert outcomes["ml_labels_total{m,matched}"] == labelled
    assert (
        outcomes["ml_labels_total{m,duplicate}"]
        == expected["ml_input_rows_total{m,accepted,labels}"] - labelled
    )
    assert sum(outcomes.values()) == expected["ml_input_rows_total{m,accepted,labels}"]
    judged = sum(value for name, value in found.items() if name.startswith("ml_labeled_predictions_total"))
    assert judged == labelled
    assert sum(value for name, value in found.items() if name.startswith("ml_confusion_total")) == labelled
    assert labelled > 500
