"""The command as a process, and what it says where something is missing."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client import generate_latest
from tests.hook.world import MODEL, Outside, message
from tests.support.listening import listening
from tests.support.process import Exporter, wait_for
from tests.support.site import model
from tests.web.test_auth import HASHES, PASSWORDS, basic

from ml_exporter.cli import main
from ml_exporter.config import load
from ml_exporter.config_model import Access
from ml_exporter.hook.app import area, create_app
from ml_exporter.hook.message import Message
from ml_exporter.hook.start import Options, build, check_access
from ml_exporter.web.auth import Guard
from ml_exporter.web.server import Server
from ml_exporter.web.web_config import WebFile


@pytest.fixture
def server() -> Iterator[Outside]:
    with listening(Outside()) as running:
        yield running


def written(folder: Path, **retrain: Any) -> Path:
    """Write a configuration with a hook, and its secrets."""
    path = folder / "config.yml"
    models = [model(retrain={"url": "http://127.0.0.1:9/", **retrain})]
    path.write_text(yaml.safe_dump({"exporter": {"state": "var/state.duckdb"}, "models": models}))
    (folder / "token").write_text("the-token")
    return path


def hook(config: Path, server: Outside, *flags: str) -> Exporter:
    return Exporter(config, ("--exporter.url", f"{server.url}/metrics", *flags), ("hook",))


def notify(running: Exporter, **headers: str) -> int:
    url = f"http://127.0.0.1:{running.port}/alerts"
    return requests.post(url, json=message(), headers=headers, timeout=10).status_code


def test_a_killed_hook_asks_once_and_ends_cleanly(server: Outside, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("Basic for-the-page")
    config = written(tmp_path, url=f"{server.url}/start")
    flags = (
        "--exporter.authorization-file",
        str(tmp_path / "page"),
        "--web.bearer-token-file",
        str(tmp_path / "token"),
    )
    with hook(config, server, *flags) as running:
        assert notify(running) == 401
        assert notify(running, Authorization="Bearer the-token") == 202
        wait_for(lambda: running.samples().get(f"ml_retrain_requests_total{{{MODEL},success}}") == 1)
        asked = running.samples()[f"ml_retrain_last_request_timestamp_seconds{{{MODEL}}}"]
        running.kill()
        running.start()
        assert running.samples()[f"ml_retrain_last_request_timestamp_seconds{{{MODEL}}}"] == asked
        assert notify(running, Authorization="Bearer the-token") == 202
        wait_for(lambda: running.samples().get(f"ml_retrain_requests_total{{{MODEL},duplicate}}") == 1)
        code, seconds = running.terminate()
    assert (code, len(server.got)) == (0, 1)
    assert seconds < 5
    assert server.asked_page[0]["Authorization"] == "Basic for-the-page"
    state = tmp_path / "var" / "hook.db"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    logged = running.logged().decode()
    assert "Traceback" not in logged
    assert "retrain.secret_file is not set: requests are not signed" in logged
    for secret in ("the-token", "for-the-page"):
        assert secret not in logged


def test_a_dry_run_shows_what_it_would_send(
    server: Outside, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = written(tmp_path, url=f"{server.url}/start")
    logger = logging.getLogger("dry-run")
    logger.setLevel(logging.INFO)
    made = build(load(config), Options(f"{server.url}/metrics", None, None, None, dry_run=True), logger)
    for _ in range(2):
        made.receive(Message.model_validate(message()))
        made.work()
    assert any(text.startswith("would send {") and MODEL in text for text in caplog.messages)
    page = generate_latest(made.families()).decode()
    made.stop()
    assert f'ml_retrain_requests_total{{model="{MODEL}",result="dry_run"}} 1.0' in page
    assert f'ml_retrain_requests_total{{model="{MODEL}",result="duplicate"}} 1.0' in page
    assert "ml_retrain_last_request_timestamp_seconds{" not in page
    assert server.got == []
    assert not (tmp_path / "var").exists()


def test_what_is_missing_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").write_text("\n")
    config = written(tmp_path, secret_file="gone", headers={"Authorization": "empty"})
    assert main(["hook", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0"]) == 1
    said = capsys.readouterr().err
    key = "models.flight-delay.retrain"
    assert f"{key}.secret_file: {tmp_path}/gone: cannot be read (No such file or directory)" in said
    assert f"{key}.headers.Authorization: {tmp_path}/empty: is empty; write the secret into it" in said


def test_without_a_hook_there_is_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yml"
    config.write_text(yaml.safe_dump({"models": [model()]}))
    assert main(["hook", "--config.file", str(config)]) == 1
    assert "no model has `retrain`, so there is nothing to ask" in capsys.readouterr().err


def test_beyond_loopback_it_wants_a_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = written(tmp_path)
    assert main(["hook", "--config.file", str(config), "--web.listen-address", "0.0.0.0:0"]) == 1
    assert "lets every machine that can reach it ask for retraining" in capsys.readouterr().err


def web(folder: Path, **content: object) -> WebFile:
    (folder / "web.yml").write_text(yaml.safe_dump(content))
    return WebFile(folder / "web.yml", print)


def test_a_password_or_a_token_opens_it_to_other_machines(tmp_path: Path) -> None:
    users = web(tmp_path, basic_auth_users=HASHES)
    check_access("0.0.0.0", users, None)
    check_access("0.0.0.0", web(tmp_path), tmp_path / "token")
    check_access("127.0.0.1", web(tmp_path), None)
    with pytest.raises(ValueError, match="ask for retraining"):
        check_access("0.0.0.0", web(tmp_path), None)


def test_who_is_named_for_the_exporter_does_not_matter_where_there_are_no_users(
    server: Outside, tmp_path: Path
) -> None:
    config = written(tmp_path, url=f"{server.url}/start")
    content = yaml.safe_load(config.read_text())
    content["exporter"]["access"] = {"scrape": ["prometheus"], "admin": ["ops"]}
    config.write_text(yaml.safe_dump(content))
    with hook(config, server, "--web.bearer-token-file", str(tmp_path / "token")) as running:
        assert notify(running) == 401
        assert notify(running, Authorization="Bearer the-token") == 202
        assert running.get("/metrics")[0] == 200


def test_a_token_and_users_cannot_be_asked_for_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="either a token or a user and a password"):
        check_access("127.0.0.1", web(tmp_path, basic_auth_users=HASHES), tmp_path / "token")


def test_who_may_scrape_may_not_ask_for_retraining(server: Outside, tmp_path: Path) -> None:
    config = written(tmp_path, url=f"{server.url}/start")
    logger = logging.getLogger("ml_exporter")
    made = build(load(config), Options(f"{server.url}/metrics", None, None, None, dry_run=False), logger)
    access = Access(scrape=("prometheus", "ops"), admin=("ops",))
    guard = Guard(
        create_app(made, logger, None), web(tmp_path, basic_auth_users=HASHES), lambda: access, area
    )
    with Server(guard, "127.0.0.1", 0) as running:
        url = "http://{}:{}".format(*running.address)
        answers = [
            requests.request(method, f"{url}{path}", json=message(), headers=headers, timeout=10).status_code
            for method, path in (("GET", "/metrics"), ("POST", "/alerts"))
            for headers in (
                {},
                *({"Authorization": basic(name, PASSWORDS[name])} for name in ("prometheus", "ops")),
            )
        ]
    assert answers == [401, 200, 200, 401, 403, 202]
    made.work()
    made.stop()
    assert len(server.got) == 1
