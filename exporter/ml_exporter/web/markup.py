"""Pieces of HTML. What comes from outside passes through `text`, and nothing else is put into a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ml_exporter.web.status import Level

_LONGEST = 120
_JOINERS = "\u200c\u200d"
"""Characters that do not print and that some scripts cannot be written without."""

WORDS: dict[Level, str] = {
    "failing": "Failing",
    "warning": "Warning",
    "notice": "Notice",
    "unjudged": "Not judged",
    "fine": "Fine",
}

# Shapes differ, so that colour is not needed to tell them apart.
ICONS = (
    '<svg class="defs" width="0" height="0" aria-hidden="true">'
    '<symbol id="failing" viewBox="0 0 16 16"><path class="solid" d="M5 1h6l4 4v6l-4 4H5l-4-4V5z"/>'
    '<path class="mark" d="M5.5 5.5l5 5m0-5l-5 5"/></symbol>'
    '<symbol id="warning" viewBox="0 0 16 16"><path class="solid" d="M8 1.5L15.5 15H.5z"/>'
    '<path class="mark" d="M8 6v4.2m0 1.6v1"/></symbol>'
    '<symbol id="notice" viewBox="0 0 16 16"><circle class="solid" cx="8" cy="8" r="7"/>'
    '<path class="mark" d="M8 4v1m0 2v5"/></symbol>'
    '<symbol id="unjudged" viewBox="0 0 16 16"><circle class="line" cx="8" cy="8" r="6.2"/>'
    '<path class="line" d="M8 4.5V8l2.5 2"/></symbol>'
    '<symbol id="fine" viewBox="0 0 16 16"><circle class="solid" cx="8" cy="8" r="7"/>'
    '<path class="mark" d="M4.7 8.4l2.3 2.3 4.3-5"/></symbol></svg>\n'
)


def text(value: str, longest: int = _LONGEST) -> str:
    """Return text from outside as HTML: whatever it is, it stays text, in its place and of a sane length.

    Characters that do not print are written as their code. bdi keeps text that runs from right to left
    from moving what stands around it.
    """
    if len(value) > longest:
        value = f"{value[: longest - 25]} … {value[-20:]}"
    if not value.isprintable():
        value = "".join(map(_printable, value))
    return f"<bdi>{escape(value)}</bdi>"


def code(value: str) -> str:
    """Return a name of the program's own kind, which may be broken after an underscore."""
    return f"<code>{text(value).replace('_', '_<wbr>')}</code>"


def _printable(character: str) -> str:
    return character if character.isprintable() or character in _JOINERS else f"\\u{ord(character):04x}"


def state(level: Level, word: str | None = None) -> str:
    """Return a level as a shape and a word, by default its own."""
    return f'<span class="{level}">{icon(level)} {WORDS[level] if word is None else word}</span>'


def icon(level: Level) -> str:
    """Return a level's shape; the word has to stand beside it."""
    return f'<svg class="icon" aria-hidden="true"><use href="#{level}"/></svg>'


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Return a table that can be scrolled sideways; the first cell of a row is its head.

    A head that ends in "#" is of numbers, which stand to the right.
    """
    right = [head.endswith("#") for head in heads]
    body = "".join(f"<tr>{_cells(row, right)}</tr>\n" for row in rows)
    head = "".join(
        f'<th scope="col"{_RIGHT if number else ""}>{name.removesuffix("#")}</th>'
        for name, number in zip(heads, right, strict=True)
    )
    style = f' class="{kind}"' if kind else ""
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="{escape(caption)}"><table{style}>\n'
        f"<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n"
    )


_RIGHT = ' class="number"'


def _cells(row: Sequence[str], right: Sequence[bool]) -> str:
    cells = "".join(
        f"<td{_RIGHT}>{cell}</td>" if number else f"<td>{cell}</td>"
        for cell, number in zip(row[1:], right[1:], strict=True)
    )
    return f'<th scope="row">{row[0]}</th>{cells}'
