"""Write bentoml.jsonl: what BentoML's default monitor logs of a service that answers requests.

python make_bentoml.py    (with a Python that has bentoml; 1.4.40 wrote the file that is kept)
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

SERVICE = """
import bentoml

@bentoml.service(workers=1)
class Churn:
    @bentoml.api
    def score(self, age: float, plan: str) -> float:
        score = min(0.99, 0.01 * age + (0.1 if plan == "pro" else 0.3))
        with bentoml.monitor("churn") as monitor:
            monitor.log(age, name="age", role="feature", data_type="numerical")
            monitor.log(plan, name="plan", role="feature", data_type="categorical")
            monitor.log(score, name="score", role="prediction", data_type="numerical")
        return score
"""
PORT = 31877
REQUESTS = 40


def ask(number: int) -> str:
    """Send a request and return the id that the answer's header has."""
    body = json.dumps({"age": 20 + number, "plan": "pro" if number % 3 else "basic"}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/score", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.headers["x-bentoml-request-id"])


def main() -> None:
    """Run the service, send it requests, and keep its log and the ids of the answers."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "service.py").write_text(SERVICE, encoding="utf-8")
        command = [sys.executable, "-m", "bentoml", "serve", "service:Churn", "--port", str(PORT)]
        environment = {**os.environ, "TZ": "UTC", "BENTOML_DO_NOT_TRACK": "true"}
        with subprocess.Popen(command, cwd=folder, env=environment) as server:
            try:
                wait()
                ids = [ask(number) for number in range(REQUESTS)]
                time.sleep(1)
            finally:
                server.terminate()
        log = next(Path(folder).glob("monitoring/churn/data/data.*.log")).read_text(encoding="utf-8")
    here = Path(__file__).parent
    (here / "bentoml.jsonl").write_text(log, encoding="utf-8")
    (here / "bentoml-ids.json").write_text(json.dumps(ids) + "\n", encoding="utf-8")


def wait() -> None:
    """Wait until the service answers."""
    for _ in range(120):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise SystemExit("the service does not answer")


if __name__ == "__main__":
    main()
