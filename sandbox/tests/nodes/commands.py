"""Running programs in tests: to their end, or for the length of a block."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

SECONDS = 15
T = TypeVar("T")
root = pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")


def once(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 60}
    return subprocess.run(command, env={**os.environ, **variables}, **options, check=False)


@contextmanager
def running(*command: str | Path, code: int = 0, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is told to end when the block is left, and has to: with this code, and soon."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env={**os.environ, **variables}, **streams) as process:
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=SECONDS) == code, process.stdout.read()
        finally:
            process.kill()


def until(what: str, probe: Callable[[], T | None], seconds: float = 30.0) -> T:
    """The first true answer of `probe`. AssertionError that names `what` at the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := probe():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")
