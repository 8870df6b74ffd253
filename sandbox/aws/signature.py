"""Who signed a request: Signature Version 4, recomputed with the signer that botocore signs with.

Errors are those of the JSON services, Systems Manager among them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from werkzeug.wrappers import Request

from sandbox.aws.awswire import Refusal
from sandbox.aws.credentials import RoleCredentials, RoleKeys

SKEW = timedelta(minutes=5)
_BODY_HASH = "x-amz-content-sha256"
_STAMP = "%Y%m%dT%H%M%SZ"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/(?P<scope>[^,\s]+),\s*"
    r"SignedHeaders=(?P<headers>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_INVALID_TOKEN = ("UnrecognizedClientException", "The security token included in the request is invalid.")
_INVALID = "InvalidSignatureException"
_INCOMPLETE = "IncompleteSignatureException"
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS "
    "Secret Access Key and signing method. Consult the service documentation for details."
)


class _Resigner(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs what the caller signed. botocore leaves out headers that proxies change; others do not."""

    def headers_to_sign(self, request: AWSRequest) -> Any:
        return request.headers


@dataclass(frozen=True)
class Authorization:
    """The header, taken apart, and whose its key is. `scope` is DATE/REGION/SERVICE/aws4_request."""

    instance_id: str
    secret: RoleCredentials
    scope: str
    headers: frozenset[str]
    signature: str


def authorization(request: Request, keys: RoleKeys) -> Authorization:
    """Whose signature a request claims to have. Raises `Refusal`."""
    text = request.headers.get("Authorization")
    if not text:
        raise Refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
    parts = _AUTHORIZATION.fullmatch(text.strip())
    if parts is None:
        raise Refusal(_INCOMPLETE, "Authorization is not of the form of AWS4-HMAC-SHA256.")
    found = keys.find(parts["key"])
    if found is None:
        raise Refusal(*_INVALID_TOKEN)
    return Authorization(*found, parts["scope"], frozenset(parts["headers"].split(";")), parts["signature"])


def verify(request: Request, claimed: Authorization, service: str, region: str, now: datetime) -> None:
    """Raises `Refusal` unless the request was signed with the secret that it claims, and not long ago.

    `service` and `region` are those that the request is for, not those that it claims to be signed for.
    """
    if not _same(request.headers.get("X-Amz-Security-Token", ""), claimed.secret.token):
        raise Refusal(*_INVALID_TOKEN)
    if now >= claimed.secret.expires:
        raise Refusal("ExpiredTokenException", "The security token included in the request is expired")
    stamp = request.headers.get("X-Amz-Date", "")
    _check_date(stamp, now)
    _check_signed(request, claimed)
    scope, signature = _expected(request, claimed, stamp, service, region)
    if not (_same(scope, claimed.scope) and _same(signature, claimed.signature)):
        raise Refusal(_INVALID, _MISMATCH)


def _check_date(stamp: str, now: datetime) -> None:
    try:
        signed = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        message = "Authorization header requires existence of a 'X-Amz-Date' header of the form of ISO 8601."
        raise Refusal(_INCOMPLETE, message) from None
    limit = f"({now:{_STAMP}} {{}} 5 min.)"
    if signed < now - SKEW:
        early = f"{now - SKEW:{_STAMP}} {limit.format('-')}"
        raise Refusal(_INVALID, f"Signature expired: {stamp} is now earlier than {early}")
    if signed > now + SKEW:
        late = f"{now + SKEW:{_STAMP}} {limit.format('+')}"
        raise Refusal(_INVALID, f"Signature not yet current: {stamp} is still later than {late}")


def _check_signed(request: Request, claimed: Authorization) -> None:
    """The host and every header that AWS acts on must be signed, or anybody could change them."""
    needed = {"host", *(name.lower() for name, _ in request.headers if name.lower().startswith("x-amz-"))}
    for name in sorted(needed - claimed.headers):
        raise Refusal(_INVALID, f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")


def _expected(
    request: Request, claimed: Authorization, stamp: str, service: str, region: str
) -> tuple[str, str]:
    """Scope and signature as botocore makes them of the headers that the caller says it signed."""
    body = request.get_data()
    resigned = AWSRequest(
        request.method,
        f"http://{request.headers.get('Host', '')}{request.full_path.removesuffix('?')}",
        data=body,
        headers={name: request.headers.get(name, "") for name in claimed.headers},
    )
    # botocore believes this header where there is one.
    if resigned.headers.get(_BODY_HASH) not in (None, hashlib.sha256(body).hexdigest()):
        raise Refusal(_INVALID, _MISMATCH)
    resigned.context["timestamp"] = stamp
    credentials = Credentials(claimed.secret.access_key_id, claimed.secret.secret_access_key)
    signer = _Resigner(credentials, service, region)
    text = signer.string_to_sign(resigned, signer.canonical_request(resigned))
    return signer.credential_scope(resigned), signer.signature(text, resigned)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
