"""The sections of the stack configuration: cluster, account, versions and network.

Each function reads one section and returns plain values; problems go to the section's collector.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from config.model import AwsSettings, KubeflowSettings, ManifestSource, NetworkSettings
from config.sections.nodes import AMI_FORM, ami_id
from config.validation import Section, dns_label, matching, one_of, shown, text
from config.versions import ROWS, UPSTREAM_MANIFESTS, VersionRow


def cluster_name(raw: Any) -> str:
    if len(dns_label(raw)) > 24:  # IAM role names hold it with a node's name, in 64 characters
        raise ValueError(f"{shown(raw)} has more than 24 characters")
    return str(raw)


def aws(section: Section) -> AwsSettings:
    settings = AwsSettings(
        region=section.value("region", _region, accepted="an AWS region", example="eu-central-1"),
        account_id=section.value("accountId", _account, accepted="12 digits, quoted", example="123456789012"),
        endpoint=section.value(
            "endpoint",
            _url,
            accepted="a URL",
            example="http://127.0.0.1:4566",
            default=None,
        ),
    )
    section.finish()
    return settings


def platform(section: Section) -> tuple[VersionRow, str, str]:
    """The version row, the platform and the AMI pin that all nodes share ("" when there is none)."""
    rows = ", ".join(ROWS)
    newest = max(ROWS)
    row = ROWS[
        section.value(
            "kubernetes",
            one_of(*ROWS),
            accepted=f"one of the rows {rows}, quoted",
            example=newest,
            default=newest,
        )
    ]
    known = sorted({name for other in ROWS.values() for name in other.platforms})
    name = section.value(
        "os", one_of(*known), accepted=", ".join(known), example=known[0], default=row.platforms[0]
    )
    if name not in row.platforms:
        section.problems.add(
            section.key("os"),
            f"{name} is not a platform of Kubernetes {row.minor}",
            ", ".join(row.platforms),
            row.platforms[0],
        )
    ami = section.value("ami", ami_id, accepted=AMI_FORM, example="ami-00000000", default="")
    section.finish()
    return row, name, ami


def network(section: Section, region: str) -> NetworkSettings:
    def cidr(key: str, default: str, shortest: int, longest: int) -> IPv4Network:
        return section.value(
            key,
            _network(shortest, longest),
            accepted=f"an IPv4 network from /{shortest} to /{longest}",
            example=default,
            default=IPv4Network(default),
        )

    def zone(key: str, letter: str) -> str:
        return section.value(key, _zone(region), accepted=f"a zone of {region}", example=f"{region}{letter}")

    vpc, pod = cidr("vpcCidr", "10.20.0.0/16", 16, 20), cidr("podCidr", "192.168.0.0/16", 12, 20)
    service = cidr("serviceCidr", "10.96.0.0/12", 12, 20)
    named = (("vpcCidr", vpc), ("podCidr", pod), ("serviceCidr", service))
    for index, (key, left) in enumerate(named):
        for other, right in named[index + 1 :]:
            if left.overlaps(right):
                section.problems.add(
                    section.key(other),
                    f"{right} overlaps {key} {left}",
                    "three networks that do not overlap",
                    {"vpcCidr": "10.20.0.0/16", "podCidr": "192.168.0.0/16", "serviceCidr": "10.96.0.0/12"}[
                        other
                    ],
                )
    first, second = zone("availabilityZone", "a"), zone("secondAvailabilityZone", "b")
    if first == second:
        section.problems.add(
            section.key("secondAvailabilityZone"),
            f"{second} is the zone of the nodes already",
            "another zone: load balancers need two",
            f"{region}b" if not first.endswith("b") else f"{region}a",
        )
    settings = NetworkSettings(
        vpc_cidr=vpc,
        pod_cidr=pod,
        service_cidr=service,
        availability_zone=first,
        second_availability_zone=second,
        admin_cidrs=_admin_cidrs(section),
    )
    section.finish()
    return settings


def kubeflow(section: Section) -> KubeflowSettings:
    profiles = section.value(
        "profiles", one_of("controller", "none"), accepted="controller, none", example="none", default="none"
    )
    section.finish()
    return KubeflowSettings(profiles=profiles)


def manifests(section: Section, row: VersionRow) -> Mapping[str, ManifestSource]:
    """Where upstream YAML comes from: the row's release, or a path below the project's root."""
    sources = {}
    for name, urls in UPSTREAM_MANIFESTS.items():
        path = section.value(
            name,
            below_root,
            accepted="a path below the project's root",
            example=f"manifests/{name}.yaml",
            default=None,
        )
        upstream = tuple(url.format(calico=row.calico) for url in urls)
        sources[name] = ManifestSource(name=name, locations=(path,) if path else upstream)
    section.finish()
    return sources


def tags(section: Section) -> Mapping[str, str]:
    """Further tags for every AWS resource. The program's own prefix is refused."""
    found = {}
    for key in section.names():
        found[key] = section.value(key, text, accepted="a text of at most 256 characters", example="ml-team")
        if key.startswith(("kubepark:", "aws:", "kubernetes.io/")) or len(key) > 128 or len(found[key]) > 256:
            section.problems.add(section.key(key), f"{key} cannot be a tag here", "another tag name", None)
    return found


def _admin_cidrs(section: Section) -> tuple[IPv4Network, ...]:
    accepted, example = "IPv4 networks of /8 or longer that may reach the API", "203.0.113.7/32"
    listed = section.items("adminCidrs")
    found = []
    for index, raw in enumerate(listed):
        key = section.key(f"adminCidrs[{index}]")
        try:
            found.append(_network(8, 32)(raw))
        except ValueError as error:
            section.problems.add(key, str(error), accepted, example)
    if not listed:
        section.problems.add(section.key("adminCidrs[0]"), "is missing", accepted, example)
    return tuple(found)


_region = matching(re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]"), "a region")
_account = matching(re.compile(r"[0-9]{12}"), "an account number")


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
        return found

    return parse


def _zone(region: str) -> Callable[[Any], str]:
    return matching(re.compile(rf"{re.escape(region)}[a-z]"), f"a zone of {region}")


def _url(raw: Any) -> str:
    parts = urlsplit(text(raw))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{shown(raw)} is not a URL")
    return str(raw).rstrip("/")


def below_root(raw: Any) -> str:
    """A relative path that stays below the project's root."""
    path = PurePosixPath(text(raw))
    if path.is_absolute() or ".." in path.parts or "://" in str(raw):
        raise ValueError(f"{shown(raw)} is not a path below the project's root")
    return str(path)
