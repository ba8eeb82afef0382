from __future__ import annotations

import json
import logging
from typing import Literal

import pytest

from ml_exporter import log


def lines(
    capsys: pytest.CaptureFixture[str], style: Literal["logfmt", "json"], level: str = "info"
) -> list[str]:
    logger = log.configure(level, style)
    logger.debug("details")
    logger.info("listening on %s:%d", "127.0.0.1", 10477)
    try:
        raise ValueError('bad "value"\nin two lines')
    except ValueError as error:
        logger.error("reload failed", exc_info=error)
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.splitlines()


def test_logfmt_is_one_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = lines(capsys, "logfmt")
    assert first.endswith(' level=info msg="listening on 127.0.0.1:10477"')
    assert first.startswith("ts=20")
    assert second.endswith(r'level=error msg="reload failed" error="ValueError: bad \"value\"\nin two lines"')


def test_json_is_one_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (json.loads(line) for line in lines(capsys, "json"))
    assert (first["level"], first["msg"]) == ("info", "listening on 127.0.0.1:10477")
    assert second["error"] == 'ValueError: bad "value"\nin two lines'
    assert "error" not in first


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 1)])
def test_what_is_less_severe_is_left_out(capsys: pytest.CaptureFixture[str], level: str, count: int) -> None:
    assert len(lines(capsys, "logfmt", level)) == count


def test_configuring_again_does_not_repeat_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "logfmt")
    assert len(lines(capsys, "logfmt")) == 2


class TestRepetition:
    @staticmethod
    def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    def test_the_same_event_is_written_once_a_minute_with_how_often_it_came(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        logger, now = log.configure("info", "json"), [1_700_000_000.0]
        monkeypatch.setattr("logging.time.time", lambda: now[0])
        for _ in range(5):
            logger.error("collector failed")
            now[0] += 10
        logger.error("collector failed", exc_info=ValueError("other"))
        logger.warning("collector failed")
        assert [(event["level"], event.get("error")) for event in self.said(capsys)] == [
            ("error", None),
            ("error", "ValueError: other"),
            ("warning", None),
        ]
        now[0] += 60
        logger.error("collector failed")
        (event,) = self.said(capsys)
        assert event["repeated"] == "4"

    def test_answers_to_what_somebody_did_are_always_written(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        logger = log.configure("info", "json")
        for _ in range(2):
            logger.info("configuration loaded")
            logger.error("reload failed", extra={"asked": True})
        assert len(self.said(capsys)) == 4

    def test_many_events_are_not_remembered_for_ever(self, capsys: pytest.CaptureFixture[str]) -> None:
        logger = log.configure("info", "logfmt")
        for number in range(1500):
            logger.error("error %d", number)
        logger.error("error 0")
        assert len(capsys.readouterr().err.splitlines()) == 1501

    def test_what_libraries_log_is_an_event_too_and_errors_are_counted(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        log.configure("info", "json")
        counted: list[str] = []
        log.count_others(lambda: counted.append("web"))
        web = logging.getLogger("uvicorn.error")
        web.warning("Invalid HTTP request received.")
        web.info("Started server process")
        try:
            raise ValueError("in an\nendpoint")
        except ValueError as error:
            web.error("Exception in ASGI application\n", exc_info=error)
        assert [(event["msg"], event.get("error")) for event in self.said(capsys)] == [
            ("Invalid HTTP request received.", None),
            ("Exception in ASGI application", "ValueError: in an\nendpoint"),
        ]
        assert counted == ["web"]
