"""The instance metadata service, version 2, of one emulated instance.

Every answer is read from the AWS API when it is asked for. Version 1 (no token) is refused, whatever
the instance's options say: the program requires version 2. The hop limit is not modelled: whoever
reaches the address is the machine itself.
Source: the EC2 user guide, "Instance metadata" and "Use IMDSv2".
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from werkzeug.wrappers import Request, Response

from sandbox.boot.cloud import Cloud, CloudError, Instance
from sandbox.boot.credentials import RoleKeys
from sandbox.boot.record import rfc3339
from sandbox.boot.serve import Application

TOKEN_PATH = "/latest/api/token"
_TTL = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN = "X-aws-ec2-metadata-token"
_LONGEST = 21600
_ROLES = "iam/security-credentials/"
_NOT_FOUND = "<h1>404 - Not Found</h1>\n"


def metadata_service(cloud: Cloud, keys: RoleKeys, instance_id: str) -> Application:
    """The WSGI application that this instance sees at 169.254.169.254."""
    service = _Service(cloud, keys, instance_id)
    application: Application = Request.application(service.answer)
    return application


class _Service:
    def __init__(self, cloud: Cloud, keys: RoleKeys, instance_id: str) -> None:
        self._cloud = cloud
        self._keys = keys
        self._instance_id = instance_id
        self._tokens: dict[str, float] = {}

    def answer(self, request: Request) -> Response:
        if request.path == TOKEN_PATH:
            return self._token(request)
        if self._tokens.get(request.headers.get(_TOKEN, ""), 0.0) < time.monotonic():
            return Response("", status=401)
        if request.method != "GET":
            return Response("", status=405)
        try:
            found = self._read(request.path)
        except CloudError as error:
            return Response(str(error), status=503)
        if found is None:
            return Response(_NOT_FOUND, status=404, content_type="text/html")
        return Response(found, content_type="text/plain")

    def _token(self, request: Request) -> Response:
        if request.method != "PUT":
            return Response("", status=405)
        if "X-Forwarded-For" in request.headers:  # a proxy asks for somebody else
            return Response("", status=403)
        given = request.headers.get(_TTL, "")
        if not given.isdigit() or not 1 <= int(given) <= _LONGEST:
            return Response("", status=400)
        token = secrets.token_urlsafe(40)
        self._tokens[token] = time.monotonic() + int(given)
        return Response(token, content_type="text/plain", headers={_TTL: given})

    def _read(self, path: str) -> str | bytes | None:
        """What is at a path; None for nothing."""
        instance = self._cloud.instance(self._instance_id)
        if instance is None:
            return None
        if path == "/latest/user-data":
            return self._cloud.user_data(instance.id) or None
        if not path.startswith("/latest/meta-data/"):
            return None
        name = path.removeprefix("/latest/meta-data/")
        tree = self._tree(instance)
        if name == "" or name.endswith("/"):
            return _listing(tree, name)
        value = tree.get(name)
        return value() if value else None

    def _tree(self, instance: Instance) -> Mapping[str, Callable[[], str]]:
        """Every path that has a value -> the value."""
        values = {
            "instance-id": instance.id,
            "instance-type": instance.type,
            "hostname": _private_name(instance),
            "local-hostname": _private_name(instance),
            "local-ipv4": instance.private_ip,
            "public-ipv4": instance.public_ip,
            "placement/availability-zone": instance.zone,
            "placement/region": self._cloud.region,
        }
        tree = {name: partial(str, value) for name, value in values.items() if value}
        if instance.profile and (role := self._cloud.role(instance.profile)):
            tree[_ROLES + role] = partial(self._credentials)
        return tree

    def _credentials(self) -> str:
        issued = self._keys.issue(self._instance_id)
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": rfc3339(datetime.now(UTC)),
                "Type": "AWS-HMAC",
                "AccessKeyId": issued.access_key_id,
                "SecretAccessKey": issued.secret_access_key,
                "Token": issued.token,
                "Expiration": rfc3339(issued.expires),
            },
            indent=2,
        )


def _listing(tree: Mapping[str, object], folder: str) -> str | None:
    """The names in a folder, folders with a slash; None if there is no such folder."""
    below = [name.removeprefix(folder) for name in tree if name.startswith(folder)]
    names = sorted({name.partition("/")[0] + ("/" if "/" in name else "") for name in below})
    return "\n".join(names) if names else None


def _private_name(instance: Instance) -> str:
    return f"ip-{instance.private_ip.replace('.', '-')}.ec2.internal"
