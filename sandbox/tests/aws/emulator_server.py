"""The emulator as the sandbox runs it: a process of its own."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sandbox.ports import free_port
from sandbox.processes import Supervisor

ROOT = Path(__file__).resolve().parents[3]
REGION = "us-east-1"
IMAGE = "ami-0123456789abcdef0"


class Emulator:
    """Started when made; `stop` ends it."""

    def __init__(self, folder: Path, *images: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "requests.jsonl"
        self._supervisor = Supervisor(folder / "state.json", folder)
        command = [sys.executable, "-m", "sandbox.aws.emulator", f"--port={self.port}", f"--log={self.log}"]
        self._supervisor.start("emulator", command, cwd=ROOT, ready=self.healthy)
        self.call("/kubepark/images", "PUT", json.dumps(images).encode())

    def stop(self) -> None:
        self._supervisor.stop_all()

    def call(self, path: str, method: str = "GET", body: bytes | None = None) -> str:
        request = urllib.request.Request(self.url + path, data=body, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return str(response.read().decode())

    def healthy(self) -> bool:
        try:
            return self.call("/kubepark/health") == "ok"
        except urllib.error.URLError:
            return False

    def client(self, service: str, key: str = "testing") -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key="testing",
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=20),
        )

    def recorded(self, action: str) -> list[Mapping[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["action"] == action]


def refused(call: Any, **arguments: Any) -> tuple[str, str, int]:
    """Code, text and HTTP status of the error that AWS answers with."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]


def refusal(call: Any, **arguments: Any) -> tuple[str, str]:
    return refused(call, **arguments)[:2]


def error_code(call: Any, **arguments: Any) -> str:
    return refused(call, **arguments)[0]


def described(ec2: Any, instance: str) -> dict[str, Any]:
    """An instance as DescribeInstances shows it."""
    (reservation,) = ec2.describe_instances(InstanceIds=[instance])["Reservations"]
    found: dict[str, Any] = reservation["Instances"][0]
    return found
