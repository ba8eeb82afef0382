"""From an alert to a request, with a real page and a real receiver: when one is made, and when none."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.hook.world import BREACH, DAY, FINE, MODEL, ON, Outside, World, alert, message, page
from tests.support.listening import listening
from tests.support.site import START

from ml_exporter.hook import hook, request
from ml_exporter.hook.incidents import Incidents
from ml_exporter.hook.message import Message

Make = Callable[..., World]


@pytest.fixture
def server() -> Iterator[Outside]:
    with listening(Outside()) as running:
        yield running


@pytest.fixture
def make(server: Outside, tmp_path: Path) -> Iterator[Make]:
    made: list[World] = []

    def world(**retrain: Any) -> World:
        made.append(World(tmp_path, server, retrain))
        return made[-1]

    yield world
    for one in made:
        one.incidents.close()


def test_a_breach_is_asked_for_once_and_tells_why(make: Make, server: Outside) -> None:
    world = make()
    assert world.notify() == 1
    [got] = server.got
    told = got.told
    assert (told["model"], told["version"], told["team"]) == (MODEL, "1", "unknown")
    assert told["reasons"] == [
        {
            "kind": "quality",
            "metric": "roc_auc",
            "window": "1d",
            "value": 0.63,
            "limit": 0.65,
            "measured": 0.61,
            "samples": 4000.0,
        }
    ]
    assert told["requested_at"] == "2023-11-14T22:14:00Z"
    assert told["alerts"] == [{"name": "MLQualityBelowTarget", "since": "2023-11-14T22:14:00Z"}]
    # The alert's runbook is no link that anybody should follow.
    assert told["links"] == {
        "dashboard": "https://grafana.example.com/d/ml-model",
        "alert": "http://prometheus.example.com/graph",
    }
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Authorization"] == "Bearer receiver-token"
    assert world.results() == {"success": 1}
    assert world.incidents.last_accepted(MODEL) == START


def test_the_window_is_that_of_the_predictions_that_were_judged(make: Make, server: Outside) -> None:
    make().notify()
    # Windows of the configuration: the longest is 10m, and a prediction is judged after 1m.
    assert server.got[0].told["window"] == {
        "name": "10m",
        "start": "2023-11-14T22:03:00Z",
        "end": "2023-11-14T22:13:00Z",
    }


def test_what_is_no_number_is_told_as_none(make: Make, server: Outside) -> None:
    loss = f'ml_quality_target{{model="{MODEL}",window="1d",metric="log_loss",bound="max"}} 0.5\n'
    server.page = page(loss + f'ml_quality_lower{{{ON},metric="log_loss"}} +Inf\n')
    make().notify(alert(metric="log_loss"))
    assert (server.got[0].told["reasons"][0]["value"], server.got[0].told["reasons"][0]["limit"]) == (
        None,
        0.5,
    )


def test_one_that_cannot_be_decided_holds_up_nothing_and_ends(
    make: Make, server: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    monkeypatch.setattr(hook, "request_body", lambda *_: 1 / 0)
    world.notify()
    for _ in range(10):
        world.pass_(61)
    assert (server.got, world.results()) == ([], {"failed": 1})


def test_the_columns_that_drifted_and_those_of_most_impact_are_named(make: Make, server: Outside) -> None:
    impacts = (("a", 0.01), ("b", 0.3), ("c", -0.2), ("d", 0.05), ("label", 9))
    drift = "".join(
        f'ml_drift_impact{{{ON},column="{name}",reference="training"}} {impact}\n' for name, impact in impacts
    )
    about = 'column="c",method="psi",reference="training"'
    drift += f"ml_drift{{{ON},{about}}} 0.6\nml_drift_noise{{{ON},{about}}} 0.1\n"
    drift += f'ml_drift_limit{{model="{MODEL}",window="1d",{about}}} 0.2\n'
    server.page = page(BREACH + drift)
    make().notify()
    columns = server.got[0].told["top_columns"]
    assert [(one["column"], one["impact"]) for one in columns] == [("c", -0.2), ("b", 0.3), ("d", 0.05)]
    assert [one["times_limit"] for one in columns] == [pytest.approx(3), None, None]


def test_whoever_has_the_secret_can_verify_it(make: Make, server: Outside) -> None:
    make().notify()
    got = server.got[0]
    secret, header, now = b"a secret of some length", got.headers["X-ML-Signature"], int(START)
    assert verified(secret, header, got.body, now)
    assert not verified(b"another", header, got.body, now)
    assert not verified(secret, header, got.body.replace(b"0.63", b"0.93"), now)
    assert not verified(secret, header.replace(f"t={now}", f"t={now + 1}"), got.body, now)
    # What was recorded is of no use later.
    assert not verified(secret, header, got.body, now + 301)


def verified(secret: bytes, header: str, body: bytes, now: int) -> bool:
    """The README's recipe."""
    parts = dict(part.split("=", 1) for part in header.split(","))
    wanted = hmac.new(secret, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted, parts["v1"]) and abs(now - int(parts["t"])) <= 300


