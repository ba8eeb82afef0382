from __future__ import annotations

import json
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
