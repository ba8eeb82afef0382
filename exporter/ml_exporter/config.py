"""The configuration: a YAML file in, frozen and validated objects out, or every problem at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from ml_exporter.config_checks import Finding, check_model, check_root, suggestion
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
    Location,
    Problem,
    Source,
    key_text,
    label_text,
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
_URL_USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_URL_QUERY = re.compile(r"(?<=[?&])([^=&\s#]+)=[^&\s#]*")

# Keys that are read and validated, and that nothing looks at yet.
WITHOUT_EFFECT = (
    "exporter.access",
    "models[].predictions.preset",
    "models[].cadence",
    "models[].multivariate",
    "models[].health.limits",
    "models[].processes",
    "models[].retrain",
    "models[].slo.page",
)
_COLUMN_KEYS_WITHOUT_EFFECT = ("allowed", "regex", "not_null", "importance")


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

    def without_effect(self) -> tuple[str, ...]:
        """Return a sentence for each key in the file that this version accepts and does not use."""
        return tuple(f"{key}: accepted, without effect in this version" for key in self._unused())

    def _unused(self) -> Iterator[str]:
        for location in _locations(self.data, ()):
            key = key_text(location)
            general = re.sub(r"\[\d+\]", "[]", key)
            if general in WITHOUT_EFFECT or _unused_column_key(location):
                yield key


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
        details = error.errors(include_url=False)
        for detail in details:
            if not _follows(detail, details):
                _note(source, detail)
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


def _follows(detail: Any, details: list[Any]) -> bool:
    """Tell whether a list is too short only because its items are wrong, which is said already."""
    at = detail["loc"]
    deeper = (other["loc"] for other in details if len(other["loc"]) > len(at))
    return detail["type"] == "too_short" and any(loc[: len(at)] == at for loc in deeper)


def _note(source: Source, detail: Any) -> None:
    kind, location, context = detail["type"], tuple(detail["loc"]), detail.get("ctx", {})
    if kind == "extra_forbidden":
        known = _keys_at(location[:-1])
        source.add(location, "is not a known key", suggestion(str(location[-1]), known))
        return
    if kind == "missing":
        source.add(location, "is missing", "add it")
        return
    if kind == "config":
        message, remedy = context["problem"], context["remedy"]
    else:
        message, remedy = _text(kind, context)
        if kind == "literal_error" and (given := label_text(detail["input"])) is not None:
            message = f'"{given}" {message}'
    source.add(source.known(location), message, remedy)


def _text(kind: str, context: Mapping[str, Any]) -> tuple[str, str]:
    texts = {
        "string_type": ("is not text", "write text, in quotes where it looks like a number"),
        "string_pattern_mismatch": ("is not an http or https URL", "write it as https://host/path"),
        "int_type": ("is not a whole number", "write digits without quotes"),
        "float_type": ("is not a number", "write a number without quotes"),
        "bool_type": ("is neither true nor false", "write true or false without quotes"),
        "tuple_type": ("is not a list", "write [a, b], or one item a line with a dash"),
        "model_type": ("is not a mapping", "write keys below it, or {key: value}"),
        "dict_type": ("is not a mapping", "write keys below it, or {key: value}"),
        "mapping_type": ("is not a mapping", "write keys below it, or {key: value}"),
        "finite_number": ("is not finite", "write an ordinary number"),
        "literal_error": ("is not one of the choices", f"use {context.get('expected', '')}"),
        "greater_than": ("is too small", f"use more than {context.get('gt', 0):g}"),
        "greater_than_equal": ("is too small", f"use at least {context.get('ge', 0):g}"),
        "less_than": ("is too large", f"use less than {context.get('lt', 0):g}"),
        "less_than_equal": ("is too large", f"use at most {context.get('le', 0):g}"),
        "too_short": ("has too few items", f"give it at least {context.get('min_length')}"),
        "too_long": ("has too many items", f"give it at most {context.get('max_length')}"),
    }
    return texts.get(kind, (f"is not valid ({kind})", "compare it with the documented example"))


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    """Return the keys that the section at a location knows."""
    section: type[BaseModel] | None = Root
    for part in location:
        if section is None:
            return []
        names = {item.alias or name: item for name, item in section.model_fields.items()}
        if part in names:
            section = _section_in(names[part].annotation)
    return [item.alias or name for name, item in section.model_fields.items()] if section else []


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """Return the section class inside an annotation such as tuple[Model, ...] or Labels | None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)


def _masked(value: object) -> object:
    if isinstance(value, dict):
        return {key: _masked_item(str(key), item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    if isinstance(value, str) and "://" in value:
        return _URL_QUERY.sub(rf"\1={MASK}", _URL_USER.sub(MASK, value))
    return value


def _masked_item(key: str, item: object) -> object:
    secret = _SECRET_WORD.search(key) and not key.endswith("_file")
    return MASK if secret else _masked(item)


def _locations(value: object, at: Location) -> Iterator[Location]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*at, key)
            yield from _locations(item, (*at, key))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _locations(item, (*at, index))


def _unused_column_key(location: Location) -> bool:
    inside = len(location) == 5 and location[0] == "models" and location[2] == "columns"
    return inside and location[4] in _COLUMN_KEYS_WITHOUT_EFFECT
