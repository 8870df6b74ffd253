"""What a node sees of the cloud, on loopback: metadata service and Parameter Store.

The metadata service speaks version 2 only. Parameter Store is moto behind a front that recomputes
every signature with botocore's own signer, since moto checks none.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
ROLE = "sample-node"


@dataclass
class World:
    """Two endpoints, the role's secrets, and what was asked."""

    values: dict[str, str]  # metadata path -> value
    credentials: Credentials
    metadata_url: str = ""
    aws_url: str = ""
    calls: list[str] = field(default_factory=list)  # actions that reached Parameter Store
    unsigned: list[str] = field(default_factory=list)  # actions whose signature was wrong
    faults: list[tuple[int, str]] = field(default_factory=list)  # answers to give instead, first first
    tokens: set[str] = field(default_factory=set)
    ssm: Any = None  # boto3 client past the front

    @property
    def environment(self) -> dict[str, str]:
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.metadata_url, "AWS_ENDPOINT_URL": self.aws_url}

    def parameter(self, name: str) -> str:
        answer = self.ssm.get_parameter(Name=name, WithDecryption=True)
        return str(answer["Parameter"]["Value"])


class _Quiet(BaseHTTPRequestHandler):
    world: World

    def log_message(self, format: str, *args: Any) -> None:
        return

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Metadata(_Quiet):
    def do_PUT(self) -> None:
        if self.path != "/latest/api/token" or not self.headers.get("X-aws-ec2-metadata-token-ttl-seconds"):
            return self.answer(400, b"")
        token = secrets.token_hex(8)
        self.world.tokens.add(token)
        return self.answer(200, token.encode())

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") not in self.world.tokens:
            return self.answer(401, b"")
        value = self.world.values.get(self.path.removeprefix("/latest/meta-data/"))
        return self.answer(404, b"<html>") if value is None else self.answer(200, value.encode())


class _Front(_Quiet):
    upstream: str

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        action = self.headers["X-Amz-Target"].removeprefix("AmazonSSM.")
        self.world.calls.append(action)
        if expected_authorization(self, body) != self.headers["Authorization"]:
            self.world.unsigned.append(action)
            return self.answer(400, b'{"__type":"InvalidSignatureException","message":"signature"}')
        if self.world.faults:
            status, said = self.world.faults.pop(0)
            return self.answer(status, said.encode())
        try:
            with urlopen(Request(self.upstream, body, dict(self.headers)), timeout=10) as answer:
                return self.answer(answer.status, answer.read())
        except HTTPError as error:
            return self.answer(error.code, error.read())

    @property
    def signed_headers(self) -> dict[str, str]:
        names = self.headers["Authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
        return {name: self.headers[name] for name in names}


def expected_authorization(seen: _Front, body: bytes) -> str:
    """The Authorization header that botocore would have sent for the same request."""
    host = seen.headers["Host"]
    request = AWSRequest("POST", f"http://{host}{seen.path}", data=body, headers=seen.signed_headers)
    request.context["timestamp"] = seen.headers["X-Amz-Date"]
    signer = SigV4Auth(seen.world.credentials, "ssm", REGION)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    names = signer.signed_headers(signer.headers_to_sign(request))
    scope = f"{seen.world.credentials.access_key}/{signer.credential_scope(request)}"
    signature = signer.signature(text, request)
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}"


@contextmanager
def _serving(handler: type[_Quiet], world: World, **members: Any) -> Iterator[str]:
    bound = type("Bound", (handler,), {"world": world, **members})
    server = ThreadingHTTPServer(("127.0.0.1", 0), bound)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def node_world(instance_id: str, private_ip: str, public_ip: str | None = None) -> Iterator[World]:
    """A cloud for one node. Its secrets are made up at run time."""
    credentials = Credentials(
        "ASIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30), secrets.token_urlsafe(200)
    )
    values = {
        "instance-id": instance_id,
        "instance-type": "m6i.large",
        "local-ipv4": private_ip,
        "placement/availability-zone": f"{REGION}a",
        "placement/region": REGION,
        "iam/security-credentials/": ROLE,
        f"iam/security-credentials/{ROLE}": json.dumps(
            {
                "Code": "Success",
                "AccessKeyId": credentials.access_key,
                "SecretAccessKey": credentials.secret_key,
                "Token": credentials.token,
                "Expiration": "2099-01-01T00:00:00Z",
            }
        ),
    }
    if public_ip:
        values["public-ipv4"] = public_ip
    world = World(values=values, credentials=credentials)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request otherwise
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        upstream = "http://{}:{}/".format(*moto.get_host_and_port())
        # moto keeps its state in this process, whichever server asks.
        urlopen(Request(f"{upstream}moto-api/reset", method="POST"), timeout=10).close()
        connect: Callable[..., Any] = boto3.client
        options = {
            "region_name": REGION,
            "endpoint_url": upstream,
            "aws_access_key_id": "testing",
            "aws_secret_access_key": secrets.token_hex(8),
        }
        world.ssm = connect("ssm", **options)
        kms = connect("kms", **options)
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName="alias/kubepark/sample", TargetKeyId=key)
        with (
            _serving(_Metadata, world) as metadata_url,
            _serving(_Front, world, upstream=upstream) as aws_url,
        ):
            world.metadata_url, world.aws_url = metadata_url, aws_url
            yield world
    finally:
        moto.stop()


def create_parameters(world: World, node: dict[str, Any], hosts: list[list[Any]]) -> None:
    """The parameters as Pulumi creates them: secrets and status wait for the nodes."""
    alias = node["clusterKeyAlias"]
    for name in ("join", "kubeconfig", "encryptionKey"):
        world.ssm.put_parameter(
            Name=node["parameters"][name], Value="pending", Type="SecureString", KeyId=alias, Tier="Standard"
        )
    pending = json.dumps({"schema": 1, "phase": "pending"})
    world.ssm.put_parameter(Name=node["parameters"]["status"], Value=pending, Type="String")
    chunk = json.dumps({"schema": 1, "rows": hosts})
    world.ssm.put_parameter(Name=f"{node['parameters']['hostsPath']}/00", Value=chunk, Type="String")
