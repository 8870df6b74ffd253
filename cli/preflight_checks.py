"""The checks of `preflight`: from what a stack plans and what AWS answered to warnings. Plain values only."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from config.model import NodeSettings
from config.naming import TAG_CLUSTER, TAG_NODE

Answers = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a stack asks of its account. `admin_cidrs` None: operators come through a tunnel.

    `zones` are those of nodes that are not in `zone`.
    """

    stack: str
    region: str
    cluster: str
    zone: str
    nodes: Sequence[NodeSettings]
    admin_cidrs: Sequence[IPv4Network] | None
    zones: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Unanswered:
    """Why there is no answer; "" where nobody needs to be told."""

    reason: str


@dataclass(frozen=True)
class Check:
    """`needs`: the answers without which nothing can be said."""

    what: str
    needs: tuple[str, ...]
    evaluate: Callable[[Plan, Answers], list[str]]


@dataclass(frozen=True)
class Quota:
    """A quota of EC2. `families`: the first letters of the instance types that count, by their vCPUs."""

    name: str
    unit: str
    families: frozenset[str] = frozenset()


STANDARD, GRAPHICS, ADDRESSES = "L-1216C47A", "L-DB2E81BA", "L-0263D0A3"
# Codes, names and families (the first letters of a type): brennerm/aws-quota-checker, aws_quota/check/ec2.py;
# gndrmnn/nodepool, nodepool/driver/aws/adapter.py; the first one also in the AWS CLI's own examples.
QUOTAS: Mapping[str, Quota] = {
    STANDARD: Quota(
        "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", "vCPU", frozenset("acdhimrtz")
    ),
    GRAPHICS: Quota("Running On-Demand G and VT instances", "vCPU", frozenset({"g", "vt"})),
    ADDRESSES: Quota("EC2-VPC Elastic IPs", "address"),
}


def quota_of(instance_type: str) -> str | None:
    """The code of the quota that a type counts in; None for families with quotas of their own."""
    family = re.match(r"[a-z]+", instance_type)
    codes = (code for code, quota in QUOTAS.items() if family and family[0] in quota.families)
    return next(codes, None)


def _vcpus(plan: Plan, answers: Answers) -> list[str]:
    """Needed by the nodes that are not there yet, beside what runs on demand in the region."""
    there = {_tags(instance).get(TAG_NODE) for instance in answers["instances"] if _ours(plan, instance)}
    of_type = {each["InstanceType"]: int(each["VCpuInfo"]["DefaultVCpus"]) for each in answers["types"]}
    needed, used = Counter[str | None](), Counter[str | None]()
    for node in plan.nodes:
        if node.name not in there:
            needed[quota_of(node.instance_type)] += of_type.get(node.instance_type, 0)
    for instance in answers["instances"]:
        # Spot instances have quotas of their own; what is stopped counts in none.
        if instance["State"]["Name"] in ("pending", "running") and "InstanceLifecycle" not in instance:
            cpu = instance["CpuOptions"]
            used[quota_of(instance["InstanceType"])] += cpu["CoreCount"] * cpu["ThreadsPerCore"]
    return [
        line
        for code in (STANDARD, GRAPHICS)
        for line in _exceeded(plan, code, needed[code], used[code], answers[code])
    ]


def _addresses(plan: Plan, answers: Answers) -> list[str]:
    """The master has one Elastic IP. Addresses that AWS's services made for themselves do not count."""
    found = [address for address in answers["addresses"] if not address.get("ServiceManaged")]
    needed = 0 if any(_ours(plan, address) for address in found) else 1
    return _exceeded(plan, ADDRESSES, needed, len(found), answers[ADDRESSES])


def _exceeded(plan: Plan, code: str, needed: int, used: int, limit: float) -> list[str]:
    if needed == 0 or used + needed <= limit:
        return []
    quota, wanted = QUOTAS[code], used + needed
    return [
        f"{needed} more {quota.unit} will be needed, and the quota {quota.name!r} ({code}) of {plan.region} "
        f"is {limit:g}, with {used} in use; ask for more, which may take days: aws service-quotas "
        f"request-service-quota-increase --region {plan.region} --service-code ec2 --quota-code {code} "
        f"--desired-value {wanted}, or "
        f"{_console(plan.region)}/servicequotas/home/services/ec2/quotas/{code}"
    ]


