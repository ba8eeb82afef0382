"""The status page: well-formed, complete, readable, and deaf to hostile names."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from tests.web.fake_page import FakePage, ask
from tests.web.made import TIME, full_model, full_status, page

from ml_exporter.web.app import create_app
from ml_exporter.web.markup import WORDS, text
from ml_exporter.web.pages import StatusPage
from ml_exporter.web.pictures import readable
from ml_exporter.web.server import Server
from ml_exporter.web.status import LEVELS, Level, ModelDetail, ModelStatus, Report, Status, Trouble
from ml_exporter.web.style import DARK, LIGHT, STYLE_SOURCE

HOSTILE = "</bdi></td><script>alert(1)</script><img src=x onerror='alert(1)'>\"&amp;"
VOID = {"meta", "br", "img", "link", "wbr"}
EMPTY = Status(version="0.1.0", clock=TIME)


class Outline(HTMLParser):
    """Collects elements, checks nesting, and keeps the text that a reader sees."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.style = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("style", "src")]
        self.seen.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        elif data.strip():
            self.texts.append(data)


def outline(status: Status, only: str | None = None) -> Outline:
    parser = Outline()
    parser.feed(page(status, only))
    parser.close()
    assert parser.open == []
    return parser


def test_hostile_names_stay_text() -> None:
    calm, found = outline(full_status("n")), outline(full_status(HOSTILE))
    assert not {"script", "img"} & set(found.seen)
    assert [tag for tag in found.seen if tag != "wbr"] == calm.seen
    assert found.texts.count(HOSTILE) > 30


def test_hostile_names_stay_text_over_http() -> None:
    status = full_status(HOSTILE)
    with Server(create_app(FakePage(shown=status), lifecycle=False), "127.0.0.1", 0) as server:
        answer = ask(server.address, "GET", "/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text == page(status)
    assert "script" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("flights", "flights"),
        ("a\u202eb\u2069", "a\\u202eb\\u2069"),
        ("a\nb\0", "a\\u000ab\\u0000"),
        ("\ud800", "\\ud800"),
        ("\u05e9\u200c\u05dc", "\u05e9\u200c\u05dc"),
        ("<&>\"'", "&lt;&amp;&gt;&quot;&#x27;"),
        ("x" * 10_000, f"{'x' * 95} … {'x' * 20}"),
    ],
)
def test_what_comes_from_outside_is_shown_as_it_is(given: str, shown: str) -> None:
    assert text(given) == f"<bdi>{shown}</bdi>"


def test_halves_of_surrogate_pairs_can_be_sent() -> None:
    status = full_status("\ud800")
    with Server(create_app(FakePage(shown=status), lifecycle=False), "127.0.0.1", 0) as server:
        answer = ask(server.address, "GET", "/")
    assert answer.status == 200
    assert "Version <bdi>\\ud800</bdi>" in answer.text


def test_a_model_has_a_page_of_its_own() -> None:
    status = full_status("a b&c", models=3)
    with Server(create_app(FakePage(shown=status), lifecycle=False), "127.0.0.1", 0) as server:
        answer = ask(server.address, "GET", "/?model=a%20b%26c2")
        unknown = ask(server.address, "GET", "/?model=%3Cscript%3E")
    assert answer.text.count("<details class") == 1
    assert 'id="m2"' in answer.text
    assert (unknown.status, unknown.headers["content-type"]) == (404, "text/plain; charset=utf-8")


def test_the_page_says_how_things_stand() -> None:
    found = page(full_status())
    assert '<time datetime="2023-11-14T22:13:20+00:00">30 s ago</time>' in found
    for part in (
        "1 model failing",
        "Of 1 model: 1 failing.",
        '0.650 <span class="whole">(0.610 to 0.687)</span>',
        "≥ 0.69",
        "expected 0.650",
        "limit 0.2, noise 0.020",
        "50 % → 20 %",
        "93 % of 870 mature predictions; at least 80 % is needed",
        "newest prediction 1 min 30 s ago",
        "2.0 KiB, 1 min 30 s",
    ):
        assert part in found, part


def test_the_worst_comes_first() -> None:
    models = tuple(full_model(level, level) for level in reversed(LEVELS))
    found = page(Status("0.1.0", TIME, (), Report(TIME, lambda _: ModelDetail(), models)))
    assert re.findall(r'<details class="card (\w+)" id', found) == list(LEVELS)
    overview = found[: found.index("<h2>Models")]
    assert re.findall(r"</a>: <strong><bdi>(\w+)", overview) == list(LEVELS)
    assert "Of 5 models: 1 failing, 1 warning, 1 notice, 1 not judged and 1 fine." in overview


