"""The plugin as a process: it says its port, answers, and never outlives its engine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version

import grpc
import psutil
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2_grpc

from sandbox.processes import living
from sandbox.tests.tools import tool

# A parent that starts the plugin, hands its output on, and then lives until it is killed.
PARENT = (
    "import subprocess, sys, time; child = subprocess.Popen(sys.argv[1:], stdout=1);"
    "print(child.pid, file=sys.stderr, flush=True); time.sleep(60)"
)


def test_it_prints_its_port_answers_and_ends_when_its_parent_is_killed(
    spawn: Callable[..., subprocess.Popen[str]],
) -> None:
    command = [sys.executable, "-c", PARENT, str(tool("pulumi-resource-aws")), "127.0.0.1:1"]
    parent = spawn(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stderr is not None
    plugin = psutil.Process(int(parent.stderr.readline()))
    with grpc.insecure_channel(f"127.0.0.1:{int(parent.stdout.readline())}") as channel:
        info = provider_pb2_grpc.ResourceProviderStub(channel).GetPluginInfo(Empty(), timeout=10)
    assert info.version == version("pulumi-aws"), "main.go has that of the SDK"
    parent.kill()
    assert living([plugin], seconds=20) == []
