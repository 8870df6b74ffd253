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
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

from botocore.loaders import Loader

# Authorization: AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/[^/]*/([^/]*)/([^/]*)/aws4_request")
# S3's calls about buckets, by method and subresource. Source: botocore, data/s3/2006-03-01/service-2.json.
_BUCKET_CALLS = {
    ("PUT", ""): "CreateBucket",
    ("HEAD", ""): "HeadBucket",
    ("DELETE", ""): "DeleteBucket",
    **{
        (method, subresource): verb + name
        for subresource, name in (
            ("encryption", "BucketEncryption"),
            ("policy", "BucketPolicy"),
            ("publicAccessBlock", "PublicAccessBlock"),
            ("tagging", "BucketTagging"),
            ("versioning", "BucketVersioning"),
        )
        for method, verb in (("GET", "Get"), ("PUT", "Put"), ("DELETE", "Delete"))
    },
}
# EventBridge Scheduler's calls by method and path, with the arguments that are in the path.
_ARGUMENTS = {"Name": "(?P<Name>[^/]+)", "ResourceArn": "(?P<ResourceArn>.+)"}
_SCHEDULER_CALLS = {
    (call["http"]["method"], re.compile(call["http"]["requestUri"].format(**_ARGUMENTS))): name
    for name, call in Loader().load_service_model("scheduler", "service-2")["operations"].items()
}
_SCHEDULER_QUERY = {"groupName": "GroupName"}  # what is written otherwise in the query string


@dataclass(frozen=True)
class AwsRequest:
    """One call. `params` is everything the body and the query string say, nothing left out."""

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
    elif service == "scheduler" and (call := _scheduler_call(environ, params, body)):
        action, params = call
    elif service == "s3" and (named := _bucket_call(environ, params)):
        action, params = named, {"Bucket": environ["PATH_INFO"].strip("/"), **params}
    else:
        action = f"{environ.get('REQUEST_METHOD', '')} {environ.get('PATH_INFO', '')}"
    agent = environ.get("HTTP_USER_AGENT", "")
    return AwsRequest(service, action, region, key, agent, params, bool(target))


def _bucket_call(environ: Mapping[str, Any], params: Mapping[str, Any]) -> str | None:
    """What a request about a bucket is called; None for others, about objects or with further parameters."""
    path, asked = environ.get("PATH_INFO", "").strip("/"), [name for name in params if name != "body"]
    if not path or "/" in path or len(asked) > 1:
        return None
    return _BUCKET_CALLS.get((environ.get("REQUEST_METHOD", ""), "".join(asked)))


def _scheduler_call(
    environ: Mapping[str, Any], params: Mapping[str, Any], body: bytes
) -> tuple[str, dict[str, Any]] | None:
    """A call of EventBridge Scheduler with its arguments as the API's reference names them."""
    path = unquote(environ.get("PATH_INFO", ""))
    for (method, pattern), action in _SCHEDULER_CALLS.items():
        found = pattern.fullmatch(path)
        if found and method == environ.get("REQUEST_METHOD"):
            query = {_SCHEDULER_QUERY.get(key, key): value for key, value in params.items() if key != "body"}
            try:
                return action, {**query, **json.loads(body or b"{}"), **found.groupdict()}
            except ValueError:
                return None
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
        return "application/xml", error.encode()
    identity = f"<RequestID>{uuid.uuid4()}</RequestID>"
    return "text/xml", f"<Response><Errors>{error}</Errors>{identity}</Response>".encode()
