"""A node as far as AWS sees it: an instance with its metadata service and its gate, on loopback."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from components.iam import node_policy
from sandbox.aws.account import Account
from sandbox.aws.cloud import Cloud
from sandbox.aws.credentials import RoleCredentials, RoleKeys
from sandbox.aws.gate import Gate
from sandbox.aws.metadata import MetadataService
from sandbox.aws.serve import Application, serve
from sandbox.config import REGION
from sandbox.tests.nodes.boot_world import World

ARN = "arn:aws:ssm:us-east-1:123456789012:parameter"
TTL = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}


def fetch(
    url: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> tuple[int, bytes]:
    """Status and body of an answer; a `ConnectionError` if there is none."""
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def session(service: str) -> dict[str, str]:
    """The header of a session with a metadata service."""
    status, token = fetch(f"{service}/latest/api/token", "PUT", TTL)
    assert status == 200
    return {"X-aws-ec2-metadata-token": token.decode()}


def metadata(service: str, path: str) -> tuple[int, str]:
    """Status and text of what a metadata service has at a path."""
    status, text = fetch(f"{service}{path}", headers=session(service))
    return status, text.decode()


class Node(ExitStack):
    """The instance of `name`, launched if need be. Its services end with the block."""

    def __init__(self, lab: World, name: str, folder: Path) -> None:
        super().__init__()
        self.name, self.folder = name, folder
        self.instance = lab.instances.get(name) or lab.launch(name)
        self.account = Account(Cloud(lab.endpoint))
        self.keys = RoleKeys()
        self.log_file = folder / "calls.jsonl"
        self.metadata_url = self.serve(MetadataService(self.account.cloud, self.keys, self.instance))
        self.gate_url = self.serve(Gate(self.account, self.keys, lab.endpoint, self.log_file))

    def serve(self, application: Application) -> str:
        """The URL where the application answers."""
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        self.callback(serve(application, listener).close)
        return f"http://127.0.0.1:{port}"

    def client(self, service: str = "ssm", secret: RoleCredentials | None = None) -> Any:
        """With the node's own keys, or with others."""
        secret = secret or self.keys.issue(self.instance)
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.gate_url,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=10),
            aws_access_key_id=secret.access_key_id,
            aws_secret_access_key=secret.secret_access_key,
            aws_session_token=secret.token,
        )

    def send(self, service: str, headers: Mapping[str, str], body: bytes, path: str = "/") -> tuple[int, str]:
        """A request that is signed as it should be and has a form that no client gives it."""
        request = AWSRequest("POST", f"{self.gate_url}{path}", data=body, headers=headers)
        secret = self.keys.issue(self.instance)
        credentials = Credentials(secret.access_key_id, secret.secret_access_key, secret.token)
        SigV4Auth(credentials, service, REGION).add_auth(request)
        return self.get(request.url, "POST", dict(request.headers.items()), body)

    def get(self, url: str, *request: Any, **more: Any) -> tuple[int, str]:
        """As `fetch`, as text."""
        status, data = fetch(url, *request, **more)
        return status, data.decode()

    def denied(self, action: str, resource: str, why: str = "") -> tuple[str, str]:
        """Code and text of AWS's answer to a call that the role may not make."""
        why = why or f"because no identity-based policy allows the {action} action"
        session = f"arn:aws:sts::123456789012:assumed-role/{self.name}/{self.instance}"
        message = f"User: {session} is not authorized to perform: {action} on resource: {resource} {why}"
        return "AccessDeniedException", message

    @property
    def decisions(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_file.read_text(encoding="utf-8").splitlines()]


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
