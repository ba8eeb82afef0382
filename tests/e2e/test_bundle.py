"""The whole bundle on real traffic: faults bring their page, clean traffic brings none, dashboards find data.

All tests share one run, and come in its order: calm, broken, exporter killed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.e2e.expected import CAUSED, EXPECTED, NOT_JUDGED, Expected, check_links, numbers
from tests.e2e.receiver import Page
from tests.e2e.stack import CLEAN, Json, Pace, Stack, running
from tests.grafana.queries import EMPTY_ON_A_CALM_DEMO, run_queries

pytestmark = pytest.mark.timeout(1800)

# 30 days pass in a minute, which is the shortest window there is.
QUICK = Pace(faster=15, factor=300, interval=1, patience=60, labels_stop_ahead=40)
AS_THE_DEMO = Pace(faster=1, factor=60, interval=5, patience=600, labels_stop_ahead=0)

WATCHDOG, DOWN = "MLWatchdog", "MLExporterDown"
FIRED = 'group by (model, alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))'


@dataclass(frozen=True)
class Killed:
    """What was seen after the exporter's end: its page, and Alertmanager's alerts on models then."""

    stack: Stack
    page: Page
    alerts: list[Json]

    def later(self) -> list[Page]:
        """Return the pages that came after it."""
        return [page for page in self.stack.pages() if page.at > self.page.at]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(QUICK, id="quick"),
        pytest.param(AS_THE_DEMO, id="as-the-demo", marks=pytest.mark.long),
    ],
)
def calm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield the bundle when everything has been judged for so long that any alert would have come."""
    with running(request.param, tmp_path_factory.mktemp("bundle")) as stack:
        assert stack.wait(stack.judges), stack.query("ml_unavailable")
        time.sleep(stack.pace.longest_wait)
        assert stack.wait(stack.counts), "the counters stand still"
        assert stack.wait(lambda: heard(stack, WATCHDOG)), "not even the Watchdog is heard"
        yield stack


@pytest.fixture(scope="module")
def broken(calm: Stack) -> Stack:
    """Return the bundle when each fault has brought its page, or the patience is over."""
    calm.break_all()
    calm.wait(lambda: all(expected.pages(calm) for expected in EXPECTED))
    return calm


@pytest.fixture(scope="module")
def killed(broken: Stack) -> Killed:
    """Return what is seen once the exporter is killed and its page has come."""
    views: list[list[Json]] = []

    def paged() -> bool:
        # Alertmanager's inhibition lags a little behind its list, so one look is not enough.
        views.append(on_models(broken))
        return bool(heard(broken, DOWN))

    broken.kill_exporter()
    assert broken.wait(paged), "the exporter's end brings no page"
    return Killed(broken, heard(broken, DOWN)[0], max(views, key=held_back))


def heard(stack: Stack, name: str) -> list[Page]:
    """Return the firing pages of one alert."""
    return [page for page in stack.receiver.pages if (page.name, page.status) == (name, "firing")]


def on_models(stack: Stack) -> list[Json]:
    """Return Alertmanager's alerts on models, each with the names of those that hold it back."""
    alerts = stack.alerts()
    names = {alert["fingerprint"]: alert["labels"]["alertname"] for alert in alerts}
    return [
        alert | {"held_back_by": [names.get(cause, "") for cause in alert["status"]["inhibitedBy"]]}
        for alert in alerts
        if "model" in alert["labels"]
    ]


def held_back(alerts: list[Json]) -> int:
    """Return how many of these the exporter's alert holds back."""
    return sum(DOWN in alert["held_back_by"] for alert in alerts)


def test_calm_traffic_pages_nobody(calm: Stack) -> None:
    early = f"{CLEAN}-label-stop" if calm.pace.labels_stop_ahead else None
    loud = [page for page in calm.pages() if page.name not in NOT_JUDGED]
    assert [str(page) for page in loud if page.labels.get("model") != early] == []


