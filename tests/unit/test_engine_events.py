"""The engine's events: each is read whole and once, and the CLI never waits for us."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cli.engine_events import failed_deletion, following

ROOT = Path(__file__).parents[2]
URN = "urn:pulumi:dev::kubepark::kubepark:index:NodePool$aws:ec2/instance:Instance::worker03"
# Sends each file of events by a stream of its own, as the CLI does for its preview and its update, and goes on
# when nobody takes them (pulumi 3.259, pkg/backend/display/display.go).
SENDER = """
import sys
import grpc
from pulumi.runtime.proto.events_pb2 import EventRequest
from pulumi.runtime.proto.events_pb2_grpc import EventsStub

address = sys.argv[sys.argv.index("--event-log") + 1].removeprefix("tcp://")
for name in sys.argv[1 : sys.argv.index("--event-log")]:
    with grpc.insecure_channel(address) as channel, open(name) as events:
        try:
            EventsStub(channel).StreamEvents(EventRequest(event=line) for line in events)
        except grpc.RpcError as error:
            print(error.code().name)
"""


def send(option: Sequence[str], *files: Path) -> None:
    words = [sys.executable, "-c", SENDER, *map(str, files), *option]
    subprocess.run(words, check=True, timeout=30)


def test_every_event_arrives_also_those_at_the_end(tmp_path: Path) -> None:
    """More than a pipe would hold, and one that is larger than gRPC takes by default."""
    seen: list[Any] = []
    files = tmp_path / "preview", tmp_path / "update"
    for part, file in enumerate(files):
        numbers = range(part * 300, part * 300 + 300)
        lines = [json.dumps({"sequence": number, "text": "x" * 1000}) for number in numbers]
        file.write_text("\n".join(lines), encoding="utf-8")
    large = tmp_path / "large"
    large.write_text(json.dumps({"sequence": 600, "text": "x" * 5_000_000}), encoding="utf-8")
    with following(lambda event: seen.append(event["sequence"])) as option:
        send(option, *files, large)
    assert seen == list(range(601))


DRIVER = """
import os, pathlib, signal, subprocess, sys
from cli.engine_events import following

with following(lambda event: os.kill(os.getpid(), signal.SIGKILL)) as option:
    cli = subprocess.Popen([sys.executable, "-c", sys.argv[1], *sys.argv[3:], *option])
    pathlib.Path(sys.argv[2]).write_text(str(cli.pid))
    cli.wait()
"""


def test_a_cli_whose_driver_was_killed_ends(tmp_path: Path) -> None:
    events, pid = tmp_path / "events", tmp_path / "pid"
    events.write_text("\n".join(json.dumps({"text": "x" * 1000}) for _ in range(2000)), encoding="utf-8")
    words = [sys.executable, "-c", DRIVER, SENDER, pid, events, events]
    driver = subprocess.Popen(list(map(str, words)), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    said, _ = driver.communicate(timeout=60)  # the CLI has it as well, and ends it
    assert driver.returncode == -signal.SIGKILL
    assert said.split() == ["UNAVAILABLE", "UNAVAILABLE"], "it went on to the second"


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
