"""AWS requests and error answers as they are on the wire, for the three protocols that matter here.

EC2, IAM and STS speak the query protocol (a form with `Action`), SSM and KMS speak JSON with a
target header, S3 and EventBridge Scheduler say what they mean by method and path. Reference: the
`protocols` entries of botocore's service models.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

# Authorization: AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/[^/]*/([^/]*)/([^/]*)/aws4_request")
S3_CONTROL = "/v20180820/"  # the calls of S3 Control are signed as S3's


@dataclass(frozen=True)
class AwsRequest:
    """One call. `params`: all that body and query string say; of S3 and the Scheduler what the API knows."""

    service: str
    action: str
    region: str
    access_key: str
    user_agent: str
    params: Any
    is_json: bool

    @property
    def operation(self) -> str:
        """`ec2:RunInstances`, as IAM writes it."""
        return f"{self.service}:{self.action}"


class Refusal(Exception):
    """An error as AWS gives it: a code and a text, with HTTP 400 unless it is AWS's own fault."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def parse(environ: Mapping[str, Any], body: bytes) -> AwsRequest:
    """Read a WSGI request. Never fails: what cannot be understood is kept as text."""
    credential = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    key, region, service = credential.groups() if credential else ("", "", "")
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    params = _params(environ, body, bool(target))
    if target:
        action = target.rpartition(".")[2]
    elif isinstance(params, dict) and "Action" in params:
        action = str(params["Action"])
    elif service in ("s3", "scheduler") and (call := _rest_call(service, environ, body)):
        action, params = call
    else:
        action = f"{environ.get('REQUEST_METHOD', '')} {environ.get('PATH_INFO', '')}"
    agent = environ.get("HTTP_USER_AGENT", "")
    return AwsRequest(service, action, region, key, agent, params, bool(target))


def _rest_call(service: str, environ: Mapping[str, Any], body: bytes) -> tuple[str, dict[str, Any]] | None:
    """The call that method and path name, with its arguments as the API's reference has them; None for calls
    about objects, which nothing here makes, and what is no call."""
    from moto.core.parse import PROTOCOL_PARSERS, RequestParserError
    from moto.core.request import Request
    from moto.core.routing import NotFound, get_service_router

    request = Request({**environ, "wsgi.input": BytesIO(body)})
    try:
        operation, found = get_service_router(service).match(request)
    except (NotFound, NotImplementedError):  # another path, another content type
        return None
    if "Key" in found or request.path.startswith(S3_CONTROL):
        return None
    parser = PROTOCOL_PARSERS[operation.service_model.metadata["protocol"]](operation)
    said = {"values": request.args, "headers": request.headers, "body": body, "url_params": found}
    try:
        return operation.name, dict(parser.parse(said))
    except (RequestParserError, AttributeError):  # the latter of JSON that is no object
        return None


def _params(environ: Mapping[str, Any], body: bytes, is_json: bool) -> Any:
    text = body.decode("utf-8", errors="backslashreplace")
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    if is_json:
        try:
            return json.loads(text or "{}")
        except ValueError:
            return {"body": text}
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return query | dict(parse_qsl(text, keep_blank_values=True))
    return query | ({"body": text} if text else {})


def render_error(request: AwsRequest, refusal: Refusal) -> tuple[str, bytes]:
    """(content type, body) of an error answer in the caller's protocol."""
    if request.is_json or request.service == "scheduler":
        answer = {"__type": refusal.code, "message": refusal.message}
        return "application/x-amz-json-1.1", json.dumps(answer).encode()
    error = f"<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message></Error>"
    if request.service == "s3":
        wrapped = f"<ErrorResponse>{error}</ErrorResponse>" if S3_CONTROL in request.action else error
        return "application/xml", wrapped.encode()
    if request.service == "ec2":
        identity = f"<RequestID>{uuid.uuid4()}</RequestID>"
        return "text/xml", f"<Response><Errors>{error}</Errors>{identity}</Response>".encode()
    identity = f"<RequestId>{uuid.uuid4()}</RequestId>"
    return "text/xml", f"<ErrorResponse>{error}{identity}</ErrorResponse>".encode()
