"""What `ml_exporter check` finds out about files by trying: whether they can be made, whether secrets can be read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ml_exporter.config import Config
from ml_exporter.config_types import single_file
from ml_exporter.outgoing import read_secret


@dataclass(frozen=True)
class Obstacle:
    """What is in the way, with its key; `personal`: it may not be in the way of the user who will run it."""

    text: str
    personal: bool


def obstacles(config: Config) -> Iterator[Obstacle]:
    """Yield what keeps this user from making the files that an exporter writes, and from reading secrets."""
    for key, path in _written(config).items():
        folder = next(folder for folder in path.parents if os.path.lexists(folder))
        try:
            # Permissions alone do not tell: root has them all, and nobody can write to /proc.
            os.rmdir(tempfile.mkdtemp(prefix=".ml_exporter-", dir=folder))
        except OSError as error:
            text = f"{key}: nothing can be written below {folder} ({error.strerror}); name another place"
            yield Obstacle(text, _personal(error))
    for key, path in _secrets(config).items():
        try:
            read_secret(path)
        except ValueError as error:
            yield Obstacle(f"{key}: {error}", _personal(error.__cause__))


def _written(config: Config) -> Mapping[str, Path]:
    found = {"exporter.state": config.exporter.state}
    for model in config.models:
        for source, log in (("predictions", model.predictions), ("labels", model.labels)):
            if log is not None and log.push:
                found[f"models.{model.name}.{source}.path"] = single_file(log.path)
        if model.dead_letter is not None:
            found[f"models.{model.name}.dead_letter.path"] = model.dead_letter.path
    return {key: path for key, path in found.items() if path is not None}


def _secrets(config: Config) -> Mapping[str, Path]:
    return {
        f"models.{model.name}.retrain.{key}": path
        for model in config.models
        if model.retrain is not None
        for key, path in model.retrain.secrets.items()
    }


def _personal(error: BaseException | None) -> bool:
    return isinstance(error, PermissionError) and os.geteuid() != 0
