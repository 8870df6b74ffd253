"""What a killed comparison has left is found by the next one, and nothing else is touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from sandbox.fresh import sweep
from sandbox.processes import runs, sandbox_lock

# Takes the lock, starts something that outlives it, and waits to be killed.
HOLDER = """
import sys
from pathlib import Path
from sandbox.processes import sandbox_lock, Supervisor
state = Path(sys.argv[1])
state.mkdir(parents=True)
with sandbox_lock(state / "lock"):
    print(Supervisor(state / "state.json", state / "logs").start("emulator", ["sleep", "600"]), flush=True)
    input()
"""


def test_one_whose_command_was_killed_is_ended_and_removed(tmp_path: Path, spawn: Any) -> None:
    states = [tmp_path / name / "sandbox" for name in ("killed", "used", "begun")]
    states[2].mkdir(parents=True)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holders = [spawn(sys.executable, "-c", HOLDER, state, **pipes) for state in states[:2]]
    children = [psutil.Process(int(holder.stdout.readline())) for holder in holders]
    try:
        assert sweep(states) == []
        holders[0].kill()
        holders[0].wait(timeout=10)
        assert sweep(states) == [f"removed {tmp_path / 'killed'}, whose command was killed"]
        assert [path.name for path in sorted(tmp_path.iterdir())] == ["begun", "used"]
        assert [runs(child) for child in children] == [False, True]
    finally:
        holders[1].communicate("\n", timeout=10)
        for child in filter(runs, children):
            child.kill()


def test_one_that_ended_by_itself_names_nobody(tmp_path: Path) -> None:
    state = tmp_path / "ended" / "sandbox"
    with sandbox_lock(state / "lock"):
        pass
    assert sweep([state, tmp_path / "none" / "sandbox"]) == []
    assert state.exists()
