"""The AWS API as a node meets it: signatures, routes and its role's policies are checked here.

The emulator looks at none of them. Whatever passes goes to it, and its answer comes back unchanged.
Each decision is recorded without values, so that one can see which permission was used.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from sandbox.aws.account import HTTPS, Account
from sandbox.aws.awswire import AwsRequest, Refusal, parse, render_error
from sandbox.aws.calls import Unsupported, needed
from sandbox.aws.cloud import CloudError, Instance
from sandbox.aws.credentials import RoleKeys
from sandbox.aws.decisions import record
from sandbox.aws.serve import NoAnswer
from sandbox.aws.signature import authorization, verify
from sandbox.aws.statements import Call
from sandbox.config import ACCOUNT_ID

# Prefix of the target header -> service; EC2, by the query protocol, has none.
_TARGETS = {"AmazonSSM": "ssm"}
_JSON, _FORM = "application/x-amz-json-1.1", "application/x-www-form-urlencoded"
_LONGEST_BODY = 1 << 20
# Headers that are between two neighbours, and those that only the gate has a use for.
_NOT_FORWARDED = {"host", "connection", "keep-alive", "te", "transfer-encoding", "upgrade", "expect"}
_NOT_FORWARDED |= {"content-length", "x-amz-security-token"}
# Headers of an answer that the server of this gate writes itself.
_NOT_PASSED_ON = {"connection", "transfer-encoding", "content-length", "date", "server"}


class Gate:
    """A WSGI application in front of the emulator at `upstream`; decisions go to the file `log`.

    A machine that is off or has no way out is not answered at all: see `NoAnswer`. Keys of a machine
    that does not run are not accepted, though on AWS they live until they expire.
    """

    def __init__(self, account: Account, keys: RoleKeys, upstream: str, log: Path) -> None:
        self._account = account
        self._keys = keys
        self._log = log
        parts = urlsplit(upstream)
        self._upstream = (str(parts.hostname), int(parts.port or 80))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = _LONGEST_BODY
        try:
            parsed = parse(environ, request.get_data())
            response = self._answer(request, parsed)
        except RequestEntityTooLarge as error:
            response = Response(str(error), status=413, content_type="text/plain")
        except Refusal as error:
            content_type, text = render_error(parsed, error)
            response = Response(text, status=error.status, content_type=content_type)
        except CloudError as error:  # the emulator is away; clients try again
            response = Response(str(error), status=503, content_type="text/plain")
        answer: Iterable[bytes] = response(environ, start_response)
        return answer

    def _answer(self, request: Request, parsed: AwsRequest) -> Response:
        service = _service(request, parsed)
        operation = f"{service}:{parsed.action}"
        instance = self._caller(request, service, operation)
        try:
            _check_form(request, parsed, service)
            for call in needed(self._account.cloud, instance, operation, parsed.params):
                self._authorize(instance, call)
        except Unsupported as error:  # denied: the sandbox does not know what AWS would want for it
            code = "AccessDeniedException"
            self._record_error(instance.id, self._role(instance), operation, code)
            message = f"{operation}: the sandbox does not know which permissions this needs: {error}"
            raise Refusal(code, message) from None
        return self._forward(request)

    def _caller(self, request: Request, service: str, operation: str) -> Instance:
        """The instance that signed the request, if its packet gets here at all."""
        instance_id = "-"
        try:
            claimed = authorization(request, self._keys)
            instance_id = claimed.instance_id
            instance = self._account.cloud.running(instance_id)
            if instance is None or not self._account.network.reaches_internet(instance, HTTPS):
                self._record_error(instance_id, "-", operation, "NoAnswer")
                raise NoAnswer("the instance is off, or no route or no rule lets its packets out")
            verify(request, claimed, service, self._account.cloud.region, self._keys.now())
        except Refusal as error:
            self._record_error(instance_id, "-", operation, error.code)
            raise
        return instance

    def _authorize(self, instance: Instance, call: Call) -> None:
        """The role's policies, as they are now, must allow the call."""
        decision = self._account.permissions.evaluate(instance.profile, call)
        role = self._role(instance)
        record(
            self._log,
            instance=instance.id,
            role=role,
            action=call.action,
            resource=call.resource,
            allowed=decision.allowed,
            statement=decision.statement.name if decision.statement else "",
            pattern=decision.pattern,
        )
        if not decision.allowed:
            session = f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/{role}/{instance.id}"
            why = f"perform: {call.action} on resource: {call.resource} {decision.why}"
            message = f"User: {session} is not authorized to {why}"
            if call.action.startswith("ec2:"):
                message = f"You are not authorized to perform this operation. {message}"
                raise Refusal("UnauthorizedOperation", message, 403)  # the EC2 API reference, "Error codes"
            raise Refusal("AccessDeniedException", message)

    def _record_error(self, instance_id: str, role: str, operation: str, code: str) -> None:
        record(self._log, instance=instance_id, role=role, action=operation, error=code)

    def _role(self, instance: Instance) -> str:
        role = self._account.permissions.role(instance.profile)
        return role.name if role else "-"

    def _forward(self, request: Request) -> Response:
        """The emulator's answer. Raises `NoAnswer` when it is gone, and the cloud with it."""
        connection = http.client.HTTPConnection(*self._upstream, timeout=30)
        try:
            sent = dict(_without(_NOT_FORWARDED, request.headers.items()))
            connection.request(request.method, "/", request.get_data(), sent)
            answer = connection.getresponse()
            headers = _without(_NOT_PASSED_ON, answer.headers.items())
            return Response(answer.read(), status=answer.status, headers=headers)
        except OSError as error:
            raise NoAnswer(f"the emulator: {error}") from None
        finally:
            connection.close()


def _service(request: Request, parsed: AwsRequest) -> str:
    """Whom the request is for: by its target, else by what its signature is for."""
    target = request.headers.get("X-Amz-Target", "").partition(".")[0]
    return _TARGETS.get(target, target or parsed.service or "-")


def _check_form(request: Request, parsed: AwsRequest, service: str) -> None:
    """Only requests that can be read in one way: what is authorized must be what the emulator does."""
    form = (request.method, request.path, request.query_string, request.mimetype)
    if service == "ec2" and not parsed.is_json:
        named = [name for name, _ in parse_qsl(request.get_data(as_text=True), keep_blank_values=True)]
        if form != ("POST", "/", b"", _FORM) or len(named) > len(set(named)):
            raise Unsupported("a request that is not of the query protocol")
    elif form != ("POST", "/", b"", _JSON) or not isinstance(parsed.params, dict) or not parsed.is_json:
        raise Unsupported("a request that is not of the JSON 1.1 protocol")


def _without(names: set[str], headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in names]
