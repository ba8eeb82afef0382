"""What the running exporter tells the status page, of the logs and of itself."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.serving import FAST, live, running
from tests.support.site import Site, prediction

from ml_exporter.config import ConfigError
from ml_exporter.service import Service


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path, exporter=dict(FAST))
    made.predict(*(prediction(number, live()) for number in range(12)))
    made.label()
    return made


def evaluated(service: Service) -> None:
    deadline = time.monotonic() + 20
    while service.not_ready() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_one_snapshot_has_one_report(site: Site) -> None:
    with running(site) as service:
        evaluated(service)
    first = service.status()
    assert first.report is not None
    assert service.status().report is first.report
    assert first.troubles == ()
    assert first.report.detail(0).predictions == 12


def test_a_failed_reload_and_dropped_series_are_told(site: Site) -> None:
    with running(site) as service:
        evaluated(service)
        site.config_path.write_text("models: []\n", encoding="utf-8")
        with pytest.raises(ConfigError):
            service.reload()
    service._log_page = replace(service._log_page, dropped=1_200)
    found = {item.alert: item for item in service.status().troubles}
    assert set(found) == {"MLReloadFailed", "MLSeriesDropped"}
    assert found["MLSeriesDropped"].text.startswith("1,200 series are left out")
