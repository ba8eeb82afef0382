"""The running exporter when its state cannot be written, or is damaged."""

from __future__ import annotations

import logging
from pathlib import Path

import duckdb
import pytest
from tests.support.faults import full_disk, read_only, unprivileged
from tests.support.process import wait_for
from tests.support.serving import FAST, live, running, values
from tests.support.site import Site, prediction

from ml_exporter.service import Service

PREDICTIONS = "ml_predictions_total{flight-delay,1}"
SET_ASIDE = "ml_exporter_state_set_aside_total{}"
WARNING = "the state cannot be written: "


@pytest.fixture(autouse=True)
def quick_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch often, and log to pytest alone, whatever tests before have configured."""
    monkeypatch.setattr(logging.getLogger("ml_exporter"), "handlers", [])
    monkeypatch.setattr(logging.getLogger("ml_exporter"), "propagate", True)
    monkeypatch.setattr("ml_exporter.service._WATCH_SECONDS", 0.05)


def site_in(folder: Path) -> Site:
    found = Site(folder, exporter=dict(FAST))
    found.label()
    found.predict(*(prediction(number, live(number - 20)) for number in range(10)))
    return found


def counts(service: Service, predictions: int) -> None:
    wait_for(lambda: values(service).get(PREDICTIONS) == predictions)


def complaints(caplog: pytest.LogCaptureFixture, text: str = WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


def test_a_full_disk_at_the_start_is_served_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    site = site_in(tmp_path)
    with full_disk(9000), running(site) as service:
        wait_for(lambda: WARNING in (service.not_ready() or ""))
        wait_for(lambda: values(service)["ml_exporter_errors_total{evaluation}"] >= 2)
        found = values(service)
        assert service.not_ready() == (
            f"the first evaluation is not done: {tmp_path / 'state.duckdb'}: {WARNING}File too large; "
            "logs are read on once it can be"
        )
        assert found["ml_model_info{flight-delay,binary,unknown}"] == 1
        assert found["ml_exporter_ready{}"] == 0
        assert PREDICTIONS not in found
        with full_disk(-1):
            counts(service, 10)
            assert service.not_ready() is None
            assert values(service)[SET_ASIDE] == 0
    # Once, however often it was tried, and without a traceback.
    (line,) = complaints(caplog)
    assert line.startswith("evaluation failed: ")


def test_a_disk_that_fills_while_running_is_served_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = site_in(tmp_path)
    with running(site) as service:
        counts(service, 10)
        monkeypatch.setattr("ml_exporter.service._STALE_SECONDS", 0.3)
        with full_disk(9000):
            site.predict(prediction(100, live()))
            wait_for(lambda: WARNING in (service.not_ready() or ""))
            assert "File too large" in (service.not_ready() or "")
            found = values(service)
            assert found["ml_model_info{flight-delay,binary,unknown}"] == 1
            assert PREDICTIONS not in found
        counts(service, 11)
        wait_for(lambda: service.not_ready() is None)
        assert values(service)[SET_ASIDE] == 0
    assert len(complaints(caplog)) == 1


def test_a_read_only_folder_at_the_start_is_served_over() -> None:
    with unprivileged() as folder:
        site = site_in(folder)
        site.config()
        with read_only(folder), running(site) as service:
            wait_for(lambda: WARNING in (service.not_ready() or ""))
            assert "Permission denied" in (service.not_ready() or "")
            folder.chmod(0o700)
            counts(service, 10)
            assert service.not_ready() is None


def test_a_damaged_state_is_set_aside_and_all_logs_are_read_again(tmp_path: Path) -> None:
    site = site_in(tmp_path)
    (tmp_path / "state.duckdb").write_bytes(b"not a state")
    with running(site) as service:
        counts(service, 10)
        assert values(service)[SET_ASIDE] == 1
    with running(site) as service:
        wait_for(lambda: values(service).get(SET_ASIDE) == 1)
        counts(service, 10)
    (aside,) = tmp_path.glob("state.duckdb.damaged-*")
    assert aside.read_bytes() == b"not a state"


def test_damage_that_shows_while_running_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = site_in(tmp_path)
    with running(site) as service:
        counts(service, 10)
        with monkeypatch.context() as patch:
            patch.setattr("ml_exporter.saved_state.save", damaged)
            wait_for(lambda: values(service)[SET_ASIDE] >= 1)
        site.predict(prediction(100, live()))
        counts(service, 11)
        wait_for(lambda: service.not_ready() is None)
    assert complaints(caplog, "is damaged: Corrupt database file")
    assert list(tmp_path.glob("state.duckdb.damaged-*"))


def damaged(*_: object) -> None:
    raise duckdb.Error("Corrupt database file: computed checksum 1 does not match stored checksum 2")
