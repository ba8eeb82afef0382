"""A receiver of requests for retraining that prints them: what stands where a pipeline would be started.

It does what any receiver should: it believes only what is signed and fresh, and takes each incident once.
It uses the standard library only:

    trainer.py --secret-file FILE [--listen 127.0.0.1:10480]
"""

import argparse
import hashlib
import hmac
import json
import re
import signal
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from pager import listen_address, printable

BODY_LIMIT = 1 << 20
READ_SECONDS = 10.0
FRESH_SECONDS = 300
SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")


def genuine(secret: bytes, header: str, body: bytes, now: float) -> bool:
    """Tell whether whoever has the secret has signed this body within the last minutes."""
    match = SIGNATURE.fullmatch(header)
    if match is None:
        return False
    wanted = hmac.new(secret, match[1].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted, match[2]) and abs(now - int(match[1])) <= FRESH_SECONDS


def render(request: dict[str, Any]) -> Iterator[str]:
    """Yield the lines to show for a request."""
    yield printable(f"RETRAIN {request['model']}, version {request['version']}, incident {request['id']}")
    for reason in request["reasons"]:
        about = ", ".join(f"{name} {value}" for name, value in reason.items() if value is not None)
        yield printable(f"     {about}")
    columns = ", ".join(column["column"] for column in request["top_columns"])
    if columns:
        yield printable(f"     look at: {columns}")


class Trainer(ThreadingHTTPServer):
    """Prints each incident once; a real one would start a pipeline, and keep the ids on disk."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], secret: bytes) -> None:
        super().__init__(address, Handler)
        self.secret = secret
        self._lock = Lock()
        self._taken: set[str] = set()

    def take(self, request: dict[str, Any]) -> None:
        """Show a request whose incident is new."""
        lines = list(render(request))
        with self._lock:
            if request["id"] not in self._taken:
                self._taken.add(request["id"])
                print("\n".join(lines), flush=True)


class Handler(BaseHTTPRequestHandler):
    """One request; `server` is the Trainer."""

    server: Trainer
    timeout = READ_SECONDS

    def do_POST(self) -> None:
        """Take a request for retraining."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,7}", length) or int(length) > BODY_LIMIT:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = self.rfile.read(int(length))
        if not genuine(self.server.secret, self.headers.get("X-ML-Signature", ""), body, time.time()):
            self._answer(HTTPStatus.FORBIDDEN)
            return
        self.server.take(json.loads(body))
        self._answer(HTTPStatus.ACCEPTED)

    def log_message(self, format: str, *args: object) -> None:
        """Keep requests off the screen."""

    def _answer(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", type=listen_address, default=("127.0.0.1", 10480), help="HOST:PORT")
    parser.add_argument("--secret-file", type=Path, required=True, help="what the hook signs with")
    options = parser.parse_args()
    secret = options.secret_file.read_text(encoding="utf-8").strip().encode()
    with Trainer(options.listen, secret) as trainer:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        # Nor a SIGINT as a job that a script has put into the background.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            trainer.serve_forever()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
