"""The landing page: well-formed, complete, and deaf to hostile names."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

from tests.web.fake_page import FakePage, ask

from ml_exporter.web.app import create_app
from ml_exporter.web.pages import STYLE_SOURCE, ModelStatus, SourceStatus, Status, landing_page
from ml_exporter.web.server import Server

HOSTILE = "</bdi></td><script>alert(1)</script><img src=x onerror='alert(1)'>\"&amp;\u202e"
VOID = {"meta", "br", "img", "link"}


class Outline(HTMLParser):
    """Collects elements, checks nesting, and keeps the text that a reader sees."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.texts: list[str] = []
        self.style = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        elif data.strip():
            self.texts.append(data)


def outline(status: Status) -> Outline:
    parser = Outline()
    parser.feed(landing_page(status))
    parser.close()
    assert parser.open == []
    return parser


def hostile_status() -> Status:
    return Status(
        version=HOSTILE,
        clock=1_700_000_030.0,
        evaluated=1_700_000_000.0,
        not_ready=HOSTILE,
        models=(ModelStatus(HOSTILE, HOSTILE, HOSTILE, (HOSTILE,), ((HOSTILE, HOSTILE),)),),
        sources=(SourceStatus(HOSTILE, HOSTILE, HOSTILE, False, HOSTILE),),
        unavailable=((HOSTILE, 3),),
    )


def test_hostile_names_stay_text() -> None:
    page = outline(hostile_status())
    assert not {"script", "img"} & set(page.seen)
    assert page.texts.count(HOSTILE) == 13


def test_hostile_names_stay_text_over_http() -> None:
    status = hostile_status()
    with Server(create_app(FakePage(shown=status), lifecycle=False), "127.0.0.1", 0) as server:
        answer = ask(server.address, "GET", "/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text == landing_page(status)
    assert "script" not in answer.headers["content-security-policy"]


def test_halves_of_surrogate_pairs_are_replaced() -> None:
    status = Status(version="\ud800", clock=0.0)
    with Server(create_app(FakePage(shown=status), lifecycle=False), "127.0.0.1", 0) as server:
        answer = ask(server.address, "GET", "/")
    assert answer.status == 200
    assert "Version <bdi>?</bdi>" in answer.text


def test_page_says_how_things_stand() -> None:
    page = landing_page(
        Status(
            version="0.1.0",
            clock=1_700_000_030.0,
            evaluated=1_700_000_000.0,
            models=(ModelStatus("flights", "binary", "ops", ("1", "2"), (("roc_auc", "0.7"),)),),
            sources=(SourceStatus("flights", "labels", "/logs/l.jsonl", True, "at its end"),),
            unavailable=(("immature", 4),),
        )
    )
    assert '<time datetime="2023-11-14T22:13:20+00:00">30 seconds ago</time>' in page
    for text in ("0.1.0</bdi>, ready.", "<bdi>1</bdi>, <bdi>2</bdi>", "<td>up</td>", "<td>4</td>"):
        assert text in page


def test_empty_page_is_whole() -> None:
    page = outline(Status(version="0.1.0", clock=0.0))
    assert page.seen.count("h1") == 1
    assert "table" not in page.seen
    assert "Version " in page.texts


def test_tables_can_be_read_aloud() -> None:
    page = landing_page(hostile_status())
    assert page.count("<table>") == page.count("<caption>") == 3
    assert '<html lang="en">' in page
    assert "<th>" not in page


def test_policy_allows_the_style_that_is_sent() -> None:
    style = outline(Status(version="0.1.0", clock=0.0)).style
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" == STYLE_SOURCE
