"""The configuration: a YAML file in, frozen and validated objects out, or every problem at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ml_exporter.config_checks import Finding, check_model, check_root
from ml_exporter.config_errors import note_errors
from ml_exporter.config_logs import Labels, PredictionFields, Predictions
from ml_exporter.config_model import (
    Drift,
    Exporter,
    Health,
    Host,
    Model,
    ProcessMatch,
    Root,
    Target,
)
from ml_exporter.config_source import (
    ConfigError,
    Problem,
    Source,
    plain,
    read_source,
)
from ml_exporter.config_types import Window, parse_duration

__all__ = [
    "Config",
    "ConfigError",
    "Drift",
    "Exporter",
    "Health",
    "Host",
    "Labels",
    "Model",
    "PredictionFields",
    "Predictions",
    "Problem",
    "ProcessMatch",
    "Target",
    "Window",
    "load",
    "parse_duration",
]

MASK = "<secret>"

_SECRET_WORD = re.compile(r"(?i)secret|password|passwd|token|authorization|credential|api_?key")
_URL = re.compile(r"([A-Za-z][\w+.-]*://)(?:[^/?#\s]*@)?((?:\[[\w:.%]+\]|[\w.-]+)?(?::\d+)?)\S*")


@dataclass(frozen=True, slots=True)
class Config:
    """A valid configuration; `path` is the file it came from."""

    path: Path
    exporter: Exporter
    host: Host
    models: tuple[Model, ...]
    data: object = field(repr=False, compare=False, default=None)

    def masked_yaml(self) -> str:
        """Return the file's content as YAML with every secret replaced by <secret>."""
        return yaml.safe_dump(_masked(plain(self.data)), sort_keys=False, allow_unicode=True)


def load(path: Path) -> Config:
    """Read and validate a configuration.

    Paths in it count from the file's folder. Raises ConfigError with every problem, each with file,
    line, key and remedy.
    """
    source = read_source(path)
    if source.problems and source.data is None:
        raise ConfigError(source.problems)
    root = _validate(source, path.absolute().parent)
    if source.problems or root is None:
        raise ConfigError(source.problems)
    return Config(path, root.exporter, root.host, root.models, source.data)


def _validate(source: Source, base: Path) -> Root | None:
    context = {"base": base}
    data = {} if source.data is None else source.data
    try:
        root = Root.model_validate(data, context=context)
    except ValidationError as error:
        note_errors(source, error, Root)
        _check_parts(source, data, context)
        return None
    for finding in check_root(root):
        source.add(finding.location, finding.message, finding.remedy)
    _check_models(source, dict(enumerate(root.models)))
    return root


def _check_parts(source: Source, data: object, context: Mapping[str, Any]) -> None:
    """Check those models that are valid in themselves, so that all problems show at once."""
    models = data.get("models") if isinstance(data, dict) else None
    valid = {}
    for index, item in enumerate(models if isinstance(models, tuple) else ()):
        try:
            valid[index] = Model.model_validate(item, context=dict(context))
        except ValidationError:
            continue
    _check_models(source, valid)


def _check_models(source: Source, models: Mapping[int, Model]) -> None:
    findings: list[Finding] = []
    for index, model in models.items():
        findings.extend(check_model(model, ("models", index)))
    for finding in findings:
        source.add(finding.location, finding.message, finding.remedy)


def _masked(value: object) -> object:
    if isinstance(value, dict):
        return {key: _masked_item(str(key), item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return _URL.sub(_masked_url, value) if isinstance(value, str) else value


def _masked_url(found: re.Match[str]) -> str:
    """Return a URL's scheme, host and port: all else of it may be what lets one in."""
    shown = found[1] + found[2]
    return found[0] if found[0].rstrip("/") == shown else f"{shown}/{MASK}"


def _masked_item(key: str, item: object) -> object:
    secret = _SECRET_WORD.search(key) and not key.endswith("_file")
    return MASK if secret else _masked(item)
