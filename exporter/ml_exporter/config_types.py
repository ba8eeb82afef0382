"""The kinds of values in a configuration: durations, sizes, names, label texts, paths, frozen mappings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Annotated, TypeVar

import duckdb
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ml_exporter.config_source import label_text

NAME_LIMIT = 200
PANES = 60

_DURATION = re.compile(
    r"(?=.)(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
_UNIT_SECONDS = (31_536_000.0, 604_800.0, 86_400.0, 3_600.0, 60.0, 1.0, 0.001)
_SIZE = re.compile(r"(\d+)\s*([KMGT]i?)?B?", re.ASCII)
_LONGEST = 100 * 31_536_000.0

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Window:
    """A window: its name is the duration as it was written (a label), its length is in seconds."""

    name: str
    seconds: float


class FrozenDict(Mapping[K, V]):
    """A mapping that cannot be changed, and so can be a default and be hashed."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[K, V]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def invalid(message: str, remedy: str) -> PydanticCustomError:
    """Return the error that a validator raises, with what to do about it."""
    return PydanticCustomError("config", "{problem}", {"problem": message, "remedy": remedy})


class Section(BaseModel):
    """A mapping of the configuration. A key without a value counts as left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        return {key: item for key, item in data.items() if item is not None or key not in cls.model_fields}


def parse_duration(text: object) -> float:
    """Return a duration of Prometheus ("1h30m", "500ms", "1d") in seconds; ValueError when it is none.

    As in Prometheus a day has 24 hours, a week 7 days, a year 365 days, and only 0 needs no unit.
    """
    written = label_text(text) or ""
    if written == "0":
        return 0.0
    match = _DURATION.fullmatch(written)
    if match is None:
        raise ValueError(f"{_shown(text)} is not a duration")
    parts = (int(part or 0) * unit for part, unit in zip(match.groups(), _UNIT_SECONDS, strict=True))
    seconds = sum(parts)
    if seconds > _LONGEST:
        raise ValueError(f"{_shown(text)} is longer than 100 years")
    return seconds


def parse_size(text: object) -> int:
    """Return a size ("1MiB", "500kB" is 500,000, "4096") in bytes; ValueError when it is none."""
    written = label_text(text) or ""
    match = _SIZE.fullmatch(written.replace("k", "K"))
    if match is None or len(match[1]) > 15:
        raise ValueError(f"{_shown(text)} is not a size")
    prefix = match[2] or ""
    base = 1024 if prefix.endswith("i") else 1000
    return int(match[1]) * int(base ** ("KMGT".index(prefix[0]) + 1 if prefix else 0))


def _shown(value: object) -> str:
    text = label_text(value)
    if text is None:
        return "a list" if isinstance(value, tuple) else "a mapping"
    return f'"{text if len(text) <= 60 else text[:57] + "..."}"'


def _duration(value: object) -> float:
    if isinstance(value, float) and label_text(value) is None:
        return value  # a default, in seconds already
    try:
        return parse_duration(value)
    except ValueError as error:
        raise invalid(str(error), "write a number and a unit, such as 500ms, 15s, 1h30m, 7d") from None


def _positive_duration(value: object) -> float:
    seconds = _duration(value)
    if seconds <= 0:
        raise invalid("must be longer than 0", "write a number and a unit, such as 15s or 1h")
    return seconds


def _window(value: object) -> Window:
    if isinstance(value, Window):
        return value
    return Window(label_text(value) or "", _positive_duration(value))


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and label_text(value) is None:
        return value
    try:
        return parse_size(value)
    except ValueError as error:
        raise invalid(str(error), "write a number of bytes with or without a unit, such as 1MiB") from None


def _label(value: object) -> str:
    text = label_text(value)
    if text is None:
        raise invalid(f"{_shown(value)} is not a value", "write one text, number, true or false")
    return check_name(text)


def check_name(text: str) -> str:
    """Return the text if it can be a name or label value, else raise what is wrong."""
    if not text.strip():
        raise invalid("is empty", "give it a text")
    if len(text) > NAME_LIMIT:
        raise invalid(
            f"has {len(text)} characters, more than {NAME_LIMIT}", "choose a shorter one: it becomes a label"
        )
    if not text.isprintable():
        raise invalid("holds characters that do not print", "use printable characters")
    return text


def dotted(value: object) -> str:
    """Return a path into a record: keys with dots between."""
    text = _label(value)
    if any(not part.strip() for part in text.split(".")):
        raise invalid(
            f'"{text}" is not a path into a record', "write keys with single dots between, such as a.b"
        )
    return text


def _text_pattern(value: object) -> str:
    """A pattern that many values are held against: RE2 is linear in their length, whatever it says."""
    pattern = _label(value)
    try:
        with duckdb.connect() as connection:
            connection.execute("SELECT regexp_full_match('', $pattern)", {"pattern": pattern})
    except duckdb.Error as error:
        reason = str(error).splitlines()[0].removeprefix("Invalid Input Error: ")
        raise invalid(
            f"is not a regular expression: {reason}",
            "use RE2's syntax, without look-around and back references",
        ) from None
    return pattern


def _path_text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise invalid(
            f"{_shown(value)} is not a path", "write a path; it counts from the config file's folder"
        )
    return value


def _base(info: ValidationInfo) -> Path:
    context = info.context
    return context["base"] if isinstance(context, dict) else Path.cwd()


def _path(value: object, info: ValidationInfo) -> Path:
    return value if isinstance(value, Path) else _base(info) / _path_text(value)


def _glob(value: object, info: ValidationInfo) -> str:
    text = _path_text(value)
    if Path(text).is_absolute():
        return text
    # The folder is a name, not a pattern, whatever characters it has.
    return str(Path(escape(str(_base(info)))) / text)


def single_file(pattern: str) -> Path | None:
    """Return the file of a glob that can match but one, None where it may match several."""
    text = re.sub(r"\[([*?[])\]", r"\1", pattern)
    return Path(text) if escape(text) == pattern else None


def _freeze(value: Mapping[K, V]) -> Mapping[K, V]:
    return FrozenDict(value)


# What an editor is told of values that are written in another form than they are kept in.
_SCALAR = WithJsonSchema({"type": ["string", "number", "boolean"]})
_DURATION_TEXT = WithJsonSchema(
    {"type": ["string", "integer"], "pattern": r"^(0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)$"}
)
_SIZE_TEXT = WithJsonSchema({"type": ["string", "integer"], "pattern": r"^\d+ *([kKMGT]i?)?B?$"})
_PATH_TEXT = WithJsonSchema({"type": "string"})

Duration = Annotated[float, BeforeValidator(_duration), _DURATION_TEXT]
PositiveDuration = Annotated[float, BeforeValidator(_positive_duration), _DURATION_TEXT]
WindowField = Annotated[Window, BeforeValidator(_window), _DURATION_TEXT]
Size = Annotated[int, BeforeValidator(_size), _SIZE_TEXT]
Label = Annotated[str, BeforeValidator(_label), _SCALAR]
Name = Annotated[str, AfterValidator(check_name)]
DottedPath = Annotated[str, BeforeValidator(dotted), _SCALAR]
TextPattern = Annotated[str, BeforeValidator(_text_pattern)]
FilePath = Annotated[Path, BeforeValidator(_path), _PATH_TEXT]
GlobPath = Annotated[str, BeforeValidator(_glob)]
FrozenMap = Annotated[Mapping[K, V], AfterValidator(_freeze)]
Number = Annotated[float, Field(allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
