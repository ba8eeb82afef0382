"""Pushed records all the way to the page, through kills: what was acknowledged is counted once."""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import os
import signal
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import bcrypt
import pytest
from tests.support.process import Exporter, wait_for
from tests.support.serving import live
from tests.support.site import Site, label, prediction
from tests.web.test_auth import basic

READ = "ml_predictions_total{flight-delay,1}"
MATURE = "ml_labeled_predictions_total{flight-delay,1}"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    found = Site(
        tmp_path, exporter={"state": "state.duckdb", "birth_hold": "0", "evaluation_interval": "50ms"}
    )
    found.exporter["push"] = {"spool_limit": "1MiB", "body_limit": "64KiB"}
    for source in ("predictions", "labels"):
        found.models[0][source] |= {"push": True, "path": f"spool/{source}.jsonl"}
    found.config()
    return found


def body(first: int, rows: int, make: str = "predictions") -> bytes:
    """Mature rows."""
    offset = live(-120)
    records = (
        prediction(number, offset) if make == "predictions" else label(number, offset)
        for number in range(first, first + rows)
    )
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def push(port: int, data: bytes, source: str = "predictions", **headers: str) -> int:
    """Return the status, 0 where there was no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(
            "POST", f"/v1/{source}/flight-delay", gzip.compress(data), {"Content-Encoding": "gzip", **headers}
        )
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def test_predictions_and_labels_meet(site: Site) -> None:
    with Exporter(site.config_path) as exporter:
        # Labels first: these predictions are mature, so they are judged as soon as they are read.
        assert push(exporter.port, body(0, 40, "labels"), "labels") == 202
        assert push(exporter.port, body(0, 50)) == 202
        assert push(exporter.port, b"[]") == 400
        wait_for(lambda: exporter.samples().get(MATURE) == 40)
        answered = "ml_exporter_push_requests_total{{{},flight-delay,predictions}}"
        wait_for(lambda: exporter.samples()[answered.format(400)] == 1)
        page = exporter.samples()
        assert page[answered.format(202)] == 1
        assert page["ml_exporter_push_requests_total{413,flight-delay,labels}"] == 0
        assert page["ml_exporter_push_spool_bytes{flight-delay,labels}"] > 0
        assert page["ml_exporter_source_up{flight-delay,labels}"] == 1


def test_pushing_needs_its_own_user(site: Site, tmp_path: Path) -> None:
    site.exporter["access"] = {"push": ["robot"]}
    site.config()
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    users = "".join(f"  {name}: {hashed}\n" for name in ("robot", "prometheus"))
    web = tmp_path / "web.yml"
    web.write_text(f"basic_auth_users:\n{users}", encoding="utf-8")
    with Exporter(site.config_path, ("--web.config.file", str(web))) as exporter:
        assert push(exporter.port, body(0, 1)) == 401
        assert push(exporter.port, body(0, 1), Authorization=basic("prometheus", "secret")) == 403
        assert push(exporter.port, body(0, 1), Authorization=basic("robot", "secret")) == 202


@pytest.mark.long
def test_clients_that_hang_do_not_hold_up_the_end(site: Site) -> None:
    head = b"POST /v1/predictions/flight-delay HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
    with Exporter(site.config_path) as exporter, ExitStack() as stack:
        for data in (b"", b"GET /metr", head, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50):
            client = socket.create_connection(("127.0.0.1", exporter.port), timeout=10)
            stack.enter_context(client)
            client.sendall(data)
        assert push(exporter.port, body(0, 10)) == 202
        code, seconds = exporter.terminate()
        assert code == 0
        assert seconds < 10  # 5 where the machine has nothing else to do
    with Exporter(site.config_path) as exporter:
        wait_for(lambda: exporter.samples().get(READ) == 10)


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_what_was_acknowledged_survives_kills_and_counts_once(site: Site, kills: int) -> None:
    """Files are renamed and deleted meanwhile: 1 MiB holds a part of what is pushed."""
    rows, stop = 200, threading.Event()
    taken, unanswered = [], []
    exporter = Exporter(site.config_path).start()

    def client() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            data = body(number * rows, rows)
            status = push(exporter.port, data)
            if status != 202:
                time.sleep(0.05)
            (taken if status == 202 else unanswered if status in (0, 503) else []).append(number)

    pusher = threading.Thread(target=client)
    pusher.start()
    try:
        for _ in range(kills):
            before = len(taken)
            wait_for(lambda before=before: len(taken) > before + 5)
            os.kill(exporter.process.pid, signal.SIGKILL)
            exporter.process.wait(10)
            exporter.start()
    finally:
        stop.set()
        pusher.join(20)
    try:
        wait_for(
            lambda: exporter.samples().get("ml_exporter_source_lag_bytes{flight-delay,predictions}") == 0
        )
        time.sleep(0.3)
        counted = exporter.samples()[READ]
        # Of a push without an answer any part may be there.
        assert len(taken) * rows <= counted <= (len(taken) + len(unanswered)) * rows
        assert exporter.samples()["ml_exporter_source_truncations_total{flight-delay,predictions}"] == 0
        sizes = [file.stat().st_size for file in (site.folder / "spool").glob("predictions*")]
        assert sum(sizes) < 2**20
        written = len(taken) * rows * 150
        assert len(sizes) < 8
        if kills > 1:
            assert written > 2**20
    finally:
        exporter.kill()
