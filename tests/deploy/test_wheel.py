"""What is installed: the package and nothing beside it, and it works in an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from tests.support.site import Site, label, prediction

from ml_exporter import __version__

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of the sources; building leaves things in them."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.parquet", "profiles")
    for name in ("exporter", "tests"):
        shutil.copytree(ROOT / name, folder / "sources" / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "sources")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", folder, folder / "sources"], check=True, timeout=280)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_the_package_and_nothing_beside_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"ml_exporter-{__version__}.dist-info/"
    sources = {
        str(path.relative_to(ROOT / "exporter")) for path in (ROOT / "exporter/ml_exporter").rglob("*.py")
    }
    assert {name for name in names if not name.startswith(info)} == sources
    assert f"{info}licenses/LICENSE" in names
    assert wheel.stat().st_size < 1_000_000


@pytest.mark.long
@pytest.mark.timeout(900)
def test_it_works_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    program = tmp_path / "venv/bin/ml_exporter"
    install = [tmp_path / "venv/bin/python", "-m", "pip", "install", "--quiet", "--no-compile", wheel]
    subprocess.run(install, check=True, timeout=800)
    site = Site(tmp_path)
    site.predict(*(prediction(number, number) for number in range(30)))
    site.label(*(label(number, number) for number in range(30)))
    site.config()
    for command in (["--version"], ["check", "--config.file", site.config_path]):
        subprocess.run([program, *command], check=True, timeout=60, cwd=tmp_path)
    run = subprocess.run(
        [program, "evaluate", "--config.file", site.config_path],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert 'ml_predictions_total{model="flight-delay",version="1"} 30.0' in run.stdout
