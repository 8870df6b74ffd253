"""The provider's own settings: loopback only, the right account, nothing unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.aws.provider.api import SERVICES
from sandbox.aws.provider.backend import AwsBackend
from sandbox.aws.provider.config import is_loopback, parse
from sandbox.aws.provider.values import UNKNOWN, ProviderError
from sandbox.tests.aws.aws_standin import settings


def endpoints(**others: str) -> list[dict[str, str]]:
    return [{**dict.fromkeys(SERVICES, "http://127.0.0.1:4566"), **others}]


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:4566", True),
        ("http://127.9.9.9:1", True),
        ("https://localhost:4566/x", True),
        ("http://[::1]:4566", True),
        ("http://10.0.0.1:4566", False),
        ("http://0.0.0.0:4566", False),
        ("https://ec2.us-east-1.amazonaws.com", False),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://127.0.0.1@example.com", False),
        ("http://[::ffff:10.0.0.1]", False),
        ("ftp://127.0.0.1", False),
        ("127.0.0.1:4566", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_loopback(url: str, loopback: bool):
    assert is_loopback(url) is loopback


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        (
            {"endpoints": endpoints(ec2="https://ec2.us-east-1.amazonaws.com")},
            "endpoints[0].ec2",
            "not a loopback",
        ),
        ({"endpoints": endpoints(s3="http://192.0.2.1")}, "endpoints[0].s3", "not a loopback"),
        ({"endpoints": [{"ec2": "http://127.0.0.1:1"}]}, "endpoints", "no endpoint for iam"),
        ({"endpoints": []}, "endpoints", "no endpoint for ec2"),
        ({"endpoints": endpoints(ec3="http://127.0.0.1:1")}, "endpoints[0].ec3", "unknown property"),
        ({"regoin": "us-east-1"}, "regoin", "unknown property"),
        ({"assumeRoles": []}, "assumeRoles", "not implemented by the stand-in provider"),
        ({"skipMetadataApiCheck": "maybe"}, "", "expected a JSON value"),
        ({"skipMetadataApiCheck": 3}, "skipMetadataApiCheck", "expected a boolean, got the number 3"),
        ({"region": ""}, "region", "missing"),
    ],
)
def test_settings_are_refused(change: dict[str, Any], path: str, reason: str):
    """At check, where the engine shows it as a property, and at configure, whoever skipped the check."""
    backend, variables = AwsBackend(), settings(**change)
    if path:
        found = backend.check_config(variables)
        assert any(where == path and reason in why for where, why in found)
    with pytest.raises(ProviderError, match=reason):
        backend.configure(variables)


def test_settings_that_are_no_strings_come_as_json():
    given = {"allowedAccountIds": '["a"]', "skipRegionValidation": True, "region": "["}
    assert parse(given) == {**given, "allowedAccountIds": ["a"]}
    with pytest.raises(ProviderError, match="endpoints: expected a JSON value"):
        parse({"endpoints": "{"})


def test_every_missing_endpoint_is_named():
    found = AwsBackend().check_config({"region": "us-east-1"})
    assert [why.split(":")[0] for _, why in found] == [f"no endpoint for {name}" for name in SERVICES]


def test_good_settings_pass_and_may_be_unknown_at_preview():
    skips = {
        f"skip{name}": True for name in ("CredentialsValidation", "MetadataApiCheck", "RegionValidation")
    }
    assert AwsBackend().check_config(settings(**skips)) == []
    assert AwsBackend().check_config({**settings(), "endpoints": UNKNOWN, "defaultTags": UNKNOWN}) == []


def test_another_account_is_refused_as_the_real_provider_does():
    with pytest.raises(ProviderError, match=r"^AWS account ID not allowed: 123456789012$"):
        AwsBackend().configure(settings(allowedAccountIds=["999999999999"]))
    with pytest.raises(ProviderError, match=r"^AWS account ID not allowed: 123456789012$"):
        AwsBackend().configure({**settings(), "forbiddenAccountIds": json.dumps(["123456789012"])})


def test_an_emulator_that_is_not_there_is_named():
    with pytest.raises(ProviderError, match="Could not connect to the endpoint URL"):
        AwsBackend().configure(settings(endpoints=[dict.fromkeys(SERVICES, "http://127.0.0.1:9")]))


def test_nothing_works_before_configure():
    with pytest.raises(ProviderError, match="has not been configured"):
        AwsBackend().invoke("aws:index/getCallerIdentity:getCallerIdentity", {})


def test_only_a_new_region_replaces_the_provider():
    old = settings()
    assert AwsBackend().diff_config(old, old) == (False, [])
    assert AwsBackend().diff_config(old, settings(maxRetries=1)) == (True, [])
    assert AwsBackend().diff_config(old, settings(region="eu-west-1")) == (True, ["region"])
