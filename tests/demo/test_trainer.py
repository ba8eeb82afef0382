"""The demo's receiver of requests for retraining, asked by the hook's own sender."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
import requests
from tests.support.listening import listening
from trainer import Trainer, genuine

from ml_exporter.config_model import Retrain
from ml_exporter.hook.request import send, signature

SECRET = "a secret of some length"
BODY = b"""{"id": "i-1", "model": "flight-delay", "version": "1", "top_columns": [{"column": "distance"}],
 "reasons": [{"kind": "quality", "metric": "roc_auc", "value": 0.63, "limit": 0.65, "samples": null, "window": "\\u001b[2J"}]}"""


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    with listening(Trainer(("127.0.0.1", 0), SECRET.encode())) as server:
        yield server


def asked(trainer: Trainer, folder: Path, secret: str, now: float) -> tuple[str, str]:
    (folder / "secret").write_text(f"{secret}\n")
    url = f"http://127.0.0.1:{trainer.server_port}/"
    return send(Retrain(url=url, secret_file=folder / "secret"), BODY, now)


def test_a_signed_request_is_shown_once(
    trainer: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert asked(trainer, tmp_path, SECRET, time.time()) == ("accepted", "answered with 202")
    assert capsys.readouterr().out.splitlines() == [
        "RETRAIN flight-delay, version 1, incident i-1",
        "     kind quality, metric roc_auc, value 0.63, limit 0.65, window \N{REPLACEMENT CHARACTER}[2J",
        "     look at: distance",
    ]


def test_forged_and_old_requests_are_refused(
    trainer: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(trainer, tmp_path, "a guess", time.time())[0] == "refused"
    assert asked(trainer, tmp_path, SECRET, time.time() - 301)[0] == "refused"
    url = f"http://127.0.0.1:{trainer.server_port}/"
    assert requests.post(url, data=BODY, timeout=10).status_code == 403
    connection = HTTPConnection("127.0.0.1", trainer.server_port, timeout=10)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(2 << 20))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("header", ["", "t=1", "t=7,v1=abc", "v1=00,t=7", "t=-7,v1=" + "0" * 64])
def test_a_header_of_another_form_is_no_signature(header: str) -> None:
    assert not genuine(SECRET.encode(), header, BODY, 7)
    assert genuine(SECRET.encode(), signature(SECRET, BODY, 7), BODY, 7)
