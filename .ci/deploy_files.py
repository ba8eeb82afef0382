"""Files of exporter/deploy that are made: the config's JSON Schema, shell completion, rules for Kubernetes.

`python .ci/readme_tables.py` writes them too; a test fails when they are out of step.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import shtab
import yaml
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from ml_exporter.cli import parser
from ml_exporter.config_model import Root

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "exporter/deploy"
_FILES = {"FILE": shtab.FILE, "DATA": shtab.FILE, "DIR": shtab.DIRECTORY}


class _Schema(GenerateJsonSchema):
    """Leaves out defaults that a file would write in another way: durations, sizes, sections."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        found = self.generate_inner(schema["schema"])
        default = schema.get("default")
        plain = isinstance(default, str | bool) and found.get("type") in ("string", "boolean")
        return {**found, "default": default} if plain else found


def config_schema(meanings: Mapping[str, str]) -> str:
    """Return the JSON Schema of the configuration; `meanings` are shown by editors."""
    schema = Root.model_json_schema(schema_generator=_Schema)
    for key, meaning in meanings.items():
        _described(schema, key.replace("[]", "").split("."))["description"] = meaning
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ml_exporter"}
    return json.dumps({**schema, **head}, indent=1, ensure_ascii=False) + "\n"


def _described(schema: dict[str, Any], path: list[str]) -> dict[str, Any]:
    """Return the property at a path; its description goes beside its reference."""
    section, found = schema, schema
    for name in path:
        found = next(inner["properties"][name] for inner in _sections(schema, section, name))
        section = found
    return found


def _sections(schema: dict[str, Any], node: Any, name: str) -> Iterator[dict[str, Any]]:
    """Yield the mappings inside a node that have a property."""
    if isinstance(node, list):
        for item in node:
            yield from _sections(schema, item, name)
    elif isinstance(node, dict):
        if name in node.get("properties", {}):
            yield node
        elif "$ref" in node:
            yield from _sections(schema, schema["$defs"][node["$ref"].rpartition("/")[2]], name)
        else:
            yield from _sections(schema, [node.get("anyOf", []), node.get("items", {})], name)


def completion(shell: str) -> str:
    """Return the script that completes commands, flags and files."""
    commands = parser()
    for action in _actions(commands):
        if isinstance(action.metavar, str) and action.metavar in _FILES:
            action.complete = _FILES[action.metavar]  # where shtab looks for it
    script = shtab.complete(commands, shell=shell)
    # Its first lines tell its own version.
    return (
        "\n".join(line.rstrip() for line in script.splitlines() if "AUTOMATICALLY GENERATED" not in line)
        + "\n"
    )


def _actions(commands: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in commands._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)


def prometheus_rule() -> str:
    """Return all rules as the Prometheus Operator takes them."""
    groups = [
        group
        for path in sorted((ROOT / "prometheus/rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "ml-exporter",
            "namespace": "ml-exporter",
            "labels": {"app.kubernetes.io/name": "ml_exporter"},
        },
        "spec": {"groups": groups},
    }
    head = "# Made from prometheus/rules by .ci/readme_tables.py.\n"
    return head + yaml.safe_dump(rule, sort_keys=False, width=110, allow_unicode=True)


def files(meanings: Mapping[str, str]) -> dict[Path, str]:
    """Return the text of each file."""
    return {
        DEPLOY / "config.schema.json": config_schema(meanings),
        DEPLOY / "completion/ml_exporter.bash": completion("bash"),
        DEPLOY / "completion/_ml_exporter": completion("zsh"),
        DEPLOY / "kubernetes/rules.yml": prometheus_rule(),
    }


def write(meanings: Mapping[str, str]) -> None:
    """Write all files."""
    for path, text in files(meanings).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
