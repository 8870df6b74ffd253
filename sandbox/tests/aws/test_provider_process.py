"""The plugin as a process: it says its port, answers, and never outlives its engine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2_grpc

from sandbox.processes import is_alive
from sandbox.tests.tools import tool

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = [str(tool("pulumi-resource-aws")), "127.0.0.1:1"]
# A parent that starts the plugin, hands its output on, and then lives until it is killed.
PARENT = (
    "import subprocess, sys, time; child = subprocess.Popen(sys.argv[1:], stdout=1);"
    "print(child.pid, file=sys.stderr, flush=True); time.sleep(60)"
)


@pytest.fixture
def plugin() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(PLUGIN, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_prints_its_port_and_answers(plugin: subprocess.Popen[str]):
    with grpc.insecure_channel(f"127.0.0.1:{port_of(plugin)}") as channel:
        info = provider_pb2_grpc.ResourceProviderStub(channel).GetPluginInfo(Empty(), timeout=10)
    assert info.version == version("pulumi-aws"), "main.go has that of the SDK"


def test_ends_when_its_parent_is_killed():
    command = [sys.executable, "-c", PARENT, *PLUGIN]
    parent = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert parent.stderr is not None
    child = int(parent.stderr.readline())
    port_of(parent)
    parent.kill()
    parent.communicate(timeout=30)  # returns when the child, which holds the pipe too, has ended
    deadline = time.monotonic() + 20
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not is_alive(child)
