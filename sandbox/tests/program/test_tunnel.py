"""`kubepark tunnel` against the emulator's Session Manager and a stand-in for the AWS CLI's plugin."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from sandbox.ports import free_port
from sandbox.tests.aws.emulator_server import IMAGE, ROOT, Emulator
from sandbox.tests.program import plugin_standin

# What is run through the tunnel: who answers at the port, tried for as long as it takes to open.
ASK = """
import socket, sys, time
deadline = time.monotonic() + 20
while True:
    try:
        print(socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=1).recv(9).decode())
        raise SystemExit(int(sys.argv[2]))
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.1)
"""
KUBEPARK = """
import sys
from pathlib import Path
from cli import stackfile
stackfile.ROOT = Path(sys.argv.pop(1))
from cli.main import run
run()
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory) -> Iterator[Emulator]:
    running = Emulator(tmp_path_factory.mktemp("tunnel"), IMAGE)
    yield running
    running.stop()


class World:
    """A folder with a stack file and the plugin, and a port of this machine."""

    def __init__(self, folder: Path, emulator: Emulator) -> None:
        self.folder, self.emulator, self.port = folder, emulator, free_port()
        self.log = folder / "plugin.jsonl"
        plugin = folder / "session-manager-plugin"
        plugin.write_text(f'#!/bin/sh\nexec {sys.executable} {plugin_standin.__file__} "$@"\n')
        plugin.chmod(0o755)
        self.stack()

    def stack(self, **more: Any) -> None:
        config = {"kubepark:aws": {"region": "us-east-1"}} | {f"kubepark:{k}": v for k, v in more.items()}
        (self.folder / "Pulumi.dev.yaml").write_text(json.dumps({"config": config}))

    def start(self, *words: str, path: str = "", **variables: str) -> subprocess.Popen[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_ENDPOINT_URL": self.emulator.url,
            "PATH": path or f"{self.folder}:/usr/bin:/bin",
            "PLUGIN_LOG": str(self.log),
        }
        return subprocess.Popen(
            [sys.executable, "-c", KUBEPARK, str(self.folder), "tunnel", "--stack", "dev", *words],
            cwd=ROOT,
            env=environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, **variables: str) -> tuple[int, str, str]:
        process = self.start(*words, **variables)
        shown, said = process.communicate(timeout=60)
        assert "Traceback" not in said
        return process.returncode, shown, said

    def through(self, code: int = 0) -> tuple[str, ...]:
        return ("--port", str(self.port), "--", sys.executable, "-c", ASK, str(self.port), str(code))

    def noted(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def master(self, cluster: str = "kubepark-dev") -> str:
        tags = {"kubepark:cluster": cluster, "kubepark:role": "master"}
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        made = self.emulator.client("ec2").run_instances(
            ImageId=IMAGE,
            InstanceType="m7i.large",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": listed}],
        )
        return str(made["Instances"][0]["InstanceId"])


@pytest.fixture
def world(tmp_path: Path, emulator: Emulator) -> Iterator[World]:
    made = World(tmp_path, emulator)
    yield made
    ec2 = emulator.client("ec2")
    running = [i for group in ec2.describe_instances()["Reservations"] for i in group["Instances"]]
    if running:
        ec2.terminate_instances(InstanceIds=[instance["InstanceId"] for instance in running])
    for line in made.noted():
        assert "pid" not in line or not psutil.pid_exists(line["pid"]), "the plugin outlives its tunnel"


def ended(emulator: Emulator) -> int:
    return len([line for line in emulator.recorded("TerminateSession") if line["status"] == 200])


def test_a_command_runs_while_the_tunnel_is_open_and_its_exit_code_counts(world: World) -> None:
    world.master("other")
    master, before = world.master(), ended(world.emulator)
    code, shown, said = world.run(*world.through(7))
    assert (code, shown) == (7, "REMOTE\n"), said
    assert f"the API server of dev is at https://127.0.0.1:{world.port}" in said
    started, stopped = world.noted()
    assert started == {
        "pid": started["pid"],
        "profile": "",
        "region": "us-east-1",
        "endpoint": world.emulator.url,
        "Target": master,
        "DocumentName": "AWS-StartPortForwardingSession",
        "Parameters": {"portNumber": ["6443"], "localPortNumber": [str(world.port)]},
    }
    assert stopped == {"ended": started["pid"]}
    assert ended(world.emulator) == before + 1


def test_without_a_master_a_command_starts_and_the_tunnel_opens_when_there_is_one(world: World) -> None:
    """So the first `up` goes through it too."""
    process = world.start(*world.through())
    assert process.stderr is not None
    assert "no master of kubepark-dev runs in us-east-1" in process.stderr.readline()
    world.master()
    shown, said = process.communicate(timeout=60)
    assert (process.returncode, shown) == (0, "REMOTE\n"), said
    assert "a session is open: kubepark-" in said


def test_without_a_master_and_a_command_it_is_one_line(world: World) -> None:
    code, _, said = world.run("--port", str(world.port))
    assert code == 1
    assert said == (
        "error: no master of kubepark-dev runs in us-east-1 (`bin/kubepark up --stack dev` makes one)\n"
    )


def test_a_session_that_ends_is_followed_by_another(world: World) -> None:
    world.master()
    kill = f"import os, json; os.kill(json.loads(open({str(world.log)!r}).readline())['pid'], 9); " + ASK
    # It still answers in the moment of its end.
    kill = kill.replace("import socket, sys, time", "import socket, sys, time; time.sleep(1)")
    words = ("--port", str(world.port), "--", sys.executable, "-c", kill, str(world.port), "0")
    code, shown, said = world.run(*words)
    assert (code, shown) == (0, "REMOTE\n"), said
    assert "the session ended (exit code -9); opening another one" in said
    assert len([line for line in world.noted() if "pid" in line]) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_open_until_it_is_ended_and_leaves_nothing(world: World, number: int) -> None:
    world.master()
    world.stack(clusterName="kubepark-dev", controlPlane={"apiEndpoint": f"https://localhost:{world.port}"})
    before = ended(world.emulator)
    process = world.start()
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    said = []
    for line in lines:
        said.append(line)
        if "Ctrl-C ends it" in line:
            break
    with socket.create_connection(("127.0.0.1", world.port), timeout=5) as connection:
        assert connection.recv(9) == b"REMOTE"
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert ended(world.emulator) == before + 1
    assert not [line for line in said if "pulumi config set" in line], "the stack says so already"


def test_the_stack_is_told_to_go_through_it(world: World) -> None:
    world.master()
    _, _, said = world.run(*world.through())
    assert (
        "pulumi config set --stack dev --path kubepark:controlPlane.apiEndpoint "
        f"https://127.0.0.1:{world.port}\n" in said
    )


def test_what_has_to_be_put_right_first_is_one_line_and_opens_nothing(world: World) -> None:
    world.master()
    before = len(world.emulator.recorded("StartSession"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = str(server.getsockname()[1])
        cases = [
            (
                world.run("--port", "0", path="/usr/bin:/bin"),
                "error: the AWS CLI's session-manager-plugin is not on PATH: https://docs.aws.amazon.com/",
            ),
            (
                world.run("--port", "0", PLUGIN_VERSION="1.2.497.0"),
                "session-manager-plugin is 1.2.497.0; needed is one newer than 1.2.497.0, which does not ",
            ),
            (world.run("--port", taken), f"error: port {taken} of this machine is taken (Address already in"),
        ]
    world.stack(aws={"region": "us-east-1", "endpoint": "http://127.0.0.1:1"})
    cases.append((world.run("--port", "0"), "has an AWS endpoint of its own (kubepark:aws.endpoint)"))
    for (code, shown, said), wanted in cases:
        assert (code, shown, said.count("\n")) == (1, "", 1), said
        assert wanted in said
    words = ("--", sys.executable, "-c", "print('run'); raise SystemExit(3)")
    code, shown, said = world.run(*words, path="/usr/bin:/bin")
    assert (code, shown) == (3, "run\n"), "a sandbox stack needs none"
    assert "tunnel: none is opened: stack dev has an AWS endpoint of its own" in said
    assert len(world.emulator.recorded("StartSession")) == before
    assert world.noted() == []


def test_a_command_that_cannot_be_run_ends_the_tunnel(world: World) -> None:
    world.master()
    code, _, said = world.run("--port", str(world.port), "--", "/nowhere/nothing")
    assert code == 1
    assert "error: /nowhere/nothing cannot be run: No such file or directory" in said


def test_the_emulator_refuses_what_session_manager_refuses(world: World) -> None:
    ssm, master = world.emulator.client("ssm"), world.master()
    ports = {"portNumber": ["6443"], "localPortNumber": ["6443"]}
    right: dict[str, Any] = {
        "Target": master,
        "DocumentName": "AWS-StartPortForwardingSession",
        "Parameters": ports,
    }
    session = ssm.start_session(**right)["SessionId"]
    assert ssm.terminate_session(SessionId=session)["SessionId"] == session

    def code(call: Any, **arguments: Any) -> str:
        with pytest.raises(ClientError) as refused:
            call(**arguments)
        return str(refused.value.response["Error"]["Code"])

    assert code(ssm.terminate_session, SessionId=session) == "DoesNotExistException"
    assert code(ssm.start_session, **right | {"DocumentName": "AWS-Other"}) == "InvalidDocument"
    assert code(ssm.start_session, **right | {"Parameters": {"port": ["1"]}}) == "ValidationException"
    assert code(ssm.start_session, **right | {"Parameters": {"portNumber": ["x"]}}) == "ValidationException"
    world.emulator.client("ec2").stop_instances(InstanceIds=[master])
    assert code(ssm.start_session, **right) == "TargetNotConnected"
    assert code(ssm.start_session, **right | {"Target": "i-0123456789abcdef0"}) == "TargetNotConnected"
