"""The Kubernetes example: valid by Kubernetes' own schemas, and its parts fit each other and the exporter."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from tests.tools import find_tool

from ml_exporter.cli import parser
from ml_exporter.config import load
from ml_exporter.web.users import Users, unknown_users
from ml_exporter.web.web_config import load_web_config

FOLDER = Path(__file__).parents[2] / "exporter/deploy/kubernetes"
FILES = sorted(FOLDER.glob("*.yml"))
OBJECTS = [found for file in FILES for found in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
OWN = [found for found in OBJECTS if found["apiVersion"] != "monitoring.coreos.com/v1"]
# From the operator's definitions of its own objects, as far as the example uses them.
SECRET = {
    "type": "object",
    "required": ["key"],
    "properties": {"name": {"type": "string"}, "key": {"type": "string"}},
    "additionalProperties": False,
}
MONITOR = {
    "type": "object",
    "required": ["selector", "endpoints"],
    "additionalProperties": False,
    "properties": {
        "jobLabel": {"type": "string"},
        "selector": {"type": "object", "required": ["matchLabels"]},
        "endpoints": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "port": {"type": "string"},
                    "interval": {"type": "string", "pattern": r"^(\d+h)?(\d+m)?(\d+s)?$"},
                    "basicAuth": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {"username": SECRET, "password": SECRET},
                    },
                },
            },
        },
    },
}


def one(kind: str, name: str | None = None) -> Any:
    (found,) = [
        found for found in OBJECTS if found["kind"] == kind and name in (None, found["metadata"]["name"])
    ]
    return found


@pytest.mark.parametrize("found", OWN, ids=lambda found: f"{found['kind']}-{found['metadata']['name']}")
def test_objects_are_valid(found: dict[str, Any]) -> None:
    kubernetes_validate.validate(found, "1.30", strict=True)


def test_a_wrong_key_is_found() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**one("Service"), "specs": {}}, "1.30", strict=True)


def test_the_monitor_is_valid_and_finds_the_service_and_its_password() -> None:
    monitor, service = one("ServiceMonitor"), one("Service")
    jsonschema.validate(monitor["spec"], MONITOR)
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "ml_exporter"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    for part in endpoint["basicAuth"].values():
        assert part["key"] in one("Secret", part["name"])["stringData"]


def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(one("PrometheusRule")["spec"]), encoding="utf-8")
    run = subprocess.run(
        [find_tool("promtool"), "check", "rules", "--lint-fatal", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_the_exporter_accepts_its_flags_configuration_and_web_config(tmp_path: Path) -> None:
    (container,) = one("DaemonSet")["spec"]["template"]["spec"]["containers"]
    flags = parser().parse_args(container["args"])
    config, web = tmp_path / flags.config.name, tmp_path / flags.web_config.name
    config.write_text(one("ConfigMap")["data"][config.name], encoding="utf-8")
    web.write_text(one("Secret", "ml-exporter-web")["stringData"][web.name], encoding="utf-8")
    assert unknown_users(load(config).exporter.access, Users(load_web_config(web).basic_auth_users)) == []


def test_mounts_are_volumes_and_volumes_are_there() -> None:
    pod = one("DaemonSet")["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for container in (*pod["initContainers"], *pod["containers"]):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()
    assert one("ConfigMap")["metadata"]["name"] == volumes["config"]["configMap"]["name"]
    assert one("Secret", volumes["web"]["secret"]["secretName"])
