"""What the status page says of a snapshot: the golden page's model, and variations of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.support.site import Site, prediction

from ml_exporter.concept import Detector
from ml_exporter.config import load
from ml_exporter.config_model import Limit, Multivariate, RatioLimit, Target
from ml_exporter.config_types import FrozenDict
from ml_exporter.engine import Engine, Snapshot, load_layouts
from ml_exporter.evaluation import Accounts, ModelReport, VersionReport, WindowReport
from ml_exporter.joint import JointDrift
from ml_exporter.pipeline import SourceStatus
from ml_exporter.quality import SegmentQuality
from ml_exporter.season import Deviation
from ml_exporter.stats.detectors import Ecusum
from ml_exporter.stats.result import Reason, Result, Unavailable, Value
from ml_exporter.store import Store
from ml_exporter.summary import summarize
from ml_exporter.troubles_columns import drifting
from ml_exporter.web.pages import StatusPage
from ml_exporter.web.status import ModelStatus, Shift, Status
from ml_exporter.words import REASONS, duration, listed, number, percent, plural, size

REPOSITORY = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    config = load(GOLDEN / "config.yml")
    return Engine(config, load_layouts(config), Store(None)).run_once(None)


@pytest.fixture(scope="module")
def calm(snapshot: Snapshot) -> Snapshot:
    """The same with limits that nothing exceeds, and without its shadow."""
    changed = {"calibration": None, "multivariate": Multivariate(), "seasonal": None}
    found = with_model(snapshot, **changed, quality=targets(accuracy=Target(min=0.5)))
    versions = found.reports[0][0].versions
    alone = tuple(version for version in versions if version.role == "champion")
    found = with_quality(with_report(found, differences=(), versions=alone), segments=())
    return with_limits(found, drift=None, health=None)


def with_limits(snapshot: Snapshot, drift: float | None, health: float | None) -> Snapshot:
    """With a limit of every PSI, and one of every share of missing values; None: no limit at all."""
    alert = window_of(snapshot.reports[0][0], champion(snapshot))
    assert alert.health is not None
    checks = tuple(
        replace(item, limit=health if item.check == "missing" else None) for item in alert.health.violations
    )
    drifts = tuple(replace(item, limit=drift if item.method == "psi" else None) for item in alert.drift)
    own = replace(alert.health, violations=checks, constants=())
    return with_window(snapshot, drift=drifts, health=own, absent=())


def with_window(snapshot: Snapshot, **changes: object) -> Snapshot:
    version = champion(snapshot)
    alert = window_of(snapshot.reports[0][0], version)
    changed = replace(alert, **changes)
    return with_champion(
        snapshot, windows=tuple(changed if window is alert else window for window in version.windows)
    )


def targets(**metrics: Target) -> FrozenDict[str, Target]:
    return FrozenDict(metrics)


def with_report(snapshot: Snapshot, **changes: object) -> Snapshot:
    report, state = snapshot.reports[0]
    return replace(snapshot, reports=((replace(report, **changes), state),))


def with_model(snapshot: Snapshot, **changes: object) -> Snapshot:
    return with_report(snapshot, model=snapshot.reports[0][0].model.model_copy(update=changes))


def with_champion(snapshot: Snapshot, **changes: object) -> Snapshot:
    report = snapshot.reports[0][0]
    versions = tuple(replace(v, **changes) if v.role == "champion" else v for v in report.versions)
    return with_report(snapshot, versions=versions)


def champion(snapshot: Snapshot) -> VersionReport:
    return next(v for v in snapshot.reports[0][0].versions if v.role == "champion")


def window_of(report: ModelReport, version: VersionReport) -> WindowReport:
    return next(window for window in version.windows if window.window == report.model.alert_window)


def with_quality(snapshot: Snapshot, **changes: object) -> Snapshot:
    alert = window_of(snapshot.reports[0][0], champion(snapshot))
    return with_window(snapshot, quality=replace(alert.quality, **changes))


def model(snapshot: Snapshot) -> ModelStatus:
    return summarize(snapshot).models[0]


def said(snapshot: Snapshot) -> dict[str, tuple[str, str, str]]:
    """Troubles by title: level, text and alert."""
    return {item.title: (item.level, item.text, item.alert) for item in model(snapshot).troubles}


def test_a_model_in_short(snapshot: Snapshot) -> None:
    found = model(snapshot)
    assert (found.name, found.team, found.task, found.window) == ("payment-fraud", "payments", "binary", "6h")
    accuracy, brier = found.measures
    assert (accuracy.metric, accuracy.low, accuracy.high) == ("accuracy", 0.7, 1)
    assert accuracy.found is not None
    assert accuracy.found.value == pytest.approx(0.79, abs=0.01)
    assert brier.high == 0.2
    assert accuracy.reference is not None
    assert found.compared > 3
    assert found.checked > 5
    assert found.level == found.troubles[0].level


def test_the_rest_of_a_model(snapshot: Snapshot) -> None:
    detail = summarize(snapshot).detail(0)
    assert [(version.name, version.role) for version in detail.versions] == [
        ("1", "champion"),
        ("2", "shadow"),
    ]
    assert "roc_auc" in {measure.metric for measure in detail.others}
    assert "short_reference" in {missing.reason for missing in detail.missing}
    assert detail.labels is not None
    assert 0 < detail.labels.labelled <= detail.labels.mature
    assert dict(detail.labels.outcomes)["matched"] > 0
    assert len(detail.shifts) == 3
    worst = detail.shifts[0]
    assert worst.histogram is not None
    assert len(worst.histogram.bins) == len(worst.histogram.now) == len(worst.histogram.reference)
    for shares in (worst.histogram.now, worst.histogram.reference):
        assert sum(shares) == pytest.approx(1)


def test_logs_tell_what_became_of_their_lines(snapshot: Snapshot) -> None:
    labels, predictions = summarize(snapshot).logs
    assert (labels.source, labels.problem, labels.lag, labels.behind) == ("labels", "", 0, 0.0)
    assert predictions.accepted > 100
    assert sum(count for _, count in predictions.rejected) > 0
    assert "accepted" not in dict(predictions.rejected)


def test_every_part_of_a_real_snapshot_is_on_the_page(snapshot: Snapshot) -> None:
    report = summarize(snapshot)
    page = StatusPage().html(Status("0.1.0", report.time, (), report))
    for part in (
        "payment-fraud",
        "Quality",
        "Drift",
        "Inputs",
        "Labels",
        "Versions",
        "What cannot be computed",
    ):
        assert part in page


def test_a_calm_model_is_fine(calm: Snapshot) -> None:
    found = model(calm)
    assert (found.level, found.troubles, found.reason) == (
        "fine",
        (),
        "no target is surely missed, no limit exceeded",
    )
    assert found.measures[0].level == "fine"


def test_a_model_without_targets_is_not_judged(calm: Snapshot) -> None:
    found = model(with_model(calm, quality=FrozenDict({})))
    assert (found.level, found.reason) == ("unjudged", "no target of quality is set")


def test_a_missed_target_fails(calm: Snapshot) -> None:
    low = said(with_model(calm, quality=targets(accuracy=Target(min=0.95))))
    level, text, alert = low["Quality is below its target"]
    assert (level, alert) == ("failing", "MLQualityBelowTarget")
    assert text.startswith("accuracy of version 1 over 6h is 0.79")
    assert "it must be at least 0.95" in text
    high = said(with_model(calm, quality=targets(brier_score=Target(max=0.01))))
    level, text, alert = high["Loss is above its target"]
    assert (level, alert) == ("failing", "MLQualityAboveTarget")
    assert "it must be at most 0.01" in text


def test_a_target_between_the_bounds_is_undecided(calm: Snapshot) -> None:
    result = window_of(calm.reports[0][0], champion(calm)).quality.metrics["accuracy"]
    assert isinstance(result, Value)
    found = model(with_model(calm, quality=targets(accuracy=Target(min=result.value))))
    assert (found.level, found.measures[0].level) == ("fine", "unjudged")


@pytest.mark.parametrize("reason", get_args(Reason))
def test_a_target_that_cannot_be_judged_is_a_warning_unless_it_is_early(
    calm: Snapshot, reason: Reason
) -> None:
    results: dict[str, Result] = {"accuracy": Unavailable(reason)}
    found = with_quality(calm, metrics=results)
    if reason == "immature":
        assert (model(found).level, model(found).reason) == (
            "unjudged",
            "no prediction is old enough to be judged",
        )
    else:
        assert said(found)["A target cannot be judged"][:2] == (
            "warning",
            f"accuracy over 6h: {REASONS[reason]}.",
        )


def test_an_estimate_speaks_where_labels_do_not(calm: Snapshot) -> None:
    alert = window_of(calm.reports[0][0], champion(calm))
    late = with_window(
        calm,
        quality=replace(alert.quality, metrics={"accuracy": Unavailable("low_coverage")}),
        estimated={"accuracy": Value(0.4, 0.38, 0.42, 500)},
    )
    found = said(late)
    assert found["Labels are late, and will show a missed target"] == (
        "warning",
        "accuracy over 6h is expected to be 0.4, at best 0.42; it must be at least 0.5.",
        "MLEstimatedQualityLow",
    )


def test_drifted_columns_are_named_with_their_limits(calm: Snapshot) -> None:
    found = with_limits(calm, drift=0.0, health=None)
    title = f"{model(found).drifted} columns have drifted"
    level, text, alert = said(found)[title]
    assert (level, alert) == ("warning", "MLModelDrift")
    assert text.startswith("Over 6h, beyond limit and noise: ")
    assert text.count("limit 0)") == model(found).drifted > 1
    first = summarize(found).detail(0).shifts[0]
    assert first.drifted
    assert f"{first.column} ({first.method} " in text


def test_answers_and_labels_that_drift_are_told_apart() -> None:
    columns = ("score", "age", "label", "plan", "prediction", "a", "b")
    shifts = [Shift(name, "psi", "training", 0.5, 0.1, 0.2, True) for name in columns]
    found = {item.alert: (item.title, item.text) for item in drifting(shifts, "1d")}
    assert found["MLPredictionDrift"][0] == "Answers have drifted"
    assert found["MLLabelDrift"][0] == "Labels have drifted"
    assert found["MLModelDrift"] == (
        "4 columns have drifted",
        "Over 1d, beyond limit and noise: age (psi 0.500, limit 0.2), plan (psi 0.500, limit 0.2) and "
        "a (psi 0.500, limit 0.2); 1 more column.",
    )


@pytest.mark.parametrize(("value", "told"), [(0.31, True), (0.29, False)])
def test_columns_together(calm: Snapshot, value: float, told: bool) -> None:
    joint = (JointDrift("pca", Value(value, None, None, 900), 0.1),)
    limited = with_model(with_window(calm, joint=joint), multivariate=Multivariate(pca=Limit(max=0.3)))
    assert ("Columns do not go together as they did" in said(limited)) is told


def test_columns_that_are_gone_or_constant(calm: Snapshot) -> None:
    alert = window_of(calm.reports[0][0], champion(calm))
    assert alert.health is not None
    health = replace(alert.health, constants=("a", "b", "c", "d", "e"))
    found = said(with_window(calm, absent=("age",), health=health))
    assert found["Columns are gone from the log"][:2] == ("warning", "No row over 6h has age.")
    assert found["Columns have become constant"][:2] == (
        "notice",
        "Each row over 6h has the same value in a, b, c and 2 more.",
    )


def test_checks_that_fail_too_often_are_named(calm: Snapshot) -> None:
    found = with_limits(calm, drift=None, health=0.0)
    level, text, alert = said(found)["Inputs are not as expected"]
    assert (level, alert) == ("warning", "MLInputViolations")
    assert "missing" in text
    assert model(found).exceeded > 0
    assert summarize(found).detail(0).failures[0].over


@pytest.mark.parametrize(("source", "level"), [("predictions", "failing"), ("labels", "warning")])
def test_a_log_that_cannot_be_read(calm: Snapshot, source: str, level: str) -> None:
    broken = SourceStatus("payment-fraud", source, "x.jsonl", ("no file matches",), 0, 0, 0)
    found = said(replace(calm, sources=(broken,)))
    assert found[f"The log of {source} cannot be read"] == (level, "no file matches.", "MLSourceDown")
    assert model(replace(calm, reports=calm.reports, sources=())).troubles == ()
    assert summarize(replace(calm, sources=(broken,))).logs[0].problem == "no file matches"


def test_predictions_that_stopped(calm: Snapshot) -> None:
    time = calm.reports[0][0].time
    found = said(with_report(calm, accounts=Accounts(newest=time - 7_200)))
    assert found["No predictions"] == (
        "failing",
        "The newest is 2 h old; the limit is 1 h.",
        "MLNoPredictions",
    )
    assert said(with_report(calm, accounts=Accounts()))["No predictions"][0] == "failing"


@pytest.mark.parametrize(("refused", "told"), [(9, False), (10, True), (20, True)])
def test_lines_that_were_refused(calm: Snapshot, refused: int, told: bool) -> None:
    lines = {"predictions": {"accepted": 900, "malformed": refused - 1, "no_id": 1}}
    time = calm.reports[0][0].time
    found = said(with_report(calm, accounts=Accounts(lines=lines, newest=time)))
    assert ("Lines have been refused" in found) is told
    if refused == 20:
        assert found["Lines have been refused"] == (
            "notice",
            "2.2 % of 920 lines of the predictions log since the first; most often: malformed.",
            "MLRowsRejected",
        )


def test_labels_that_stopped(calm: Snapshot) -> None:
    found = said(with_quality(calm, labelled=0, mature=120))
    assert found["No labels arrive"][1] == "None of 120 mature predictions over 6h has one."


@pytest.mark.parametrize(
    ("level", "expected"),
    [(0, None), (1, ("notice", "The concept may be drifting")), (2, ("failing", "The concept has drifted"))],
)
def test_concept_drift(calm: Snapshot, level: Any, expected: tuple[str, str] | None) -> None:
    detectors: dict[str, Detector] = {"ecusum": Ecusum(level=level)}
    found = [(item.level, item.title) for item in model(with_champion(calm, detectors=detectors)).troubles]
    assert found == ([] if expected is None else [expected])


def test_scores_off_their_probabilities(calm: Snapshot) -> None:
    off = with_quality(calm, calibration=Value(0.3, None, None, 100), calibration_noise=0.07)
    found = said(with_model(off, calibration=RatioLimit(max=0.1)))
    assert found["Scores are not the probabilities they claim to be"] == (
        "warning",
        "Over 6h they are off by 0.300 in the mean; the limit is 0.1, chance explains 0.070.",
        "MLCalibrationOff",
    )
    assert said(with_model(off, calibration=RatioLimit(max=0.3))) == {}


def test_a_segment_that_misses_the_target(calm: Snapshot) -> None:
    parts = tuple(
        SegmentQuality("country", value, 50, {"accuracy": Value(upper - 0.1, 0.1, upper, 50)})
        for value, upper in (("DE", 0.45), ("FR", 0.3), ("IT", 0.9))
    )
    found = said(with_quality(calm, segments=parts))
    assert found["A segment misses the target"][1] == (
        "accuracy is worst where country is FR: 0.2, at best 0.3; it must be at least 0.5; 2 segments in all."
    )


def test_an_hour_unlike_others(calm: Snapshot) -> None:
    deviations = (Deviation("error_rate", Value(-7.25, None, None, 3)),)
    limited = with_model(calm, seasonal=Limit(max=6))
    assert said(with_report(limited, deviations=deviations))["An hour unlike those before"][1] == (
        "Error rate of the last complete hour is 7.250 standard errors below the same hour of earlier weeks; "
        "the limit is 6."
    )


def test_versions_are_decided_by_their_bounds(snapshot: Snapshot) -> None:
    report = snapshot.reports[0][0]
    first = next(item for item in report.differences if item.metric == "accuracy")
    results = {
        "accuracy": Value(0.1, 0.05, 0.15, 90),
        "log_loss": Value(-0.1, -0.2, -0.01, 90),
        "roc_auc": Value(-0.3, -0.4, -0.2, 90),
    }
    made = tuple(replace(first, metric=metric, result=result) for metric, result in results.items())
    better = said(with_report(snapshot, differences=made[:1]))
    assert better["A version is better"][:2] == ("notice", "Version 2 is surely better than 1 by accuracy.")
    worse = with_report(snapshot, differences=made)
    assert said(worse)["A version is worse"][:2] == (
        "warning",
        "Version 2 is surely worse than 1 by log_loss.",
    )
    assert summarize(worse).detail(0).versions[1].verdict == (
        "surely better by accuracy, surely worse by log_loss"
    )
    # Rows of their own: not before the candidate's second day.
    unpaired = with_report(snapshot, differences=tuple(replace(item, pairing="unpaired") for item in made))
    assert "A version is worse" not in said(unpaired)


def test_a_model_without_any_version(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.predict()
    site.label()
    engine = site.engine()
    report = summarize(engine.cycle())
    engine.store.close()
    found = report.models[0]
    assert (found.level, found.troubles[0].text) == ("failing", "No prediction was read from the log so far.")
    assert "flight-delay" in StatusPage().html(Status("0.1.0", report.time, (), report))


def test_a_model_with_labels_in_the_record_and_no_profile(tmp_path: Path) -> None:
    site = Site(tmp_path)
    del site.models[0]["labels"]
    site.models[0]["predictions"]["fields"] = {**site.models[0]["predictions"]["fields"], "label": "label"}
    site.predict(*(prediction(n, 0, label=True) for n in range(20)))
    site.now = 10
    engine = site.engine()
    report = summarize(engine.cycle())
    engine.store.close()
    detail = report.detail(0)
    assert detail.shifts == ()
    assert detail.labels is not None
    assert (detail.labels.mature, detail.labels.smallest_coverage) == (20, None)
    assert "0 of" not in StatusPage().html(Status("0.1.0", report.time, (), report))


def test_alerts_that_are_named_exist() -> None:
    text = "".join(
        path.read_text(encoding="utf-8") for path in (REPOSITORY / "prometheus/rules").glob("*.yml")
    )
    rules = set(re.findall(r"alert: (\w+)", text))
    files = (REPOSITORY / "exporter/ml_exporter").glob("troubles*.py")
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    named = set(re.findall(r'"(ML\w+)"', source))
    assert len(named) > 15
    assert named <= rules


def test_every_reason_has_words() -> None:
    assert set(REASONS) == set(get_args(Reason))


def test_numbers_and_times_in_words() -> None:
    assert [number(x) for x in (0, 0.00123, 0.6871, 28.44, 1234.5, 2.5e12)] == [
        "0",
        "0.0012",
        "0.687",
        "28.4",
        "1,234",
        "2.5e+12",
    ]
    assert [percent(x) for x in (0, 1, 0.0003, 0.042, 0.37, 0.9999, 0.994)] == [
        "0 %",
        "100 %",
        "0.03 %",
        "4.2 %",
        "37 %",
        "99.9 %",
        "99.4 %",
    ]
    assert [duration(x) for x in (-5, 0.4, 59.6, 3_600, 7_260, 90_061, 86_400 * 3 + 5)] == [
        "0 s",
        "0 s",
        "1 min",
        "1 h",
        "2 h 1 min",
        "1 d 1 h",
        "3 d",
    ]
    assert [size(x) for x in (0, 1023, 1024, 5 * 2**20, 20 * 2**30)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "5.0 MiB",
        "20 GiB",
    ]
    assert (plural(1, "row"), plural(1200, "row"), plural(2, "series is", "series are")) == (
        "1 row",
        "1,200 rows",
        "2 series are",
    )
    assert (listed(["a"]), listed(["a", "b", "c"])) == ("a", "a, b and c")


def test_columns_that_no_profile_knows_are_named(calm: Snapshot) -> None:
    found = said(with_report(calm, unexpected=("betrag", "<b>", "c", "d", "e")))
    assert found == {
        "Columns are new in the log": (
            "warning",
            "The log has columns that no profile knows: betrag, <b>, c and 2 more.",
            "MLSchemaChanged",
        )
    }
