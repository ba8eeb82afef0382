"""Write the bundle's configuration with all its times divided by one factor, for demos and drills.

For example `scale_rules.py --factor 60 --out var/demo/run`: OUT/prometheus and OUT/alertmanager are then
complete copies, and an alert that waits for a quarter of an hour waits for 15 seconds. What is divided:
`for`, `keep_firing_for` and group intervals of the rules; ranges, offsets and subquery steps in their
expressions; scrape and evaluation intervals; Alertmanager's group and repeat times. What stays: names,
labels, texts, thresholds and every other number.

An expression needs a few samples in each range: intervals stay at or above `--minimum-interval`, and
ranges at or above `--minimum-scrapes` scrapes.
"""

import argparse
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
UNITS = {
    "y": 31_536_000_000,
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
DEFAULT_SCRAPE_INTERVAL = "1m"

# PromQL knows durations only in ranges, steps and offsets. Names and strings may contain what looks like one.
TOKEN = re.compile(
    r"""
    (?P<text>    "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | `[^`]*` | \#[^\n]* )
  | (?P<name>    [A-Za-z_][\w:]* )
  | (?P<hex>     0[xX][0-9a-fA-F]+ )
  | (?P<duration>(?:\d+(?:ms|[smhdwy]))+ (?![\w.]) )
  | (?P<number>  (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)? )
  | (?P<other>   . )
    """,
    re.VERBOSE | re.DOTALL,
)

# A parsed YAML document: what it holds is only known where it is used.
Document = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """Divide by `factor`, with lower bounds in milliseconds."""

    factor: float
    minimum_interval: int = 0
    minimum_range: int = 0

    def time(self, duration: str) -> str:
        """Return a waiting time, an offset or a step, divided."""
        return self._divide(duration, 1)

    def interval(self, duration: str) -> str:
        """Return how often something is done, divided, but not below the least interval."""
        return self._divide(duration, self.minimum_interval)

    def range(self, duration: str) -> str:
        """Return how far back an expression looks, divided, but not below the least range."""
        return self._divide(duration, self.minimum_range)

    def _divide(self, duration: str, least: int) -> str:
        before = milliseconds(duration)
        after = max(round(before / self.factor), min(least, before), 1)
        return as_duration(after) if before else duration


def milliseconds(duration: str) -> int:
    """Return a Prometheus duration such as 1h30m in milliseconds; ValueError where it is none."""
    if duration == "0":
        return 0
    if not re.fullmatch(r"(?:\d+(?:ms|[smhdwy]))+", duration):
        raise ValueError(f"not a duration: {duration!r}")
    return sum(int(count) * UNITS[unit] for count, unit in re.findall(r"(\d+)(ms|[smhdwy])", duration))


def as_duration(total: int) -> str:
    """Return milliseconds as a Prometheus duration, in the fewest units from days down."""
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, total = divmod(total, UNITS[unit])
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def scale_expression(expression: str, scale: Scale) -> str:
    """Return a PromQL expression with its ranges, steps and offsets scaled, all else as it was."""
    return "".join(_scaled_tokens(expression, scale))


def scale_rules(document: Document, scale: Scale) -> Document:
    """Return a rule file's document with its times scaled."""
    return {**document, "groups": [_scale_group(group, scale) for group in document["groups"]]}


def scale_prometheus(document: Document, scale: Scale) -> Document:
    """Return Prometheus' configuration with its scrape and evaluation intervals scaled."""
    intervals = {"scrape_interval": scale.interval, "evaluation_interval": scale.interval}
    jobs = [_replace(job, intervals) for job in document["scrape_configs"]]
    return {**document, "global": _replace(document["global"], intervals), "scrape_configs": jobs}


def scale_alertmanager(document: Document, scale: Scale) -> Document:
    """Return Alertmanager's configuration with the times of its routes scaled."""
    return {**document, "route": _scale_route(document["route"], scale)}


def write_scaled(source: Path, out: Path, scale: Scale, minimum_scrapes: int) -> None:
    """Write scaled copies of `source`/prometheus and `source`/alertmanager below `out`."""
    prometheus = _load(source / "prometheus" / "prometheus.yml")
    scrape = scale.interval(prometheus["global"].get("scrape_interval", DEFAULT_SCRAPE_INTERVAL))
    scale = Scale(scale.factor, scale.minimum_interval, minimum_scrapes * milliseconds(scrape))
    _save(out / "prometheus" / "prometheus.yml", scale_prometheus(prometheus, scale))
    for rules in sorted((source / "prometheus" / "rules").glob("*.yml")):
        _save(out / "prometheus" / "rules" / rules.name, scale_rules(_load(rules), scale))
    alertmanager = _load(source / "alertmanager" / "alertmanager.yml")
    _save(out / "alertmanager" / "alertmanager.yml", scale_alertmanager(alertmanager, scale))
    for folder in ("prometheus/targets", "alertmanager/templates"):
        shutil.copytree(source / folder, out / folder, dirs_exist_ok=True)


def _scaled_tokens(expression: str, scale: Scale) -> Iterator[str]:
    opened = ""
    for match in TOKEN.finditer(expression):
        token = match.group()
        if match.lastgroup == "duration":
            yield (scale.range if opened == "[" else scale.time)(token)
            continue
        if match.lastgroup == "other" and token in "[]:":
            opened = token
        yield token


def _scale_group(group: Document, scale: Scale) -> Document:
    expression = {"expr": lambda text: scale_expression(text, scale)}
    times = {"for": scale.time, "keep_firing_for": scale.time}
    rules = [_replace(rule, expression | times) for rule in group["rules"]]
    return {**_replace(group, {"interval": scale.interval}), "rules": rules}


def _scale_route(route: Document, scale: Scale) -> Document:
    # Alertmanager takes no 0 here, and more than one notification a second helps nobody.
    seconds = Scale(scale.factor, minimum_interval=1000).interval
    scaled = _replace(route, dict.fromkeys(("group_wait", "group_interval", "repeat_interval"), seconds))
    if "routes" in route:
        scaled["routes"] = [_scale_route(child, scale) for child in route["routes"]]
    return scaled


def _replace(mapping: Document, changes: Mapping[str, Callable[[str], str]]) -> Document:
    return {key: changes[key](value) if key in changes else value for key, value in mapping.items()}


def _load(path: Path) -> Document:
    document: Document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def _save(path: Path, document: Document) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document, sort_keys=False, width=10_000), encoding="utf-8")


def main() -> None:
    """Scale the bundle that this file belongs to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--factor", type=float, required=True, help="what times are divided by, above 0")
    parser.add_argument("--out", type=Path, required=True, help="folder for the copies")
    parser.add_argument("--minimum-interval", default="5s", help="least scrape and evaluation interval")
    parser.add_argument(
        "--minimum-scrapes", type=int, default=4, help="least range of an expression, in scrapes"
    )
    options = parser.parse_args()
    if options.factor <= 0:
        parser.error("--factor must be above 0")
    scale = Scale(options.factor, minimum_interval=milliseconds(options.minimum_interval))
    write_scaled(ROOT, options.out, scale, options.minimum_scrapes)


if __name__ == "__main__":
    main()
