"""Users, passwords and what each may do, over real connections."""

from __future__ import annotations

import statistics
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt
import pytest
import yaml
from tests.web.fake_page import Answer, FakePage, ask

from ml_exporter.config_model import Access
from ml_exporter.web.app import create_app
from ml_exporter.web.auth import Guard, area
from ml_exporter.web.server import Server
from ml_exporter.web.users import Users, credentials, unknown_users
from ml_exporter.web.web_config import WebFile

Address = tuple[str, int]


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def basic(name: str, password: str) -> str:
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


PASSWORDS = {"prometheus": "scrape-me", "ops": "pa:ss wörd", "robot": "x" * 72}
HASHES = {name: hashed(password) for name, password in PASSWORDS.items()}


class Site:
    """A web config, who may do what, and an exporter behind both."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "web.yml"
        self.errors: list[str] = []
        self.access = Access()

    def write(self, content: Mapping[str, object]) -> None:
        draft = self.path.with_suffix(".new")
        draft.write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
        draft.replace(self.path)

    def web(self) -> WebFile:
        return WebFile(self.path, lambda error: self.errors.append(str(error)))

    def serve(self) -> Server:
        web = self.web()
        app = Guard(create_app(FakePage(), lifecycle=True), web, lambda: self.access)
        return Server(app, "127.0.0.1", 0, web.tls)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.write({"basic_auth_users": HASHES})
    return made


@pytest.fixture
def address(site: Site) -> Iterator[Address]:
    with site.serve() as server:
        yield server.address


def log_in(address: Address, name: str, path: str = "/metrics", method: str = "GET") -> Answer:
    return ask(address, method, path, Authorization=basic(name, PASSWORDS[name]))


@pytest.mark.parametrize("name", PASSWORDS)
def test_a_user_with_the_right_password_comes_in(address: Address, name: str) -> None:
    for _ in range(2):
        assert log_in(address, name).status == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + b64encode(b"prometheus").decode(),
        "Basic " + b64encode(b"\xff\xfe:x").decode(),
        "Bearer scrape-me",
        basic("prometheus", ""),
        basic("prometheus", "Scrape-me"),
        basic("prometheus", "scrape-me "),
        basic("prometheus", "scrape-me\0"),
        basic("Prometheus", "scrape-me"),
        basic("", "scrape-me"),
        basic("nobody", "scrape-me"),
        basic("prometheus", HASHES["prometheus"]),
        basic("prometheus", "y" * 20_000),
    ],
)
def test_everybody_else_is_refused_whatever_they_ask_for(address: Address, header: str) -> None:
    for path in ("/", "/metrics", "/config", "/-/ready", "/v1/predictions/m", "/nothing", "//config"):
        answer = ask(address, "GET", path, Authorization=header)
        assert (answer.status, answer.text) == (401, "401: a user and a password are needed\n")
        assert answer.headers["www-authenticate"].startswith("Basic realm=")


def test_health_needs_no_password(address: Address) -> None:
    assert ask(address, "GET", "/-/healthy").status == 200


def test_each_area_has_its_users(site: Site, address: Address) -> None:
    site.access = Access(scrape=("prometheus", "ops"), push=("robot",), admin=("ops",))
    allowed = {
        name: [
            log_in(address, name, path, method).status != 403
            for path, method in (
                ("/metrics", "GET"),
                ("/v1/predictions/m", "POST"),
                ("/config", "GET"),
                ("/-/reload", "POST"),
            )
        ]
        for name in PASSWORDS
    }
    assert allowed == {
        "prometheus": [True, False, False, False],
        "ops": [True, False, True, True],
        "robot": [False, True, False, False],
    }
    assert log_in(address, "robot").text == "403: exporter.access.scrape does not name this user\n"


def test_without_users_an_area_with_a_list_is_for_nobody(site: Site) -> None:
    site.write({})
    site.access = Access(admin=("ops",))
    with site.serve() as server:
        assert ask(server.address, "GET", "/metrics").status == 200
        assert ask(server.address, "GET", "/config", Authorization=basic("ops", "x")).status == 403


def test_names_in_access_must_be_users() -> None:
    access = Access(scrape=("prometheus",), push=("robto",))
    assert unknown_users(access, Users(HASHES)) == [
        "exporter.access.push: robto is not in basic_auth_users of --web.config.file"
    ]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "scrape"),
        ("/metrics", "scrape"),
        ("/-/ready", "scrape"),
        ("/config", "admin"),
        ("/-/reload", "admin"),
        ("/v1/labels/a/b", "push"),
    ],
)
def test_areas(path: str, name: str) -> None:
    assert area(path) == name


def test_a_new_password_holds_at_once_and_the_old_one_no_longer(site: Site, address: Address) -> None:
    assert log_in(address, "ops").status == 200
    site.write({"basic_auth_users": {"ops": hashed("new")}})
    assert log_in(address, "ops").status == 401
    assert ask(address, "GET", "/", Authorization=basic("ops", "new")).status == 200
    assert log_in(address, "prometheus").status == 401


def test_a_broken_web_config_is_reported_once_and_the_old_one_holds(site: Site, address: Address) -> None:
    site.path.write_text("basic_auth_users: {ops: plain-text}", encoding="utf-8")
    for _ in range(3):
        assert log_in(address, "ops").status == 200
    assert len(site.errors) == 1
    assert "the password of ops is not a bcrypt hash" in site.errors[0]
    assert "plain-text" not in site.errors[0]
    site.path.unlink()
    assert log_in(address, "ops").status == 200
    assert ask(address, "GET", "/").status == 401
    assert len(site.errors) == 2


@pytest.mark.parametrize("text", ["", "{}", "http_server_config: {http2: false}", "basic_auth_users: {}"])
def test_what_would_let_everybody_in_is_refused(site: Site, address: Address, text: str) -> None:
    site.path.write_text(text, encoding="utf-8")
    for _ in range(2):
        assert ask(address, "GET", "/config").status == 401
        assert log_in(address, "ops").status == 200
    assert site.errors == [f"{site.path}: would let everybody in; restart to allow that"]


def test_users_that_were_never_asked_for_may_come_while_it_runs(site: Site) -> None:
    site.write({})
    with site.serve() as server:
        assert ask(server.address, "GET", "/").status == 200
        site.write({"basic_auth_users": HASHES})
        assert ask(server.address, "GET", "/").status == 401
        assert site.errors == []


OPS = Access(admin=("ops",))


def test_a_web_config_without_a_user_that_is_named_changes_nothing(site: Site) -> None:
    web = site.web()
    web.require(OPS)
    site.write({"basic_auth_users": {"prometheus": HASHES["prometheus"]}})
    for _ in range(3):
        assert "ops" in web.current().users
    assert site.errors == ["exporter.access.admin: ops is not in basic_auth_users of --web.config.file"]
    # Once nobody is named any more, what was refused holds.
    web.require(Access())
    assert "ops" not in web.current().users
    assert len(site.errors) == 1


def test_who_is_named_must_be_a_user_then_and_nothing_changes_else(site: Site) -> None:
    web = site.web()
    web.require(OPS)
    with pytest.raises(ValueError, match=r"exporter\.access\.admin: opz is not in basic_auth_users"):
        web.require(Access(admin=("opz",)))
    site.write({"basic_auth_users": {"opz": hashed("new")}})
    assert "ops" in web.current().users


def test_a_user_can_be_renamed_in_both_files_at_once(site: Site) -> None:
    web = site.web()
    web.require(OPS)
    site.write({"basic_auth_users": {"root": HASHES["ops"]}})
    assert "ops" in web.current().users
    web.require(Access(admin=("root",)))
    assert "ops" not in web.current().users
    assert "root" in web.current().users


def test_without_a_web_config_nobody_can_be_named() -> None:
    web = WebFile(None, print)
    web.require(Access())
    with pytest.raises(ValueError, match=r"exporter\.access\.admin: ops is not in"):
        web.require(OPS)


def test_what_is_remembered_outlasts_a_reload_that_changes_nobody(site: Site) -> None:
    web = site.web()
    web.require(OPS)
    before = web.current()
    web.require(Access(admin=("ops",)))
    assert web.current() is before


def test_headers_are_added_and_replace_ours(site: Site) -> None:
    headers = {"Strict-Transport-Security": "max-age=1", "X-Frame-Options": "sameorigin"}
    site.write({"http_server_config": {"headers": headers}, "basic_auth_users": HASHES})
    with site.serve() as server:
        for answer in (log_in(server.address, "ops"), ask(server.address, "GET", "/")):
            assert answer.headers["strict-transport-security"] == "max-age=1"
            assert answer.headers["x-frame-options"] == "sameorigin"


def effort(users: Users, name: str, password: bytes) -> float:
    """Processor time of a check: the clock's would be that of everything else on the machine too."""
    begun = time.thread_time()
    users.check(name, password)
    return time.thread_time() - begun


