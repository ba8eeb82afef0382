"""`ml_exporter profile`: a profile made of logs, or the drift between two references."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ml_exporter.config import Config, Model
from ml_exporter.limits import drift_limits
from ml_exporter.profile import Profile, ProfileError, load, save
from ml_exporter.profile_build import Step, build
from ml_exporter.profile_compare import (
    TOGETHER,
    Limits,
    as_in,
    compare,
    of_profile,
    of_rows,
    print_comparison,
)
from ml_exporter.profile_data import Rows
from ml_exporter.profile_print import print_profile
from ml_exporter.stats import multivariate

_CUSTOMARY = MappingProxyType({"psi": 0.2})
"""What is compared by where nothing is said."""


@dataclass(frozen=True)
class Wanted:
    """What a profile is to be made of.

    `trained_at` has versions, None for the only one there is, and when their training data end; times
    in microseconds.
    """

    data: Sequence[Path]
    since: int | None = None
    until: int | None = None
    time_scale: float = 1.0
    trained_at: Sequence[tuple[str | None, int]] = ()


def model_of(config: Config, name: str) -> Model:
    """The model of this name; raises ProfileError where there is none."""
    model = next((model for model in config.models if model.name == name), None)
    if model is None:
        names = ", ".join(model.name for model in config.models)
        raise ProfileError(f"{config.path}: has no model {name}; it has {names}")
    return model


def make_profile(config: Config, name: str, output: Path | None, wanted: Wanted) -> None:
    """Build a model's profile, write it and print what is in it; raises ProfileError."""
    model = model_of(config, name)
    path = output or model.profile_path("default")
    if path is None:
        raise ProfileError(
            f"{config.path}: model {model.name} names no profile; add `profile:` or give --output"
        )
    profile, early = made(model, wanted)
    save(profile, path)
    print_profile(profile, path, early)


def made(model: Model, wanted: Wanted) -> tuple[Profile, dict[str, int]]:
    """A profile, and how many rows of each version are not later than what it was trained on."""
    with _progress() as step:
        step(f"reading {', '.join(path.name for path in wanted.data)}", 0, 0)
        rows = Rows(model, wanted.data, wanted.since, wanted.until)
        trained_at = _trained_at(wanted.trained_at, list(rows.earlier({})))
        early = rows.earlier(trained_at)
        profile = build(model, rows, wanted.time_scale, step, trained_at)
    return profile, {version: number for version, number in early.items() if number}


def is_profile(path: Path) -> bool:
    """Whether a file is a profile, of whatever format, and no data."""
    try:
        found = json.loads(path.read_bytes()) if path.suffix == ".json" else None
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "columns" in found


def compare_references(
    model: Model | None, first: Path, second: Path, limits: Mapping[str, float], wanted: Wanted
) -> bool:
    """Print the drift of the second from the first; whether anything is above its limit or cannot be judged by it.

    Each is a profile or data, which need the model; raises ProfileError.
    """
    reference = load(first) if is_profile(first) else _of_data(model, first, wanted)
    with _progress() as step:
        step(f"reading {second.name}", 0, 0)
        if is_profile(second):
            other = of_profile(reference, load(second))
        else:
            assert model is not None
            rows = Rows(as_in(model, reference), [second], wanted.since, wanted.until)
            if not len(rows):
                raise ProfileError(
                    f"{second}: has no rows with a time stamp; compare with predictions.fields and the times given"
                )
            other = of_rows(reference, rows)
    found = list(compare(reference, other, _limits(model, reference, limits)))
    print_comparison(found, other.new, f"{second.name} against {first.name}")
    return any(row.above or row.unjudged for row in found)


def _of_data(model: Model | None, path: Path, wanted: Wanted) -> Profile:
    assert model is not None
    return made(model, replace(wanted, data=[path]))[0]


def _limits(model: Model | None, first: Profile, given: Mapping[str, float]) -> Limits:
    """Limits by column and method: as given, else as configured, else the customary ones."""
    known = drift_limits(model, first.columns) if model else {}

    def limit(column: str, method: str) -> float | None:
        if given:
            return given.get(method)
        if column == TOGETHER and method in multivariate.METHODS:
            return model.multivariate_limit(method) if model else None
        return known.get((column, method)) if known else _CUSTOMARY.get(method)

    return limit


def _trained_at(given: Sequence[tuple[str | None, int]], versions: Sequence[str]) -> dict[str, int]:
    """Times by version; raises ProfileError where the data do not tell which one is meant."""
    found = {}
    for version, time in given:
        name = version
        if version is None:
            if len(versions) > 1:
                raise ProfileError(
                    f"--trained-at: the data have versions {', '.join(versions)}; write VERSION=TIME for each"
                )
            name = versions[0] if versions else None
        if name is not None:
            found[name] = time
    return found


@contextmanager
def _progress() -> Iterator[Step]:
    """Show on stderr what is being done, as long as it lasts."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("")

        def step(text: str, done: int, total: int) -> None:
            shown.update(task, description=text, completed=done, total=total or None)

        yield step
