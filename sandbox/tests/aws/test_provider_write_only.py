"""A parameter that is made with a write-only value: what somebody else stores there is in no state."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from sandbox.tests.aws.aws_provider import (
    PARAMETER,
    Cloud,
    ProviderError,
    Resource,
    client,
    unique,
    unknown_to_the_sdk,
)

LIVE = "what the master wrote"


@pytest.fixture(scope="module")
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def declared() -> dict[str, Any]:
    name = f"/{unique('cluster')}/join"
    return {"name": name, "type": "SecureString", "valueWo": "pending", "valueWoVersion": 1}


def value(parameter: Resource) -> str:
    found = client("ssm").get_parameter(Name=parameter.id, WithDecryption=True)["Parameter"]
    return str(found["Value"])


def written(parameter: Resource) -> Resource:
    """The same, with a value in AWS that no Pulumi program knows."""
    client("ssm").put_parameter(Name=parameter.id, Value=LIVE, Type="SecureString", Overwrite=True)
    return parameter


def test_it_is_made_with_the_value_and_no_output_has_it(cloud: Cloud, declared: dict[str, Any]) -> None:
    parameter = cloud.make(PARAMETER, declared)
    assert value(parameter) == "pending"
    assert unknown_to_the_sdk(parameter) == set()
    assert (parameter.outputs["hasValueWo"], parameter.outputs["valueWoVersion"]) == (True, 1)
    assert (parameter.outputs["value"], parameter.outputs["valueWo"]) == ("", None)


def test_a_refresh_reads_it_and_keeps_nothing_and_the_next_update_changes_nothing(
    cloud: Cloud, declared: dict[str, Any]
) -> None:
    parameter = written(cloud.make(PARAMETER, declared))
    for _ in range(2):
        found = cloud.read(parameter)
        assert found is not None
        parameter = found
        assert LIVE not in json.dumps(asdict(parameter))
        assert parameter.inputs["valueWo"] is None, "a read makes it null"
        assert parameter.inputs["valueWoVersion"] == 1
        assert cloud.changes(parameter, declared) == set()


def test_tags_leave_it_alone_and_whatever_else_changes_does_not(
    cloud: Cloud, declared: dict[str, Any]
) -> None:
    parameter = written(cloud.make(PARAMETER, declared))
    assert cloud.changes(parameter, {**declared, "valueWo": "other"}) == set()
    cloud.change(parameter, tags={"a": "b"})
    assert value(parameter) == LIVE
    with pytest.raises(ProviderError, match="length greater than or equal to 1"):
        cloud.change(parameter, description="new")  # the state has no value to put
    assert value(parameter) == LIVE
    cloud.change(parameter, valueWo="other", valueWoVersion=2)
    assert value(parameter) == "other"