def test_repeated_and_replayed_alerts_change_nothing(make: Make, server: Outside) -> None:
    world = make()
    for _ in range(3):
        world.notify()
    world.pass_(30 * DAY)
    world.notify()
    assert len(server.got) == 1
    assert world.results() == {"success": 1, "duplicate": 3}


def test_alerts_of_one_incident_make_one_request(make: Make, server: Outside) -> None:
    world = make()
    others = alert(alertname="OurOwn"), alert(alertname="MLConceptDrift")
    assert world.notify(alert(), *others) == 3
    # What the page does not show is not told either.
    assert [one["name"] for one in server.got[0].told["alerts"]] == ["MLQualityBelowTarget", "OurOwn"]
    assert len(server.got) == 1


def test_a_flood_of_alerts_is_one_incident_of_some_of_them(make: Make, server: Outside) -> None:
    server.answers = [500]
    world = make()
    world.notify(*(alert(number=str(number)) for number in range(300)))
    world.notify(*(alert(number=str(number)) for number in range(250, 350)))
    [waiting] = world.incidents.waiting(world.now + DAY)
    assert [one.labels["number"] for one in waiting.alerts] == [str(number) for number in range(300, 350)]


def test_a_proxy_is_not_asked_for_what_is_on_this_machine(
    make: Make, server: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    make().notify()
    assert len(server.got) == 1


@pytest.mark.parametrize(
    "more",
    [{"action": "none"}, {"model": "no-hook"}, {"model": "of-somebody-else"}],
)
def test_alerts_that_do_not_ask_for_a_model_with_a_hook_are_nothing(
    more: dict[str, str], make: Make, server: Outside
) -> None:
    world = make()
    assert world.notify(alert(**more)) == 0
    assert world.notify(alert() | {"status": "resolved"}) == 0
    assert (server.got, world.results()) == ([], {})


def test_what_the_page_does_not_show_is_not_asked_for(make: Make, server: Outside) -> None:
    world = make()
    server.page = page(FINE)
    world.notify()
    assert (server.got, world.results()) == ([], {"unconfirmed": 1})
    # Nor does it stand in the way of a breach.
    server.page = page()
    world.notify()
    assert len(server.got) == 1


@pytest.mark.parametrize("answers", [[503, 500, 200], [429, 0, 202]])
def test_a_failure_is_tried_again_later_with_the_same_id(
    answers: list[int], make: Make, server: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "_TIMEOUT", (5.0, 0.2))
    server.answers = answers
    world = make()
    world.notify()
    world.notify()  # the same alert again is no reason to hurry
    world.pass_(9)
    assert len(server.got) == 1
    world.pass_(2)
    assert len(server.got) == 2
    world.pass_(59)
    world.pass_(2)
    assert len({got.told["id"] for got in server.got}) == 1
    assert len({got.headers["X-ML-Signature"] for got in server.got}) == 3
    world.pass_(DAY)
    assert len(server.got) == 3
    assert world.results() == {"success": 1}


def test_after_the_last_try_it_has_failed_until_the_cooldown_is_over(make: Make, server: Outside) -> None:
    server.answers = [500] * 6
    world = make()
    world.notify()
    world.pass_(10)
    world.pass_(60)
    assert world.results() == {"failed": 1}
    world.pass_(3_600)
    world.notify()
    assert (len(server.got), world.results()) == (3, {"failed": 1, "cooldown": 1})
    world.pass_(DAY)
    world.notify()
    assert len(server.got) == 4
    assert server.got[3].told["id"] != server.got[0].told["id"]


@pytest.mark.parametrize("status", [302, 307, 400, 401, 404])
def test_a_refusal_is_not_tried_again(status: int, make: Make, server: Outside) -> None:
    server.answers = [status]
    world = make()
    world.notify()
    world.pass_(3_600)
    assert (len(server.got), world.results()) == (1, {"refused": 1})
    assert world.incidents.last_accepted(MODEL) is None


def test_nobody_listening_is_a_failure(make: Make) -> None:
    world = make(url="http://127.0.0.1:9/start")
    world.notify()
    world.pass_(10)
    world.pass_(60)
    assert world.results() == {"failed": 1}


def test_a_breach_that_ends_meanwhile_is_not_asked_for_again(make: Make, server: Outside) -> None:
    server.answers = [500]
    world = make()
    world.notify()
    server.page = page(FINE)
    world.pass_(10)
    assert (len(server.got), world.results()) == (1, {"unconfirmed": 1})


def test_a_page_that_cannot_be_had_is_asked_for_again(make: Make, server: Outside) -> None:
    world = make()
    server.page_status = 503
    world.notify()
    server.page_status = 200
    server.page = page(ready=0)
    world.pass_(10)
    assert (server.got, world.results()) == ([], {})
    server.page = page()
    world.pass_(60)
    assert world.results() == {"success": 1}


def test_without_a_page_nothing_is_asked_for(make: Make, server: Outside) -> None:
    world = make()
    server.page = "<html>"
    world.notify()
    world.pass_(10)
    world.pass_(60)
    assert (server.got, world.results()) == ([], {"unconfirmed": 1})


def about(version: str) -> str:
    """Return the breach as another version's."""
    return BREACH.replace('version="1"', f'version="{version}"')


CANDIDATE = f"""
ml_model_version_info{{model="{MODEL}",version="2",role="candidate"}} 1
ml_model_trained_timestamp_seconds{{model="{MODEL}",version="2"}} {START - DAY}
"""


@pytest.mark.parametrize(
    ("version", "trained", "closes"),
    [
        # Trained after the incident, by its data.
        ("3", START + DAY, True),
        ("1", START + DAY, True),
        # Its data end before the incident, but it was not there, or not so, when retraining was asked for.
        ("3", START - DAY, True),
        ("1", START - DAY, True),
        ("3", None, True),
        # Rolled back to an older version; the champion of then; a candidate of then.
        ("0", START - 20 * DAY, False),
        ("1", START - 10 * DAY, False),
        ("2", START - DAY, False),
    ],
)
def test_a_version_trained_since_closes_the_incident(
    version: str, trained: float | None, closes: bool, make: Make, server: Outside
) -> None:
    world = make()
    server.page = page(BREACH + CANDIDATE, trained=START - 10 * DAY)
    world.notify()
    world.pass_(2 * DAY)
    server.page = page(about(version), champion=version, trained=trained)
    world.notify(alert(version=version))
    assert world.results() == ({"success": 2} if closes else {"success": 1, "duplicate": 1})


def test_another_version_closes_it_where_nobody_says_when_any_was_trained(
    make: Make, server: Outside
) -> None:
    world = make()
    world.notify()
    world.pass_(2 * DAY)
    # That somebody says it now of the version that was complained of is no training.
    server.page = page(trained=START - DAY)
    world.notify()
    assert world.results() == {"success": 1, "duplicate": 1}
    server.page = page(about("2"), champion="2")
    world.notify(alert(version="2"))
    assert world.results() == {"success": 2, "duplicate": 1}


def retrained(world: World, server: Outside) -> None:
    """Let a new version be champion, and be as bad as the last."""
    server.page = page(trained=world.now)


def test_within_the_cooldown_a_new_version_is_not_complained_of(make: Make, server: Outside) -> None:
    world = make(cooldown="12h")
    world.notify()
    world.pass_(3_600)
    retrained(world, server)
    world.notify()
    assert world.results() == {"success": 1, "cooldown": 1}
    world.pass_(DAY / 2)
    world.notify()
    assert world.results() == {"success": 2, "cooldown": 1}


def test_no_more_than_so_many_requests_a_week(make: Make, server: Outside) -> None:
    world = make(cooldown="1h", max_per_week=2)
    for _ in range(4):
        world.notify()
        world.pass_(DAY)
        retrained(world, server)
    assert world.results() == {"success": 2, "weekly_limit": 2}
    world.pass_(4 * DAY)
    world.notify()
    assert world.results() == {"success": 3, "weekly_limit": 2}


def test_a_restart_forgets_nothing(make: Make, server: Outside) -> None:
    server.answers = [500]
    world = make()
    world.notify()
    world.restart()
    world.hook.work()
    assert len(server.got) == 1  # not before its time
    world.pass_(10)
    assert len(server.got) == 2
    world.restart()
    world.notify()
    assert len(server.got) == 2
    assert world.results() == {"duplicate": 1}
    assert world.incidents.last_accepted(MODEL) == START + 10


def test_an_alert_that_was_taken_is_decided_after_a_restart(make: Make, server: Outside) -> None:
    world = make()
    world.hook.receive(Message.model_validate(message()))
    world.restart()
    world.hook.work()
    assert len(server.got) == 1


def test_dying_while_it_asks_uses_up_a_try(
    make: Make, server: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    world.hook.receive(Message.model_validate(message()))
    for _ in range(3):
        monkeypatch.setattr(world.hook, "_send", die)
        with pytest.raises(KeyboardInterrupt):
            world.hook.work()
        world.restart()
        world.now += 61
    world.hook.work()
    assert (server.got, world.results()) == ([], {"failed": 1})


def die(*_: object) -> None:
    """End as a process does that is killed while it sends."""
    raise KeyboardInterrupt


def test_a_model_that_has_lost_its_hook_is_forgotten(make: Make, server: Outside) -> None:
    server.answers = [500]
    world = make()
    world.notify()
    world.retrain = None
    world.restart()
    world.pass_(10)
    assert (len(server.got), world.incidents.next_due()) == (1, None)


def test_secrets_are_never_logged(
    make: Make, server: Outside, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(logging.getLogger("ml_exporter"), "propagate", True)
    server.answers = [500, 401]
    world = make()
    world.notify()
    world.pass_(10)
    (world.folder / "authorization").write_text("Bearer token\nwith-a-line-end")
    world.pass_(3 * DAY)
    world.notify()
    world.pass_(10)
    (world.folder / "authorization").unlink()
    world.pass_(60)
    world.retrain = {"url": "http://user:in-the-url@127.0.0.1:9/start?key=in-the-url", "headers": {}}
    world.pass_(3 * DAY)
    world.restart()
    world.notify()
    # urllib3's own lines are not among those that the program writes.
    logged = "".join(record.getMessage() for record in caplog.records if record.name == "ml_exporter")
    assert "answered with 500" in logged
    assert "authorization: is not one line of text" in logged
    assert "authorization: cannot be read" in logged
    assert "ConnectionError" in logged
    for secret in ("receiver-token", "with-a-line-end", "in-the-url", "a secret of", "secret words"):
        assert secret not in logged


def test_only_one_hook_uses_a_file(tmp_path: Path) -> None:
    first = Incidents(tmp_path / "hook.db")
    with pytest.raises(OSError, match="end the other process that uses it"):
        Incidents(tmp_path / "hook.db")
    first.close()


def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "hook.db").write_bytes(b"something else, and not short at all" * 100)
    with pytest.raises(OSError, match="move it away"):
        Incidents(tmp_path / "hook.db")
    assert (tmp_path / "hook.db").read_bytes().startswith(b"something else")


def test_what_is_long_over_is_removed(make: Make, server: Outside) -> None:
    world = make(cooldown="1h")
    world.notify()
    world.pass_(DAY)
    retrained(world, server)
    world.notify()
    world.pass_(90 * DAY)
    retrained(world, server)
    world.notify()
    assert world.incidents._number("SELECT count(*) FROM incidents") == 2
