"""The instance metadata service, version 2, of one emulated instance.

Every answer is read from the AWS API when it is asked for. The instance's options are obeyed: whether
the service is on, and whether a token is needed. The hop limit is not modelled: a container with a
network of its own reaches what its machine reaches.
Source: the EC2 user guide, "Instance metadata categories" and "Use the Instance Metadata Service".
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from werkzeug.wrappers import Request, Response

from sandbox.aws.cloud import Cloud, CloudError, Instance
from sandbox.aws.credentials import RoleKeys
from sandbox.aws.serve import NoAnswer
from sandbox.config import ACCOUNT_ID
from sandbox.record import rfc3339

# One of AWS's dated versions that has every path served here; cloud-init asks for it by name.
VERSIONS = ("2021-03-23", "latest")
TOKEN_PATH = "/latest/api/token"
_TTL = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN = "X-aws-ec2-metadata-token"
_LONGEST = 21600  # seconds
_PAGE = """\
<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
\t"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>{0.value} - {0.phrase}</title>
 </head>
 <body>
  <h1>{0.value} - {0.phrase}</h1>
 </body>
</html>
"""

Tree = Mapping[str, Callable[[], str | bytes]]  # path below the version -> its value


class MetadataService:
    """The WSGI application that one instance sees at 169.254.169.254."""

    def __init__(
        self, cloud: Cloud, keys: RoleKeys, instance_id: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cloud = cloud
        self._keys = keys
        self._instance_id = instance_id
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[str, float] = {}  # session token -> when it ends; good for this machine alone

    @Request.application  # type: ignore[untyped-decorator]  # werkzeug is not followed by mypy
    def __call__(self, request: Request) -> Response:
        try:
            instance = self._cloud.running(self._instance_id)
            if instance is None:
                raise NoAnswer("the instance is off")
            options = instance.raw.get("MetadataOptions", {})
            if options.get("HttpEndpoint") == "disabled":
                return _page(HTTPStatus.FORBIDDEN)
            if request.path == TOKEN_PATH:
                return self._token(request)
            if not self._admits(request.headers.get(_TOKEN), options.get("HttpTokens") == "optional"):
                return _page(HTTPStatus.UNAUTHORIZED)
            if request.method not in ("GET", "HEAD"):
                return _page(HTTPStatus.METHOD_NOT_ALLOWED)
            return self._found(instance, request.path)
        except CloudError as error:
            return Response(str(error), status=503, content_type="text/plain")

    def _token(self, request: Request) -> Response:
        if request.method != "PUT":
            return _page(HTTPStatus.METHOD_NOT_ALLOWED)
        if "X-Forwarded-For" in request.headers:  # a proxy asks for somebody else
            return _page(HTTPStatus.FORBIDDEN)
        given = request.headers.get(_TTL, "")
        if not given.isdecimal() or not 1 <= int(given) <= _LONGEST:
            return _page(HTTPStatus.BAD_REQUEST)
        token, now = secrets.token_urlsafe(40) + "==", self._clock()
        with self._lock:
            self._tokens = {each: end for each, end in self._tokens.items() if end > now}
            self._tokens[token] = now + int(given)
        return Response(token, content_type="text/plain", headers={_TTL: given})

    def _admits(self, token: str | None, optional: bool) -> bool:
        """Whether a read with this token is answered. What is sent must be good, needed or not."""
        if token is None:
            return optional
        with self._lock:
            return self._tokens.get(token, 0.0) > self._clock()

    def _found(self, instance: Instance, path: str) -> Response:
        """What is at a path: the versions, a listing, a value, or AWS's page for nothing."""
        version, _, name = path.lstrip("/").partition("/")
        if not version:
            return Response("\n".join(VERSIONS), content_type="text/plain")
        if version not in VERSIONS:
            return _page(HTTPStatus.NOT_FOUND)
        tree = self._tree(instance)
        if name in tree:
            content_type = "application/octet-stream" if name == "user-data" else "text/plain"
            return Response(tree[name](), content_type=content_type)
        listing = _listing(tree, name.strip("/"))
        return Response(listing, content_type="text/plain") if listing else _page(HTTPStatus.NOT_FOUND)

    def _tree(self, instance: Instance) -> Tree:
        raw = instance.raw
        values = {
            "ami-id": raw["ImageId"],
            "ami-launch-index": raw["AmiLaunchIndex"],
            "hostname": raw["PrivateDnsName"],
            "instance-id": instance.id,
            "instance-type": instance.type,
            "local-hostname": raw["PrivateDnsName"],
            "local-ipv4": instance.private_ip,
            "mac": next((each["MacAddress"] for each in raw.get("NetworkInterfaces", [])), None),
            "placement/availability-zone": instance.zone,
            "placement/region": self._cloud.region,
            "public-ipv4": instance.public_ip,
        }
        for each in raw.get("NetworkInterfaces", []):
            folder = f"network/interfaces/macs/{each['MacAddress']}"
            values[f"{folder}/device-number"] = each["Attachment"]["DeviceIndex"]
            values[f"{folder}/local-ipv4s"] = each["PrivateIpAddress"]
            values[f"{folder}/mac"] = each["MacAddress"]
        tree: dict[str, Callable[[], str | bytes]] = {
            f"meta-data/{name}": partial(str, value) for name, value in values.items() if value is not None
        }
        tree["dynamic/instance-identity/document"] = lambda: self._document(instance)
        if user_data := self._cloud.user_data(self._instance_id):
            tree["user-data"] = lambda: user_data
        spot = raw.get("InstanceLifecycle") == "spot"
        if notice := self._cloud.interruption(instance.id) if spot else None:
            tree["meta-data/spot/instance-action"] = lambda: _json(**notice)
            tree["meta-data/spot/termination-time"] = lambda: notice["time"]
        role = self._cloud.role(instance.profile) if instance.profile else None
        if role:
            tree["meta-data/iam/info"] = lambda: self._profile(raw["IamInstanceProfile"])
            tree[f"meta-data/iam/security-credentials/{role}"] = self._credentials
        return tree

    def _profile(self, profile: Mapping[str, Any]) -> str:
        return _json(
            Code="Success",
            LastUpdated=rfc3339(self._keys.issue(self._instance_id).issued),
            InstanceProfileArn=profile["Arn"],
            InstanceProfileId=profile["Id"],
        )

    def _credentials(self) -> str:
        issued = self._keys.issue(self._instance_id)
        return _json(
            Code="Success",
            LastUpdated=rfc3339(issued.issued),
            Type="AWS-HMAC",
            AccessKeyId=issued.access_key_id,
            SecretAccessKey=issued.secret_access_key,
            Token=issued.token,
            Expiration=rfc3339(issued.expires),
        )

    def _document(self, instance: Instance) -> str:
        """The instance's identity. Nobody but AWS can sign it, so there are no signatures beside it."""
        return _json(
            accountId=ACCOUNT_ID,
            architecture=instance.raw["Architecture"],
            availabilityZone=instance.zone,
            imageId=instance.raw["ImageId"],
            instanceId=instance.id,
            instanceType=instance.type,
            pendingTime=rfc3339(instance.raw["LaunchTime"]),
            privateIp=instance.private_ip,
            region=self._cloud.region,
            version="2017-09-30",
        )


def _listing(tree: Tree, folder: str) -> str:
    """The names in a folder, folders with a slash; "" if there is no such folder."""
    prefix = f"{folder}/" if folder else ""
    below = [name.removeprefix(prefix) for name in tree if name.startswith(prefix)]
    return "\n".join(sorted({name.partition("/")[0] + ("/" if "/" in name else "") for name in below}))


def _json(**fields: str) -> str:
    return json.dumps(fields, indent=2)


def _page(status: HTTPStatus) -> Response:
    return Response(_PAGE.format(status), status=status.value, content_type="text/html")
