"""A profile as a table for people: what each column was taken for, and what is worth a second look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_exporter.profile import NumericColumn, Profile
from ml_exporter.profile_noise import MINIMUM_CHUNKS


def print_profile(profile: Profile, path: Path) -> None:
    """Print what was seen, and where it was written to."""
    console = Console()
    table = Table(
        "column",
        "taken for",
        "because",
        "missing",
        "range or categories",
        title=f"{profile.model}: {profile.rows} rows",
    )
    for name, column in profile.columns.items():
        share = column.missing / max(sum(column.counts) + column.missing, 1)
        if isinstance(column, NumericColumn):
            values = f"{column.minimum:.5g} to {column.maximum:.5g}"
        else:
            values = f"{len(column.categories)} and {len(column.rare)} rare ones"
        because = escape(column.note) or "the model's own"
        table.add_row(escape(name), column.taken_for, because, f"{share:.1%}", values)
    for name, reason in profile.ignored.items():
        table.add_row(escape(name), "ignored", escape(reason), "", "")
    console.print(table)
    for warning in _warnings(profile):
        console.print(f"warning: {warning}", markup=False, highlight=False)
    console.print(
        f"{path}: {profile.first} to {profile.last}, {profile.labelled} rows labelled", markup=False
    )


def _warnings(profile: Profile) -> Iterator[str]:
    for window, chunks in profile.windows.items():
        if chunks.chunks < MINIMUM_CHUNKS:
            yield (
                f"window {window}: the reference has only {chunks.chunks} stretches of its length, fewer than "
                f"{MINIMUM_CHUNKS}, so its noise is that of sampling alone; use more data or a shorter window"
            )
    if not profile.labelled:
        yield "no row has a label: there is no reference quality and no drift of labels"
