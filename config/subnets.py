"""The subnets of the VPC, planned: their ranges, zones and what of them the node plan keeps for itself."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

from config.model import NetworkSettings

_SUBNET_PREFIX = 22


@dataclass(frozen=True, kw_only=True)
class SubnetPlan:
    """One subnet. `reserved` is the part that only the node plan gives addresses from."""

    name: str
    cidr: IPv4Network
    availability_zone: str
    reserved: IPv4Network


def plan_subnets(network: NetworkSettings) -> tuple[SubnetPlan, SubnetPlan]:
    """The node subnet, and the one of load balancers and of GPU nodes that are not where the others are.

    All other nodes share one zone: volumes are zonal, and with one master a second zone buys nothing. AWS
    puts no interface of its own into the reserved half, so a parked node's address stays free.
    """
    cidrs = network.vpc_cidr.subnets(new_prefix=_SUBNET_PREFIX)

    def plan(name: str, zone: str) -> SubnetPlan:
        cidr = next(cidrs)
        reserved = next(cidr.subnets(prefixlen_diff=1))
        return SubnetPlan(name=name, cidr=cidr, availability_zone=zone, reserved=reserved)

    return plan("nodes", network.availability_zone), plan("balancers", network.second_availability_zone)
