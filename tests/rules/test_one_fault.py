"""One fault in a fleet raises one alert, with all rules at work and everything else as it should be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.rules.bundle import RULES, alerts, checked
from tests.rules.fleet import STEPS, rising, same, with_fault

A = r'.*instance="a".*'
CHAMPION = r'.*instance="a",model="m",version="1"'
JUDGED = CHAMPION + ',window="1d"'
NOWHERE = f"_x{STEPS}"

# Pages, and the tickets that no page on the same model silences.
TOLD = """
ALERTS{alertstate="firing",severity="critical"}
or ALERTS{alertstate="firing",severity="warning"}
  unless on (job, model) ALERTS{alertstate="firing",severity="critical",model!=""}
"""
NOTES = 'group by (alertname) (ALERTS{alertstate="firing",severity="info"})'


@dataclass(frozen=True)
class Fault:
    """Series with other values, and the alert that they are to raise on instance a (`labels` besides)."""

    changes: Mapping[str, str]
    alert: str
    severity: str = "warning"
    labels: Mapping[str, str] = field(default_factory=dict)
    notes: frozenset[str] = frozenset()
    whose: Mapping[str, str] = field(default_factory=lambda: {"instance": "a", "model": "m", "team": "t"})

    def sample(self) -> str:
        """Return the series of the alert, as promtool reads it."""
        labels = {"alertname": self.alert, "alertstate": "firing", "severity": self.severity}
        every = {**labels, "job": "ml_exporter", **self.whose, **self.labels}
        return "ALERTS{" + ",".join(f'{name}="{value}"' for name, value in every.items()) + "}"


def judged(**labels: str) -> dict[str, str]:
    return {"version": "1", "window": "1d", **labels}


def quality(metric: str, value: float) -> dict[str, str]:
    return {rf'ml_quality(|_lower|_upper)\{{{JUDGED},metric="{metric}"\}}': same(value)}


def drifted(column: str) -> dict[str, str]:
    return {rf'ml_drift\{{{JUDGED},column="{column}",.*reference="training"\}}': same(0.5)}


def on_machine(alert: str, changes: Mapping[str, str], **labels: str) -> Fault:
    return Fault(changes, alert, labels=labels, whose={"instance": "a"})


COLUMN = frozenset({"MLColumnDrift"})
RETRAIN = frozenset({"MLRetrainingWanted"})
SERVER = {"process": "server"}
DISK = {"device": "/dev/sda1", "fstype": "ext4", "mountpoint": "/"}
FAULTS = (
    Fault(quality("roc_auc", 0.6), "MLQualityBelowTarget", "critical", judged(metric="roc_auc"), RETRAIN),
    Fault(
        quality("brier_score", 0.3), "MLQualityAboveTarget", "critical", judged(metric="brier_score"), RETRAIN
    ),
    Fault(
        {rf'ml_quality(|_lower|_upper)\{{{JUDGED},metric="roc_auc"\}}': NOWHERE},
        "MLQualityUnknown",
        labels={"metric": "roc_auc", "window": "1d"},
    ),
    Fault(
        {
            rf'ml_quality_estimated(|_lower|_upper)\{{{JUDGED},metric="roc_auc"\}}': same(0.6),
            rf"ml_labels_pending\{{{A}\}}": same(50_000),
        },
        "MLEstimatedQualityLow",
        labels=judged(metric="roc_auc"),
    ),
    Fault(
        {rf'ml_segment_quality_upper\{{{JUDGED},metric="roc_auc".*\}}': same(0.6)},
        "MLSegmentQualityLow",
        labels=judged(metric="roc_auc"),
    ),
    Fault(
        {rf"ml_concept_drift_state\{{{CHAMPION}.*\}}": same(2)},
        "MLConceptDrift",
        "critical",
        {"version": "1", "detector": "ecusum"},
        RETRAIN,
    ),
    Fault(
        {rf"ml_version_difference(|_lower|_upper)\{{{A}\}}": same(-0.05)},
        "MLCandidateWorse",
        "critical",
        {"version": "2", "baseline": "1"},
    ),
    Fault(
        {rf"ml_seasonal_deviation\{{{A}\}}": same(-10)}, "MLSeasonalDeviation", labels={"subject": "volume"}
    ),
    Fault(drifted("x"), "MLModelDrift", labels=judged(), notes=COLUMN),
    Fault(drifted("score"), "MLPredictionDrift", labels=judged(), notes=COLUMN),
    Fault(drifted("label"), "MLLabelDrift", labels=judged(), notes=COLUMN),
    Fault(
        {rf'ml_drifted_columns_ratio\{{{JUDGED},reference="previous"\}}': same(0.5)},
        "MLManyColumnsDrifted",
        labels=judged(reference="previous"),
        notes=RETRAIN,
    ),
    Fault(
        {rf"ml_multivariate_drift\{{{JUDGED},.*\}}": same(0.9)},
        "MLMultivariateDrift",
        labels=judged(reference="training"),
        notes=RETRAIN,
    ),
    Fault(
        {rf"ml_input_violation_ratio\{{{JUDGED},.*\}}": same(0.5)},
        "MLInputViolations",
        labels=judged(column="x", check="missing"),
    ),
    Fault({rf"ml_constant_columns\{{{JUDGED}\}}": same(2)}, "MLConstantColumns", labels=judged()),
    Fault({rf"ml_schema_columns\{{{A}\}}": same(1)}, "MLSchemaChanged"),
    Fault({rf"ml_duplicate_predictions_total\{{{CHAMPION}\}}": rising(20)}, "MLDuplicates"),
    Fault(
        {rf'ml_exporter_clock_skew_seconds\{{{A}source="labels"\}}': same(120)},
        "MLClockSkew",
        labels={"source": "labels"},
    ),
    Fault(
        {rf"ml_model_trained_timestamp_seconds\{{{CHAMPION}\}}": same(-2_000_000)},
        "MLModelOld",
        labels={"version": "1"},
        notes=RETRAIN,
    ),
    Fault(
        {rf'ml_input_rows_total\{{{A}source="predictions",outcome="malformed"\}}': rising(50)},
        "MLRowsRejected",
        labels={"source": "predictions"},
    ),
    Fault({rf"ml_last_prediction_timestamp_seconds\{{{A}\}}": rising(240, 1_000_000 - 7200)}, "MLStaleData"),
    Fault(
        {
            rf"ml_last_prediction_timestamp_seconds\{{{A}\}}": same(1_000_000 - 7200),
            rf'ml_input_rows_total\{{{A}source="predictions",outcome="accepted"\}}': same(200),
        },
        "MLNoPredictions",
        "critical",
    ),
    Fault({rf"ml_label_coverage_ratio\{{{JUDGED}\}}": same(0.5)}, "MLLabelCoverageLow", labels=judged()),
    Fault(
        {
            rf'ml_label_coverage_ratio\{{{CHAMPION},window="1h"\}}': same(0),
            rf'ml_labels_total\{{{A}outcome="matched"\}}': same(200),
        },
        "MLLabelsStopped",
    ),
    Fault({rf'ml_label_delay_seconds_bucket\{{{A}le="3600.0"\}}': same(0)}, "MLLabelsDelayed"),
    Fault({rf'ml_labels_total\{{{A}outcome="orphan"\}}': rising(20)}, "MLLabelsOrphaned"),
    Fault({rf"ml_good_predictions_total\{{{CHAMPION}\}}": same(0)}, "MLQualityBudgetBurn", "critical"),
    Fault({rf"ml_slow_predictions_total\{{{CHAMPION}\}}": rising(50)}, "MLLatencyBudgetBurn", "critical"),
    Fault({rf"ml_prediction_errors_total\{{{CHAMPION}\}}": rising(50)}, "MLErrorBudgetBurn", "critical"),
    Fault({rf"ml_slow_predictions_total\{{{CHAMPION}\}}": rising(10)}, "MLLatencyBudgetBurn"),
    Fault(
        {rf'ml_exporter_source_up\{{{A}source="predictions"\}}': same(0)},
        "MLSourceDown",
        "critical",
        {"source": "predictions"},
    ),
    Fault(
        {rf'ml_exporter_source_up\{{{A}source="labels"\}}': same(0)},
        "MLSourceDown",
        labels={"source": "labels"},
    ),
    Fault(
        {rf'ml_exporter_source_lag_seconds\{{{A}source="labels"\}}': rising(60)},
        "MLSourceLagGrowing",
        labels={"source": "labels"},
        notes=frozenset({"MLBackfill"}),
    ),
    Fault({rf"up\{{{A}\}}": same(0)}, "MLExporterDown", "critical", whose={"instance": "a"}),
    Fault(
        {rf"ml_exporter_ready\{{{A}\}}": same(0)}, "MLExporterNotReady", "critical", whose={"instance": "a"}
    ),
    on_machine("MLEvaluationOld", {rf"ml_exporter_evaluation_timestamp_seconds\{{{A}\}}": same(1_000_000)}),
    on_machine("MLReloadFailed", {rf"ml_exporter_config_last_reload_successful\{{{A}\}}": same(0)}),
    on_machine("MLStateSetAside", {rf"ml_exporter_state_set_aside_total\{{{A}\}}": "0x5 1x20"}),
    on_machine("MLSeriesDropped", {rf"ml_exporter_series\{{{A}\}}": same(5)}, state="dropped"),
    on_machine("MLCollectorFailing", {rf"ml_exporter_collector_success\{{{A}\}}": same(0)}, collector="host"),
    on_machine("MLExporterErrors", {rf"ml_exporter_errors_total\{{{A}\}}": rising(1)}, area="push"),
    on_machine("MLDiskFillingUp", {rf"ml_host_filesystem_avail_bytes\{{{A}\}}": same(3)}, **DISK),
    on_machine("MLMemoryNearlyFull", {rf"ml_host_memory_available_bytes\{{{A}\}}": same(5)}),
    on_machine(
        "MLCpuSaturated",
        {rf"ml_host_cpu_seconds_total\{{{A}\}}": same(0), rf"ml_host_load5\{{{A}\}}": same(9)},
    ),
    on_machine(
        "MLNetworkErrors", {rf"ml_host_network_receive_errs_total\{{{A}\}}": rising(60)}, device="eth0"
    ),
    Fault({rf"ml_process_instances\{{{A}\}}": same(0)}, "MLModelServerDown", "critical", SERVER),
    Fault({rf"ml_process_restarts_total\{{{A}\}}": rising(1)}, "MLModelServerRestarting", labels=SERVER),
    Fault({rf"ml_process_worst_fd_ratio\{{{A}\}}": same(0.95)}, "MLDescriptorsNearLimit", labels=SERVER),
    Fault({r"ml_model_info\{.*\}": "1x5 stale"}, "MLModelGone", whose={"model": "m", "team": "t"}),
)
# What only looks like a fault: another window, another reference, a version that is no champion.
ELSEWHERE = (
    {
        r'ml_(quality|drift|calibration_error|input_violation_ratio|multivariate_drift)\{.*window="(1h|7d)".*\}': same(
            0.5
        )
    },
    {r'ml_quality_(lower|upper)\{.*window="(1h|7d)".*\}': same(0.5)},
    {
        r'ml_(quality_upper|calibration_error|input_violation_ratio|segment_quality_upper)\{.*version="2".*\}': same(
            0.5
        )
    },
    {r'ml_(drifted_columns_ratio|label_coverage_ratio)\{.*(version="2"|window="(1h|7d)").*\}': same(0.5)},
)
# So that no run of promtool takes long.
PARTS = 4
AT = f"{STEPS * 4}m"
# Their tests are others: they need a day of history, no exporter at all, or a hook.
NOT_HERE = {"MLQualityDropped", "MLCalibrationOff", "MLExporterAbsent", "MLRetrainingFailed", "MLHookDown"}


def case(name: str, changes: Mapping[str, str], told: Iterable[str], notes: Iterable[str]) -> dict[str, Any]:
    series = [{"series": series, "values": values} for series, values in with_fault(changes).items()]
    noted = [f'{{alertname="{note}"}}' for note in sorted({"MLWatchdog", *notes})]
    expected = ((TOLD, told), (NOTES, noted))
    return {
        "name": name,
        "interval": "4m",
        "input_series": series,
        "promql_expr_test": [
            {"expr": e, "eval_time": AT, "exp_samples": [{"labels": s, "value": 1} for s in samples]}
            for e, samples in expected
        ],
    }


def judge(folder: Path, *cases: dict[str, Any]) -> None:
    document = {
        "rule_files": [str(path) for path in RULES],
        "evaluation_interval": "4m",
        "tests": list(cases),
    }
    (folder / "fleet.test.yml").write_text(yaml.safe_dump(document))
    checked("promtool", "test", "rules", folder / "fleet.test.yml")


@pytest.mark.parametrize("part", range(PARTS))
def test_one_fault_raises_one_alert(tmp_path: Path, part: int) -> None:
    judge(tmp_path, *(case(f.alert, f.changes, [f.sample()], f.notes) for f in FAULTS[part::PARTS]))


def test_a_sound_fleet_is_silent_and_so_is_one_with_oddities_that_nobody_judges(tmp_path: Path) -> None:
    judge(tmp_path, case("sound", {}, [], []), *(case("elsewhere", odd, [], []) for odd in ELSEWHERE))


def test_every_page_and_ticket_has_its_fault() -> None:
    urgent = {rule["alert"] for rule in alerts() if rule["labels"]["severity"] != "info"}
    assert {fault.alert for fault in FAULTS} == urgent - NOT_HERE


def test_an_alert_too_many_is_noticed(tmp_path: Path) -> None:
    two = {r"up\{.*\}": same(0)}
    with pytest.raises(AssertionError, match="MLExporterDown"):
        judge(tmp_path, case("two exporters down", two, [], []))
