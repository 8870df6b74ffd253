"""The zones that `kubepark init` proposes, from what AWS offers where."""

from __future__ import annotations

from typing import Any

import pytest

from cli.errors import CommandError
from cli.zones import GPU_ZONE, SECOND_ZONE, ZONE, instance_types, proposal

CPU = ["m7i.large", "m7i.xlarge"]
GPU = "g4dn.xlarge"


class Ec2:
    """Answers as EC2 does: only named types, zones of every kind, two pages."""

    def __init__(self, **offers: list[str]) -> None:
        self.offers = offers

    def describe_availability_zones(self, Filters: list[dict[str, Any]]) -> dict[str, Any]:
        assert Filters == [{"Name": "zone-type", "Values": ["availability-zone"]}]
        return {"AvailabilityZones": [{"ZoneName": zone} for zone in self.offers if zone != "local"]}

    def get_paginator(self, operation: str) -> Ec2:
        assert operation == "describe_instance_type_offerings"
        return self

    def paginate(self, LocationType: str, Filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
        assert LocationType == "availability-zone"
        (wanted,) = (each["Values"] for each in Filters if each["Name"] == "instance-type")
        rows = [
            {"Location": zone, "InstanceType": each}
            for zone, types in self.offers.items()
            for each in types
            if each in wanted
        ]
        return [{"InstanceTypeOfferings": rows[:2]}, {"InstanceTypeOfferings": rows[2:]}]


@pytest.mark.parametrize(
    ("offers", "pins"),
    [
        ({"a": CPU, "b": [*CPU, GPU], "c": [*CPU, GPU]}, {ZONE: "b", SECOND_ZONE: "c"}),
        ({"a": [*CPU, GPU], "b": CPU, "c": [GPU]}, {ZONE: "a", SECOND_ZONE: "c"}),
        ({"a": CPU, "b": [GPU], "c": []}, {ZONE: "a", SECOND_ZONE: "b", GPU_ZONE: "b"}),
        ({"a": CPU, "local": [*CPU, GPU], "b": [*CPU, GPU]}, {ZONE: "b", SECOND_ZONE: "a"}),
    ],
)
def test_the_zone_with_most_types_comes_first_and_the_second_has_gpus(
    offers: dict[str, list[str]], pins: dict[str, str]
) -> None:
    assert proposal(Ec2(**offers), {}, "r") == pins


def test_zones_that_are_pinned_stay_and_the_other_is_another_one() -> None:
    ec2 = Ec2(a=[*CPU, GPU], b=[*CPU, GPU])
    assert proposal(ec2, {"kubepark:network": {"availabilityZone": "b"}}, "r") == {
        ZONE: "b",
        SECOND_ZONE: "a",
    }
    assert proposal(ec2, {"kubepark:network": {"secondAvailabilityZone": "a"}}, "r") == {
        ZONE: "b",
        SECOND_ZONE: "a",
    }
    without = Ec2(a=CPU, b=[*CPU, GPU])
    config = {"kubepark:network": {"availabilityZone": "a"}}
    assert proposal(without, config, "r") == {ZONE: "a", SECOND_ZONE: "b", GPU_ZONE: "b"}


def test_too_few_zones_and_a_gpu_that_nobody_offers_are_errors() -> None:
    with pytest.raises(CommandError, match=r"no zone of r offers g4dn\.xlarge: choose another region"):
        proposal(Ec2(a=CPU, b=CPU), {}, "r")
    with pytest.raises(CommandError, match="r has one zone only"):
        proposal(Ec2(a=[*CPU, GPU]), {}, "r")


def test_the_types_are_those_of_the_stack_file() -> None:
    config = {
        "kubepark:controlPlane": {"instanceType": "m7i.2xlarge"},
        "kubepark:workers": {
            "instanceType": "c7i.large",
            "nodes": {"worker01": None, "worker02": {"instanceType": "x"}},
        },
    }
    assert instance_types(config, "controlPlane") == {"m7i.2xlarge"}
    assert instance_types(config, "workers") == {"c7i.large", "x"}
    assert instance_types(config, "gpu") == {GPU}
