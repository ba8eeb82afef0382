"""What is served is in the catalogue, and what is in the catalogue is served."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.site import FIELDS, Site, model, prediction

from ml_exporter.config import load
from ml_exporter.engine import Engine, Snapshot, load_layouts
from ml_exporter.evaluation import ModelReport
from ml_exporter.layout import Layout
from ml_exporter.metrics import drift, exporter, health, labels, models, pushed, quality, traffic
from ml_exporter.metrics.catalogue import CATALOGUE, EXPORTER, GPU, HOST, RETRAINING
from ml_exporter.metrics.exporter import AREAS, Vitals
from ml_exporter.metrics.families import Families
from ml_exporter.metrics.process import collect_self
from ml_exporter.pipeline import SourceStatus
from ml_exporter.season import Deviation
from ml_exporter.sources.push import Spool, Spools
from ml_exporter.stats.result import Value
from ml_exporter.store import Store

GOLDEN = Path(__file__).parents[1] / "golden" / "config.yml"


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    config = load(GOLDEN)
    return Engine(config, load_layouts(config), Store(None)).run_once(None)


def vitals(sources: Iterable[SourceStatus] = ()) -> Vitals:
    return Vitals(
        clock=2_000.0,
        ready=True,
        interval=15.0,
        evaluated=1_990.0,
        duration=0.25,
        sources=tuple(sources),
        exported=100,
        dropped=7,
        series_limit=100,
        reload_successful=True,
        reloaded=1_000.0,
        errors={"reload": 2},
        set_aside=0,
        state_size=4096,
    )


def values(families: Families) -> dict[str, float]:
    """Samples as `name{values of labels}`."""
    return {
        f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value
        for family in families.collect()
        for sample in family.samples
    }


def served_names(families: Families) -> set[str]:
    return {family.name + ("_total" if family.type == "counter" else "") for family in families.collect()}


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> ModelReport:
    """The report of a regression with 30 labels, 3 of them 0."""
    fields = {key: path for key, path in FIELDS.items() if key != "score"}
    own = model("m", task="regression", labels=None)
    own["predictions"]["fields"] = {**fields, "label": "truth"}
    del own["labels"]
    site = Site(tmp_path_factory.mktemp("site"), models=[own], now=60.0)
    site.predict(
        *(prediction(row, row, prediction=1.5, truth=float(row % 10)) for row in range(30)), name="m"
    )
    engine = site.engine()
    found = engine.cycle().reports[0][0]
    engine.store.close()
    return found


def with_rare_statistics(report: ModelReport) -> ModelReport:
    """The report with what the kept logs cannot show: several classes, and weeks of history."""
    version = report.versions[0]
    window = version.windows[-1]
    classes = {("recall", "de"): Value(0.5, 0.4, 0.6, 100)}
    windows = (*version.windows[:-1], replace(window, quality=replace(window.quality, classes=classes)))
    return replace(
        report,
        versions=(replace(version, windows=windows), *report.versions[1:]),
        deviations=(Deviation("volume", Value(-1.5, None, None, 60)),),
    )


class Received(Spools):
    """One log that nothing was pushed to yet."""

    def __init__(self) -> None:
        self.answers = Counter()
        self._spools = {("m", "labels"): Spool(Path("/nowhere/labels.jsonl"), 1)}


def everything(snapshot: Snapshot, *others: ModelReport) -> Families:
    families = Families()
    for original, state in snapshot.reports:
        report = with_rare_statistics(original)
        models.collect(families, report.model, {"default": report.versions[0].layout})
        traffic.collect(families, report, state, 0.0)
        labels.collect(families, report, state, 0.0)
        quality.collect(families, report, 0.0)
        drift.collect(families, report, 0.0)
        health.collect(families, report, 0.0)
    for other in others:
        quality.collect(families, other, 0.0)
    exporter.collect(families, vitals(snapshot.sources))
    pushed.collect(families, Received())
    for name in ("host", "process", "self"):
        families.add("ml_exporter_collector_success", (name,), 1)
        families.add("ml_exporter_collector_duration_seconds", (name,), 0.1)
    collect_self(families)
    return families


def test_every_family_of_the_catalogue_is_served(snapshot: Snapshot, numbers: ModelReport) -> None:
    # The hook's are on a page of its own.
    about_host = {entry.name for entry in (*HOST, *GPU, *RETRAINING)}
    wanted = {entry.name for entry in CATALOGUE} - about_host
    found = everything(snapshot, numbers)
    assert served_names(found) - about_host == wanted
    assert values(found)["ml_zero_labels_total{m,1}"] == 3


def test_no_family_is_served_that_the_catalogue_lacks() -> None:
    with pytest.raises(KeyError):
        Families().add("ml_something_new", (), 1)


def test_every_sample_has_the_catalogues_labels(snapshot: Snapshot) -> None:
    known = {entry.name.removesuffix("_total"): entry for entry in CATALOGUE}
    for family in everything(snapshot).collect():
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(known[family.name].labels)


def test_names_in_the_catalogue_are_unique() -> None:
    names = [entry.name for entry in CATALOGUE]
    assert len(names) == len(set(names))
    assert {entry.name for entry in EXPORTER if not entry.name.startswith("ml_exporter_")} == set()


def source(read_until: float | None, problems: tuple[str, ...] = (), lag: int = 0) -> SourceStatus:
    moment = None if read_until is None else round(read_until * 1e6)
    return SourceStatus("m", "labels", "labels.jsonl", problems, lag, moment, truncations=3)


@pytest.mark.parametrize(
    ("status", "up", "lag_seconds"),
    [
        (source(None), 1, 0.0),
        (source(1_900.0, lag=500), 1, 100.0),
        (source(2_001.0), 1, 0.0),
        (source(1_500.0, problems=("no file",)), 0, 500.0),
        (source(0, problems=("no file",)), 0, None),
    ],
)
def test_how_far_a_source_is_read(status: SourceStatus, up: int, lag_seconds: float | None) -> None:
    families = Families()
    exporter.collect(families, vitals([status]))
    found = values(families)
    assert found["ml_exporter_source_up{m,labels}"] == up
    assert found.get("ml_exporter_source_lag_seconds{m,labels}") == lag_seconds
    assert found["ml_exporter_source_lag_bytes{m,labels}"] == status.lag
    assert found["ml_exporter_source_truncations_total{m,labels}"] == 3


def test_errors_show_0_in_every_area_from_the_start() -> None:
    families = Families()
    exporter.collect(families, vitals())
    found = values(families)
    assert {area: found[f"ml_exporter_errors_total{{{area}}}"] for area in AREAS} == {
        **dict.fromkeys(AREAS, 0),
        "reload": 2,
    }


def test_the_newest_prediction_is_never_ahead_of_the_clock(snapshot: Snapshot) -> None:
    report, state = snapshot.reports[0]
    assert state.newest is not None
    ahead = state.newest
    state.newest = round((time.time() + 3_000) * 1e6)
    families = Families()
    traffic.collect(families, report, state, 0.0)
    state.newest = ahead
    assert values(families)["ml_last_prediction_timestamp_seconds{payment-fraud}"] == report.time


def test_siblings_are_exported_at_0(snapshot: Snapshot) -> None:
    found = values(everything(snapshot))
    assert found["ml_labels_total{payment-fraud,foreign}"] == 0
    assert found["ml_input_rows_total{payment-fraud,labels,malformed}"] == 0


def test_confusion_good_and_labelled_add_up(snapshot: Snapshot) -> None:
    found = values(everything(snapshot))
    cells = {
        (actual, predicted): found[f"ml_confusion_total{{payment-fraud,1,{actual},{predicted}}}"]
        for actual in ("negative", "positive")
        for predicted in ("negative", "positive")
    }
    good = found["ml_good_predictions_total{payment-fraud,1}"]
    assert good == cells["negative", "negative"] + cells["positive", "positive"] > 0
    assert found["ml_labeled_predictions_total{payment-fraud,1}"] == sum(cells.values())


def test_limits_are_those_of_all_profiles_of_a_model() -> None:
    config = load(GOLDEN)
    layouts = load_layouts(config)["payment-fraud"]
    families = Families()
    # No profile for versions in general, one for version "2".
    models.collect(families, config.models[0], {"default": Layout(None), "2": layouts["default"]})
    found = values(families)
    assert found["ml_drift_limit{payment-fraud,amount,psi,6h,training}"] == 0.2
    assert found["ml_input_violation_limit{payment-fraud,country,unseen,6h}"] == 0.01
