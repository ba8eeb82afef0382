"""promtool accepts the rules and the configuration, and the rules' own tests pass."""

from pathlib import Path

import pytest
from tests.rules.bundle import PROMETHEUS, RULE_TESTS, RULES, checked


def test_the_rules_are_valid_and_none_is_there_twice() -> None:
    assert checked("promtool", "check", "rules", "--lint-fatal", *RULES).count("SUCCESS") >= len(RULES)


def test_the_configuration_is_valid_and_finds_every_rule_file() -> None:
    shown = checked("promtool", "check", "config", PROMETHEUS / "prometheus.yml")
    assert f"{len(RULES)} rule files found" in shown
    assert "WARNING" not in shown


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.name.removesuffix(".test.yml"))
def test_alerts_fire_and_stay_silent_as_their_tests_say(path: Path) -> None:
    assert "SUCCESS" in checked("promtool", "test", "rules", path)


def test_a_wrong_expectation_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "wrong.test.yml").write_text(
        f"rule_files: [{PROMETHEUS / 'rules' / 'exporter.yml'}]\n"
        "tests:\n- alert_rule_test: [{eval_time: 5m, alertname: MLWatchdog, exp_alerts: []}]\n"
    )
    with pytest.raises(AssertionError, match="MLWatchdog"):
        checked("promtool", "test", "rules", tmp_path / "wrong.test.yml")
