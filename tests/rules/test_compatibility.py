"""What is shipped loads in Prometheus 2.42 and in 3.x: nothing in it is known to only one of them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rules.bundle import PROMETHEUS, RULE_TESTS, RULES, load, rules
from tests.tools import REPOSITORY

# Keys that 2.42 refuses, by the part of the file they would stand in.
NOT_IN_242 = {
    "scrape_protocols",
    "sample_limit",
    "body_size_limit",
    "rule_query_offset",
    "metric_name_validation_scheme",
    "metric_name_escaping_scheme",
    "scrape_native_histograms",
    "convert_classic_histograms_to_nhcb",
    "scrape_config_files",
    "otlp",
    "runtime",
    "fallback_scrape_protocol",
    "http_headers",
    "enable_compression",
    "query_offset",
    "fuzzy_compare",
    "start_timestamp",
}
# Functions that one of the two lacks, and Alertmanager's first interface, which 3.x no longer speaks.
ONE_SIDED = re.compile(
    r"\b(info|limitk|limit_ratio|mad_over_time|histogram_avg|histogram_stddev|histogram_stdvar|sort_by_label"
    r"|sort_by_label_desc|ts_of_\w+|first_over_time|holt_winters|double_exponential_smoothing)\s*\("
)
FILES = [PROMETHEUS / "prometheus.yml", *sorted((PROMETHEUS / "targets").glob("*.yml")), *RULES, *RULE_TESTS]


def keys(document: Any) -> Iterator[str]:
    """Yield every key of a document, however deep."""
    if isinstance(document, dict):
        yield from (str(key) for key in document)
        document = list(document.values())
    if isinstance(document, list):
        for part in document:
            yield from keys(part)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_key_is_known_to_one_version_only(path: Path) -> None:
    assert not set(keys(load(path))) & NOT_IN_242


def test_rule_groups_have_no_labels_of_their_own() -> None:
    allowed = {"name", "interval", "limit", "rules"}
    assert [group for path in RULES for group in load(path)["groups"] if set(group) - allowed] == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_no_function_is_known_to_one_version_only(rule: dict[str, Any]) -> None:
    assert not ONE_SIDED.search(rule["expr"])
    assert rule["expr"].isascii()


def test_alertmanager_is_spoken_to_by_the_interface_that_both_know() -> None:
    alertmanagers = load(PROMETHEUS / "prometheus.yml")["alerting"]["alertmanagers"]
    assert [manager for manager in alertmanagers if manager.get("api_version", "v2") != "v2"] == []


@pytest.mark.parametrize("site", ["local", "compose"])
def test_each_target_belongs_to_exactly_one_job_or_to_alerting(site: str) -> None:
    config = load(PROMETHEUS / "prometheus.yml")
    kept = [job["relabel_configs"][0]["regex"] for job in config["scrape_configs"]]
    assert kept == [job["job_name"] for job in config["scrape_configs"]]
    services = [group["labels"]["__service"] for group in load(PROMETHEUS / "targets" / f"{site}.yml")]
    assert {"ml_exporter", "alertmanager"} <= set(services) <= set(kept)


def test_local_targets_are_on_this_machine() -> None:
    targets = [t for group in load(PROMETHEUS / "targets" / "local.yml") for t in group["targets"]]
    assert [target for target in targets if not target.startswith("127.0.0.1:")] == []


def test_compose_has_the_services_that_its_targets_name_and_mounts_them() -> None:
    compose = load(REPOSITORY / "docker-compose.yml")
    targets = [t for group in load(PROMETHEUS / "targets" / "compose.yml") for t in group["targets"]]
    hosts = {target.partition(":")[0] for target in targets} - {"localhost"}
    assert hosts <= set(compose["services"])
    mounted = [volume.split(":")[:2] for volume in compose["services"]["prometheus"]["volumes"]]
    assert ["./prometheus/targets/compose.yml", "/etc/prometheus/targets/local.yml"] in mounted
