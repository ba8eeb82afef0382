"""Find the programs that tests run: Prometheus, Alertmanager, their checkers."""

import os
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

# Debian's names for programs that their projects call otherwise.
OTHER_NAMES = {
    "alertmanager": ("prometheus-alertmanager",),
    "node_exporter": ("prometheus-node-exporter",),
    "chromium": ("chromium-browser", "google-chrome"),
}


def locate(name: str, search_path: str | None = None) -> Path | None:
    """Return where program `name` is, or None: first `.tools/bin`, then `search_path` (default: the PATH)."""
    fetched = REPOSITORY / ".tools" / "bin" / name
    if fetched.exists():
        return fetched
    for known_as in (name, *OTHER_NAMES.get(name, ())):
        found = shutil.which(known_as, path=search_path)
        if found is not None:
            return Path(found)
    return None


def find_tool(name: str) -> Path:
    """Return where program `name` is. Without it the test fails in CI, and is skipped elsewhere."""
    found = locate(name)
    if found is not None:
        return found
    reason = f"{name} is neither in .tools/bin nor on the PATH; `make test` fetches it"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)
