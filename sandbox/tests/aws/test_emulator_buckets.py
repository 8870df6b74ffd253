"""Calls that method and path name, S3's and the Scheduler's: their names, and what is refused."""

from __future__ import annotations

import pytest

from sandbox.tests.aws.aws_provider import client, document, only_tls, server, unique
from sandbox.tests.aws.emulator_server import error_code, refused
from sandbox.tests.aws.gate_node import fetch


@pytest.fixture
def bucket() -> str:
    name = unique("bucket")
    client("s3").create_bucket(Bucket=name)
    return name


def test_requests_are_recorded_by_the_names_that_iam_and_clients_use(bucket):
    client("s3").get_bucket_versioning(Bucket=bucket)
    for action in ("CreateBucket", "GetBucketVersioning"):
        line = server().recorded(action)[-1]
        assert (line["service"], line["params"]["Bucket"]) == ("s3", bucket)


def test_a_policy_is_about_its_own_bucket_and_says_who_may_what(bucket):
    s3 = client("s3")
    s3.put_bucket_policy(Bucket=bucket, Policy=only_tls(bucket))
    found = refused(s3.put_bucket_policy, Bucket=bucket, Policy=only_tls("another"))
    assert found == ("MalformedPolicy", "Policy has invalid resource", 400)
    nobody = document({"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"})
    assert error_code(s3.put_bucket_policy, Bucket=bucket, Policy=nobody) == "MalformedPolicy"


def test_what_nothing_here_needs_is_refused(bucket):
    s3 = client("s3")
    for call, arguments in (
        (s3.put_object, {"Bucket": bucket, "Key": "a", "Body": b"b"}),
        (s3.list_buckets, {}),
    ):
        code, message, status = refused(call, **arguments)
        assert (code, status) == ("NotImplemented", 501)
        assert message.startswith("not emulated: ")


@pytest.mark.parametrize(
    ("service", "method", "path", "body"),
    [
        ("scheduler", "GET", "/nothing/like/it", None),
        ("scheduler", "POST", "/schedules/x", b"[]"),
        ("s3", "PUT", "/bucket", b"<x"),
    ],
)
def test_what_is_no_call_is_refused(service, method, path, body):
    signed = f"AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/{service}/aws4_request"
    status, text = fetch(server().url + path, method, {"Authorization": signed}, body)
    assert (status, f"not emulated: {method} {path}" in text.decode()) == (501, True)
