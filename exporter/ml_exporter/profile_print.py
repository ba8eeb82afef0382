"""A profile as a table for people: what each column was taken for, and what is worth a second look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_exporter.embeddings import CENTROID
from ml_exporter.profile import Column, NumericColumn, Profile
from ml_exporter.profile_noise import MINIMUM_CHUNK_ROWS, MINIMUM_CHUNKS, SEASONAL
from ml_exporter.stats.multivariate import EXPLAINED


def print_profile(profile: Profile, path: Path, early: Mapping[str, int]) -> None:
    """Print what was seen, and where it was written to; `early` are rows by version before its training ended."""
    console = Console()
    table = Table(
        "column",
        "taken for",
        "because",
        "missing",
        "range or categories",
        "suggested limits",
        title=f"{profile.model}: {profile.rows} rows",
    )
    for name, column in profile.columns.items():
        share = column.missing / max(sum(column.counts) + column.missing, 1)
        if isinstance(column, NumericColumn):
            values = f"{column.minimum:.5g} to {column.maximum:.5g}"
        else:
            values = f"{len(column.categories)} and {len(column.rare)} rare ones"
        because = escape(column.note) or "the model's own"
        table.add_row(
            escape(name), column.taken_for, because, f"{share:.1%}", values, _limits(column, profile)
        )
    for name, reason in profile.ignored.items():
        table.add_row(escape(name), "ignored", escape(reason), "", "", "")
    console.print(table)
    joint = profile.joint
    if joint is not None:
        console.print(
            f"watched together: {len(joint.columns)} columns, and of {len(joint.indicators)} whether a value is missing; "
            f"{len(joint.components)} components explain {EXPLAINED:.0%} of the variance",
            highlight=False,
        )
    for warning in _warnings(profile, early):
        console.print(f"warning: {warning}", markup=False, highlight=False)
    console.print(
        f"{path}: {profile.first} to {profile.last}, {profile.labelled} rows labelled", markup=False
    )


def _warnings(profile: Profile, early: Mapping[str, int]) -> Iterator[str]:
    for version, rows in early.items():
        yield (
            f"{rows} rows of version {version} are older than {profile.trained_at[version]}, when its training data "
            "end: a model knows what it was trained on, so its quality and drift there say nothing; give --since"
        )
    for window, chunks in profile.windows.items():
        if chunks.chunks < MINIMUM_CHUNKS:
            yield (
                f"window {window}: the reference has only {chunks.chunks} stretches of its length, fewer than "
                f"{MINIMUM_CHUNKS}, so its noise is that of sampling alone; use more data or a shorter window"
            )
        elif not any(
            window in noise.chunks for column in profile.columns.values() for noise in column.noise.values()
        ):
            yield (
                f"window {window}: fewer than {MINIMUM_CHUNKS} of the reference's stretches of its length have "
                f"{MINIMUM_CHUNK_ROWS} rows of any column, so its noise is that of sampling alone; use a longer window"
            )
        seasonal = [name for name, column in profile.columns.items() if _follows(column, window)]
        if seasonal:
            yield (
                f"window {window}: these columns follow the season: {_shown(seasonal)}. Half of the reference's stretches of its "
                f"length are more than {SEASONAL:g} times the sampling noise from the rest, so that only larger "
                "drift is told from it; use a longer window, or compare with the previous one (drift.references)"
            )
    if not profile.labelled:
        yield "no row has a label: there is no reference quality and no drift of labels"


def _limits(column: Column, profile: Profile) -> str:
    """The limits by method that the longest window with enough chunks suggests."""
    suggested = {method: noise.limits for method, noise in column.noise.items()}
    if isinstance(column, NumericColumn) and column.embedding is not None:
        suggested[CENTROID] = column.embedding.limits
    windows = [window for window in profile.windows if any(window in own for own in suggested.values())]
    if not windows:
        return ""
    last = max(windows, key=lambda window: profile.windows[window].seconds)
    limits = ", ".join(f"{method} {own[last]:.2g}" for method, own in suggested.items() if last in own)
    return f"{last}: {limits}"


def _follows(column: Column, window: str) -> bool:
    return any(window in noise.seasonal for noise in column.noise.values())


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
