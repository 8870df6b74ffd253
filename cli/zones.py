"""In which zones of a region a stack's nodes can be: what `kubepark init` proposes."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from cli.errors import CommandError
from cli.stackfile import setting
from config.sections.nodes import DEFAULT_TYPES

ZONE = "kubepark:network.availabilityZone"
SECOND_ZONE = "kubepark:network.secondAvailabilityZone"
GPU_ZONE = "kubepark:gpu.availabilityZone"


def instance_types(config: Mapping[str, Any], section: str) -> set[str]:
    """The instance types of the nodes that a section of the stack file makes (`workers`, `gpu`, ...)."""
    common = setting(config, f"kubepark:{section}.instanceType") or DEFAULT_TYPES[section]
    nodes = setting(config, f"kubepark:{section}.nodes") or {"": {}}
    return {str((node or {}).get("instanceType") or common) for node in nodes.values()}


def proposal(ec2: Any, config: Mapping[str, Any], region: str) -> dict[str, str]:
    """The zones to pin, by key of the stack file; those that it names stay.

    `CommandError` where there are not enough.
    """
    gpu = instance_types(config, "gpu")
    wanted = gpu | instance_types(config, "workers") | instance_types(config, "controlPlane")
    named = ec2.describe_availability_zones(Filters=[{"Name": "zone-type", "Values": ["availability-zone"]}])
    offers: dict[str, set[str]] = {zone["ZoneName"]: set() for zone in named["AvailabilityZones"]}
    pages = ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": sorted(wanted)}]
    )
    for page in pages:
        for offer in page["InstanceTypeOfferings"]:
            offers.get(offer["Location"], set()).add(offer["InstanceType"])
    pinned = {key: str(zone) for key in (ZONE, SECOND_ZONE) if (zone := setting(config, key))}
    return choose(offers, gpu, wanted, region, pinned)


def choose(
    offers: Mapping[str, Set[str]], gpu: Set[str], wanted: Set[str], region: str, pinned: Mapping[str, str]
) -> dict[str, str]:
    """The zone with most of the wanted types, then the one with most GPU types: there GPU nodes may go.

    `offers`: instance types by zone; `pinned`: zones by key that are given. Of equals the first by name.
    """
    if not all(any(each in types for types in offers.values()) for each in gpu):
        raise CommandError(
            f"no zone of {region} offers {', '.join(sorted(gpu))}: choose another region or GPU type"
        )
    if len(offers) < 2:
        raise CommandError(f"{region} has one zone only; load balancers need two")

    def most(types: Set[str], zones: Set[str]) -> str:
        return min(zones, key=lambda zone: (-len(offers[zone] & types), zone))

    first = pinned.get(ZONE) or most(wanted, offers.keys() - {pinned.get(SECOND_ZONE)})
    second = pinned.get(SECOND_ZONE) or most(gpu, offers.keys() - {first})
    here, there = (len(gpu & offers.get(zone, set())) for zone in (first, second))
    return {ZONE: first, SECOND_ZONE: second} | ({GPU_ZONE: second} if there > here else {})
