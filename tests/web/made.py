"""Status pages made of nothing but what a test gives, and of everything a page can hold."""

from __future__ import annotations

from ml_exporter.web.pages import StatusPage
from ml_exporter.web.status import (
    Failure,
    Histogram,
    LabelStatus,
    Level,
    LogStatus,
    Measure,
    Missing,
    ModelDetail,
    ModelStatus,
    Number,
    Report,
    Shift,
    Status,
    Trouble,
    VersionStatus,
)

TIME = 1_700_000_000.0
QUALITY = Number(0.65, 0.61, 0.687, 812)


def full_model(name: str = "flights", level: Level = "failing") -> ModelStatus:
    """A model that has something of everything; every text in it is `name`."""
    return ModelStatus(
        name=name,
        task=name,
        team=name,
        window=name,
        level=level,
        reason=name,
        troubles=(Trouble(level, name, name, name),),
        newest=TIME - 90,
        measures=(
            Measure(name, QUALITY, low=0.69, reference=0.72, level="failing"),
            Measure(name, None, missing=name, high=0.2, estimate=QUALITY),
        ),
        compared=12,
        drifted=1,
        checked=24,
        exceeded=1,
        coverage=0.93,
    )


def full_detail(name: str = "flights") -> ModelDetail:
    """The rest of it."""
    bins = Histogram((f"00 {name}", name, "missing"), (0.2, 0.7, 0.1), (0.5, 0.5, 0.0))
    return ModelDetail(
        predictions=900,
        others=(Measure(name, QUALITY),),
        shifts=(
            Shift(name, name, "training", 0.38, 0.02, 0.2, True, bins),
            Shift(name, name, name, 0.01, None, None, False),
        ),
        failures=(Failure(name, name, 90, 900, 0.05),),
        labels=LabelStatus(870, 812, 0.8, 30, ((name, 812),)),
        versions=(VersionStatus(name, name, 900, name, name),),
        missing=(Missing(name, (name,), name, 3),),
    )


def full_status(name: str = "flights", models: int = 1, level: Level = "failing") -> Status:
    """A status of models that have something of everything."""
    return Status(
        version=name,
        clock=TIME + 30,
        troubles=(Trouble("warning", name, name, name),),
        report=Report(
            TIME,
            lambda _: full_detail(name),
            tuple(full_model(f"{name}{place or ''}", level) for place in range(models)),
            (
                LogStatus(name, name, name, name, 10, None, 5, ((name, 2),)),
                LogStatus(name, name, name, "", 2048, 90.0, 5),
            ),
        ),
    )


def page(status: Status, only: str | None = None) -> str:
    """The page of a status."""
    return StatusPage().html(status, only)
