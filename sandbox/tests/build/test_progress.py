"""What a person sees of long steps: bars that move on a terminal, plain lines in a pipe."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import progress

ROOT = Path(__file__).resolve().parents[3]
STEPS = """
import threading, time
from sandbox.progress import board, note, step

def work(name):
    with step(f"building {name}", f"built {name}", weight=5) as report:
        for number in range(8):
            report(number / 8)
            time.sleep(0.1)

with board("first run", 10):
    threads = [threading.Thread(target=work, args=(name,)) for name in ("alpha [x]", "beta")]
    for thread in threads:
        thread.start()
    note("said meanwhile")
    for thread in threads:
        thread.join()
"""
COLOR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-9]|9[0-7])[;m]")
LINE = r"^\[ 0:\d\d\] "
SECONDS = re.compile(r" in \d+ s$")


def on_terminal(**variables):
    """What a person sees there of the steps."""
    main, end = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100", **variables}
    with subprocess.Popen(
        [sys.executable, "-c", STEPS], stdin=end, stdout=end, stderr=end, env=environment
    ) as run:
        os.close(end)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(main, 1 << 16):
                shown += part
    os.close(main)
    assert run.returncode == 0, shown.decode()
    return shown.decode()


def test_bars_move_on_a_terminal():
    shown = on_terminal()
    shares = [int(share) for share in re.findall(r"first run [^%\n]*?(\d+)%", shown)]
    assert shares == sorted(shares)
    assert len(set(shares)) >= 3, shares
    assert re.search(r"  building alpha \[x\] .*%", shown), "brackets are no markup"
    assert COLOR.search(shown)
    for text in ("built alpha [x] in", "built beta in", "said meanwhile"):
        assert re.search(rf"\[ 0:\d\d\] {re.escape(text)}", shown), text


def test_a_dumb_terminal_gets_lines():
    shown = on_terminal(TERM="dumb")
    assert "building beta ..." in shown
    assert "\x1b" not in shown
    assert "%" not in shown


def test_a_pipe_gets_a_line_at_the_start_and_the_end_of_each():
    done = subprocess.run(
        [sys.executable, "-c", STEPS],
        env={**os.environ, "PYTHONPATH": str(ROOT), "FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert all(re.match(LINE, line) for line in lines)
    assert sorted(SECONDS.sub("", re.sub(LINE, "", line)) for line in lines) == [
        "building alpha [x] ...", "building beta ...", "built alpha [x]", "built beta", "said meanwhile",
    ]  # fmt: skip


def test_a_step_that_is_stopped_says_so_and_the_board_goes(capsys):
    step = progress.step("building x", "built x", weight=1)
    with pytest.raises(KeyboardInterrupt), progress.board("first run", 1), step:
        raise KeyboardInterrupt
    assert capsys.readouterr().err.splitlines() == [
        "[ 0:00] building x ...",
        "[ 0:00] building x ... stopped after 0 s",
    ]
    with progress.step("building y", "built y"):
        pass
    assert capsys.readouterr().err.splitlines() == ["building y ...", "built y in 0 s"]


def test_a_single_step_is_one_rewritten_line_on_a_terminal(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    with progress.step("building x", "built x", terminal):
        pass
    assert terminal.getvalue().endswith("\r\033[Kbuilt x in 0 s\n")
    assert terminal.getvalue().count("\n") == 1
