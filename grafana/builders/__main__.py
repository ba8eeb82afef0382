"""Write the dashboards: `python -m grafana.builders [--output DIR]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from .dashboards import encode
from .drift import drift
from .exporter import exporter
from .fleet import fleet
from .model import model
from .serving import serving

DASHBOARDS = Path(__file__).resolve().parent.parent / "dashboards"
BUILD = (fleet, model, drift, serving, exporter)


def main() -> None:
    """Write each dashboard's JSON to the output folder."""
    parser = argparse.ArgumentParser(
        prog="python -m grafana.builders", description="Write Grafana's dashboards."
    )
    parser.add_argument("--output", type=Path, default=DASHBOARDS, help="folder (default: %(default)s)")
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    for build in BUILD:
        (output / f"{build.__name__}.json").write_text(encode(build()), encoding="utf-8")


if __name__ == "__main__":
    main()
