"""The script that makes the virtual environment, with stand-ins for Python."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.tools import REPOSITORY

PROGRAMS = ("bash", "cat", "cksum", "cp", "dirname", "flock", "mkdir", "rm")
# Answers what the script asks a Python; logs what it is told to install.
FAKE = """#!/bin/bash
here=$(dirname "$0")
case "$*" in
  --version) echo "Python {version}" ;;
  *version_info*) {new_enough} ;;
  *"import ensurepip"*) {has_venv} ;;
  "-m venv --clear .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
  "-m pip install"*) echo "$*" >>installed ;;
esac
"""


class Tree:
    """A clone with nothing in it but the script, on a machine with nothing but what it needs."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "a clone"
        self.bin = folder / "bin"
        (self.clone / ".ci").mkdir(parents=True)
        self.bin.mkdir()
        shutil.copy(REPOSITORY / ".ci" / "make_venv.sh", self.clone / ".ci")
        (self.clone / "pyproject.toml").write_text("[project]\n")
        for name in PROGRAMS:
            found = shutil.which(name)
            assert found is not None, name
            (self.bin / name).symlink_to(found)

    def add_python(self, name: str, *, version: str = "3.11.2", old: bool = False, venv: bool = True) -> None:
        text = FAKE.format(
            version=version, new_enough="false" if old else "true", has_venv="true" if venv else "false"
        )
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def make(self, kind: str = "run") -> subprocess.CompletedProcess[str]:
        command = ["bash", str(self.clone / ".ci" / "make_venv.sh"), kind]
        environment = {**os.environ, "PATH": str(self.bin)}
        environment.pop("PYTHON", None)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)

    def installed(self) -> list[str]:
        log = self.clone / "installed"
        return [line.split()[-1] for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_no_python_is_named(tree: Tree) -> None:
    done = tree.make()
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed; found: none." in done.stderr


def test_a_python_that_is_too_old_is_named_with_the_remedy(tree: Tree) -> None:
    tree.add_python("python3", version="3.9.2", old=True)
    done = tree.make()
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed; found: Python 3.9.2" in done.stderr
    assert "apt-get install python3" in done.stderr


def test_a_missing_venv_module_is_named_with_the_remedy(tree: Tree) -> None:
    tree.add_python("python3", venv=False)
    done = tree.make()
    assert done.returncode == 1
    assert "Python 3.11.2 is here, but without the module venv." in done.stderr
    assert "sudo apt-get install python3-venv" in done.stderr


def test_the_newest_python_that_can_make_a_venv_is_taken(tree: Tree) -> None:
    tree.add_python("python3.13", version="3.13.0", venv=False)
    tree.add_python("python3.12", version="3.12.1")
    tree.add_python("python3")
    done = tree.make()
    assert done.returncode == 0, done.stderr
    assert "making .venv with Python 3.12.1" in done.stderr


def test_a_second_run_installs_nothing(tree: Tree) -> None:
    tree.add_python("python3")
    assert tree.make().returncode == 0
    assert tree.make().stderr == ""
    assert tree.installed() == ["."]


def test_the_tests_need_more_than_the_exporter_but_not_less(tree: Tree) -> None:
    tree.add_python("python3")
    for kind in ("run", "dev", "run", "dev"):
        assert tree.make(kind).returncode == 0
    assert tree.installed() == [".", ".[dev]"]


def test_a_changed_pyproject_installs_again(tree: Tree) -> None:
    tree.add_python("python3")
    tree.make("dev")
    (tree.clone / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    tree.make("dev")
    assert tree.installed() == [".[dev]", ".[dev]"]


def test_a_moved_clone_installs_again(tree: Tree) -> None:
    tree.add_python("python3")
    tree.make()
    tree.clone = tree.clone.rename(tree.clone.with_name("moved"))
    tree.make()
    assert tree.installed() == [".", "."]


def test_a_failed_installation_is_tried_again(tree: Tree) -> None:
    tree.add_python("python3")
    python = tree.bin / "python3"
    good = python.read_text()
    python.write_text(good.replace("echo", "false"))
    assert tree.make().returncode != 0
    (tree.clone / ".venv" / "bin" / "python").write_text(good)
    assert tree.make().returncode == 0
    assert tree.installed() == ["."]
