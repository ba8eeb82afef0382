"""Models of every task in a folder: their configuration, their logs from columns, and their profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.support.site import START, Site, label, model, stamp

from ml_exporter.engine import Engine
from ml_exporter.evaluation import ModelReport, VersionReport, WindowReport
from ml_exporter.profile import Profile, save
from ml_exporter.profile_build import build
from ml_exporter.profile_data import Rows
from ml_exporter.state import ModelState
from ml_exporter.stats.result import Value
from ml_exporter.store import Store

CLASSES = ("bike", "car", "tram")


def fields(**changes: object) -> dict[str, Any]:
    """Where the values stand; ... leaves one out."""
    own: dict[str, Any] = {**model()["predictions"]["fields"], **changes}
    return {key: value for key, value in own.items() if value is not ...}


def site_of(folder: Path, task: str, own_fields: Mapping[str, Any] | None = None, **more: object) -> Site:
    """A site with one model "m"; models that predict numbers or classes alone have no score."""
    own = model("m", task=task, **more)
    default = fields() if task == "binary" else fields(score=...)
    own["predictions"] = {**own["predictions"], "fields": own_fields or default}
    return Site(folder, models=[own])


def write(
    site: Site,
    columns: Mapping[str, Sequence[object]],
    labels: Sequence[object] | None,
    first: float = 0.0,
    apart: float = 0.25,
    start: int = 0,
    name: str = "m",
) -> None:
    """Append records with these columns and, a second later, their labels; None is none yet."""
    predictions, truths = [], []
    for row, values in enumerate(zip(*columns.values(), strict=True)):
        number, offset = start + row, first + row * apart
        own = {"id": f"id-{number}", "ts": stamp(offset), "version": "1", "features": {"k": row % 5}}
        predictions.append({**own, **dict(zip(columns, values, strict=True))})
        if labels is not None and labels[row] is not None:
            truths.append({**label(number, offset + 1), "label": labels[row]})
    site.predict(*predictions, name=name)
    site.label(*truths, name=name)


def profiled(site: Site, path: str = "profile.json", number: int = 0) -> Profile:
    """Build a model's profile from its logs as they are, and let it be the model's."""
    own = site.config().models[number]
    made = build(own, Rows(own, [Path(own.predictions.path)], None, None))
    save(made, site.folder / path)
    site.models[number]["profile"] = path
    return made


def renew(site: Site, number: int = 0) -> None:
    """Remove a model's logs."""
    name = site.models[number]["name"]
    for log in ("predictions", "labels"):
        (site.folder / f"{name}-{log}.jsonl").unlink(missing_ok=True)


def after(site: Site, now: float) -> tuple[ModelReport, ModelState]:
    """What a fresh process reports once all is read at `now`; the logs' ends are not waited for."""
    site.now = now
    engine = site.engine()
    found = drained(engine)
    engine.store.close()
    return found


def drained(engine: Engine, number: int = 0) -> tuple[ModelReport, ModelState]:
    """Cycle until nothing is left to read."""
    while (snapshot := engine.cycle()).behind:
        pass
    return snapshot.reports[number]


def looked_back(site: Site, seconds: float, number: int = 0) -> tuple[ModelReport, ModelState]:
    """What `evaluate` reports of all logs at a time (seconds after START)."""
    engine = site.engine(Store(None))
    return engine.run_once(round((START + seconds) * 1e6)).reports[number]


def version_of(report: ModelReport, name: str = "1") -> VersionReport:
    return next(version for version in report.versions if version.name == name)


def longest(report: ModelReport, name: str = "1") -> WindowReport:
    return version_of(report, name).windows[-1]


def values(window: WindowReport) -> dict[str, float]:
    """The metrics that have a value."""
    return {
        name: result.value for name, result in window.quality.metrics.items() if isinstance(result, Value)
    }


class Rides:
    """Classes with probabilities, and what they were: the first class most often."""

    def __init__(self, n: int, seed: int = 1, names: Sequence[str] = CLASSES) -> None:
        draw = np.random.default_rng(seed)
        shares = 0.6 ** np.arange(len(names))
        self.truth = draw.choice(len(names), n, p=shares / shares.sum())
        mean = 0.6 + 1.5 * (np.arange(len(names)) == self.truth[:, None])
        drawn = np.stack([draw.dirichlet(row) for row in mean]).round(6)
        self.scores = drawn / drawn.sum(axis=1, keepdims=True)
        self.chosen = self.scores.argmax(axis=1)
        self.names = tuple(names)

    def columns(self) -> dict[str, list[object]]:
        objects: list[object] = [dict(zip(self.names, row, strict=True)) for row in self.scores.tolist()]
        return {"s": objects, "prediction": [self.names[code] for code in self.chosen]}

    def labels(self) -> list[str]:
        return [self.names[code] for code in self.truth]