def test_the_watchdog_has_a_receiver_of_its_own(calm: Stack) -> None:
    assert {(page.receiver, page.path) for page in heard(calm, WATCHDOG)} == {("watchdog", "/watchdog")}
    assert {page.name for page in calm.receiver.pages if page.path == "/watchdog"} == {WATCHDOG}


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: f"{expected.fault}-{expected.alert}")
def test_a_fault_brings_its_page(broken: Stack, expected: Expected) -> None:
    pages = expected.pages(broken)
    assert pages, "\n".join(map(str, broken.pages()))
    assert {(page.receiver, page.path) for page in pages} == {expected.receiver()}
    about = {"job": "ml_exporter", "instance": broken.instance, "model": expected.model}
    check_links(pages[0], expected.dashboard, about)
    value, limit, n = numbers(expected.text, pages[0].annotations["description"])
    assert (value < limit) if expected.below else (value > limit)
    assert n >= 100


def test_the_ticket_on_drift_explains_the_note_on_its_column(broken: Stack) -> None:
    notes = [
        alert
        for alert in broken.alerts()
        if alert["labels"]["alertname"] == "MLColumnDrift"
        and alert["labels"]["model"] == f"{CLEAN}-shift"
        and alert["labels"]["method"] == "psi"
    ]
    assert [note["labels"]["column"] for note in notes] == ["distance"]
    assert notes[0]["status"]["state"] == "suppressed"
    text = r"psi (?P<value>[\d.]+), limit (?P<limit>0\.05), noise floor [\d.]+, n about (?P<n>\d+)\.$"
    value, limit, n = numbers(text, notes[0]["annotations"]["description"])
    assert value > limit
    assert n >= 100


def test_a_fault_sets_off_nothing_but_its_own_alerts(broken: Stack) -> None:
    fired: dict[str, set[str]] = {}
    for series in broken.query(FIRED):
        labels = series["metric"]
        fired.setdefault(labels.get("model", ""), set()).add(labels["alertname"])
    assert fired.pop("") - NOT_JUDGED == {WATCHDOG}
    unexpected = {model: names - CAUSED[broken.show.models[model]] for model, names in fired.items()}
    assert {model: names for model, names in unexpected.items() if names} == {}
    assert CLEAN not in fired


def test_every_query_of_every_dashboard_finds_data(broken: Stack) -> None:
    counts = run_queries(
        broken.prometheus,
        EMPTY_ON_A_CALM_DEMO,
        shown_seconds=float(broken.pace.alert_window.removesuffix("s")),
        # More than Grafana takes, so that a machine that is busy elsewhere may skip a few scrapes.
        rate_interval=f"{10 * broken.pace.interval}s",
    )
    firing = [name for name in counts if re.search(r"fleet: (Which alerts fire|annotation Firing)", name)]
    assert len(firing) == 2
    assert min(counts[name] for name in firing) > 0


def test_a_killed_exporter_pages_once(killed: Killed) -> None:
    stack, page = killed.stack, killed.page
    assert (page.receiver, page.path) == ("pages", "/pages")
    where = {"job": "ml_exporter", "instance": stack.instance}
    assert page.labels == {"alertname": DOWN, "severity": "critical", **where}
    check_links(page, "ml-exporter", where)
    description = page.annotations["description"]
    assert f"cannot scrape {stack.instance} (job ml_exporter): up is 0, limit 1" in description


def test_a_killed_exporter_explains_the_alerts_on_its_models(killed: Killed) -> None:
    assert {alert["labels"]["model"] for alert in killed.alerts} == set(killed.stack.show.models) - {CLEAN}
    assert held_back(killed.alerts) == len(killed.alerts), killed.alerts


def test_after_that_nobody_is_paged_for_a_model(killed: Killed) -> None:
    quiet = 'absent(ALERTS{alertstate="firing", model!=""})'
    assert killed.stack.wait(lambda: killed.stack.query(quiet)), "alerts on models fire without any data"
    assert [str(page) for page in killed.later() if page.name not in NOT_JUDGED] == []
