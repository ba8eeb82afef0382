"""The shipped rules, their tests and their runbooks, as the tests of this folder read them."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from tests.tools import REPOSITORY, find_tool

PROMETHEUS = REPOSITORY / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
RULE_TESTS = sorted(Path(__file__).parent.glob("*.test.yml"))
RUNBOOKS = sorted((REPOSITORY / "alertmanager" / "runbooks").glob("*.md"))
QUERY_BLOCK = re.compile(r"```promql\n(.*?)```", re.DOTALL)


def checked(tool: str, *arguments: object, seconds: float = 60) -> str:
    """Run promtool or amtool; return what it prints, or fail with that."""
    command = [str(find_tool(tool)), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def load(path: Path) -> Any:
    """Return a YAML file's document, which is shared: it is not to be changed."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    """Return all rules of all files."""
    return [rule for path in RULES for group in load(path)["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Return the alerting rules; an alert with two severities is there twice."""
    return [rule for rule in rules() if "alert" in rule]


def runbook_queries(path: Path) -> list[str]:
    """Return the PromQL queries that a runbook tells to run."""
    return [block.strip() for block in QUERY_BLOCK.findall(path.read_text(encoding="utf-8"))]


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """Return each selector of series in a query; ValueError where it does not parse."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found
