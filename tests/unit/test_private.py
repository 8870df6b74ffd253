"""Folders for what nobody else may read: what is left of them when the process that made them is killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cli import private

# Makes a folder with a kubeconfig in it, hands it to a child that waits, and is killed.
MAKES = """
import subprocess, sys, time
from pathlib import Path
from cli import private
with private.folder(Path(sys.argv[1])) as made:
    (made.path / "kubeconfig").write_text("key")
    child = subprocess.Popen(["sleep", "60"], pass_fds=[made.lock], stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def left(tmp_path: Path) -> tuple[Path, int]:
    """What a killed process left an hour ago, and its child, which goes on."""
    with subprocess.Popen(
        [sys.executable, "-c", MAKES, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stdout is not None
        child = int(one.stdout.readline())
        one.kill()
    (folder,) = tmp_path.iterdir()
    assert (folder / "kubeconfig").exists()
    os.utime(folder, (0, 0))
    return folder, child


def test_what_a_killed_process_left_is_swept_once_nobody_needs_it(
    left: tuple[Path, int], tmp_path: Path
) -> None:
    folder, child = left
    try:
        with private.folder(tmp_path) as other:
            assert stat.S_IMODE(other.path.stat().st_mode) == 0o700
            assert folder.exists(), "its child still works in it"
    finally:
        os.kill(child, signal.SIGKILL)
    for _ in range(100):  # until the kernel has closed what it had open
        with private.folder(tmp_path):
            if not folder.exists():
                break
    assert list(tmp_path.iterdir()) == []


def test_one_that_was_made_a_moment_ago_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kubepark-private-new").mkdir()
    with private.folder(tmp_path):
        assert (tmp_path / "kubepark-private-new").exists()


def test_what_others_have_there_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "kubepark-private-gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    os.utime(tmp_path / "other", (0, 0))
    with private.folder(tmp_path) as made:
        assert made.path.is_dir()
    assert (tmp_path / "other").exists()
