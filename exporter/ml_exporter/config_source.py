"""A YAML file as plain values, with the line of every key, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

Location = tuple[str | int, ...]

_NODE_LIMIT = 50_000
_MERGE = "tag:yaml.org,2002:merge"
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "value", "merge")
)
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = ("", "~", "null", "Null", "NULL")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it stands, what it is and what to do about it."""

    file: str
    line: int
    key: str
    message: str
    remedy: str

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}: {self.key}: {self.message}; {self.remedy}"
        # Keys and values come from the file: whatever they hold, a problem stays one line.
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class ConfigError(Exception):
    """A configuration that cannot be used; its text has one problem a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(map(str, self.problems)))


class IntegerText(int):
    """A whole number that remembers how it was written, for where it means a name: 007."""

    text: str

    def __new__(cls, text: str) -> IntegerText:
        """Read the text, which must be digits."""
        number = super().__new__(cls, text)
        number.text = text
        return number


class NumberText(float):
    """A number that remembers how it was written, for where it means a name: version 1.10."""

    text: str

    def __new__(cls, text: str) -> NumberText:
        """Read the text; YAML's .inf and .nan are Python's inf and nan."""
        number = super().__new__(cls, re.sub(r"\.(?=[inIN])", "", text))
        number.text = text
        return number


def key_text(location: Location) -> str:
    """Return a location as people write it: models[0].labels.maturity."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).lstrip(".") or "(top level)"


@dataclass
class Source:
    """What a file says: `data` of dicts, tuples and scalars; `lines` by location; `problems` so far."""

    file: str
    data: object = None
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def known(self, location: Location) -> Location:
        """Return the longest beginning of the location that stands in the file."""
        while location and location not in self.lines:
            location = location[:-1]
        return location

    def add(self, location: Location, message: str, remedy: str) -> None:
        """Note a problem at the line of the location, or of the nearest thing that encloses it."""
        line = self.lines.get(self.known(location), 1)
        self.problems.append(Problem(self.file, line, key_text(location), message, remedy))


def read_source(path: Path) -> Source:
    """Read a YAML file; what is wrong with its form is in `problems`, and only the rest in `data`."""
    source = Source(str(path))
    try:
        text = path.read_bytes().decode("utf-8-sig")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        source.add((), f"cannot be read: {error.strerror}", "give the path of a YAML file that can be read")
    except UnicodeDecodeError as error:
        source.add((), f"byte {error.start} is not UTF-8", "save the file as UTF-8")
    except yaml.YAMLError as error:
        source.problems.append(_syntax_problem(source.file, error))
    except RecursionError:
        source.add((), "is nested too deeply", "write fewer levels")
    else:
        if node is not None:
            _Converter(source).convert_top(node)
    return source


def _syntax_problem(file: str, error: yaml.YAMLError) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError):
        reason = getattr(error, "reason", "cannot be read")
        return Problem(file, 1, "(syntax)", f"is not YAML: {reason}", "use printable characters")
    mark, text = error.problem_mark or error.context_mark, error.problem or "cannot be read"
    if "end of stream" in text and error.context_mark is not None:
        # What is not closed begins where it was opened, not at the file's end.
        mark, text = error.context_mark, f"{text} {error.context}"
    line = mark.line + 1 if mark is not None else 1
    if "\\t" in text:
        return Problem(file, line, "(syntax)", "a tab stands where YAML wants spaces", "indent with spaces")
    if "mapping values are not allowed" in text:
        remedy = "check the indentation, and quote text that holds ': '"
    elif "undefined alias" in text:
        remedy = "define the anchor (&name) above its alias (*name)"
    else:
        remedy = "check indentation, quotes and brackets here and in the line above"
    return Problem(file, line, "(syntax)", f"is not YAML: {text}", remedy)


class _Converter:
    """Turns nodes into values; follows aliases and merge keys (<<), but not into themselves."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._open: list[yaml.Node] = []
        self._seen = 0

    def convert_top(self, node: yaml.Node) -> None:
        self._source.lines[()] = node.start_mark.line + 1
        try:
            self._source.data = self._convert(node, ())
        except _TooLargeError:
            self._source.add((), f"has more than {_NODE_LIMIT} values", "use fewer aliases")
        except RecursionError:
            self._source.add((), "is nested too deeply", "write fewer levels")

    def _convert(self, node: yaml.Node, location: Location) -> object:
        self._seen += 1
        if self._seen > _NODE_LIMIT:
            raise _TooLargeError
        if any(node is parent for parent in self._open):
            self._source.add(location, "is an alias of what it stands in", "write the values out")
            return None
        self._open.append(node)
        try:
            return self._inside(node, location)
        finally:
            self._open.pop()

    def _inside(self, node: yaml.Node, location: Location) -> object:
        if node.tag not in _TAGS:
            self._source.add(location, f"the tag {node.tag} is not allowed", "remove the tag")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return tuple(self._item(child, (*location, i)) for i, child in enumerate(node.value))
        return self._scalar(node)

    def _item(self, node: yaml.Node, location: Location) -> object:
        self._source.lines[location] = node.start_mark.line + 1
        return self._convert(node, location)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, object]:
        merged: dict[str, object] = {}
        own: dict[str, object] = {}
        # Merged values first, so that the lines of the mapping's own keys win.
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged = {**self._merge(value_node, location), **merged}
        for key_node, value_node in node.value:
            key = None if key_node.tag == _MERGE else self._key(key_node, location)
            if key is None:
                continue
            line = key_node.start_mark.line + 1
            if key in own:
                self._duplicate((*location, key), line)
                continue
            self._source.lines[(*location, key)] = line
            own[key] = self._convert(value_node, (*location, key))
        return {**merged, **own}

    def _duplicate(self, location: Location, line: int) -> None:
        message = f"is given twice, first in line {self._source.lines[location]}"
        self._source.problems.append(
            Problem(self._source.file, line, key_text(location), message, "remove one")
        )

    def _merge(self, node: yaml.Node, location: Location) -> dict[str, object]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, object] = {}
        for part in parts:
            value = self._convert(part, location)
            if not isinstance(value, dict):
                self._source.add(location, "'<<' needs a mapping", "give it an alias (*name) of a mapping")
                continue
            merged = {**value, **merged}
        return merged

    def _key(self, node: yaml.Node, location: Location) -> str | None:
        if isinstance(node, yaml.ScalarNode):
            return label_text(self._scalar(node)) or str(node.value)
        line = node.start_mark.line + 1
        self._source.problems.append(
            Problem(self._source.file, line, key_text(location), "a key must be plain text", "quote the key")
        )
        return None

    def _scalar(self, node: yaml.Node) -> object:
        text = str(node.value)
        quoted = isinstance(node, yaml.ScalarNode) and node.style is not None
        # Quoted and block text is text; of the plain rest only YAML 1.2's forms have a type,
        # so that `no` and `2013-01-01` stay what a log would say.
        if quoted or node.tag == "tag:yaml.org,2002:str":
            return text
        return _typed(text)


class _TooLargeError(Exception):
    pass


def _typed(text: str) -> object:
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text) and len(text) < 1000:
        return IntegerText(text)
    return NumberText(text) if _NUMBER.fullmatch(text) else text


def label_text(value: object) -> str | None:
    """Return a scalar as the text of a label (true as "true", 1.10 as "1.10"), or None if it is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, IntegerText | NumberText):
        return value.text
    return value if isinstance(value, str) else None


def plain(value: object) -> object:
    """Return converted values as YAML can write them again: lists, dicts, int, float, str."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, IntegerText):
        return int(value)
    return float(value) if isinstance(value, NumberText) else value
