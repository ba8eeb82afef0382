"""Take the pictures of the status page that the README shows: the flights of June and July 2013.

    make_pictures.py    (with the venv's Python; chromium from `make tools TOOLS_FLAGS=--chromium` or the PATH)

The numbers are those that `ml_exporter evaluate` gives on `flights-2013.yml` at that time, the pages are
what the exporter serves, and a headless Chromium draws them.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dump

from ml_exporter import __version__
from ml_exporter.config import load
from ml_exporter.engine import Engine, load_layouts
from ml_exporter.store import Store
from ml_exporter.summary import summarize
from ml_exporter.web.pages import StatusPage
from ml_exporter.web.status import Status

DEMO = Path(__file__).resolve().parent
FETCHED = DEMO.parents[1] / ".tools/bin/chromium"
SINCE, UNTIL = date(2013, 6, 20), date(2013, 7, 21)
MODELS = ("flight-delay", "delay-minutes", "flight-outcome")
PICTURES = {"status-light.png": (1100, 1180, "1"), "status-dark-narrow.png": (400, 1180, "0")}
"""Width, height and colour scheme (Chromium's: 0 dark, 1 light)."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def main() -> int:
    """Write the pictures beside the demo."""
    chromium = FETCHED if FETCHED.exists() else shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("no chromium here; `make tools TOOLS_FLAGS=--chromium` fetches it", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        page = folder / "status.html"
        page.write_text(status_page(folder), encoding="utf-8")
        for picture in take(str(chromium), page, DEMO / "pictures"):
            print(f"{picture.name}: {picture.stat().st_size:,} bytes")
    return 0


def status_page(folder: Path) -> str:
    """Return the page as of the end of the logs, which are written into `folder`."""
    dump.write(DEMO / "flights.parquet", folder / "logs", SINCE, UNTIL, MODELS)
    text = (DEMO / "flights-2013.yml").read_text(encoding="utf-8")
    text = text.replace("../../var/flights-2013", str(folder / "logs")).replace(
        "profiles/", f"{DEMO}/profiles/"
    )
    path = folder / "flights.yml"
    path.write_text(text, encoding="utf-8")
    config, end = load(path), datetime(UNTIL.year, UNTIL.month, UNTIL.day, tzinfo=UTC).timestamp()
    engine = Engine(config, load_layouts(config), Store(None), lambda: end)
    report = summarize(engine.run_once(round(end * 1e6)))
    return StatusPage().html(Status(__version__, end + 9, (), report))


def take(chromium: str, page: Path, folder: Path) -> Iterator[Path]:
    """Have the page drawn at each size, and return the pictures."""
    folder.mkdir(exist_ok=True)
    for name, (width, height, scheme) in PICTURES.items():
        command = [
            chromium,
            *FLAGS,
            f"--user-data-dir={page.parent / 'chromium'}",
            f"--window-size={width},{height}",
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--screenshot={folder / name}",
            page.as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        yield folder / name


if __name__ == "__main__":
    sys.exit(main())
