from __future__ import annotations

import gzip
import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import parser as text_parser
from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from tests.support.site import Site, prediction
from tests.tools import find_tool

from ml_exporter.config import load
from ml_exporter.engine import Engine, Snapshot, load_layouts
from ml_exporter.metrics.catalogue import CATALOGUE
from ml_exporter.metrics.families import Families
from ml_exporter.snapshot import Rendered, config_page, join, log_page, render
from ml_exporter.store import Store

CONFIG = Path(__file__).parent / "golden" / "config.yml"
Sample = tuple[str, tuple[tuple[str, str], ...], float]


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    config = load(CONFIG)
    return Engine(config, load_layouts(config), Store(None)).run_once(None)


@pytest.fixture(scope="module")
def parts(snapshot: Snapshot) -> tuple[Rendered, Rendered]:
    config = load(CONFIG)
    layouts = load_layouts(config)
    thresholds = config_page((model, layouts[model.name]) for model in config.models)
    return thresholds.page, log_page(snapshot, 0.0, 20_000).page


def samples(parse: Callable[[str], Iterator[Metric]], page: bytes) -> list[Sample]:
    found = [
        (sample.name, tuple(sorted(sample.labels.items())), float(sample.value))
        for family in parse(page.decode())
        for sample in family.samples
    ]
    assert len({item[:2] for item in found}) == len(found)
    return sorted(found)


def test_both_formats_say_the_same(parts: tuple[Rendered, Rendered]) -> None:
    text = samples(text_parser.text_string_to_metric_families, join(parts, openmetrics=False, gzipped=False))
    openmetrics = samples(
        openmetrics_parser.text_string_to_metric_families, join(parts, openmetrics=True, gzipped=False)
    )
    assert len(text) > 500
    assert text == openmetrics
    assert not any(math.isnan(value) for *_, value in text)


@pytest.mark.parametrize("openmetrics", [False, True])
def test_compressed_parts_are_one_stream(parts: tuple[Rendered, Rendered], openmetrics: bool) -> None:
    plain = join(parts, openmetrics, gzipped=False)
    packed = join(parts, openmetrics, gzipped=True)
    assert gzip.decompress(packed) == plain
    assert len(packed) < len(plain) / 4


def test_only_openmetrics_ends_with_its_mark(parts: tuple[Rendered, Rendered]) -> None:
    assert join(parts, openmetrics=True, gzipped=False).count(b"# EOF\n") == 1
    assert join(parts, openmetrics=True, gzipped=False).endswith(b"# EOF\n")
    assert b"# EOF" not in join(parts, openmetrics=False, gzipped=False)


def test_an_empty_page_is_a_page() -> None:
    assert join([Rendered()], openmetrics=False, gzipped=False) == b""
    assert gzip.decompress(join([Rendered()], openmetrics=True, gzipped=True)) == b"# EOF\n"
    assert gzip.decompress(join([render(Families())], openmetrics=False, gzipped=True)) == b""


def test_families_have_the_catalogues_kind_and_help(parts: tuple[Rendered, Rendered]) -> None:
    known = {entry.name: entry for entry in CATALOGUE}
    page = join(parts, openmetrics=False, gzipped=False).decode()
    for family in text_parser.text_string_to_metric_families(page):
        name = family.name + ("_total" if family.type == "counter" else "")
        assert (known[name].kind, known[name].help) == (family.type, family.documentation)


def test_promtool_has_nothing_to_say(parts: tuple[Rendered, Rendered]) -> None:
    run = subprocess.run(
        [str(find_tool("promtool")), "check", "metrics"],
        input=join(parts, openmetrics=False, gzipped=False),
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


def test_names_from_logs_are_escaped(tmp_path: Path) -> None:
    site = Site(tmp_path)
    name = 'v"1\\\n{}'
    site.models[0]["champion"] = "1"
    site.predict(*(prediction(number, number, version=name) for number in range(5)))
    site.now = 60
    page = log_page(site.engine().cycle(), 0.0, 20_000).page
    for parse, body in (
        (text_parser.text_string_to_metric_families, join([page], openmetrics=False, gzipped=False)),
        (openmetrics_parser.text_string_to_metric_families, join([page], openmetrics=True, gzipped=False)),
    ):
        found = samples(parse, body)
        assert ("ml_predictions_total", (("model", "flight-delay"), ("version", name)), 5.0) in found


def test_series_are_counted_and_columns_dropped_over_the_limit(snapshot: Snapshot) -> None:
    whole = log_page(snapshot, 0.0, 20_000)
    assert whole.dropped == 0
    page = whole.page.text.decode()
    assert whole.exported == sum(not line.startswith("#") for line in page.splitlines())
    short = log_page(snapshot, 0.0, whole.exported - 1)
    assert short.dropped > 0
    assert short.exported + short.dropped == whole.exported
    assert b'ml_predictions_total{model="payment-fraud",version="1"}' in short.page.text


class TestBirths:
    def page(self, snapshot: Snapshot, hold: float) -> dict[str, float]:
        text = log_page(snapshot, hold, 20_000).page.text.decode()
        return {
            " ".join([sample.name, *sample.labels.values()]): float(sample.value)
            for family in text_parser.text_string_to_metric_families(text)
            if family.type in ("counter", "histogram")
            for sample in family.samples
        }

    def test_counters_show_0_first_and_siblings_jump_together(self, tmp_path: Path) -> None:
        site = Site(tmp_path)
        site.predict(*(prediction(number, 0, score=number / 10) for number in range(10)))
        engine = site.engine()
        site.now = 100
        held = self.page(engine.cycle(), 90)
        assert held
        assert set(held.values()) == {0.0}
        site.predict(*(prediction(number, 101) for number in range(10, 15)))
        site.now = 189
        assert self.page(engine.cycle(), 90) == held
        site.now = 190
        jumped = self.page(engine.cycle(), 90)
        assert jumped.keys() == held.keys()
        assert jumped["ml_predictions_total flight-delay 1"] == 15
        assert jumped["ml_confusion_total positive flight-delay negative 1"] == 0
        assert jumped["ml_input_rows_total flight-delay accepted predictions"] == 15

    def test_a_later_version_is_born_later(self, tmp_path: Path) -> None:
        site = Site(tmp_path)
        site.predict(prediction(1, 0))
        engine = site.engine()
        engine.cycle()
        site.now = 200
        site.predict(prediction(2, 200, version="2"))
        page = self.page(engine.cycle(), 90)
        assert page["ml_predictions_total flight-delay 1"] == 1
        assert page["ml_predictions_total flight-delay 2"] == 0
        site.now = 290
        assert self.page(engine.cycle(), 90)["ml_predictions_total flight-delay 2"] == 1

    def test_births_survive_a_restart(self, tmp_path: Path) -> None:
        site = Site(tmp_path)
        site.predict(prediction(1, 0))
        engine = site.engine()
        engine.cycle()
        engine.store.close()
        site.now = 89
        engine = site.engine()
        assert self.page(engine.cycle(), 90)["ml_predictions_total flight-delay 1"] == 0
        engine.store.close()
        site.now = 90
        assert self.page(site.engine().cycle(), 90)["ml_predictions_total flight-delay 1"] == 1
