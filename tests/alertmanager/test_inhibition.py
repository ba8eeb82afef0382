"""A real Alertmanager with the shipped configuration holds back what a larger cause explains, and no more."""

from collections.abc import Iterator

import httpx
import pytest
from tests.alertmanager.running import (
    CONFIG,
    SEVERITIES,
    Labels,
    burning,
    on_exporter,
    on_model,
    running,
    source_down,
)


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of an Alertmanager with the shipped configuration."""
    with running(CONFIG, tmp_path_factory.mktemp("alertmanager")) as address:
        yield address


def held_back(url: str, case: str, cause: Labels, other: Labels) -> bool:
    """Say whether the second alert is silenced while the first fires. Cases are kept apart by their job."""
    pair = [{"labels": {**labels, **({"job": case} if "job" in labels else {})}} for labels in (cause, other)]
    httpx.post(f"{url}/api/v2/alerts", json=pair).raise_for_status()
    found = httpx.get(f"{url}/api/v2/alerts").raise_for_status().json()
    (state,) = [alert["status"] for alert in found if alert["labels"] == pair[1]["labels"]]
    return bool(state["inhibitedBy"])


HELD_BACK = {
    "exporter down, model alert": (on_exporter("MLExporterDown"), on_model("MLNoPredictions")),
    "exporter down, source": (on_exporter("MLExporterDown"), source_down("predictions")),
    "exporter down, exporter alert": (on_exporter("MLExporterDown"), on_exporter("MLReloadFailed")),
    "not ready, model page": (on_exporter("MLExporterNotReady"), on_model("MLQualityBelowTarget")),
    "not ready, old evaluation": (on_exporter("MLExporterNotReady"), on_exporter("MLEvaluationOld")),
    "predictions unreadable, silence": (source_down("predictions"), on_model("MLNoPredictions")),
    "predictions unreadable, drift": (source_down("predictions"), on_model("MLModelDrift")),
    "labels unreadable, stopped": (source_down("labels"), on_model("MLLabelsStopped")),
    "labels unreadable, unknown": (source_down("labels"), on_model("MLQualityUnknown")),
    "labels stopped, unknown": (on_model("MLLabelsStopped"), on_model("MLQualityUnknown")),
    "server down, silence": (on_model("MLModelServerDown"), on_model("MLNoPredictions")),
    "silence, a missed target": (on_model("MLNoPredictions"), on_model("MLQualityBelowTarget")),
    "silence, retraining": (on_model("MLNoPredictions"), on_model("MLRetrainingWanted")),
    "server down, restarts": (on_model("MLModelServerDown"), on_model("MLModelServerRestarting")),
    "not ready, its collectors": (on_exporter("MLExporterNotReady"), on_exporter("MLCollectorFailing")),
    "predictions unreadable, backlog": (source_down("predictions"), on_model("MLSourceLagGrowing")),
    "predictions unreadable, retraining": (source_down("predictions"), on_model("MLRetrainingWanted")),
    "labels unreadable, coverage": (source_down("labels"), on_model("MLLabelCoverageLow")),
    "labels unreadable, delay": (source_down("labels"), on_model("MLLabelsDelayed")),
    "labels stopped, coverage": (on_model("MLLabelsStopped"), on_model("MLLabelCoverageLow")),
    "labels late, coverage": (on_model("MLLabelsDelayed"), on_model("MLLabelCoverageLow")),
    "labels of nothing, coverage": (on_model("MLLabelsOrphaned"), on_model("MLLabelCoverageLow")),
    "coverage, unknown": (on_model("MLLabelCoverageLow"), on_model("MLQualityUnknown")),
    "lines refused, labels of nothing": (on_model("MLRowsRejected"), on_model("MLLabelsOrphaned")),
    "labels refused, coverage": (
        on_model("MLRowsRejected", source="labels"),
        on_model("MLLabelCoverageLow"),
    ),
    "backlog, old data": (on_model("MLSourceLagGrowing"), on_model("MLStaleData")),
    "backfill, burning quality": (on_model("MLBackfill"), burning("MLQualityBudgetBurn")),
    "backfill, burning latency": (on_model("MLBackfill"), burning("MLLatencyBudgetBurn")),
    "backfill, burning errors": (on_model("MLBackfill"), burning("MLErrorBudgetBurn")),
    "old data, violations": (on_model("MLStaleData"), on_model("MLInputViolations")),
    "old data, drift": (on_model("MLStaleData"), on_model("MLModelDrift")),
    "old data, drift of answers": (on_model("MLStaleData"), on_model("MLPredictionDrift")),
    "old data, schema": (on_model("MLStaleData"), on_model("MLSchemaChanged")),
    "schema, violations": (on_model("MLSchemaChanged"), on_model("MLInputViolations")),
    "schema, drift": (on_model("MLSchemaChanged"), on_model("MLModelDrift")),
    "schema, many columns": (on_model("MLSchemaChanged"), on_model("MLManyColumnsDrifted")),
    "schema, positive rate": (on_model("MLSchemaChanged"), on_model("MLSeasonalDeviation")),
    "many columns, drift": (on_model("MLManyColumnsDrifted"), on_model("MLModelDrift")),
    "many columns, estimate": (on_model("MLManyColumnsDrifted"), on_model("MLEstimatedQualityLow")),
    "many columns, columns together": (
        on_model("MLManyColumnsDrifted"),
        on_model("MLMultivariateDrift"),
    ),
    "drift, columns together": (on_model("MLModelDrift"), on_model("MLMultivariateDrift")),
    "drift, drift of answers": (on_model("MLModelDrift"), on_model("MLPredictionDrift")),
    "drift of answers, their column": (
        on_model("MLPredictionDrift"),
        on_model("MLColumnDrift", column="score"),
    ),
    "drift of labels, their column": (on_model("MLLabelDrift"), on_model("MLColumnDrift", column="label")),
    "ticket, notes": (on_model("MLInputViolations"), on_model("MLColumnDrift", column="y")),
    "ticket, its columns": (on_model("MLModelDrift"), on_model("MLColumnDrift", column="y")),
    "drift, estimate": (on_model("MLModelDrift"), on_model("MLEstimatedQualityLow")),
    "estimate, drop": (on_model("MLEstimatedQualityLow"), on_model("MLQualityDropped")),
    "violations, positive rate": (on_model("MLInputViolations"), on_model("MLSeasonalDeviation")),
    "concept drift, calibration": (on_model("MLConceptDrift"), on_model("MLCalibrationOff")),
    "target missed, its segments": (on_model("MLQualityBelowTarget"), on_model("MLSegmentQualityLow")),
    "predictions unreadable, volume": (
        source_down("predictions"),
        on_model("MLSeasonalDeviation", subject="volume"),
    ),
    "page, ticket": (on_model("MLQualityBelowTarget"), on_model("MLModelDrift")),
    "page, ticket of another exporter": (
        on_model("MLNoPredictions"),
        on_model("MLLabelsStopped", instance="b"),
    ),
}
LET_THROUGH = {
    "another exporter's model": (
        on_exporter("MLExporterDown"),
        on_model("MLNoPredictions", instance="b"),
    ),
    "another exporter down": (on_exporter("MLExporterDown"), on_exporter("MLExporterDown", instance="b")),
    "no exporter at all": (on_exporter("MLExporterDown"), {"alertname": "MLExporterAbsent"}),
    "the watchdog": (on_exporter("MLExporterDown"), {"alertname": "MLWatchdog", "severity": "info"}),
    "a cause without an exporter": (
        {"alertname": "MLExporterDown", "severity": "critical"},
        {"alertname": "MLNoPredictions", "severity": "critical", "model": "m"},
    ),
    "another model's source": (source_down("predictions"), on_model("MLNoPredictions", model="n")),
    "a page behind a label ticket": (source_down("labels"), on_model("MLQualityBelowTarget")),
    "the other source": (source_down("labels"), source_down("predictions")),
    "data behind a label ticket": (source_down("labels"), on_model("MLInputViolations")),
    "the drift of another version": (
        on_model("MLManyColumnsDrifted"),
        on_model("MLModelDrift", version="2"),
    ),
    "burning behind another model's backlog": (
        on_model("MLBackfill"),
        burning("MLQualityBudgetBurn", model="n"),
    ),
    "a backlog behind what burns": (burning("MLQualityBudgetBurn"), on_model("MLBackfill")),
    "a missed target behind a backlog": (on_model("MLBackfill"), on_model("MLQualityBelowTarget")),
    "refused lines behind the schema": (on_model("MLSchemaChanged"), on_model("MLRowsRejected")),
    "silence behind the server of another model": (
        on_model("MLModelServerDown", model="n"),
        on_model("MLNoPredictions"),
    ),
    "a missed target behind a server that is down": (
        on_model("MLModelServerDown"),
        on_model("MLQualityBelowTarget"),
    ),
    "a missed target behind the silence of another model": (
        on_model("MLNoPredictions", model="n"),
        on_model("MLQualityBelowTarget"),
    ),
    "a concept behind old data": (on_model("MLStaleData"), on_model("MLConceptDrift")),
    "stopped labels behind refused predictions": (
        on_model("MLRowsRejected"),
        on_model("MLLabelsStopped"),
    ),
    "a better version behind a page": (on_model("MLQualityBelowTarget"), on_model("MLCandidateBetter")),
    "a better version behind a ticket": (on_model("MLModelDrift"), on_model("MLCandidateBetter")),
    "retraining behind a page": (on_model("MLQualityBelowTarget"), on_model("MLRetrainingWanted")),
    "retraining behind a ticket": (on_model("MLModelDrift"), on_model("MLRetrainingWanted")),
    "a note on another model": (on_model("MLModelDrift"), on_model("MLColumnDrift", model="n")),
    "the estimate of another version": (
        on_model("MLModelDrift"),
        on_model("MLEstimatedQualityLow", version="2"),
    ),
    "the drop of another metric": (
        on_model("MLEstimatedQualityLow"),
        on_model("MLQualityDropped", metric="f1"),
    ),
    "volume behind a broken column": (
        on_model("MLInputViolations"),
        on_model("MLSeasonalDeviation", subject="volume"),
    ),
    "unknown quality behind its estimate": (
        on_model("MLEstimatedQualityLow"),
        on_model("MLQualityUnknown", version="1"),
    ),
    "a page beside a page": (on_model("MLQualityBelowTarget"), on_model("MLNoPredictions")),
    "a disk behind a model page": (on_model("MLNoPredictions"), on_exporter("MLDiskFillingUp")),
    "an exporter ticket behind an exporter page": (
        on_exporter("MLExporterNotReady"),
        on_exporter("MLDiskFillingUp"),
    ),
    "a ticket of another model": (on_model("MLQualityBelowTarget"), on_model("MLModelDrift", model="n")),
    "a page behind a ticket": (on_model("MLModelDrift"), on_model("MLQualityBelowTarget")),
    "a ticket behind a note": (on_model("MLColumnDrift"), on_model("MLModelDrift")),
}


@pytest.mark.parametrize("case", HELD_BACK)
def test_a_cause_silences_what_follows_from_it(alertmanager: str, case: str) -> None:
    assert held_back(alertmanager, case, *HELD_BACK[case])


@pytest.mark.parametrize("case", LET_THROUGH)
def test_nothing_else_is_silenced(alertmanager: str, case: str) -> None:
    assert not held_back(alertmanager, case, *LET_THROUGH[case])


def test_no_ticket_or_note_ever_silences_a_page(alertmanager: str) -> None:
    pages = [name for name, severity in SEVERITIES.items() if severity == "critical"]
    # A backlog holds back what burns too fast, since it burnt long ago.
    others = [n for n, severity in SEVERITIES.items() if severity != "critical" and n != "MLBackfill"]
    assert len(pages) >= 7
    # Every label that any alert has, so that only names and severities decide.
    every = {"version": "1", "column": "x", "metric": "roc_auc", "source": "labels", "subject": "volume"}
    pairs = [
        {"labels": on_model(name, **every, job=f"{page}/{other}")}
        for page in pages
        for other in others
        for name in (page, other)
    ]
    httpx.post(f"{alertmanager}/api/v2/alerts", json=pairs).raise_for_status()
    found = httpx.get(f"{alertmanager}/api/v2/alerts").raise_for_status().json()
    silenced = {
        alert["labels"]["job"]: alert["status"]["inhibitedBy"]
        for alert in found
        if alert["labels"].get("severity") == "critical" and "/" in alert["labels"].get("job", "")
    }
    assert len(silenced) == len(pages) * len(others)
    assert [job for job, causes in silenced.items() if causes] == []
