"""A receiver for Alertmanager's webhook that prints each page, and serves the runbooks pages link to.

It stands in for a paging service, so that a first try needs no account. It uses the standard library only:

    pager.py [--listen 127.0.0.1:10479] [--journal FILE] [--runbooks FOLDER]

POST to any path is a notification; GET /runbooks/NAME.md is a runbook; GET /-/healthy says that it is up.
A notification may hold whatever a log held: nothing of it reaches the terminal but printable characters.
"""

import argparse
import json
import re
import signal
import sys
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[2]
BODY_LIMIT = 1 << 20
# The watchdog alone writes some 300 kB a day, in a demo 60 times as much.
JOURNAL_LIMIT = 4 << 20
TEXT_LIMIT = 2000
SHOWN_ALERTS = 20
READ_SECONDS = 10.0
RUNBOOK = re.compile(r"/runbooks/(ML[A-Za-z0-9]+\.md)")
MARKS = {"critical": "PAGE", "warning": "TICKET", "info": "NOTE"}
WATCHDOG = "MLWatchdog"

# One JSON object of a notification.
Fields = dict[str, Any]


class NotificationError(Exception):
    """What was posted is no notification; `status` is the answer."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def printable(text: object) -> str:
    """Return `text` on one line, cut to a limit, without characters that could steer a terminal."""
    cut = str(text)[:TEXT_LIMIT]
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in cut)


def parse(body: bytes) -> Fields:
    """Return the notification in `body`: an object whose alerts have labels and annotations each."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotificationError(HTTPStatus.BAD_REQUEST, "not JSON") from error
    alerts = message.get("alerts") if isinstance(message, dict) else None
    if not isinstance(alerts, list) or not all(_is_alert(alert) for alert in alerts):
        raise NotificationError(HTTPStatus.BAD_REQUEST, "not a notification of Alertmanager")
    return dict(message)


def render(message: Fields) -> Iterator[str]:
    """Yield the lines to show for a notification."""
    alerts = message["alerts"]
    yield f"---- to {printable(message.get('receiver', 'nobody'))}: {len(alerts)} alert(s)"
    for alert in alerts[:SHOWN_ALERTS]:
        yield from _render_alert(alert)
    if len(alerts) > SHOWN_ALERTS:
        yield f"     and {len(alerts) - SHOWN_ALERTS} more"


class Pager(ThreadingHTTPServer):
    """Prints notifications to `screen` and appends them to `journal`, one JSON object a line.

    A journal that has grown large is kept once, as `journal`.1, and begun anew.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], journal: Path, runbooks: Path, screen: TextIO) -> None:
        super().__init__(address, Handler)
        self._journal = journal
        self._runbooks = runbooks
        self._screen = screen
        self._lock = Lock()
        self._heard_watchdog = False
        journal.parent.mkdir(parents=True, exist_ok=True)

    def accept(self, message: Fields) -> None:
        """Show and keep one notification."""
        with self._lock:
            self._show(self._lines(message))
            self._keep(message)

    def runbook(self, name: str) -> bytes | None:
        """Return the text of a runbook by its file's name, or None."""
        path = self._runbooks / name
        return path.read_bytes() if path.is_file() else None

    def handle_error(self, _request: object, _client_address: object) -> None:
        """Name what went wrong with a request, such as a client that left; no traceback among the pages."""
        sys.stderr.write(f"pager: request failed: {type(sys.exception()).__name__}\n")

    def _keep(self, message: Fields) -> None:
        try:
            if self._journal.exists() and self._journal.stat().st_size > JOURNAL_LIMIT:
                self._journal.replace(self._journal.with_name(self._journal.name + ".1"))
            with self._journal.open("a", encoding="ascii") as journal:
                journal.write(json.dumps(message) + "\n")
        except OSError as error:
            # A full disk must not stop pages from being shown.
            sys.stderr.write(f"pager: cannot keep a notification: {error.strerror}\n")

    def _lines(self, message: Fields) -> Iterable[str]:
        names = {alert["labels"].get("alertname") for alert in message["alerts"]}
        if names != {WATCHDOG}:
            return render(message)
        if self._heard_watchdog:
            return ()
        self._heard_watchdog = True
        return (
            "---- the watchdog is heard: alerts reach this receiver (it repeats, and is not shown again)",
        )

    def _show(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._screen.write(line + "\n")
        self._screen.flush()


class Handler(BaseHTTPRequestHandler):
    """One request; `server` is the Pager."""

    server: Pager
    timeout = READ_SECONDS
    server_version = "pager"
    sys_version = ""

    def do_POST(self) -> None:
        """Take a notification."""
        try:
            message = parse(self._body())
        except NotificationError as error:
            self.close_connection = True
            self._answer(error.status, f"{error}\n".encode())
            return
        self.server.accept(message)
        self._answer(HTTPStatus.OK, b"")

    def do_GET(self) -> None:
        """Answer a health check, or show a runbook."""
        match = RUNBOOK.fullmatch(self.path)
        text = self.server.runbook(match[1]) if match else None
        if self.path == "/-/healthy":
            self._answer(HTTPStatus.OK, b"The pager is up.\n")
        elif text is not None:
            self._answer(HTTPStatus.OK, text)
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"Here are runbooks only: /runbooks/NAME.md\n")

    def log_message(self, format: str, *args: object) -> None:
        """Keep requests off the screen, which is for pages."""

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,12}", length):
            raise NotificationError(HTTPStatus.LENGTH_REQUIRED, "a Content-Length is needed")
        if int(length) > BODY_LIMIT:
            raise NotificationError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {BODY_LIMIT} bytes")
        try:
            return self.rfile.read(int(length))
        except TimeoutError as error:
            raise NotificationError(HTTPStatus.REQUEST_TIMEOUT, "the body did not come") from error

    def _answer(self, status: HTTPStatus, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def listen_address(text: str) -> tuple[str, int]:
    """Return HOST:PORT as a pair."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"not HOST:PORT: {text}")
    return host or "127.0.0.1", int(port)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", type=listen_address, default=("127.0.0.1", 10479), help="HOST:PORT")
    parser.add_argument("--journal", type=Path, default=ROOT / "var/demo/run/notifications.jsonl")
    parser.add_argument("--runbooks", type=Path, default=ROOT / "alertmanager" / "runbooks")
    options = parser.parse_args()
    with Pager(options.listen, options.journal, options.runbooks, sys.stdout) as pager:
        # As a container's first process it would not even notice a SIGTERM otherwise.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        # Nor a SIGINT as a job that a script has put into the background.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            pager.serve_forever()
        except KeyboardInterrupt:
            return


def _is_alert(alert: object) -> bool:
    return isinstance(alert, dict) and all(_is_text(alert.get(part)) for part in ("labels", "annotations"))


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and all(isinstance(value, str) for value in part.values())


def _render_alert(alert: Fields) -> Iterator[str]:
    labels, annotations = alert["labels"], alert["annotations"]
    resolved = alert.get("status") == "resolved"
    mark = "RESOLVED" if resolved else MARKS.get(labels.get("severity", ""), "ALERT")
    name = printable(labels.get("alertname", "without a name"))
    about = printable(labels.get("model") or labels.get("instance") or "")
    yield f"{mark} {name}{' on ' if about else ''}{about}: {printable(annotations.get('summary', ''))}"
    if resolved:
        return
    shown = (("", "description"), ("runbook: ", "runbook_url"), ("dashboard: ", "dashboard_url"))
    for title, key in shown:
        if annotations.get(key):
            yield f"     {title}{printable(annotations[key])}"


if __name__ == "__main__":
    main()
