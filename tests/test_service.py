from __future__ import annotations

import gzip
import json
import logging
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import yaml
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from tests.support.process import Exporter, wait_for
from tests.support.serving import FAST, live, running, values
from tests.support.site import Site, model, prediction
from tests.web.fake_page import Answer, ask
from tests.web.test_auth import HASHES, PASSWORDS, basic

from ml_exporter.cli import main
from ml_exporter.config import ConfigError
from ml_exporter.engine import Engine, Snapshot
from ml_exporter.service import Service
from ml_exporter.store import Store


@pytest.fixture
def site(tmp_path: Path) -> Site:
    found = Site(tmp_path, exporter=dict(FAST))
    found.label()
    found.predict(*(prediction(number, live(number - 20)) for number in range(10)))
    return found


@pytest.fixture(autouse=True)
def quick_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch often, and log to pytest alone, whatever tests before have configured."""
    monkeypatch.setattr(logging.getLogger("ml_exporter"), "handlers", [])
    monkeypatch.setattr(logging.getLogger("ml_exporter"), "propagate", True)
    monkeypatch.setattr("ml_exporter.service._WATCH_SECONDS", 0.05)


@pytest.fixture
def service(site: Site) -> Iterator[Service]:
    with running(site) as made:
        yield made


def is_ready(service: Service) -> bool:
    return service.not_ready() is None


def test_it_reads_evaluates_and_serves(service: Service, site: Site) -> None:
    wait_for(lambda: values(service).get("ml_predictions_total{flight-delay,1}") == 10)
    site.predict(*(prediction(number, live()) for number in range(10, 15)))
    wait_for(lambda: values(service)["ml_predictions_total{flight-delay,1}"] == 15)
    assert is_ready(service)
    report = service.status().report
    assert report is not None
    assert report.models[0].name == "flight-delay"
    assert "evaluation_interval: 50ms" in service.config_yaml()


def test_before_the_first_evaluation_the_configuration_is_served(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "cycle", fail)
    with running(site) as service:
        found = values(service)
        assert found["ml_model_info{flight-delay,binary,unknown}"] == 1
        assert found["ml_exporter_ready{}"] == 0
        assert not any(name.startswith("ml_predictions") for name in found)
        wait_for(lambda: service.not_ready() == "the first evaluation is not done: enough")
        assert service.status().report is None
        assert service.status().troubles[0].text == f"{service.not_ready()}."


def fail(*_: object, **__: object) -> NoReturn:
    raise MemoryError("enough")


def test_a_stale_page_has_no_numbers_from_logs_but_infos_and_targets(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.models[0]["quality"] = {"accuracy": {"min": 0.5}}
    with running(site) as service:
        wait_for(lambda: is_ready(service))
        service.stop()
        fresh = values(service)
        now = time.time()
        monkeypatch.setattr("ml_exporter.service.time.time", lambda: now + 61)
        stale = values(service)
        reason = service.not_ready()
        assert reason is not None
        assert reason.startswith("the newest evaluation is 61 s old") or reason.startswith(
            "the newest evaluation is 62 s"
        )
        assert stale.keys() < fresh.keys()
        assert stale["ml_quality_target{min,accuracy,flight-delay,10m}"] == 0.5
        assert stale["ml_model_info{flight-delay,binary,unknown}"] == 1
        gone = {name.split("{")[0] for name in fresh.keys() - stale.keys()}
        assert "ml_predictions_total" in gone
        assert "ml_last_prediction_timestamp_seconds" in gone


@pytest.mark.parametrize("openmetrics", [False, True])
def test_the_whole_page_parses_and_repeats_no_family(service: Service, openmetrics: bool) -> None:
    wait_for(lambda: is_ready(service))
    page = gzip.decompress(service.metrics(openmetrics, gzipped=True)).decode()
    parse = (
        openmetrics_parser.text_string_to_metric_families if openmetrics else text_string_to_metric_families
    )
    names = [family.name for family in parse(page)]
    assert len(names) == len(set(names)) > 30


def test_an_evaluation_that_raises_is_counted_and_the_next_one_runs(
    service: Service, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for(lambda: is_ready(service))
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "cycle", fail)
        time.sleep(0.3)
    site.predict(prediction(100, live()))
    wait_for(lambda: values(service).get("ml_predictions_total{flight-delay,1}") == 11)
    wait_for(lambda: values(service)["ml_exporter_errors_total{evaluation}"] >= 1, seconds=10)


def test_a_page_that_cannot_be_written_loses_nothing(
    service: Service, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for(lambda: is_ready(service))
    with monkeypatch.context() as patch:
        patch.setattr("ml_exporter.service.log_page", fail)
        site.predict(prediction(100, live()))
        time.sleep(0.3)
        assert values(service)["ml_predictions_total{flight-delay,1}"] == 10
    wait_for(lambda: values(service)["ml_predictions_total{flight-delay,1}"] == 11)


def test_a_collector_that_fails_spoils_nothing_else(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_exporter.watch.collect_self", fail)
    with running(site) as service:
        wait_for(lambda: is_ready(service))
        found = values(service)
        assert found["ml_exporter_collector_success{self}"] == 0
        assert found["ml_exporter_build_info{" + ",".join(build_labels(found)) + "}"] == 1


def build_labels(found: dict[str, float]) -> list[str]:
    name = next(name for name in found if name.startswith("ml_exporter_build_info{"))
    return name[len("ml_exporter_build_info{") : -1].split(",")


def test_watching_goes_on_whatever_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(site) as service:
        with monkeypatch.context() as patch:
            patch.setattr(Store, "size", fail)
            time.sleep(0.3)
        wait_for(lambda: values(service)["ml_exporter_errors_total{watch}"] >= 1)


def test_what_is_wrong_with_a_source_is_logged_when_it_begins(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    (site.folder / "flight-delay-labels.jsonl").unlink()
    with caplog.at_level(logging.WARNING, logger="ml_exporter"), running(site) as service:
        wait_for(lambda: is_ready(service))
        time.sleep(0.4)
    lines = [record.getMessage() for record in caplog.records if "no file" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("labels of flight-delay: ")


def test_too_many_waiting_predictions_are_an_error(site: Site) -> None:
    site.exporter["pending_limit"] = 4
    with running(site) as service:
        wait_for(lambda: values(service)["ml_exporter_errors_total{pending_limit}"] == 1)
        assert values(service)["ml_labels_pending{flight-delay}"] == 4


class TestReload:
    def test_a_good_one_changes_limits_and_keeps_counters(self, service: Service, site: Site) -> None:
        wait_for(lambda: values(service).get("ml_predictions_total{flight-delay,1}") == 10)
        site.models[0] |= {"team": "others", "quality": {"accuracy": {"min": 0.9}}}
        site.config()
        service.reload()
        found = values(service)
        assert found["ml_model_info{flight-delay,binary,others}"] == 1
        assert found["ml_quality_target{min,accuracy,flight-delay,10m}"] == 0.9
        site.predict(prediction(100, live()))
        wait_for(lambda: values(service)["ml_predictions_total{flight-delay,1}"] == 11)

    def test_a_bad_one_keeps_the_old_and_says_so(
        self, service: Service, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wait_for(lambda: is_ready(service))
        site.models[0]["windows"] = ["nonsense"]
        with pytest.raises(ConfigError, match="nonsense"):
            site.config()
        with pytest.raises(ConfigError, match="nonsense"):
            service.reload()
        monkeypatch.setattr("ml_exporter.service.Engine", fail)
        site.models[0]["windows"] = ["1m", "5m", "10m"]
        site.config()
        with pytest.raises(MemoryError):
            service.reload()
        site.predict(prediction(100, live()))
        wait_for(lambda: values(service)["ml_predictions_total{flight-delay,1}"] == 11)
        wait_for(lambda: values(service)["ml_exporter_errors_total{reload}"] == 2, seconds=10)
        assert values(service)["ml_exporter_config_last_reload_successful{}"] == 0

    def test_the_state_cannot_change(self, service: Service, site: Site) -> None:
        site.exporter["state"] = "elsewhere.duckdb"
        site.config()
        with pytest.raises(Exception, match=r"exporter\.state: cannot change while running; restart"):
            service.reload()

    def test_it_waits_for_the_cycle_under_way(
        self, service: Service, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wait_for(lambda: is_ready(service))
        inside, go_on = threading.Event(), threading.Event()
        real = Engine.cycle

        def slow(engine: Engine, limit: int = 8) -> Snapshot:
            inside.set()
            go_on.wait(10)
            return real(engine, limit)

        site.models.append(model("second"))
        site.config()
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "cycle", slow)
            assert inside.wait(10)
            thread = threading.Thread(target=service.reload)
            thread.start()
            thread.join(0.2)
            assert thread.is_alive()
            go_on.set()
            thread.join(10)
        assert not thread.is_alive()
        site.predict(prediction(1, live()), name="second")
        wait_for(lambda: values(service).get("ml_predictions_total{second,1}") == 1)
        assert values(service)["ml_predictions_total{flight-delay,1}"] == 10


class TestProcess:
    def test_sigterm_commits_and_ends_with_0(self, site: Site) -> None:
        site.predict(*(prediction(number, live(-20)) for number in range(10, 20_000)))
        site.config()
        with Exporter(site.config_path) as exporter:
            wait_for(exporter.ready)
            code, seconds = exporter.terminate()
            assert code == 0
            assert seconds < 5
        files = [path for path in site.folder.iterdir() if path.name.startswith("state")]
        # The log of changes was written into the file, and nobody else may read it.
        assert [path.name for path in files] == ["state.duckdb"]
        assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
        assert b"Traceback" not in exporter.logged()
        with Exporter(site.config_path) as exporter:
            wait_for(lambda: exporter.samples().get("ml_predictions_total{flight-delay,1}") == 20_000)

    def test_reloads_over_http_and_by_signal(self, site: Site) -> None:
        site.config()
        with Exporter(site.config_path, ("--web.enable-lifecycle", "--log.format", "json")) as exporter:
            wait_for(exporter.ready)
            site.models[0]["team"] = "first"
            site.config()
            assert exporter.get("/-/reload", "POST") == (200, "reloaded\n")
            assert exporter.samples()["ml_model_info{flight-delay,binary,first}"] == 1
            site.models[0]["team"] = "second"
            site.config()
            exporter.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "ml_model_info{flight-delay,binary,second}" in exporter.samples())
            site.config_path.write_text("models: []", encoding="utf-8")
            status, text = exporter.get("/-/reload", "POST")
            assert status == 500
            assert "models: has too few items" in text
            exporter.process.send_signal(signal.SIGHUP)
            wait_for(lambda: exporter.logged().count(b"reload failed") == 2)
            assert "ml_model_info{flight-delay,binary,second}" in exporter.samples()
            assert exporter.terminate()[0] == 0
        for line in exporter.logged().splitlines():
            assert json.loads(line)["level"] in ("info", "error")

    def test_a_reload_that_names_no_user_is_refused_as_a_start_is(self, site: Site) -> None:
        web = site.folder / "web.yml"
        web.write_text(yaml.safe_dump({"basic_auth_users": HASHES}), encoding="utf-8")
        site.exporter["access"] = {"scrape": ["prometheus", "ops"], "admin": ["ops"]}
        site.config()
        flags = ("--web.config.file", str(web), "--web.enable-lifecycle")
        with Exporter(site.config_path, flags) as exporter:

            def ask_as(name: str, method: str, path: str) -> Answer:
                header = basic(name, PASSWORDS[name])
                return ask(("127.0.0.1", exporter.port), method, path, Authorization=header)

            site.exporter["access"] = {"scrape": ["promx"], "admin": ["opz"]}
            site.config()
            answer = ask_as("ops", "POST", "/-/reload")
            assert answer.status == 500
            wrong = [
                f"exporter.access.{area}: {name} is not in basic_auth_users of --web.config.file"
                for area, name in (("scrape", "promx"), ("admin", "opz"))
            ]
            assert answer.text == f"reload failed: {'; '.join(wrong)}\n"
            assert ask_as("ops", "GET", "/config").status == 200
            wait_for(
                lambda: (
                    "ml_exporter_config_last_reload_successful 0.0"
                    in ask_as("prometheus", "GET", "/metrics").text
                ),
                seconds=10,
            )
            # Nor does a web config without those who are named hold.
            web.write_text(yaml.safe_dump({"basic_auth_users": {"robot": HASHES["robot"]}}), encoding="utf-8")
            wait_for(
                lambda: (
                    'ml_exporter_errors_total{area="web_config"} 1.0'
                    in ask_as("prometheus", "GET", "/metrics").text
                ),
                seconds=10,
            )
            assert exporter.terminate()[0] == 0
        assert b"ops is not in basic_auth_users" in exporter.logged()
        second = Exporter(site.config_path, flags)
        with pytest.raises(AssertionError, match="promx is not in basic_auth_users"):
            second.start()

    def test_an_endpoint_that_fails_is_one_event_and_one_error(self, site: Site) -> None:
        site.config()
        program = (
            "import sys; from ml_exporter import cli, service; "
            "service.Service.config_yaml = lambda self: 1 / 0; sys.exit(cli.main())"
        )
        with Exporter(site.config_path, ("--log.format", "json"), program=program) as exporter:
            wait_for(exporter.ready)
            for _ in range(3):
                assert exporter.get("/config") == (500, "internal error; the log says more\n")
            wait_for(lambda: exporter.samples()["ml_exporter_errors_total{web}"] == 3)
        events = [json.loads(line) for line in exporter.logged().splitlines()]
        assert [event["error"] for event in events if event["level"] == "error"] == [
            "ZeroDivisionError: division by zero"
        ]

    def test_in_memory_warns_and_begins_at_the_end(self, site: Site) -> None:
        site.exporter = {"evaluation_interval": "50ms", "birth_hold": "0"}
        site.config()
        with Exporter(site.config_path) as exporter:
            wait_for(exporter.ready)
            site.predict(prediction(100, live()), prediction(101, live()))
            wait_for(lambda: exporter.samples().get("ml_predictions_total{flight-delay,1}") == 2)
        assert b"exporter.state is not set: nothing survives a restart" in exporter.logged()

    def test_a_second_one_is_refused(self, site: Site) -> None:
        site.config()
        with Exporter(site.config_path) as exporter:
            wait_for(exporter.ready)
            second = Exporter(site.config_path)
            with pytest.raises(AssertionError, match=f"PID {exporter.process.pid}"):
                second.start()
            assert second.process.wait(10) == 1


def test_a_port_that_is_taken_is_named(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.config()
    with socket.socket() as taken, pytest.MonkeyPatch.context() as patch:
        patch.setattr("ml_exporter.cli.signal.signal", lambda *_: None)
        patch.setattr("ml_exporter.cli.os.umask", lambda _: 0o22)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = [
            "serve",
            "--config.file",
            str(site.config_path),
            "--web.listen-address",
            f"127.0.0.1:{port}",
        ]
        assert main(arguments) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"cannot listen on 127.0.0.1:{port}: port {port} is taken" in last
    assert "--web.listen-address" in last
