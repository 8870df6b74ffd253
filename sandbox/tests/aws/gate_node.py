"""A node as far as AWS sees it: the cloud that it is given, and its own client from its user data."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from components.iam import node_policy
from sandbox.aws.account import Account
from sandbox.aws.cloud import Cloud
from sandbox.aws.credentials import RoleKeys
from sandbox.aws.gate import Gate
from sandbox.aws.metadata import MetadataService
from sandbox.aws.serve import Application, serve
from sandbox.config import REGION
from sandbox.nodes.cloudinit import UserData, parse
from sandbox.tests.nodes.boot_world import World

CLIENT = "/usr/local/lib/kubepark/kp-aws"
ARN = "arn:aws:ssm:us-east-1:123456789012:parameter"


def fetch(
    url: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, bytes]:
    """Status and body of an answer; a `ConnectionError` if there is none."""
    request = urllib.request.Request(url, body, headers or {}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Node:
    """One running instance. `keys` are the gate's; `metadata_url` may be put elsewhere by a test."""

    def __init__(self, lab: World, name: str, folder: Path, stack: ExitStack, keys: RoleKeys) -> None:
        self.lab, self.name, self.folder = lab, name, folder
        self.instance = lab.instances.get(name) or lab.launch(name)
        self.account = Account(Cloud(lab.endpoint))
        self.keys = keys
        self.log_file = folder / "calls.jsonl"
        self.stack = stack
        cloud = self.account.cloud
        self.metadata_url = self.serve(MetadataService(cloud, keys, self.instance))
        self.gate_url = self.serve(Gate(self.account, keys, lab.endpoint, self.log_file))
        self.user_data: UserData = parse(cloud.user_data(self.instance))
        self.program = self._install()

    def serve(self, application: Application) -> str:
        """The URL where the application answers until the node ends."""
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        self.stack.callback(serve(application, listener).close)
        return f"http://127.0.0.1:{port}"

    def _install(self) -> Path:
        """kp-aws as cloud-init writes it, with node.json under our folder and without long pauses."""
        node = self.folder / "node.json"
        node.write_bytes(self.user_data.files["/etc/kubepark/node.json"].content)
        program = self.folder / "kp-aws"
        text = self.user_data.files[CLIENT].content.decode()
        for old, new in (
            ("/etc/kubepark/node.json", str(node)),
            ("LONGEST_PAUSE = 20", "LONGEST_PAUSE = 0.11"),
            ("ALIAS_SEEN = 300", "ALIAS_SEEN = 0"),
        ):
            assert old in text
            text = text.replace(old, new)
        program.write_text(text, encoding="utf-8")
        return program

    def kp_aws(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        cloud = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.metadata_url, "AWS_ENDPOINT_URL": self.gate_url}
        return subprocess.run(
            [sys.executable, self.program, *arguments],
            input=given,
            env={**clean, **cloud},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def says(self, *arguments: str, given: str = "") -> str:
        """What the client prints; AssertionError with its complaint if it fails."""
        done = self.kp_aws(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def complaint(self, *arguments: str, given: str = "") -> str:
        """The one line that the client ends with."""
        done = self.kp_aws(*arguments, given=given)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        return line

    def client(self, service: str = "ssm", region: str = REGION, **change: str) -> Any:
        """A boto3 client with the node's own keys, or with others."""
        secret = self.keys.issue(self.instance)
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.gate_url,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=10),
            aws_access_key_id=change.get("key", secret.access_key_id),
            aws_secret_access_key=change.get("secret", secret.secret_access_key),
            aws_session_token=change.get("token", secret.token),
        )

    def get(self, url: str, *request: Any, **more: Any) -> tuple[int, str]:
        """As `fetch`, as text."""
        status, data = fetch(url, *request, **more)
        return status, data.decode()

    @property
    def lines(self) -> list[str]:
        return self.log_file.read_text(encoding="utf-8").splitlines() if self.log_file.exists() else []

    @property
    def decisions(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@contextmanager
def gate_node(lab: World, name: str, folder: Path, keys: RoleKeys | None = None) -> Iterator[Node]:
    """The instance of `name`, launched if need be, with its cloud on loopback."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        yield Node(lab, name, folder, stack, keys or RoleKeys())


def denied(node: Node, action: str, resource: str, why: str = "") -> str:
    """The end of the client's line about a denied call."""
    why = why or f"because no identity-based policy allows the {action} action"
    session = f"arn:aws:sts::123456789012:assumed-role/{node.name}/{node.instance}"
    return f"User: {session} is not authorized to perform: {action} on resource: {resource} {why}"


def said(line: str) -> dict[str, str]:
    """AWS's error in a line of kp-aws."""
    found: dict[str, str] = json.loads(line.split(": ", 2)[2])
    return found


def statement(action: str, resource: str = "*", effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Sid": "Extra", "Effect": effect, "Action": action, "Resource": resource, **more}


@contextmanager
def policy(lab: World, *extra: dict[str, Any], without: str = "") -> Iterator[None]:
    """The worker's role with more statements, or without one of its own."""
    own: Any = node_policy(lab.plan("worker01"), lab.settings.aws, lab.naming)
    kept = [each for each in own["Statement"] if each["Sid"] != without]
    changed = json.dumps({**own, "Statement": [*kept, *extra]})
    lab.iam.put_role_policy(RoleName="worker01", PolicyName="node", PolicyDocument=changed)
    try:
        yield
    finally:
        lab.grant("worker01")
