"""Puts a hook together from the configuration and flags, and says what is missing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ml_exporter.config import Config
from ml_exporter.config_model import Access, Retrain
from ml_exporter.hook.hook import Hook
from ml_exporter.hook.incidents import Incidents
from ml_exporter.hook.page import read_page
from ml_exporter.hook.request import Outcome, send
from ml_exporter.outgoing import read_secret
from ml_exporter.web.server import FLAG, is_loopback
from ml_exporter.web.web_config import WebFile

STATE_NAME = "hook.db"


@dataclass(frozen=True)
class Options:
    """The flags of the command. Files are None where they were not given."""

    exporter_url: str
    authorization_file: Path | None
    state: Path | None
    token_file: Path | None
    dry_run: bool


def build(config: Config, options: Options, logger: logging.Logger) -> Hook:
    """Return a hook that is ready to start; ValueError or OSError with every problem and its remedy."""
    problems = list(_problems(config, options))
    if problems:
        raise ValueError("\n".join(problems))
    path = None if options.dry_run else options.state or _beside_the_state(config)
    if path is None and not options.dry_run:
        logger.warning("neither exporter.state nor --state.file is set: a restart forgets what was asked for")
    for model in config.models:
        if model.retrain is not None and model.retrain.secret_file is None:
            logger.warning("%s: retrain.secret_file is not set: requests are not signed", model.name)
    read = partial(read_page, options.exporter_url, options.authorization_file)
    sender = partial(_show, logger) if options.dry_run else send
    return Hook(config, Incidents(path), read, sender, logger, dry_run=options.dry_run)


def check_access(host: str, web: WebFile, token_file: Path | None) -> None:
    """Raise ValueError where other machines could ask for retraining without a password or token."""
    rules = web.current()
    if token_file is not None and rules.users:
        raise ValueError(
            "--web.bearer-token-file: a request has either a token or a user and a password; leave it out, or take "
            "basic_auth_users out of --web.config.file"
        )
    if is_loopback(host) or token_file is not None:
        return
    if not rules.config.authenticates:
        raise ValueError(
            f"{FLAG} {host or '(every address)'} lets every machine that can reach it ask for retraining; listen on "
            "127.0.0.1 or [::1], or ask for a password with --web.config.file or for a token with "
            "--web.bearer-token-file"
        )


def applicable(access: Access, web: WebFile) -> Access:
    """Return who may do what: without users, where the token decides or everybody here may, nobody is named."""
    return access if web.current().users else Access()


def _problems(config: Config, options: Options) -> Iterator[str]:
    hooks = {model.name: model.retrain for model in config.models if model.retrain is not None}
    if not hooks:
        yield f"{config.path}: no model has `retrain`, so there is nothing to ask; add retrain: {{url: …}} to one"
    files = {"--web.bearer-token-file": options.token_file}
    files["--exporter.authorization-file"] = options.authorization_file
    for name, retrain in hooks.items():
        files |= {f"models.{name}.retrain.{key}": path for key, path in retrain.secrets.items()}
    for key, path in files.items():
        try:
            if path is not None:
                read_secret(path)
        except ValueError as error:
            yield f"{key}: {error}"


def _beside_the_state(config: Config) -> Path | None:
    state = config.exporter.state
    return None if state is None else state.with_name(STATE_NAME)


def _show(logger: logging.Logger, _retrain: Retrain, body: bytes, _now: float) -> tuple[Outcome, str]:
    logger.info("would send %s", body.decode())
    return "accepted", "dry run"
