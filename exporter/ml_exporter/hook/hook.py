"""The hook's loop: alerts in, and for each incident at most one request for retraining out."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from ml_exporter.config import Config, Model
from ml_exporter.config_model import Retrain
from ml_exporter.hook.breaches import Breach, breaches
from ml_exporter.hook.incidents import Incident, Incidents
from ml_exporter.hook.message import Alert, Message
from ml_exporter.hook.page import Page, PageError, Trained
from ml_exporter.hook.request import Outcome, request_body
from ml_exporter.metrics.families import Families

RESULTS = (
    "success",
    "refused",
    "failed",
    "unconfirmed",
    "duplicate",
    "cooldown",
    "weekly_limit",
    "dry_run",
)
"""What can become of an alert that asks for retraining."""
DELAYS = (10.0, 60.0, 300.0, 1_200.0, 3_600.0)
"""Seconds from one try to the next; after the last one nothing is tried any more."""

_WEEK = 7 * 86_400.0
_ENDS = {"accepted": "success", "refused": "refused", "failed": "failed"}


class Send(Protocol):
    """How a request is made."""

    def __call__(self, retrain: Retrain, body: bytes, now: float, /) -> tuple[Outcome, str]:
        """Return what came of it and why."""


class Hook:
    """Decides about incidents in a thread of its own; what comes in only wakes it."""

    def __init__(
        self,
        config: Config,
        incidents: Incidents,
        read: Callable[[], Page],
        send: Send,
        logger: logging.Logger,
        *,
        clock: Callable[[], float] = time.time,
        delays: Sequence[float] = DELAYS,
        dry_run: bool = False,
    ) -> None:
        self._models = {model.name: model for model in config.models if model.retrain is not None}
        self._incidents, self._read, self._send = incidents, read, send
        self._logger, self._clock, self._delays, self._dry_run = logger, clock, delays, dry_run
        self._results: Counter[tuple[str, str]] = Counter()
        self._results_lock = threading.Lock()
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="hook", daemon=True)

    def start(self) -> None:
        """Begin to decide."""
        self._thread.start()

    def stop(self, seconds: float = 20.0) -> None:
        """Let the decision under way end, and no other begin; close the file."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        self._incidents.close()

    def receive(self, message: Message) -> int:
        """Note the alerts that ask for retraining, durably; return how many there are."""
        asking: dict[str, list[Alert]] = {}
        for alert in message.alerts:
            if alert.asks and (name := alert.labels.get("model", "")) in self._models:
                asking.setdefault(name, []).append(alert)
        for name, alerts in asking.items():
            self._incidents.note(name, alerts, self._clock())
        self._wake.set()
        return sum(map(len, asking.values()))

    def families(self) -> Families:
        """What became of the requests."""
        families = Families()
        with self._results_lock:
            results = Counter(self._results)
        for name in self._models:
            for result in RESULTS:
                families.add("ml_retrain_requests_total", (name, result), results[name, result])
            moment = self._incidents.last_accepted(name)
            if moment is not None and not self._dry_run:
                families.add("ml_retrain_last_request_timestamp_seconds", (name,), moment)
        return families

    def work(self) -> None:
        """Decide about every incident that is due."""
        page: Page | PageError | None = None
        for incident in self._incidents.waiting(self._clock()):
            if self._stop.is_set():
                return
            model = self._models.get(incident.model)
            if model is None or model.retrain is None:
                self._incidents.forget(incident)  # no longer configured
                continue
            # One page for all that is due now: deciding takes no time, but for requests, which are rare.
            page = page or self._page()
            try:
                self._decide(model, model.retrain, incident, page)
            except Exception as error:  # whatever it is, others are decided, and this one not for ever
                self._logger.error("%s: cannot decide: %s: %s", model.name, type(error).__name__, error)
                self._incidents.postpone(incident, self._clock() + self._delays[-1])

    def _page(self) -> Page | PageError:
        try:
            return self._read()
        except PageError as error:
            return error

    def _decide(self, model: Model, retrain: Retrain, incident: Incident, page: Page | PageError) -> None:
        if incident.tries > len(self._delays):  # the last try was never told of: the process died
            self._end(incident, "failed")
            return
        if isinstance(page, PageError):
            self._try_later(incident, page)
            return
        version = page.champion(model.name)
        found = breaches(page, model.name)
        reason = self._reason_against(retrain, incident, page, found)
        if version is None or reason is not None:
            self._drop(incident, reason or "unconfirmed")
            return
        body = request_body(model, incident, version, found, page, self._clock())
        self._ask(retrain, incident, (version, page.trained(model.name)), body)

    def _reason_against(
        self, retrain: Retrain, incident: Incident, page: Page, found: Sequence[Breach]
    ) -> str | None:
        """Return the result where nothing is to be asked for."""
        now = self._clock()
        previous = self._incidents.open(incident.model)
        if previous is not None:
            if not _trained_since(previous, page):
                return "duplicate"
            self._incidents.close_incident(previous, now)
            self._logger.info("%s: retrained, incident %s is closed", previous.model, previous.id)
        if not any(breach.explains(alert.labels) for breach in found for alert in incident.alerts):
            return "unconfirmed"
        if self._incidents.asked(incident, now - retrain.cooldown):
            return "cooldown"
        week = retrain.max_per_week
        return "weekly_limit" if week and self._incidents.asked(incident, now - _WEEK) >= week else None

    def _drop(self, incident: Incident, reason: str) -> None:
        if incident.asked is None:
            self._incidents.forget(incident)
        else:
            self._incidents.end(incident, "unconfirmed")
        self._count(incident.model, reason)
        self._logger.info("%s: not asked for retraining: %s", incident.model, reason)

    def _try_later(self, incident: Incident, error: PageError) -> None:
        self._logger.warning("%s: cannot confirm that retraining is wanted: %s", incident.model, error)
        if incident.tries >= len(self._delays):
            self._drop(incident, "unconfirmed")
        else:
            self._incidents.postpone(incident, self._clock() + self._delays[incident.tries])

    def _ask(self, retrain: Retrain, incident: Incident, versions: tuple[str, Trained], body: bytes) -> None:
        now, last = self._clock(), incident.tries >= len(self._delays)
        # Noted first: a process that dies while it asks has used up a try.
        self._incidents.begin(incident, *versions, now, now + (*self._delays, 0.0)[incident.tries])
        outcome, why = self._send(retrain, body, now)
        self._logger.info("%s: asked for retraining, incident %s: %s", incident.model, incident.id, why)
        if outcome != "failed" or last:
            self._end(incident, outcome)

    def _end(self, incident: Incident, outcome: Outcome) -> None:
        self._incidents.end(incident, outcome)
        self._count(incident.model, "dry_run" if self._dry_run else _ENDS[outcome])

    def _count(self, model: str, result: str) -> None:
        with self._results_lock:
            self._results[model, result] += 1

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self.work()
                due = self._incidents.next_due()
                pause = None if due is None else max(0.0, due - self._clock())
            except Exception as error:  # whatever it is, the hook goes on
                self._logger.error("deciding failed: %s: %s", type(error).__name__, error)
                pause = self._delays[0]
            self._wake.wait(pause)


def _trained_since(incident: Incident, page: Page) -> bool:
    """Tell whether the champion is one that was trained after the incident began.

    A version's time is the end of its training data, which may well lie before the incident. So a version
    also counts that was not there when retraining was asked for, unless it is older than the one complained of.
    """
    version, known = page.champion(incident.model), page.trained(incident.model)
    if version is None:
        return False
    before, after = incident.seen.get(incident.version or ""), known.get(version)
    if after is not None and after > incident.opened:
        return True
    if version in incident.seen and incident.seen[version] in (None, after):
        return False
    return before is None or after is None or after > before
