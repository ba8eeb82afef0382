"""promtool accepts the rules and the configuration, and the rules' own tests pass."""

import subprocess
from pathlib import Path

import pytest
from tests.rules.bundle import PROMETHEUS, RULE_TESTS, RULES
from tests.tools import find_tool


def promtool(*arguments: object) -> str:
    """Run promtool; return what it prints, or fail with it."""
    command = [find_tool("promtool"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_valid_and_none_is_there_twice() -> None:
    assert promtool("check", "rules", "--lint-fatal", *RULES).count("SUCCESS") >= len(RULES)


def test_the_configuration_is_valid_and_finds_every_rule_file() -> None:
    shown = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert f"{len(RULES)} rule files found" in shown
    assert "WARNING" not in shown


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.name.removesuffix(".test.yml"))
def test_alerts_fire_and_stay_silent_as_their_tests_say(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", path)


def test_a_wrong_expectation_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "wrong.test.yml").write_text(
        f"rule_files: [{PROMETHEUS / 'rules' / 'exporter.yml'}]\n"
        "tests:\n- alert_rule_test: [{eval_time: 5m, alertname: MLWatchdog, exp_alerts: []}]\n"
    )
    with pytest.raises(AssertionError, match="MLWatchdog"):
        promtool("test", "rules", tmp_path / "wrong.test.yml")
