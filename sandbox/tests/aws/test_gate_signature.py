"""Whose request it is: signed by botocore and by the node's own client, checked with a clock of ours."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from sandbox.aws.awswire import Refusal
from sandbox.aws.credentials import LIFETIME, RENEWAL, RoleCredentials, RoleKeys
from sandbox.aws.signature import authorization, verify
from userdata.node import kp_aws

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
REGION = "us-east-1"
URL = "http://127.0.0.1:4566/"
BODY = json.dumps({"Name": "/lab/join", "WithDecryption": True}).encode()
HEADERS = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "AmazonSSM.GetParameter"}


@pytest.fixture
def keys() -> RoleKeys:
    """A test may change what time it is: `now`."""
    return RoleKeys(lambda: NOW)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%dT%H%M%SZ")


def signed(
    secret: RoleCredentials, region: str = REGION, at: datetime = NOW, more: dict[str, str] | None = None
) -> dict[str, str]:
    """Headers as the node's client sends them."""
    named = {"AccessKeyId": secret.access_key_id, "SecretAccessKey": secret.secret_access_key}
    named["Token"] = secret.token
    return kp_aws.sign(URL, {**HEADERS, **(more or {})}, BODY, region, named, stamp(at))


def received(headers: dict[str, str], body: bytes = BODY, path: str = "/") -> Request:
    return Request(EnvironBuilder(path, method="POST", headers=headers, data=body).get_environ())


def caller(request: Request, keys: RoleKeys) -> str:
    """The instance, or the code of the refusal."""
    try:
        claimed = authorization(request, keys)
        verify(request, claimed, "ssm", REGION, keys.now())
    except Refusal as error:
        return error.code
    return claimed.instance_id


def test_the_nodes_own_client_is_recognised(keys: RoleKeys) -> None:
    secret = keys.issue("i-1")
    keys.issue("i-2")
    assert caller(received(signed(secret)), keys) == "i-1"
    headers = signed(secret, more={"user-agent": "curl/8"})  # which botocore does not sign
    assert caller(received(headers), keys) == "i-1"
    assert caller(received({**headers, "user-agent": "curl/9"}), keys) == "InvalidSignatureException"


def test_botocore_is_recognised_with_a_query_and_a_hash_of_its_body(keys: RoleKeys) -> None:
    keys.now = lambda: datetime.now(UTC)  # botocore has no other time
    secret = keys.issue("i-1")
    headers = {**HEADERS, "X-Amz-Content-SHA256": hashlib.sha256(BODY).hexdigest()}
    request = AWSRequest("POST", f"{URL}a/b?x=1&a=b%20c", data=BODY, headers=headers)
    credentials = Credentials(secret.access_key_id, secret.secret_access_key, secret.token)
    SigV4Auth(credentials, "ssm", REGION).add_auth(request)
    headers = {**dict(request.headers.items()), "Host": "127.0.0.1:4566"}
    assert caller(received(headers, path="/a/b?x=1&a=b%20c"), keys) == "i-1"
    assert caller(received(headers, path="/a/b?x=2&a=b%20c"), keys) == "InvalidSignatureException"
    other = received(headers, b"other", "/a/b?x=1&a=b%20c")  # its hash is signed, but not this body's
    assert caller(other, keys) == "InvalidSignatureException"


INVALID, INCOMPLETE, UNKNOWN = "InvalidSignature", "IncompleteSignature", "UnrecognizedClient"


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("authorization", None, "MissingAuthenticationToken"),
        ("authorization", "Basic eDp5", INCOMPLETE),
        ("authorization", ("host;", ""), INVALID),
        ("authorization", ("/ssm/", "/iam/"), INVALID),
        ("authorization", ("20261125/", "20261124/"), INVALID),
        ("authorization", ("ASIA", "ASIB"), UNKNOWN),
        ("x-amz-date", None, INCOMPLETE),
        ("x-amz-date", "today", INCOMPLETE),
        ("x-amz-date", stamp(NOW + timedelta(seconds=1)), INVALID),
        ("x-amz-security-token", None, UNKNOWN),
        ("x-amz-security-token", "x", UNKNOWN),
        ("x-amz-target", "AmazonSSM.PutParameter", INVALID),
        ("content-type", "text/plain", INVALID),
        ("host", "elsewhere", INVALID),
        ("x-amz-unsigned", "1", INVALID),
    ],
)
def test_a_change_on_the_way_is_noticed(
    header: str, value: str | tuple[str, str] | None, code: str, keys: RoleKeys
) -> None:
    """`value`: what the header becomes, what is replaced in it, or None where it is left out."""
    headers = signed(keys.issue("i-1"))
    before = headers.pop(header, "")
    if value is not None:
        headers[header] = value if isinstance(value, str) else before.replace(*value)
    assert caller(received(headers), keys) == f"{code}Exception"


def test_another_body_another_region_another_secret(keys: RoleKeys) -> None:
    secret, other = keys.issue("i-1"), keys.issue("i-2")
    mixed = replace(secret, secret_access_key=other.secret_access_key)
    stolen = replace(secret, token=other.token)
    for request, code in (
        (received(signed(secret), BODY + b" "), INVALID),
        (received(signed(secret, "eu-west-1")), INVALID),
        (received(signed(mixed)), INVALID),
        (received(signed(stolen)), UNKNOWN),
    ):
        assert caller(request, keys) == f"{code}Exception"


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (-6, "Signature expired: 20261125T115400Z is now earlier than 20261125T115500Z"),
        (6, "Signature not yet current: 20261125T120600Z is still later than 20261125T120500Z"),
    ],
)
def test_a_clock_that_is_wrong(minutes: int, words: str, keys: RoleKeys) -> None:
    secret = keys.issue("i-1")
    request = received(signed(secret, at=NOW + timedelta(minutes=minutes)))
    with pytest.raises(Refusal, match=words) as caught:
        verify(request, authorization(request, keys), "ssm", REGION, NOW)
    assert caught.value.code == "InvalidSignatureException"
    request = received(signed(secret, at=NOW + timedelta(minutes=minutes * 4 // 5)))
    verify(request, authorization(request, keys), "ssm", REGION, NOW)


def test_credentials_are_renewed_before_they_end_and_good_until_then(keys: RoleKeys) -> None:
    first = keys.issue("i-1")
    keys.now = lambda: NOW + LIFETIME - RENEWAL - timedelta(seconds=1)
    assert keys.issue("i-1") is first
    keys.now = lambda: NOW + LIFETIME - RENEWAL
    second = keys.issue("i-1")
    assert second.access_key_id != first.access_key_id
    assert second.expires == keys.now() + LIFETIME
    for each in (first, second):
        assert caller(received(signed(each, at=keys.now())), keys) == "i-1"
    keys.now = lambda: NOW + LIFETIME
    assert caller(received(signed(first, at=keys.now())), keys) == "ExpiredTokenException"
    assert caller(received(signed(second, at=keys.now())), keys) == "i-1"


def test_secrets_do_not_show(keys: RoleKeys) -> None:
    secret = keys.issue("i-1")
    assert not any(each in repr(secret) for each in (secret.secret_access_key, secret.token))
    assert len(secret.access_key_id) == 20
    assert len(secret.secret_access_key) == 40
