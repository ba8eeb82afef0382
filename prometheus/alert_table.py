"""The README's table of alerts, made from the rules.

`alert_table.py` prints the table; `alert_table.py --write README.md` puts it between the marks in that file.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "prometheus" / "rules"
BEGIN = "<!-- alerts:begin -->"
END = "<!-- alerts:end -->"
SEVERITIES = {"critical": "page", "warning": "ticket", "info": "note"}

# One alert as its rule file has it.
Rule = dict[str, Any]


def alerts(rules: Path = RULES) -> Iterator[tuple[str, Rule]]:
    """Yield each alerting rule below `rules` with its subject, the name of its file."""
    for path in sorted(rules.glob("*.yml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for group in document["groups"]:
            yield from ((path.stem, rule) for rule in group["rules"] if "alert" in rule)


def alert_table(rules: Path = RULES) -> str:
    """Return a Markdown table with a row for each alert: its runbook, subject, severity, wait and summary."""
    rows: dict[str, list[str]] = {}
    for subject, rule in alerts(rules):
        name, severity = rule["alert"], SEVERITIES[rule["labels"]["severity"]]
        if name in rows:
            # The same alert at another severity, which its rule's comment explains.
            rows[name][2] += f" or {severity}"
            continue
        link = f"[{name}](alertmanager/runbooks/{name}.md)"
        rows[name] = [link, subject, severity, rule.get("for", "at once"), rule["annotations"]["summary"]]
    head = ["| alert | subject | what arrives | after | meaning |", "| --- | --- | --- | --- | --- |"]
    return "\n".join(head + [f"| {' | '.join(row)} |" for row in rows.values()])


def between_marks(text: str) -> str:
    """Return what stands between the marks in `text`; ValueError where they are missing."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"the marks {BEGIN} and {END} must each stand there once")
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def with_table(text: str, table: str) -> str:
    """Return `text` with `table` between its marks."""
    between_marks(text)
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Print the table, or write it into a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="file with the marks")
    target = parser.parse_args().write
    if target is None:
        sys.stdout.write(alert_table() + "\n")
    else:
        target.write_text(with_table(target.read_text(encoding="utf-8"), alert_table()), encoding="utf-8")


if __name__ == "__main__":
    main()