def test_wrong_answers_cost_the_same_whether_name_or_password_is_nearly_right() -> None:
    users = Users({"quick": hashed("secret", 4), "same": hashed("other", 7), "known": hashed("secret", 7)})
    tries = [
        ("known", b"guess"),
        ("known", b"secres"),
        ("known", b"secret" * 12),
        ("quick", b"guess"),
        ("same", b"secret"),
        ("other", b"secret"),
    ]
    costs = [[effort(users, *attempt) for attempt in tries] for _ in range(15)]
    medians = [statistics.median(column) for column in zip(*costs, strict=True)]
    assert max(medians) < 1.5 * min(medians)


def test_a_password_opens_its_own_user_only() -> None:
    users = Users({"quick": hashed("a", 4), "same": hashed("b", 4), "slow": hashed("c", 5)})
    names = ("quick", "same", "slow", "other")
    right = [(name, word) for name in names for word in (b"a", b"b", b"c") if users.check(name, word)]
    assert right == [("quick", b"a"), ("same", b"b"), ("slow", b"c")]


def test_right_answers_are_remembered_and_wrong_ones_are_not() -> None:
    users = Users({"known": hashed("secret", 6)})
    assert not users.remembered("known", b"secret")
    assert users.check("known", b"secret")
    assert users.remembered("known", b"secret")
    users.check("known", b"wrong")
    assert not users.remembered("known", b"wrong")
    assert not users.remembered("other", b"secret")


def test_guessing_does_not_hold_up_those_who_are_known(site: Site) -> None:
    site.write({"basic_auth_users": {"prometheus": hashed("scrape-me", 9)}})
    with site.serve() as server, ThreadPoolExecutor(12) as guessers:
        assert log_in(server.address, "prometheus").status == 200
        wrong = basic("prometheus", "guess")
        guesses = [guessers.submit(ask, server.address, "GET", "/", Authorization=wrong) for _ in range(12)]
        for _ in range(5):
            assert log_in(server.address, "prometheus").status == 200
        assert not all(guess.done() for guess in guesses)
        assert {guess.result().status for guess in guesses} == {401}


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (basic("a", "b"), ("a", b"b")),
        (basic("a", "b:c"), ("a", b"b:c")),
        (basic("a", ""), ("a", b"")),
        (basic("a", "b").replace("Basic", "bAsIc"), ("a", b"b")),
        ("Basic YTpi\n", ("a", b"b")),
        ("Digest YTpi", None),
        ("Basic YTpi$", None),
        ("", None),
    ],
)
def test_credentials(header: str, found: object) -> None:
    assert credentials(header) == found
