"""A running exporter's own page confirms an alert, and closes the incident when another version takes over."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.hook.world import MODEL, Outside, alert, message
from tests.support.listening import listening
from tests.support.process import wait_for
from tests.support.serving import FAST, live, running
from tests.support.site import Site, label, model, prediction

from ml_exporter.hook.breaches import breaches
from ml_exporter.hook.hook import Hook
from ml_exporter.hook.incidents import Incidents
from ml_exporter.hook.message import Message
from ml_exporter.hook.page import Page, PageError, parse_page
from ml_exporter.hook.request import send
from ml_exporter.service import Service

ROWS = 100
QUALITY = {"accuracy": {"min": 0.8}}


@pytest.fixture
def server() -> Iterator[Outside]:
    with listening(Outside()) as running:
        yield running


def site_of(folder: Path, server: Outside, version: str) -> Site:
    """Return a site whose version is champion, and wrong in half of its answers."""
    retrain = {"url": f"{server.url}/train", "cooldown": "1ms"}
    own = model(quality=QUALITY, retrain=retrain, champion=version, labels={"maturity": "1s"})
    site = Site(folder, [own], dict(FAST))
    numbers = [f"{version}-{number}" for number in range(ROWS)]
    site.label(*(label(number, live(-59), index % 2 == 0) for index, number in enumerate(numbers)))
    site.predict(*(prediction(number, live(-60), version=version) for number in numbers))
    return site


def page_of(service: Service) -> Page:
    return parse_page(service.metrics(openmetrics=False, gzipped=False).decode())


def judged(service: Service) -> bool:
    """Tell whether the page shows a breach by now."""
    try:
        return bool(breaches(page_of(service), MODEL))
    except PageError:
        return False


def test_the_exporters_own_page_confirms_and_closes(server: Outside, tmp_path: Path) -> None:
    incidents = Incidents(None)
    about: dict[str, Any] = {"metric": "accuracy", "window": "10m"}
    for number, version in enumerate(("1", "2"), start=1):
        site = site_of(tmp_path, server, version)
        with running(site) as service:
            wait_for(partial(judged, service))
            logger = logging.getLogger("ml_exporter")
            hook = Hook(site.config(), incidents, partial(page_of, service), send, logger)
            for _ in range(2):
                hook.receive(Message.model_validate(message(alert(**about, version=version))))
                hook.work()
        # Once for each version: the second is another incident, of which the first alert told nothing.
        assert [got.told["version"] for got in server.got] == ["1", "2"][:number]
    [reason] = server.got[0].told["reasons"]
    assert (reason["kind"], reason["metric"], reason["limit"], reason["samples"]) == (
        "quality",
        "accuracy",
        0.8,
        ROWS,
    )
    assert reason["measured"] == 0.5
    assert 0.5 < reason["value"] < 0.8
    incidents.close()
