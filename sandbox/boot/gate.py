"""The AWS API as a node meets it: signatures, routes and its role's policies are checked here.

The emulator looks at none of them. Whatever passes goes to it unchanged, and its answer comes back
unchanged. Each decision is recorded without values, so that one can see which permission was used.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from werkzeug.wrappers import Request, Response

from sandbox.awswire import AwsRequest, Refusal, parse, render_error
from sandbox.boot import calls
from sandbox.boot.cloud import RUNNING, CloudError, Instance
from sandbox.boot.credentials import RoleCredentials, RoleKeys
from sandbox.boot.machine import HTTPS, Surroundings
from sandbox.boot.permissions import Call
from sandbox.boot.record import rfc3339
from sandbox.config import ACCOUNT_ID

_SKEW = timedelta(minutes=5)
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)


class Refused(Exception):
    """The call is answered with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(code, message)


class Unreachable(Exception):
    """The packet never arrives: the connection is closed without an answer."""


class Gate:
    """A WSGI application in front of the emulator at `upstream`."""

    def __init__(self, around: Surroundings, keys: RoleKeys, upstream: str, log: Path) -> None:
        self._around = around
        self._keys = keys
        parts = urlsplit(upstream)
        self._upstream = (str(parts.hostname), int(parts.port or 80))
        self._log = log
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        body = request.get_data()
        call = parse(environ, body)
        try:
            response = self._answer(request, call, body)
        except Unreachable:
            _hang_up(environ)
            return []
        except Refused as error:
            content_type, text = render_error(call, error.refusal)
            response = Response(text, status=400, content_type=content_type)
        except CloudError as error:
            response = Response(str(error), status=503)
        answer: Iterable[bytes] = response(environ, start_response)
        return answer

    def _answer(self, request: Request, call: AwsRequest, body: bytes) -> Response:
        instance_id = authenticate(request, body, self._keys)
        instance = self._around.cloud.instance(instance_id)
        if instance is None or instance.state != RUNNING:
            raise Unreachable
        if not self._around.network.reaches_internet(instance, HTTPS):
            raise Unreachable
        self._judge(instance, self._before(call))
        status, headers, text = self._forward(request, body)
        if status == 200:
            self._judge(
                instance, calls.after(self._around.cloud, call.action, call.params, json.loads(text))
            )
        return Response(text, status=status, content_type=headers.get("Content-Type"))

    def _before(self, call: AwsRequest) -> list[Call]:
        try:
            if call.service == "ssm" and isinstance(call.params, dict):
                return calls.before(self._around.cloud, call.action, call.params)
        except calls.UnknownAction:
            pass
        return [Call(call.operation, "*", {})]  # no node's policy speaks of it

    def _judge(self, instance: Instance, needed: Iterable[Call]) -> None:
        """Every call must be allowed by the role's policies as they are now."""
        for each in needed:
            allowed = self._around.permissions.allowed(instance.profile, each)
            self._record(instance, each, allowed)
            if not allowed:
                role = (self._around.cloud.role(instance.profile) if instance.profile else None) or "-"
                raise Refused(
                    "AccessDeniedException",
                    f"User: arn:aws:sts::{ACCOUNT_ID}:assumed-role/{role}/{instance.id} is not authorized to "
                    f"perform: {each.action} on resource: {each.resource} because no identity-based policy "
                    f"allows the {each.action} action",
                )

    def _record(self, instance: Instance, call: Call, allowed: bool) -> None:
        line = {
            "at": rfc3339(datetime.now(UTC)),
            "instance": instance.id,
            "profile": instance.profile,
            "action": call.action,
            "resource": call.resource,
            "allowed": allowed,
        }
        with self._lock, self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _forward(self, request: Request, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection(*self._upstream, timeout=30)
        try:
            headers = {name: value for name, value in request.headers.items() if name != "Host"}
            connection.request(request.method, request.full_path.rstrip("?"), body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except OSError:  # the emulator is gone, and with it the cloud
            raise Unreachable from None
        finally:
            connection.close()


def authenticate(request: Request, body: bytes, keys: RoleKeys) -> str:
    """Whose request this is, by its signature. Raises `Refused` in the words of AWS."""
    found = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    if found is None:
        raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
    key, region, service, names, signature = found.groups()
    owner = keys.find(key)
    if owner is None or request.headers.get("X-Amz-Security-Token") != owner[1].token:
        raise Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
    instance_id, credentials = owner
    signed_at = _moment(request.headers.get("X-Amz-Date", ""))
    now = datetime.now(UTC)
    if credentials.expires < now:
        raise Refused("ExpiredTokenException", "The security token included in the request is expired")
    if signed_at is None or abs(now - signed_at) > _SKEW:
        said = request.headers.get("X-Amz-Date")
        raise Refused("InvalidSignatureException", f"Signature not current: {said}")
    if signature != _signature(request, body, names.split(";"), credentials, region, service):
        raise Refused(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )
    return instance_id


def _signature(
    request: Request, body: bytes, names: list[str], credentials: RoleCredentials, region: str, service: str
) -> str:
    """The signature as botocore computes it over the headers that the caller signed."""
    headers = {name: request.headers.get(name, "") for name in names}
    again = AWSRequest(request.method, f"http://{request.host}{request.path}", headers, body)
    again.context["timestamp"] = headers.get("x-amz-date", "")
    secret = Credentials(credentials.access_key_id, credentials.secret_access_key, credentials.token)
    signer = SigV4Auth(secret, service, region)
    text = signer.string_to_sign(again, signer.canonical_request(again))
    signature: str = signer.signature(text, again)
    return signature


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _hang_up(environ: Mapping[str, Any]) -> None:
    """End the connection under the server, after the time that a caller would at least wait."""
    time.sleep(0.2)
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
