"""Write seldon.jsonl: answers of a real MLServer as CloudEvents, as a sink of the inference logger keeps them.

    python make_mlserver.py    (with a Python that has mlserver; 1.7.1 gave the file that is kept)

MLServer gives an event's attributes as `Ce-` headers of its answers. The structured form of such an event,
by the CloudEvents specification, has them beside `data`; the time is that of the sink.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

MODEL = """
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse
import numpy as np

class Churn(MLModel):
    async def predict(self, payload):
        age = NumpyCodec.decode_input(payload.inputs[0])
        score = np.minimum(0.99, 0.01 * age)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("score", score)])
"""
SETTINGS = {
    "debug": False,
    "host": "127.0.0.1",
    "http_port": 31878,
    "grpc_port": 31879,
    "metrics_port": 31880,
}
REQUESTS = 40


def event(number: int) -> dict[str, object]:
    """Send a request and return its answer as an event."""
    tensor = {"name": "age", "shape": [1, 1], "datatype": "FP64", "data": [20 + number]}
    body = json.dumps({"id": f"r-{number}", "inputs": [tensor]}).encode()
    url = f"http://127.0.0.1:{SETTINGS['http_port']}/v2/models/churn/infer"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        attributes = {
            name.lower().removeprefix("ce-"): value
            for name, value in answer.headers.items()
            if name.lower().startswith("ce-")
        }
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {**attributes, "time": moment, "data": json.load(answer)}


def main() -> None:
    """Run the server, send it requests, and keep the events."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"name": "churn", "implementation": "churn.Churn"}
        (Path(folder) / "churn.py").write_text(MODEL, encoding="utf-8")
        (Path(folder) / "settings.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
        (Path(folder) / "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")
        program = Path(sys.executable).with_name("mlserver")
        environment = {**os.environ, "PYTHONPATH": folder, "MLSERVER_PARALLEL_WORKERS": "0"}
        with subprocess.Popen([str(program), "start", folder], cwd=folder, env=environment) as server:
            try:
                wait()
                events = [event(number) for number in range(REQUESTS)]
            finally:
                server.terminate()
    lines = "".join(json.dumps(found) + "\n" for found in events)
    (Path(__file__).parent / "seldon.jsonl").write_text(lines, encoding="utf-8")


def wait() -> None:
    """Wait until the model is ready."""
    for _ in range(120):
        try:
            url = f"http://127.0.0.1:{SETTINGS['http_port']}/v2/models/churn/ready"
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise SystemExit("the model does not become ready")


if __name__ == "__main__":
    main()
