"""What every test runs under."""

from __future__ import annotations

import gc
import os
from collections import Counter

import pytest

# An f-string on an Output becomes help text inside user data unless this is set; with it, it raises.
# Read by the SDK at each conversion, so the first import is early enough.
os.environ["PULUMI_ERROR_OUTPUT_STRING"] = "true"

# Nothing of the person's own Pulumi login, stack or plugins may decide how a test ends.
for _name in [name for name in os.environ if name.startswith("PULUMI_CONFIG")]:
    del os.environ[_name]
os.environ["PULUMI_SKIP_UPDATE_CHECK"] = "true"

# Whole files go to one worker (they share a cluster), so the longest must not come last.
_LONGEST_FIRST = (
    "test_stack_life",
    "test_stack_failures",
    "test_stack_people",
    "test_kubernetes_standin_engine",
    "test_boot_failures",
    "test_stack_interrupts",
    "test_driver_faults",
    "test_boot_cluster",
    "test_userdata_boot",
    "test_driver",
    "test_userdata_faults",
    "test_kubernetes_standin_waits",
    "test_stack_secrets",
    "test_stack_refusals",
    "test_userdata_join",
    "test_verify_gpu_job",
)


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
