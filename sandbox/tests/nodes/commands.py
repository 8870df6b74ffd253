"""Running programs in tests: to their end, or for the length of a block."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SECONDS = 15
root = pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")


def once(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=30, check=False
    )


@contextmanager
def running(*command: str | Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is told to end when the block is left, and has to: well, and soon."""
    process = subprocess.Popen(
        command, env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=SECONDS) == 0, process.stdout.read()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def eventually(check: Callable[[], Any], what: str) -> Any:
    """What `check` gives as soon as that counts as true; `what` is said when it never does."""
    deadline = time.monotonic() + SECONDS
    while not (found := check()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found