def _offerings(plan: Plan, answers: Answers) -> list[str]:
    zones: dict[str, set[str]] = {}
    for offer in answers["offerings"]:
        zones.setdefault(offer["InstanceType"], set()).add(offer["Location"])
    by_place: dict[tuple[str, str], list[str]] = {}
    for node in plan.nodes:
        place = (node.instance_type, plan.zones.get(node.name, plan.zone))
        by_place.setdefault(place, []).append(node.name)
    for_all = set.intersection(*(zones.get(each, set()) for each, _ in by_place))
    lines = []
    for (instance_type, zone), names in by_place.items():
        offered = sorted(zones.get(instance_type, set()))
        if zone in offered:
            continue
        if zone != plan.zone and offered:
            fix = _set(plan, "gpu.availabilityZone", offered[0])
        elif for_all:
            fix = f"for a new stack: {_set(plan, 'network.availabilityZone', min(for_all))}"
        else:
            fix = "name another type by instanceType of the node's pool"
        lines.append(
            f"{instance_type} ({', '.join(names)}) is not offered in {zone}; offered in: "
            f"{', '.join(offered) or 'no zone of ' + plan.region}; {fix}; see "
            f"{_console(plan.region)}/ec2/home?region={plan.region}#InstanceTypes:"
        )
    return lines


def _images(plan: Plan, answers: Answers) -> list[str]:
    images = {image["ImageId"]: image for image in answers["images"]}
    runs = {
        each["InstanceType"]: each["ProcessorInfo"]["SupportedArchitectures"] for each in answers["types"]
    }
    lines = []
    for ami, type_ in sorted({(node.ami, node.instance_type) for node in plan.nodes if node.ami}):
        image = images.get(ami)
        if image is None or image["State"] != "available":
            state = "does not exist" if image is None else f"is {image['State']}"
            wrong = f"the image {ami} {state} in {plan.region}, or is not shared with this account"
        elif image["Architecture"] not in runs.get(type_, [image["Architecture"]]):
            wrong = (
                f"the image {ami} is for {image['Architecture']}, and {type_} has {', '.join(runs[type_])}"
            )
        else:
            continue
        lines.append(
            f"{wrong}; fix: pulumi config rm --stack {plan.stack} --path kubepark:platform.ami, then "
            f"bin/kubepark init --stack {plan.stack} --write; see "
            f"{_console(plan.region)}/ec2/home?region={plan.region}#ImageDetails:imageId={ami}"
        )
    return list(dict.fromkeys(lines))


def _disks(plan: Plan, answers: Answers) -> list[str]:
    """EC2 makes no root disk that is smaller than the image's."""
    lines = []
    for image in answers["images"]:
        ami, disks = image["ImageId"], {each["DeviceName"]: each for each in image["BlockDeviceMappings"]}
        size = disks.get(image["RootDeviceName"], {}).get("Ebs", {}).get("VolumeSize", 0)
        names = [node.name for node in plan.nodes if node.ami == ami and node.volume_gb < size]
        if names:
            lines.append(
                f"the root disk of {ami} has {size} GB; that of {', '.join(names)} would be less; "
                f"set volumeGb of the node or of its pool to {size} at least"
            )
    return lines


def _caller(plan: Plan, answers: Answers) -> list[str]:
    if plan.admin_cidrs is None or any(IPv4Address(answers["caller"]) in cidr for cidr in plan.admin_cidrs):
        return []
    listed = ", ".join(map(str, plan.admin_cidrs)) or "nobody"
    fix = _set(plan, f"network.adminCidrs[{len(plan.admin_cidrs)}]", f"{answers['caller']}/32")
    return [
        f"AWS sees this machine at {answers['caller']}, and the API server will let in {listed} "
        f"(kubepark:network.adminCidrs); fix: {fix}, or bin/kubepark tunnel --stack {plan.stack}"
    ]


CHECKS = (
    Check("vCPU quotas", ("instances", "types", STANDARD, GRAPHICS), _vcpus),
    Check("Elastic IP quota", ("addresses", ADDRESSES), _addresses),
    Check("instance types of the zone", ("offerings",), _offerings),
    Check("images", ("images", "types"), _images),
    Check("root disks", ("images",), _disks),
    Check("own address", ("caller",), _caller),
)


def _ours(plan: Plan, found: Mapping[str, Any]) -> bool:
    return _tags(found).get(TAG_CLUSTER) == plan.cluster


def _tags(found: Mapping[str, Any]) -> dict[str, str]:
    tags: Iterable[Mapping[str, str]] = found.get("Tags") or ()
    return {tag["Key"]: tag["Value"] for tag in tags}


def _set(plan: Plan, path: str, value: str) -> str:
    return f"pulumi config set --stack {plan.stack} --path {shlex.quote(f'kubepark:{path}')} {value}"


def _console(region: str) -> str:
    """The region's own console."""
    return f"https://{region}.console.aws.amazon.com"
