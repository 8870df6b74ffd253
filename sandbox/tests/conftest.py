"""Processes of tests, the order of the long tests, and what is told at the end."""

from __future__ import annotations

import gc
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sandbox.build.toolchain import ensure_programs

# Whole files go to one worker (they share a cluster), so the longest must not come last.
_LONGEST_FIRST = (
    "test_stack_life",
    "test_stack_people",
    "test_stack_park",
    "test_stack_capacity",
    "test_stack_interrupts",
    "test_stack_new_master",
    "test_stack_power",
    "test_stack_readme",
    "test_stack_failures",
    "test_boot_cluster",
    "test_userdata_boot",
    "test_recovery",
    "test_userdata_faults",
    "test_stack_secrets",
    "test_stack_refusals",
    "test_userdata_join",
    "test_verify_gpu_job",
)


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts processes, which are killed with the test at the latest."""
    with ExitStack() as ends:

        def start(*command: Any, **options: Any) -> subprocess.Popen[str]:
            process = ends.enter_context(subprocess.Popen(command, text=True, **options))
            ends.callback(process.kill)
            return process

        yield start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
    gc.freeze()  # modules and tests: what is looked through from now on is what tests leave


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many faults were injected: tests record them as `faults: KIND` with a count."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        if report.when == "call":
            for name, value in report.user_properties:
                if name.startswith("faults: "):
                    counts[name.removeprefix("faults: ")] += int(str(value))
    if counts:
        terminalreporter.section("faults injected, all as expected")
        for kind, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:>5}  {kind}")
        terminalreporter.write_line(f"{counts.total():>5}  together")


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    """Dex and our own programs in images, by name."""
    return ensure_programs(["dex", "standins"])
