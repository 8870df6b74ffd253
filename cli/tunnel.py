"""`kubepark tunnel`: the API server at a port of this machine, through Session Manager.

For whom `adminCidrs` does not let in, hosted runners above all. A session is opened as the AWS CLI opens one
(aws/aws-cli, awscli/customizations/sessionmanager.py): StartSession, and the session-manager-plugin with its
answer. It is kept open: another one follows when the master was replaced or the session timed out.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from urllib.parse import urlsplit

from cli.aws import client
from cli.errors import CommandError
from cli.stackfile import cluster_of, config_of, setting
from config.naming import API_PORT, TAG_CLUSTER, TAG_ROLE

PLUGIN = "session-manager-plugin"
DOCUMENT = "AWS-StartPortForwardingSession"
INSTALL = (
    "https://docs.aws.amazon.com/systems-manager/latest/userguide/"
    "session-manager-working-with-install-plugin.html"
)
# Newer ones take the session's token from a variable, older ones as an argument, which `ps` shows to all.
_TOKEN_IN_ARGUMENTS = (1, 2, 497, 0)
_RESPONSE = "AWS_SSM_START_SESSION_RESPONSE"
_CALL_SECONDS = 10.0  # for one call of AWS
_OPEN_SECONDS = 30.0  # from StartSession to a port that listens
_RETRY_SECONDS = 5.0
_END_SECONDS = 5.0
_POLL_SECONDS = 0.2


class NotYet(Exception):
    """There is nothing to connect to now; there may be soon."""


def run(stack: str, port: int | None, command: Sequence[str]) -> int:
    """Keep the tunnel open until Ctrl-C (exit code 0), or while `command` runs (its exit code).

    `port` on this machine; 0: any, None: that of the stack's endpoint if it is on this machine, else 6443.
    Raises `CommandError` for what has to be put right first.
    """
    config = config_of(stack)
    if setting(config, "kubepark:aws.endpoint"):
        reason = (
            f"stack {stack} has an AWS endpoint of its own (kubepark:aws.endpoint) and no Session Manager "
            "behind it; its API server is where kubepark:controlPlane.apiEndpoint says"
        )
        if not command:
            raise CommandError(reason)
        _say(f"none is opened: {reason}")  # so what a workflow runs is run on a sandbox stack as it is
        with _signals() as received:
            return _keep(None, command, received)
    local = _local_port(str(setting(config, "kubepark:controlPlane.apiEndpoint") or ""))
    tunnel = Tunnel(stack, _free(local or API_PORT if port is None else port))
    with _signals() as received, contextlib.closing(tunnel):
        try:
            tunnel.open(stopped=lambda: bool(received))
        except NotYet as reason:
            if not command:
                raise CommandError(str(reason)) from None
            _say(f"{reason}; trying on while the command runs")
        else:
            _say(f"the API server of {stack} is at https://127.0.0.1:{tunnel.port}")
        if local != tunnel.port:
            _say(
                "kubepark and pulumi go through it when the stack says so: pulumi config set "
                f"--stack {stack} --path kubepark:controlPlane.apiEndpoint https://127.0.0.1:{tunnel.port}"
            )
        if not command:
            _say("Ctrl-C ends it")
        return _keep(tunnel, command, received)


def _keep(tunnel: Tunnel | None, command: Sequence[str], received: set[int]) -> int:
    process = _started(command) if command else None
    while not received if process is None else process.poll() is None:
        if process is not None and signal.SIGTERM in received:
            received.clear()
            process.terminate()  # Ctrl-C reaches it by itself
        if tunnel is not None:
            tunnel.tend()
        time.sleep(_POLL_SECONDS)
    code = process.returncode if process else 0
    return code if code >= 0 else 128 - code


class Tunnel:
    """One port of this machine, and the session behind it."""

    def __init__(self, stack: str, port: int) -> None:
        self.port = port
        self._stack, self._cluster = stack, cluster_of(stack)
        self._plugin = _plugin()
        self._profile = os.environ.get("AWS_PROFILE", "")
        self._ec2, self._ssm = (
            client(service, stack, os.environ, seconds=_CALL_SECONDS) for service in ("ec2", "ssm")
        )
        self._session = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._next, self._told = 0.0, ""

    def open(self, stopped: Callable[[], bool]) -> None:
        """Open a session and wait for the port.

        Raises `NotYet`, `CommandError` for what waiting does not help, and KeyboardInterrupt once `stopped`.
        """
        self._start()
        deadline = time.monotonic() + _OPEN_SECONDS
        while not self._listens():
            if stopped():
                raise KeyboardInterrupt
            if not self._runs():
                raise CommandError(f"{PLUGIN} ended before the tunnel was open; what it said is above")
            if time.monotonic() > deadline:
                raise CommandError(f"{PLUGIN} did not open port {self.port} in {_OPEN_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    def tend(self) -> None:
        """Open another session if there is none; at most one try in a while."""
        if self._runs() or time.monotonic() < self._next:
            return
        if self._process is not None:
            self._tell(f"the session ended (exit code {self._process.returncode}); opening another one")
            self.close()
        self._next = time.monotonic() + _RETRY_SECONDS
        try:
            self._start()
        except (NotYet, CommandError) as reason:
            self._tell(str(reason))
        else:
            self._told = ""
            _say(f"a session is open: {self._session}")

    def close(self) -> None:
        """End plugin and session. A session that cannot be ended here ends by Session Manager's timeout."""
        from botocore.exceptions import BotoCoreError, ClientError

        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        if self._session:
            with contextlib.suppress(BotoCoreError, ClientError):
                self._ssm.terminate_session(SessionId=self._session)
        self._session = ""

    def _start(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            asked = {
                "Target": self._master(),
                "DocumentName": DOCUMENT,
                "Parameters": {"portNumber": [str(API_PORT)], "localPortNumber": [str(self.port)]},
            }
            answer = self._ssm.start_session(**asked)
        except ClientError as error:
            if error.response["Error"]["Code"] == "TargetNotConnected":
                raise NotYet(f"Session Manager does not reach {asked['Target']} yet") from None
            raise CommandError(f"no session: {error}; what it needs is in docs/workflows.md") from None
        except BotoCoreError as error:
            raise CommandError(f"no session: {error}") from None
        self._session = answer["SessionId"]
        response = {name: answer[name] for name in ("SessionId", "TokenValue", "StreamUrl")}
        words = [_RESPONSE, self._ssm.meta.region_name, "StartSession", self._profile, json.dumps(asked)]
        self._process = subprocess.Popen(
            [self._plugin, *words, self._ssm.meta.endpoint_url],
            env={**os.environ, _RESPONSE: json.dumps(response)},
            stdin=subprocess.DEVNULL,
            stdout=2,  # the first output is the command's
            start_new_session=True,  # Ctrl-C is for the command, which needs the tunnel while it ends
        )

    def _master(self) -> str:
        """The id of the running master, found by the cluster's tags."""
        wanted = {
            f"tag:{TAG_CLUSTER}": self._cluster,
            f"tag:{TAG_ROLE}": "master",
            "instance-state-name": "running",
        }
        answer = self._ec2.describe_instances(
            Filters=[{"Name": name, "Values": [value]} for name, value in wanted.items()]
        )
        found = [instance for group in answer["Reservations"] for instance in group["Instances"]]
        if not found:
            raise NotYet(
                f"no master of {self._cluster} runs in {self._ec2.meta.region_name} "
                f"(`bin/kubepark up --stack {self._stack}` makes one)"
            )
        return str(max(found, key=lambda instance: instance["LaunchTime"])["InstanceId"])

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _tell(self, text: str) -> None:
        """Each reason once, however often it is met."""
        if text != self._told:
            self._told = text
            _say(text)


def _plugin() -> str:
    """The plugin on PATH. Raises `CommandError` if there is none, or one that shows the session's token."""
    found = shutil.which(PLUGIN)
    if found is None:
        raise CommandError(f"the AWS CLI's {PLUGIN} is not on PATH: {INSTALL}")
    done = subprocess.run([found, "--version"], capture_output=True, text=True)
    said = done.stdout.strip()
    version = tuple(map(int, said.split("."))) if re.fullmatch(r"\d+(\.\d+)*", said) else ()
    if version <= _TOKEN_IN_ARGUMENTS:
        raise CommandError(
            f"{found} is {said or 'of no known version'}; needed is one newer than "
            f"{'.'.join(map(str, _TOKEN_IN_ARGUMENTS))}, which does not show the session's token: {INSTALL}"
        )
    return found


def _local_port(endpoint: str) -> int | None:
    """The port of an endpoint on this machine."""
    parts = urlsplit(endpoint)
    return parts.port if parts.hostname in ("127.0.0.1", "localhost") else None


def _free(port: int) -> int:
    """The port, if nothing listens there; 0: one where nothing does. The plugin itself would only hang."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CommandError(
                f"port {port} of this machine is taken ({error.strerror}); fix: --port PORT"
            ) from None
        return int(probe.getsockname()[1])


def _started(command: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command)
    except OSError as error:
        raise CommandError(f"{command[0]} cannot be run: {error.strerror}") from None


@contextlib.contextmanager
def _signals() -> Iterator[set[int]]:
    """Those that would have ended us, and left plugin and session behind."""
    received: set[int] = set()

    def note(number: int, frame: FrameType | None) -> None:
        received.add(number)

    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.signal(number, note) for number in ending}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    print(f"tunnel: {text}", file=sys.stderr, flush=True)
