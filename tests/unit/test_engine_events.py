"""The engine's events: each is read whole and once, and the CLI never waits for us."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from cli.engine_events import failed_deletion, following

URN = "urn:pulumi:dev::kubepark::kubepark:index:NodePool$aws:ec2/instance:Instance::worker03"
# Opens it twice, as the CLI does for its preview and its update, with far more than a pipe holds.
WRITER = """
import json, sys
for part in (0, 1):
    with open(sys.argv[2], "a") as log:
        for number in range(300):
            log.write(json.dumps({"sequence": part * 300 + number, "text": "x" * 1000}) + "\\n")
"""


def test_every_event_arrives_also_those_at_the_end() -> None:
    seen: list[Any] = []
    with following(lambda event: seen.append(event["sequence"])) as option:
        subprocess.run([sys.executable, "-c", WRITER, *option], check=True, timeout=30)
    assert seen == list(range(600))


def test_a_cli_that_opens_nothing_is_not_waited_for() -> None:
    seen: list[Any] = []
    with following(seen.append):
        pass
    assert seen == []


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"resOpFailedEvent": {"metadata": {"op": "delete-replaced", "urn": URN}}}, "worker03"),
        ({"resOpFailedEvent": {"metadata": {"op": "create-replacement", "urn": URN}}}, ""),
        ({"resourcePreEvent": {"metadata": {"op": "delete-replaced", "urn": URN}}}, ""),
        ({"sequence": 1, "cancelEvent": {}}, ""),
    ],
)
def test_only_a_deletion_that_failed_and_that_something_waits_for_counts(
    event: dict[str, Any], name: str
) -> None:
    assert failed_deletion(event) == name
