"""S3 in the emulator and in the provider: what a request is called, and what is refused."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from sandbox.aws.provider.api import SERVICES
from sandbox.aws.provider.values import UNKNOWN, ProviderError
from sandbox.tests.aws.aws_standin import Cloud, client, server, settings, unique
from sandbox.tests.aws.standin_foundation import BUCKET, PROVIDER, SAMPLES, only_tls


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]


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
    code, message, status = refused(s3.put_bucket_policy, Bucket=bucket, Policy=only_tls("another"))
    assert (code, message, status) == ("MalformedPolicy", "Policy has invalid resource", 400)
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    assert refused(s3.put_bucket_policy, Bucket=bucket, Policy=text)[0] == "MalformedPolicy"


def test_what_nothing_here_needs_is_refused(bucket):
    s3 = client("s3")
    for call, arguments in ((s3.put_object, {"Key": "a", "Body": b"b"}), (s3.get_bucket_acl, {})):
        code, message, status = refused(call, Bucket=bucket, **arguments)
        assert (code, status) == ("NotImplemented", 501)
        assert message.startswith("not emulated: ")


@pytest.mark.parametrize(
    ("typ", "inputs", "reason"),
    [
        (BUCKET, {}, "no automatic names"),
        (BUCKET, {"bucket": "Upper_case"}, "'Upper_case' is not the name of a bucket"),
        (BUCKET, {"bucket": "a..b"}, "is not the name of a bucket"),
        (BUCKET, {"bucket": "a" * 64}, "is not the name of a bucket"),
        (BUCKET, {"bucket": "state", "forceDestroy": True}, "not implemented"),
        (BUCKET, {"bucket": "state", "acl": "private"}, "not implemented"),
        ("aws:s3/bucketVersioning:BucketVersioning", {"bucket": "b"}, "missing required property"),
        (
            "aws:s3/bucketVersioning:BucketVersioning",
            {"bucket": "b", "versioningConfiguration": {"status": "On"}},
            "expected Enabled or Suspended, got On",
        ),
        ("aws:s3/bucketPolicy:BucketPolicy", {"bucket": "b", "policy": "{"}, "invalid JSON policy"),
        (PROVIDER, {"url": "http://example.com", "clientIdLists": ["a"]}, "expected an https URL"),
    ],
)
def test_the_provider_refuses_what_it_would_have_to_ignore(typ, inputs, reason):
    assert any(reason in why for _, why in Cloud().check(typ, inputs))


@pytest.mark.parametrize("typ", sorted(SAMPLES))
def test_what_is_not_known_yet_passes(typ):
    names = {name for name, _ in Cloud().check(typ, {"nothing": 1}) if name != "nothing"}
    assert Cloud().check(typ, {**dict.fromkeys(names or {"bucket"}, UNKNOWN)}) == []


def test_a_program_that_names_no_endpoint_for_s3_reaches_none():
    cloud = Cloud()
    cloud.backend.configure(settings(endpoints=[dict.fromkeys(SERVICES, server().url)]))
    with pytest.raises(
        ProviderError, match="no endpoint for s3: the stand-in provider never calls AWS itself"
    ):
        cloud.make(BUCKET, {"bucket": unique("none")})
