"""The demo's commands: ports, one demo at a time, faults, what an earlier run left."""

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import programs
import pytest
import run
from supervisor import HOST, Program


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that stands in for var/demo."""
    monkeypatch.setattr(programs, "DEMO", tmp_path)
    monkeypatch.setattr(programs, "RUN", tmp_path / "run")
    monkeypatch.setattr(programs, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(programs, "FAULT_FILE", tmp_path / "run" / "fault")
    return tmp_path


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_is_named_with_a_remedy(taken_port: int) -> None:
    wanted = [Program("traffic", ("true",)), Program("prometheus", ("true",), port=taken_port)]
    with pytest.raises(run.DemoError) as caught:
        run.check_ports(wanted)
    assert f"port {taken_port} on 127.0.0.1 is taken; prometheus needs it" in str(caught.value)
    assert "make run RUN_FLAGS='--without prometheus'" in str(caught.value)


def test_the_exporter_cannot_be_done_without(taken_port: int) -> None:
    with pytest.raises(run.DemoError) as caught:
        run.check_ports([Program("exporter", ("true",), port=taken_port)])
    assert "--without" not in str(caught.value)


def test_free_ports_pass(taken_port: int) -> None:
    with socket.create_server((HOST, 0)) as server:
        free = server.getsockname()[1]
    assert free != taken_port
    run.check_ports([Program("exporter", ("true",), port=free)])


def test_only_one_demo_runs(demo: Path) -> None:
    assert run.running_demo() is None
    with run.only_one():
        assert run.running_demo() == os.getpid()
        with pytest.raises(run.DemoError, match=rf"runs already \(process {os.getpid()}\); `make stop`"):
            run.only_one().__enter__()
    assert run.running_demo() is None
    assert demo.is_dir()


def test_a_stale_process_id_is_not_a_running_demo(demo: Path) -> None:
    (demo / "run").mkdir()
    (demo / "run" / "supervisor.pid").write_text("1")
    assert run.running_demo() is None
    assert run.main(["stop"]) == 0


HOLDER = """
import os, pathlib, signal, sys
import programs, run
programs.RUN = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
with run.only_one():
    print("held", flush=True)
    signal.pause()
"""


def test_stop_ends_the_demo_that_holds_the_lock(demo: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(demo / "run")]
    path = {"PYTHONPATH": str(Path(run.__file__).parent)}
    with subprocess.Popen(command, env=path, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert run.running_demo() == holder.pid
        assert run.main(["stop"]) == 0
        assert holder.wait(10) == 7


def test_what_an_earlier_run_left_is_removed(demo: Path) -> None:
    with run.only_one():
        (demo / "run" / "prometheus").mkdir()
        (demo / "run" / "fault").write_text("shift\n")
        (demo / "logs").mkdir()
        (demo / "logs" / "predictions.jsonl").write_text("{}\n")
        (demo / "state.duckdb").write_text("x")
        run.clear_last_run(keep=False)
        left = sorted(str(path.relative_to(demo)) for path in demo.rglob("*"))
    assert left == ["logs", "run", "run/supervisor.pid"]


def test_keep_keeps_logs_and_state_but_no_fault(demo: Path) -> None:
    with run.only_one():
        (demo / "run" / "fault").write_text("shift\n")
        (demo / "logs").mkdir()
        (demo / "logs" / "predictions.jsonl").write_text("{}\n")
        (demo / "state.duckdb").write_text("x")
        run.clear_last_run(keep=True)
        left = sorted(str(path.relative_to(demo)) for path in demo.rglob("*"))
    assert left == ["logs", "logs/predictions.jsonl", "run", "run/supervisor.pid", "state.duckdb"]


def test_faults_reach_the_running_traffic(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run.only_one():
        assert run.main(["fault", "shift", "latency"]) == 0
        assert (demo / "run" / "fault").read_text() == "shift\nlatency\n"
        assert run.main(["fault", "none"]) == 0
        assert (demo / "run" / "fault").read_text() == "none\n"
    assert "healed" in capsys.readouterr().out


def test_a_fault_without_a_demo_is_refused(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["fault", "shift"]) == 1
    assert "no demo is running" in capsys.readouterr().err
    assert not (demo / "run").exists()


@pytest.mark.parametrize(
    ("names", "message"), [([], "which fault?"), (["shfit"], "no fault is called shfit")]
)
def test_an_unknown_fault_is_named_with_those_that_exist(
    demo: Path, capsys: pytest.CaptureFixture[str], names: list[str], message: str
) -> None:
    assert run.main(["fault", *names]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "missing, shift, unseen-category" in said
    assert demo.is_dir()


def test_start_refuses_while_a_demo_runs(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (demo / "run").mkdir()
    with (demo / "run" / "supervisor.pid").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        assert run.main(["start"]) == 1
    assert "process 4711" in capsys.readouterr().err


def test_every_program_listens_on_loopback_only() -> None:
    servers = [
        programs.exporter(),
        programs.pager(),
        programs.alertmanager(Path("/am")),
        programs.prometheus(Path("/prom")),
    ]
    for server in servers:
        assert any(argument.endswith(f"127.0.0.1:{server.port}") for argument in server.command), server.name
    assert "--cluster.listen-address=" in programs.alertmanager(Path("/am")).command
    assert programs.grafana(Path("/g")).environment["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"


def test_what_is_not_here_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "tool", lambda *names: Path("/p") if "prometheus" in names else None)
    choice = programs.choose()
    assert [program.name for program in choice.programs] == ["traffic", "exporter", "prometheus"]
    assert choice.left_out["alertmanager"] == "not found in .tools/bin or on the PATH"


def test_what_is_not_wanted_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "tool", lambda *names: Path("/bin") / names[0])
    names = [program.name for program in programs.choose(["grafana", "pager"]).programs]
    assert names == ["traffic", "exporter", "alertmanager", "prometheus"]


def test_the_terminal_shows_the_addresses_and_promises_no_page_that_cannot_come() -> None:
    small = programs.welcome([programs.traffic(), programs.exporter()])
    assert "http://127.0.0.1:10477/metrics" in small
    assert "no page arrives" in small
    all_of_it = [programs.exporter(), programs.pager()]
    all_of_it += [programs.alertmanager(Path("/am")), programs.prometheus(Path("/prom"))]
    assert "a ticket arrives here" in programs.welcome(all_of_it)
    assert "http://127.0.0.1:9093/" in programs.welcome(all_of_it)


def test_grafanas_password_is_for_this_user_only(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "GRAFANA_PASSWORD", demo / "password")
    programs.write_grafana_password()
    first = (demo / "password").read_text()
    programs.write_grafana_password()
    assert (demo / "password").read_text() != first
    assert (demo / "password").stat().st_mode & 0o777 == 0o600
