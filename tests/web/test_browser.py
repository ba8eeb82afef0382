"""The status page in a real browser: it renders at every width, obeys its own policy, and runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.support.browser import Browser, browser
from tests.web.fake_page import FakePage
from tests.web.made import TIME, full_status

from ml_exporter.web.app import create_app
from ml_exporter.web.server import Server
from ml_exporter.web.status import Status
from ml_exporter.web.style import DARK, LIGHT

HOSTILE = {
    "markup": "</bdi></td></style><script>document.title='hacked'</script><img src=//x.test/a onerror=alert(1)>",
    "attribute": '"><svg onload="document.title=\'hacked\'" style="position:fixed;inset:0">',
    "long": "x" * 10_000,
    "long with spaces": "wide " * 2_000,
    "from right to left": "\u05e9\u05dc\u05d5\u05dd \u202e gnp.exe \u2067\u2069\u2069",
    "lone surrogate": "a\udc80\ud800b",
    "control characters": "\0\x1b[31m\r\n\t\x7f\u2028",
    "address": "javascript:alert(1)",
}
SIDEWAYS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
SPILLED = """[...document.querySelectorAll('p, li, dd, dt, h1, h2, h3, h4, figcaption, summary')]
    .filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')
    .map(e => e.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[FakePage, str]]:
    page = FakePage()
    with Server(create_app(page, lifecycle=False), "127.0.0.1", 0) as server:
        yield page, f"http://127.0.0.1:{server.address[1]}/"


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_change_nothing(
    shown: Browser, served: tuple[FakePage, str], name: str, width: int
) -> None:
    page, url = served
    page.shown = full_status(HOSTILE[name], models=2)
    shown.open(url, width)
    assert shown.evaluate("document.title") == "ml_exporter: 2 failing"
    assert shown.evaluate("document.querySelectorAll('main details.card').length") == 2
    assert shown.evaluate("document.querySelectorAll('script, img, iframe, [style], [onload]').length") == 0
    assert not shown.evaluate(SIDEWAYS)
    assert shown.evaluate(SPILLED) == []
    # The browser asks for an icon by itself; nothing else.
    assert {request.removeprefix(url) for request in shown.requests} <= {"", "favicon.ico"}
    assert [note for note in shown.complaints if "favicon" not in note and "404" not in note] == []


@pytest.mark.parametrize(("scheme", "colours"), [("light", LIGHT), ("dark", DARK)])
def test_the_style_is_applied_in_light_and_dark(
    shown: Browser, served: tuple[FakePage, str], scheme: str, colours: dict[str, str]
) -> None:
    page, url = served
    page.shown = full_status()
    shown.open(url, scheme=scheme)

    def colour(selector: str, part: str) -> str:
        return str(shown.evaluate(f"getComputedStyle(document.querySelector({selector!r})).{part}"))

    assert colour("html", "backgroundColor") == rgb(colours["page"])
    assert colour(".card", "backgroundColor") == rgb(colours["card"])
    assert colour("span.failing", "color") == rgb(colours["failing"])
    assert colour(".histogram .now", "fill") == rgb(colours["now"])


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[place : place + 2], 16)) for place in (1, 3, 5))})"


def test_a_script_that_got_in_would_not_run(shown: Browser, served: tuple[FakePage, str]) -> None:
    """The policy holds by itself, should the escaping ever fail."""
    page, url = served
    page.shown = full_status()
    shown.open(url)
    shown.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'document.title = 1'}));"
        "document.body.insertAdjacentHTML('beforeend', '<p id=styled style=\"color: red\">x</p>')"
    )
    assert shown.evaluate("document.title") == "ml_exporter: 1 failing"
    assert shown.evaluate("getComputedStyle(document.getElementById('styled')).color") == rgb(LIGHT["text"])
    shown.evaluate("0")
    assert sum("Content Security Policy" in note for note in shown.complaints) >= 2


def test_a_reader_hears_headings_tables_and_states(shown: Browser, served: tuple[FakePage, str]) -> None:
    page, url = served
    page.shown = full_status()
    shown.open(url)
    shown.send("Accessibility.enable")
    nodes = shown.send("Accessibility.getFullAXTree")["nodes"]
    shown.send("Accessibility.disable")
    heard = {
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in nodes
        if not node["ignored"]
    }
    for expected in (
        ("heading", "1 model failing"),
        ("heading", "Models"),
        ("table", "Logs that are read, and their lines since the first"),
        ("columnheader", "Quality"),
        ("rowheader", "flights"),
        ("link", "Metrics"),
        ("navigation", "Pages"),
    ):
        assert expected in heard, expected
    pictures = [name for role, name in heard if role in ("image", "img")]
    assert any(name.startswith("Share of rows in each bin") for name in pictures)


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("models", [0, 1, 13, 100])
def test_any_number_of_models_fits(
    shown: Browser, served: tuple[FakePage, str], models: int, width: int
) -> None:
    page, url = served
    status = full_status("flight-delay-in-the-north", models)
    page.shown = status if models else Status("0.1.0", TIME, status.troubles)
    shown.open(url, width)
    assert not shown.evaluate(SIDEWAYS)
    assert shown.evaluate("document.querySelectorAll('table.models tbody tr').length") == models
    assert len(shown.picture(whole=False)) > 10_000


def test_a_link_leads_to_a_model(shown: Browser, served: tuple[FakePage, str]) -> None:
    page, url = served
    page.shown = replace(full_status("a&b c", 30, "fine"))
    shown.open(url)
    assert shown.evaluate("document.querySelectorAll('main details.card').length") == 0
    link = shown.evaluate("document.querySelectorAll('table.models a')[7].href")
    shown.open(link)
    assert shown.evaluate("document.querySelector('main details.card[open] h3').innerText") == "a&b c7"
