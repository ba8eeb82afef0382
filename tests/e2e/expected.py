"""What each fault brings to the pager, and what it may set off besides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from tests.e2e.receiver import Page
from tests.e2e.stack import CLEAN, Stack
from tests.tools import REPOSITORY

# What a fault may set off at its own model. Nothing else, and nothing at any other.
CAUSED: Mapping[str, set[str]] = {
    "none": set(),
    "shift": {"MLColumnDrift", "MLModelDrift", "MLPredictionDrift"},
    "missing": {"MLInputViolations", "MLColumnDrift", "MLModelDrift", "MLPredictionDrift"},
    "label-stop": {"MLLabelsStopped", "MLLabelCoverageLow", "MLQualityUnknown"},
    "flip": {
        "MLQualityBelowTarget",
        "MLQualityAboveTarget",
        "MLConceptDrift",
        "MLSegmentQualityLow",
        "MLQualityDropped",
        "MLColumnDrift",
        "MLModelDrift",
        "MLPredictionDrift",
        "MLLabelDrift",
        "MLQualityBudgetBurn",
        "MLRetrainingWanted",
    },
}
_DRIFT = {"MLColumnDrift", "MLModelDrift", "MLPredictionDrift", "MLMultivariateDrift", "MLManyColumnsDrifted"}
_LATE = {
    "MLLabelsStopped",
    "MLLabelCoverageLow",
    "MLLabelsDelayed",
    "MLQualityUnknown",
    "MLEstimatedQualityLow",
}
# The faults that only the drill plays.
DRILLED: Mapping[str, set[str]] = {
    **CAUSED,
    "label-stop": _LATE,
    "unseen-category": {"MLInputViolations", *_DRIFT},
    "schema": {"MLSchemaChanged", "MLInputViolations", *_DRIFT},
    "label-delay": _LATE,
    "traffic-stop": {"MLNoPredictions", "MLStaleData"},
    "latency": {"MLLatencyBudgetBurn"},
    "errors": {"MLErrorBudgetBurn"},
    "garbage-lines": {"MLRowsRejected"},
}
# How busy and how full the machine is that runs the tests is not their subject; and Prometheus
# takes five seconds to find its first targets, at a quick pace longer than MLExporterAbsent waits.
NOT_JUDGED = {
    "MLDiskFillingUp",
    "MLMemoryNearlyFull",
    "MLCpuSaturated",
    "MLNetworkErrors",
    "MLExporterAbsent",
}


@dataclass(frozen=True)
class Expected:
    """One alert that a fault must bring.

    `text` finds `value`, `limit` (1 where a value is told as a multiple of it) and `n` in the
    description; `labels` are those besides the ones that each alert on a model has; `judged` alerts are on
    a version and a window; `below` tells on which side of the limit the value is wrong; `dashboard` is where it
    leads.
    """

    fault: str
    alert: str
    severity: str
    text: str
    labels: Mapping[str, str] = field(default_factory=dict)
    judged: bool = True
    below: bool = False
    dashboard: str = "ml-model"

    @property
    def model(self) -> str:
        """The model that has the fault."""
        return f"{CLEAN}-{self.fault}"

    def all_labels(self, stack: Stack) -> dict[str, str]:
        """Return every label of the alert."""
        judged = {"version": "1", "window": stack.pace.alert_window} if self.judged else {}
        whose = {"job": "ml_exporter", "instance": stack.instance, "model": self.model, "team": "flight-ops"}
        return {"alertname": self.alert, "severity": self.severity, **whose, **judged, **self.labels}

    def receiver(self) -> tuple[str, str]:
        """Return the name of the receiver and its path."""
        kind = {"critical": "pages", "warning": "tickets"}[self.severity]
        return f"flight-ops-{kind}", f"/flight-ops/{kind}"

    def pages(self, stack: Stack) -> list[Page]:
        """Return what has come of this alert."""
        return [page for page in stack.pages() if page.labels == self.all_labels(stack)]


def numbers(text: str, description: str) -> tuple[float, float, float]:
    """Return the value, the limit and n of a description by the pattern `text`."""
    found = re.search(text, description)
    assert found, f"not {text!r}: {description}"
    return float(found["value"]), float(found.groupdict().get("limit") or 1), float(found["n"])


def check_links(page: Page, dashboard: str, variables: Mapping[str, str]) -> None:
    """Check that a page leads to its runbook and to a dashboard that exists, set to what it is about."""
    assert page.annotations["runbook_url"] == f"http://localhost:10479/runbooks/{page.name}.md"
    assert (REPOSITORY / "alertmanager/runbooks" / f"{page.name}.md").is_file()
    query = "&".join(f"var-{name}={quote(value, safe='')}" for name, value in variables.items())
    assert page.annotations["dashboard_url"] == f"http://localhost:3000/d/{dashboard}?{query}"
    assert page.annotations["summary"]


EXPECTED = (
    Expected(
        "shift",
        "MLModelDrift",
        "warning",
        r"Most of all distance \((?P<value>[\d.]+) times its limit\b.*; n about (?P<n>\d+)\.$",
        dashboard="ml-drift",
    ),
    Expected(
        "missing",
        "MLInputViolations",
        "warning",
        r"(?P<value>[\d.]+)% missing, limit (?P<limit>10)%, n about (?P<n>\d+), by chance up to [\d.]+%\.$",
        {"column": "mean_dep_delay", "check": "missing"},
        dashboard="ml-drift",
    ),
    Expected(
        "label-stop",
        "MLLabelsStopped",
        "warning",
        r" (?P<value>0)% labelled over \w+ \(version 1\),.* limit (?P<limit>80)%,"
        r" (?P<n>\d+) predictions wait for their maturity, labels matched of late: none\.$",
        judged=False,
        below=True,
    ),
    Expected(
        "flip",
        "MLQualityBelowTarget",
        "critical",
        r"measured [\d.]+, at best (?P<value>[\d.]+), target at least (?P<limit>0\.69), n = (?P<n>\d+)\b",
        {"metric": "roc_auc"},
        below=True,
    ),
    Expected(
        "flip",
        "MLQualityAboveTarget",
        "critical",
        r"measured [\d.]+, at least (?P<value>[\d.]+), target at most (?P<limit>0\.17), n = (?P<n>\d+)\b",
        {"metric": "brier_score"},
    ),
)
