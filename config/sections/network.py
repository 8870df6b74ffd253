"""The network of the stack: three address ranges, two zones, and who may reach the API."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError
from itertools import combinations
from typing import Any

from config.model import NetworkSettings
from config.validation import Section, matching, shown

_CIDRS = {  # default, shortest and longest prefix
    "vpcCidr": ("10.20.0.0/16", 16, 20),
    "podCidr": ("192.168.0.0/16", 12, 20),
    "serviceCidr": ("10.96.0.0/12", 12, 20),
}
# Where no machine of ours can be. Source: RFC 6890, and IANA's IPv4 special-purpose address registry.
_IMPOSSIBLE = {
    IPv4Network("0.0.0.0/8"): '"this network"',
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("169.254.0.0/16"): "link-local",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved",
}
# In place of one that overlaps: the default, else the next that is free.
_PRIVATE = IPv4Network("10.0.0.0/8")


def network(section: Section, region: str) -> NetworkSettings:
    def zone(key: str, letter: str) -> str:
        return section.value(key, _zone(region), accepted=f"a zone of {region}", example=f"{region}{letter}")

    cidrs = {
        key: section.value(
            key,
            _network(shortest, longest),
            accepted=f"an IPv4 network from /{shortest} to /{longest}",
            example=default,
            default=IPv4Network(default),
        )
        for key, (default, shortest, longest) in _CIDRS.items()
    }
    for (key, left), (other, right) in combinations(cidrs.items(), 2):
        if left.overlaps(right):
            wrong, accepted = f"{right} overlaps {key} {left}", "three networks that do not overlap"
            others = [cidr for name, cidr in cidrs.items() if name != other]
            section.refuse(other, wrong, accepted, _free(_CIDRS[other][0], others))
    first, second = zone("availabilityZone", "a"), zone("secondAvailabilityZone", "b")
    if first == second:
        section.refuse(
            "secondAvailabilityZone",
            f"{second} is the zone of the nodes already",
            "another zone: load balancers need two",
            f"{region}b" if not first.endswith("b") else f"{region}a",
        )
    settings = NetworkSettings(
        vpc_cidr=cidrs["vpcCidr"],
        pod_cidr=cidrs["podCidr"],
        service_cidr=cidrs["serviceCidr"],
        availability_zone=first,
        second_availability_zone=second,
        admin_cidrs=tuple(
            section.each(
                "adminCidrs",
                _admin_network(cidrs),
                accepted="IPv4 networks of /8 or longer that may reach the API",
                example="203.0.113.7/32",
                required=True,
            )
        ),
    )
    section.finish()
    return settings


def _network(shortest: int, longest: int) -> Callable[[Any], IPv4Network]:
    def parse(raw: Any) -> IPv4Network:
        try:
            found = IPv4Network(raw if isinstance(raw, str) else shown(raw))
        except (AddressValueError, NetmaskValueError, ValueError) as error:
            raise ValueError(f"{shown(raw)} is not an IPv4 network ({error})") from None
        if found.prefixlen == 0:
            raise ValueError(f"{raw} is the whole internet")
        if not shortest <= found.prefixlen <= longest:
            raise ValueError(f"{raw} is not between /{shortest} and /{longest}")
        for impossible, what in _IMPOSSIBLE.items():
            if found.overlaps(impossible):
                raise ValueError(f"{raw} has addresses of {impossible}, which are {what}")
        return found

    return parse


def _admin_network(cidrs: Mapping[str, IPv4Network]) -> Callable[[Any], IPv4Network]:
    """Whoever is among the pods' or services' addresses is not reached by the answers of the master."""
    parse = _network(8, 32)

    def outside(raw: Any) -> IPv4Network:
        found = parse(raw)
        for key in ("podCidr", "serviceCidr"):
            if found.subnet_of(cidrs[key]):
                raise ValueError(f"{raw} is inside {key} {cidrs[key]}, where nobody outside the cluster is")
        return found

    return outside


def _free(default: str, others: Iterable[IPv4Network]) -> str:
    """The default, or another network of /16, that overlaps none of the others."""
    candidates = (IPv4Network(default), *_PRIVATE.subnets(new_prefix=16))
    return str(next(each for each in candidates if not any(each.overlaps(other) for other in others)))


def _zone(region: str) -> Callable[[Any], str]:
    return matching(re.compile(rf"{re.escape(region)}[a-z]"), f"a zone of {region}")
