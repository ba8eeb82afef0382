"""docker-compose.yml: valid, pinned, unprivileged, and reachable from this machine only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.tools import REPOSITORY

COMPOSE = Path(sys.executable).with_name("docker-compose")
VARIABLES = ("ML_", "GRAFANA_", "COMPOSE_")
SERVICES = (
    "alertmanager",
    "exporter",
    "grafana",
    "hook",
    "node-exporter",
    "pager",
    "prometheus",
    "traffic",
)
OURS = ("exporter", "hook", "pager", "traffic")
EVERY = pytest.mark.parametrize("name", SERVICES)


def compose(*arguments: str, **variables: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(VARIABLES)}
    command = [str(COMPOSE), "--file", "docker-compose.yml", *arguments]
    run = subprocess.run(
        command, cwd=REPOSITORY, env=environment | variables, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@cache
def config(profile: str = "*", variables: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    profiles = ("--profile", profile) if profile else ()
    loaded: dict[str, Any] = json.loads(compose(*profiles, "config", "--format", "json", **dict(variables)))
    return loaded


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = config()["services"][name]
    return found


def mounts(name: str) -> dict[str, dict[str, Any]]:
    return {volume["target"]: volume for volume in service(name).get("volumes", ())}


def test_compose_accepts_it() -> None:
    assert compose("config", "--quiet") == ""


def test_the_services() -> None:
    assert tuple(sorted(config()["services"])) == SERVICES


@pytest.mark.parametrize(
    ("profile", "out"), [("", {"traffic", "hook"}), ("demo", {"hook"}), ("retrain", {"traffic"})]
)
def test_without_their_profiles_the_demos_traffic_and_the_hook_stay_out(profile: str, out: set[str]) -> None:
    assert set(SERVICES) - set(config(profile=profile)["services"]) == out


@EVERY
def test_no_service_may_do_more_than_it_must(name: str) -> None:
    found = service(name)
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["restart"] == "unless-stopped"
    for key in ("privileged", "cap_add", "devices", "user"):
        assert not found.get(key), key


@EVERY
def test_ports_are_published_on_loopback_only(name: str) -> None:
    assert all(port["host_ip"] == "127.0.0.1" for port in service(name).get("ports", ()))
    assert service(name).get("network_mode") != "host"


def test_the_published_ports_are_the_known_ones() -> None:
    published = {int(port["published"]): name for name in SERVICES for port in service(name).get("ports", ())}
    assert published == {
        10477: "exporter",
        9090: "prometheus",
        9093: "alertmanager",
        10479: "alertmanager",
        3000: "grafana",
    }


def test_images_are_pinned() -> None:
    images = {name: service(name)["image"] for name in SERVICES}
    assert {images[name] for name in OURS} == {"ml_exporter:0.1.0"}
    assert {name: image for name, image in images.items() if name not in OURS} == {
        "prometheus": "prom/prometheus:v3.13.3",
        "alertmanager": "prom/alertmanager:v0.34.1",
        "grafana": "grafana/grafana:13.2.1",
        "node-exporter": "prom/node-exporter:v1.12.1",
    }


def test_the_images_tag_is_the_packages_version() -> None:
    from importlib.metadata import version

    assert service("exporter")["image"].removeprefix("ml_exporter:") == version("ml-exporter")


def test_binds_are_read_only_and_data_is_in_named_volumes() -> None:
    for name in SERVICES:
        for volume in mounts(name).values():
            assert volume["type"] in {"bind", "volume"}
            if volume["type"] == "bind":
                assert volume.get("read_only"), f"{name}: {volume['target']}"
    assert mounts("exporter")["/var/lib/ml_exporter"]["source"] == "state"
    assert mounts("prometheus")["/prometheus"]["source"] == "prometheus"
    assert mounts("alertmanager")["/alertmanager"]["source"] == "alertmanager"
    assert mounts("grafana")["/var/lib/grafana"]["source"] == "grafana"


def test_what_is_mounted_from_here_exists() -> None:
    sources = {Path(v["source"]) for n in SERVICES for v in mounts(n).values() if v["type"] == "bind"}
    assert {source for source in sources if not source.exists()} == set()


def test_the_exporter_sees_logs_read_only_and_the_host() -> None:
    exporter = service("exporter")
    logs = mounts("exporter")["/var/lib/ml_exporter/logs"]
    assert (logs["source"], logs["read_only"]) == ("demo-logs", True)
    assert not mounts("traffic")["/var/lib/ml_exporter/logs"].get("read_only")
    for host in ("proc", "root"):
        assert f"--host.{host}=/host/{host}" in exporter["command"]
        assert mounts("exporter")[f"/host/{host}"]["read_only"]


def test_own_logs_config_and_group_come_by_variables() -> None:
    variables = {
        "ML_LOGS": "/srv/logs",
        "ML_LOGS_GROUP": "4",
        "ML_CONFIG_DIR": "/srv/config",
        "ML_CONFIG_FILE": "own.yml",
    }
    exporter = config(profile="", variables=tuple(variables.items()))["services"]["exporter"]
    found = {volume["target"]: volume for volume in exporter["volumes"]}
    logs = found["/var/lib/ml_exporter/logs"]
    assert (logs["type"], logs["source"], logs["read_only"]) == ("bind", "/srv/logs", True)
    assert found["/etc/ml_exporter"]["source"] == "/srv/config"
    assert exporter["group_add"] == ["4"]
    assert "--config.file=/etc/ml_exporter/own.yml" in exporter["command"]


def test_prometheus_finds_the_services_of_this_file() -> None:
    targets = mounts("prometheus")["/etc/prometheus/targets/local.yml"]["source"]
    groups = yaml.safe_load(Path(targets).read_text("utf-8"))
    hosts = {target.split(":")[0] for group in groups for target in group["targets"]}
    assert hosts - {"localhost"} <= set(SERVICES)
    assert "exporter:10477" in {target for group in groups for target in group["targets"]}


def test_the_pager_is_where_alertmanagers_one_config_sends() -> None:
    text = (REPOSITORY / "alertmanager" / "alertmanager.yml").read_text("utf-8")
    assert "http://127.0.0.1:10479/" in text
    assert service("pager")["network_mode"] == "service:alertmanager"


def test_alertmanager_and_the_hook_share_a_network_and_a_token() -> None:
    assert service("hook")["network_mode"] == "service:alertmanager"
    assert "--web.listen-address=0.0.0.0:10478" in service("hook")["command"]
    assert [secret["source"] for secret in service("hook")["secrets"]] == ["hook_token"]
    token = Path(config()["secrets"]["hook_token"]["file"])
    assert token.parent.parent == Path(mounts("alertmanager")["/etc/alertmanager"]["source"])
    ignored = subprocess.run(["git", "check-ignore", "--quiet", str(token)], cwd=REPOSITORY)
    assert ignored.returncode == 0, "the token's file must never be committed"


def test_grafana_has_a_password_from_a_file_and_no_anonymous_users() -> None:
    environment = service("grafana")["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_admin_password"
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert [secret["source"] for secret in service("grafana")["secrets"]] == ["grafana_admin_password"]
    assert not [key for key in environment if "PASSWORD" in key and not key.endswith("__FILE")]
    secret = config()["secrets"]["grafana_admin_password"]["file"]
    ignored = subprocess.run(["git", "check-ignore", "--quiet", secret], cwd=REPOSITORY)
    assert ignored.returncode == 0, "the password's file must never be committed"


@EVERY
def test_every_server_says_whether_it_is_well(name: str) -> None:
    checks = {"grafana", "prometheus", "alertmanager", "pager", "hook"}
    if name in checks:
        assert service(name)["healthcheck"]["test"][0] == "CMD"
        assert "curl" not in service(name)["healthcheck"]["test"]
    elif name != "exporter":
        assert service(name).get("healthcheck", {"disable": True})["disable"]


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("exporter", [str(COMPOSE.with_name("ml_exporter")), "serve"]),
        ("hook", [str(COMPOSE.with_name("ml_exporter")), "hook"]),
        ("traffic", [sys.executable, "exporter/demo/traffic.py"]),
        ("pager", [sys.executable, "exporter/demo/pager.py"]),
    ],
)
def test_our_programs_know_the_flags_they_are_given(name: str, program: list[str]) -> None:
    run = subprocess.run([*program, "--help"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    given = {word.split("=")[0] for word in service(name)["command"] if word.startswith("--")}
    assert given
    assert given <= set(re.findall(r"--[\w.-]+", run.stdout))
    entrypoint = service(name).get("entrypoint") or ["ml_exporter"]
    assert (
        entrypoint[-1].split("/")[-1]
        == Path(program[-1] if name not in ("exporter", "hook") else program[0]).name
    )
