"""The script that fetches Prometheus' programs, with stand-ins for apt and for the programs."""

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.tools import REPOSITORY, locate

NEEDED = ("bash", "dirname", "mkdir", "flock", "cat", "grep", "sed", "sort", "tail", "timeout", "rm", "tr")
SERVERS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")


class Machine:
    """A clone with nothing in it but the script, and a PATH with nothing on it but what it needs."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "a clone"
        self.bin = folder / "bin"
        (self.clone / ".ci").mkdir(parents=True)
        self.bin.mkdir()
        shutil.copy(REPOSITORY / ".ci" / "fetch_tools.sh", self.clone / ".ci")
        for name in NEEDED:
            found = shutil.which(name)
            assert found is not None, name
            (self.bin / name).symlink_to(found)

    def add(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/bash\n{script}\n")
        (self.bin / name).chmod(0o755)

    def fetch(self, *flags: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(self.clone / ".ci" / "fetch_tools.sh"), *flags]
        environment = {"PATH": str(self.bin)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_programs_on_the_path_are_not_fetched(machine: Machine) -> None:
    for name in SERVERS:
        machine.add(name, "exit 0")
    done = machine.fetch()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (machine.clone / ".tools").exists()


def test_a_program_that_does_not_run_does_not_count(machine: Machine) -> None:
    for name in SERVERS:
        machine.add(name, "exit 0")
    machine.add("promtool", "exit 1")
    done = machine.fetch()
    assert done.returncode == 1
    assert "no apt-get here; put promtool on the PATH yourself" in done.stderr


def test_without_apt_the_missing_programs_are_named(machine: Machine) -> None:
    done = machine.fetch("--node-exporter")
    assert done.returncode == 1
    assert "put prometheus promtool alertmanager amtool node_exporter on the PATH" in done.stderr


def test_an_unreachable_archive_is_told_with_what_apt_said(machine: Machine) -> None:
    machine.add("apt-get", 'echo "E: no route to $2" >&2; exit 100')
    machine.add("dpkg-deb", "exit 0")
    done = machine.fetch()
    assert done.returncode == 1
    assert "could not fetch prometheus promtool alertmanager amtool" in done.stderr
    assert "E: no route to -c" in done.stderr
    assert not (machine.clone / ".tools" / "bin").exists()


def test_without_the_browser_the_rest_is_fetched(machine: Machine) -> None:
    for name in ("chmod", "mv", "ln"):
        (machine.bin / name).symlink_to(shutil.which(name) or name)
    machine.add(
        "apt-get",
        """case " $* " in
          *" download "*chromium*) echo "E: chromium is too large" >&2; exit 100 ;;
          *" download "*) : >prometheus.deb ;;
        esac""",
    )
    programs = " ".join(SERVERS)
    machine.add(
        "dpkg-deb",
        f"""mkdir -p "$3/usr/bin" "$3/usr/share/prometheus"
        for name in {programs}; do echo '#!/bin/bash' >"$3/usr/bin/$name"; chmod 755 "$3/usr/bin/$name"; done""",
    )
    (machine.bin / "env").symlink_to(shutil.which("env") or "env")
    done = machine.fetch("--chromium")
    assert done.returncode == 1
    assert "could not fetch chromium (see above); install chromium or try again" in done.stderr
    assert "E: chromium is too large" in done.stderr
    assert "these are missing, or do not run: chromium" in done.stderr
    found = {path.name for path in (machine.clone / ".tools/bin").iterdir()}
    assert found == {"prometheus", "promtool", "alertmanager", "amtool"}


def test_apt_leaves_the_machines_lists_and_hooks_alone(machine: Machine) -> None:
    machine.add("apt-get", "exit 100")
    machine.add("dpkg-deb", "exit 0")
    machine.fetch()
    settings = (machine.clone / ".tools" / "apt" / "apt.conf").read_text()
    assert f'Dir::State::lists "{machine.clone}/.tools/apt/lists";' in settings
    assert f'Dir::Cache "{machine.clone}/.tools/apt/cache";' in settings
    assert "#clear APT::Update::Post-Invoke;" in settings


def test_an_unknown_flag_is_refused(machine: Machine) -> None:
    done = machine.fetch("--grafana")
    assert done.returncode == 1
    assert "unknown flag --grafana; known: --node-exporter --chromium" in done.stderr


def test_tools_are_found_by_debians_names(tmp_path: Path) -> None:
    program = tmp_path / "chromium-browser"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    found = locate("chromium", search_path=str(tmp_path))
    assert found in (program, REPOSITORY / ".tools" / "bin" / "chromium")
    assert locate("no-such-program", search_path=str(tmp_path)) is None
