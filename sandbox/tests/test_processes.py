"""Child processes: started, found by others, ended, and never taken for somebody else's."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sandbox import ports
from sandbox.errors import SandboxError
from sandbox.files import atomic_write
from sandbox.ports import free_port
from sandbox.processes import MARK, Supervisor, is_alive, living, output, sandbox_lock
from sandbox.tests.nodes.commands import until

ROOT = Path(__file__).resolve().parents[2]
SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]


@pytest.fixture
def supervisor(tmp_path):
    made = Supervisor(tmp_path / "state.json", tmp_path / "logs")
    yield made
    made.stop_all(grace=1.0)


def has_said(supervisor, name, text):
    return lambda: text in supervisor.log(name).read_text()


def test_started_once_in_private_found_by_another_supervisor_and_ended(supervisor):
    pid = supervisor.start("one", SLEEP, ready=has_said(supervisor, "one", "up"))
    assert [path.stat().st_mode & 0o077 for path in (supervisor.log("one"), supervisor.state_file)] == [0, 0]
    assert supervisor.start("one", SLEEP) == pid
    other = Supervisor(supervisor.state_file, supervisor.log_dir)
    assert other.pid("one") == pid
    assert os.getsid(pid) == pid, "Ctrl-C in the terminal must not reach it"
    assert other.stop("one") is True
    assert not is_alive(pid)
    assert not supervisor.alive("one")
    assert supervisor.stop("one") is False


def test_a_recycled_pid_is_neither_alive_nor_killed(supervisor, spawn):
    stranger = spawn(*SLEEP, stdout=subprocess.DEVNULL)
    record = {"pid": stranger.pid, "started": 1.0}
    atomic_write(supervisor.state_file, json.dumps({"processes": {"one": record}}))
    assert not supervisor.alive("one")
    assert supervisor.stop("one") is False
    assert supervisor.stop_all() == []
    assert stranger.poll() is None


def test_one_that_ends_at_once_is_reported_with_what_this_start_wrote(supervisor):
    supervisor.log_dir.mkdir()
    supervisor.log("bad").write_text("yesterday's trouble\n")
    argv = [sys.executable, "-c", "import sys; print('no such disk'); sys.exit(3)"]
    with pytest.raises(SandboxError, match="bad ended at once with code 3") as caught:
        supervisor.start("bad", argv, ready=lambda: False)
    assert "no such disk" in str(caught.value)
    assert "yesterday" not in str(caught.value)
    assert supervisor.records() == {}


def test_one_that_never_gets_ready_is_ended_and_its_log_shown(supervisor):
    with pytest.raises(SandboxError, match=r"slow did not get ready within 1 s\n.*slow\.log:\n    up"):
        supervisor.start("slow", SLEEP, ready=lambda: False, timeout=1.0)
    assert supervisor.records() == {}
    assert list(supervisor.strays()) == []


def test_a_missing_program_is_one_clean_error(supervisor):
    with pytest.raises(SandboxError, match="cannot start gone: /no/such/program: No such file"):
        supervisor.start("gone", ["/no/such/program"])


def test_one_that_ignores_sigterm_is_killed(supervisor):
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    argv = [sys.executable, "-c", code]
    pid = supervisor.start("deaf", argv, ready=has_said(supervisor, "deaf", "up"))
    assert supervisor.stop("deaf", grace=0.3) is True
    assert not supervisor.alive("deaf")
    assert not is_alive(pid)


def test_the_group_is_ended_even_when_its_leader_is_gone(supervisor):
    code = (
        "import subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print('child', child.pid, flush=True); time.sleep(60)"
    )
    pid = supervisor.start("tree", [sys.executable, "-c", code], ready=has_said(supervisor, "tree", "child"))
    child = int(supervisor.log("tree").read_text().split()[-1])
    os.kill(pid, signal.SIGKILL)
    until("leader gone", lambda: not supervisor.alive("tree"))
    assert psutil.pid_exists(child)
    assert supervisor.stop("tree") is True
    assert not is_alive(child)


def test_what_was_started_but_not_recorded_is_ended_too(supervisor, spawn):
    marked = {**os.environ, MARK: str(supervisor.state_file)}
    stray = spawn(*SLEEP, env=marked, stdout=subprocess.DEVNULL)
    assert [process.pid for process in supervisor.strays()] == [stray.pid]
    assert supervisor.stop_all() == [str(stray.pid)]
    assert not is_alive(stray.pid)


def test_two_at_once_get_a_message_that_names_the_first(tmp_path, spawn):
    code = (
        "import sys, time; from pathlib import Path; from sandbox.processes import sandbox_lock\n"
        "with sandbox_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    path = tmp_path / "lock"
    holder = spawn(sys.executable, "-c", code, path, cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == "held\n"
    pattern = rf"another kubepark run \(pid {holder.pid}, since \d\d:\d\d\) is using this sandbox: wait"
    with pytest.raises(SandboxError, match=pattern), sandbox_lock(path):
        pass
    holder.kill()
    holder.wait()
    with sandbox_lock(path):  # the kernel freed it
        pass
    with sandbox_lock(path):
        pass


def test_a_free_port_is_none_that_the_system_gives_to_anybody():
    """Between its choice and its use every connection of every process takes a port of the system's range."""
    found = [free_port() for _ in range(50)]
    assert len(set(found)) == len(found)
    limits = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(limits.read_text().split()[0]) if limits.exists() else 49152
    assert max(found) < min(lowest, 30_000), "node ports begin there"


def test_a_port_that_is_taken_is_passed_over(monkeypatch):
    first = free_port()
    monkeypatch.setattr(ports, "_places", itertools.count(first - ports._FIRST))
    with socket.create_server(("127.0.0.1", first)):
        assert free_port() != first


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "file"
    atomic_write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        atomic_write(path, "\ud800")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        atomic_write(tmp_path / "folder", "x")
    assert path.read_text() == "old"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "folder"]


def test_a_process_that_nobody_reaps_counts_as_ended(spawn):
    """As in a container whose process 1 is no init: psutil's own wait would go on until its deadline."""
    script = "import subprocess, time\nchild = subprocess.Popen(['true'])\nprint(child.pid, flush=True)\ntime.sleep(15)"
    parent = spawn(sys.executable, "-c", script, stdout=subprocess.PIPE)
    orphan = psutil.Process(int(parent.stdout.readline()))
    began = time.monotonic()
    until("a zombie", lambda: orphan.status() == psutil.STATUS_ZOMBIE, 10)
    assert living([orphan], 20) == []
    assert living([psutil.Process(parent.pid)], 0.1) == [psutil.Process(parent.pid)]
    assert time.monotonic() < began + 10


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["sh", "-c", "echo one >&2; echo two >&2; exit 3"], r"^sh -c .*: exit 3: one\ntwo$"),
        (["sh", "-c", "sleep 9"], r"^sh -c sleep 9: did not end within 1 s$"),
        (["/no/program"], "cannot run /no/program: No such file"),
    ],
)
def test_a_command_gives_its_output_or_an_error_with_its_last_lines(command, message):
    assert output(["cat"], input="given") == "given"
    assert output(["cat"]) == "", "nothing is read of ours"
    with pytest.raises(SandboxError, match=message):
        output(command, timeout=1)
