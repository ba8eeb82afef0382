"""What pydantic finds wrong in a file, as problems with line, key and remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ml_exporter.config_checks import suggestion
from ml_exporter.config_source import Source, label_text


def note_errors(source: Source, error: ValidationError, root: type[BaseModel]) -> None:
    """Add what is wrong with the file to its problems; `root` is the class of the whole file."""
    details = error.errors(include_url=False)
    for detail in details:
        if not _follows(detail, details):
            _note(source, detail, root)


def _follows(detail: Any, details: list[Any]) -> bool:
    """Tell whether a list is too short only because its items are wrong, which is said already."""
    at = detail["loc"]
    deeper = (other["loc"] for other in details if len(other["loc"]) > len(at))
    return detail["type"] == "too_short" and any(loc[: len(at)] == at for loc in deeper)


def _note(source: Source, detail: Any, root: type[BaseModel]) -> None:
    kind, location, context = detail["type"], tuple(detail["loc"]), detail.get("ctx", {})
    if kind == "extra_forbidden":
        known = _keys_at(root, location[:-1])
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


def _keys_at(root: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Return the keys that the section at a location knows."""
    section: type[BaseModel] | None = root
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