@pytest.mark.parametrize(
    ("troubles", "level", "headline"),
    [
        ("failing", "fine", "The exporter itself is in trouble"),
        ("warning", "fine", "The exporter has a warning"),
        ("warning", "failing", "1 model failing"),
        (None, "warning", "1 model with warnings"),
        (None, "notice", "Nothing is wrong"),
        (None, "fine", "Nothing is wrong"),
        (None, "unjudged", "Nothing can be judged yet"),
    ],
)
def test_the_headline_tells_the_worst(troubles: Level | None, level: Level, headline: str) -> None:
    model = ModelStatus("m", level=level)
    own = (Trouble(troubles, "t", "x"),) if troubles else ()
    found = page(Status("0.1.0", TIME, own, Report(TIME, lambda _: ModelDetail(), (model,))))
    assert f"{headline}</span></h2>" in found


def test_without_an_evaluation_the_page_is_whole() -> None:
    found = outline(EMPTY)
    assert found.seen.count("h1") == 1
    assert "table" not in found.seen
    assert "No model has been evaluated yet." in found.texts


def test_a_model_that_is_not_known_yet_has_a_card() -> None:
    found = outline(Status("0.1.0", TIME, (), Report(TIME, lambda _: ModelDetail(), (ModelStatus("m"),))))
    assert "None are configured: quality cannot be measured." in found.texts


def test_of_many_models_those_in_trouble_are_shown_in_full() -> None:
    status = full_status(models=100, level="fine")
    assert status.report is not None
    models = list(status.report.models)
    models[41] = replace(models[41], level="warning")
    found = outline(replace(status, report=replace(status.report, models=tuple(models))))
    assert [name for name in found.ids if re.fullmatch(r"m\d+", name)] == ["m41"]
    assert "#m41" in found.links
    assert "/?model=flights7#m7" in found.links


@pytest.mark.parametrize("models", [1, 3, 12, 13])
def test_links_within_the_page_lead_somewhere(models: int) -> None:
    found = outline(full_status(models=models))
    inner = {link[1:] for link in found.links if link.startswith("#")}
    assert inner <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))


def test_a_report_is_written_once() -> None:
    asked: list[int] = []

    def detail(place: int) -> ModelDetail:
        asked.append(place)
        return ModelDetail()

    status = Status("0.1.0", TIME, (), Report(TIME, detail, (full_model(),)))
    pages = StatusPage()
    first = pages.html(status)
    later = pages.html(replace(status, clock=TIME + 60))
    assert asked == [0]
    assert first.replace(">0 s ago<", ">1 min ago<") == later
    assert status.report is not None
    pages.html(replace(status, report=replace(status.report, time=TIME + 60)))
    assert asked == [0, 0]


def test_tables_can_be_read_aloud() -> None:
    found = page(full_status())
    assert found.count("<table") == found.count("<caption>") == found.count('role="group"') == 5
    assert '<html lang="en">' in found
    assert "<th>" not in found
    assert found.count("<svg") == found.count('aria-hidden="true"') + found.count('role="img"')
    levels = [int(level) for level in re.findall(r"<h([1-6])", found)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_states_have_words_and_shapes() -> None:
    assert set(WORDS) == set(LEVELS)
    found = page(full_status())
    for level in LEVELS:
        assert f'<symbol id="{level}"' in found


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_of_every_colour_can_be_read(colours: dict[str, str]) -> None:
    for name in ("text", "muted", "link", *LEVELS):
        for ground in ("page", "card"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    assert contrast(colours["now"], colours["card"]) >= 3
    assert contrast(colours["now"], colours["text"]) >= 3


def contrast(one: str, two: str) -> float:
    """WCAG's contrast ratio."""
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("00 [-inf, 4.5)", "below 4.5"),
        ("01 [4.5, 7)", "4.5 to 7"),
        ("09 [7, inf)", "7 or more"),
        ("03 AA B", "AA B"),
        ("rare", "rare"),
        ("missing", "missing"),
    ],
)
def test_bins_have_readable_names(name: str, shown: str) -> None:
    assert readable(name) == shown


def test_the_policy_allows_the_style_that_is_sent() -> None:
    digest = b64encode(sha256(outline(EMPTY).style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" == STYLE_SOURCE
