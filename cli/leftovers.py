"""What `kubepark destroy` does with what `pulumi destroy` does not know of: which of it goes, in which order,
and what stays and why. Plain values only.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from cli.price_format import rounded
from cli.volume_policy import VolumePolicy
from config.costs import Cost, total
from config.naming import TAG_CLUSTER, Naming

# Of the AWS Load Balancer Controller. Source: kubernetes-sigs/aws-load-balancer-controller,
# pkg/shared_constants/tag_keys.go.
TAG_BALANCERS = "elbv2.k8s.aws/cluster"
_OF_A_CLUSTER = "kubernetes.io/cluster/"


class Kind(NamedTuple):
    """A kind of thing in AWS, and the call that deletes one: `parameter` takes its id."""

    words: str
    service: str
    operation: str
    parameter: str

    def command(self, id: str, region: str) -> str:
        """The same call by the AWS CLI."""
        operation, option = self.operation.replace("_", "-"), _dashed(self.parameter)
        return f"aws {self.service} {operation} --region {region} --{option} {shlex.quote(id)}"


BALANCER = Kind("load balancer", "elbv2", "delete_load_balancer", "LoadBalancerArn")
CLASSIC_BALANCER = Kind("classic load balancer", "elb", "delete_load_balancer", "LoadBalancerName")
TARGET_GROUP = Kind("target group", "elbv2", "delete_target_group", "TargetGroupArn")
INTERFACE = Kind("network interface", "ec2", "delete_network_interface", "NetworkInterfaceId")
GROUP = Kind("security group", "ec2", "delete_security_group", "GroupId")
VOLUME = Kind("volume", "ec2", "delete_volume", "VolumeId")
SNAPSHOT = Kind("snapshot", "ec2", "delete_snapshot", "SnapshotId")
KEY = Kind("key", "kms", "schedule_key_deletion", "KeyId")
INSTANCE = Kind("instance", "ec2", "terminate_instances", "InstanceIds")
ADDRESS = Kind("Elastic IP", "ec2", "release_address", "AllocationId")
NAT = Kind("NAT gateway", "ec2", "delete_nat_gateway", "NatGatewayId")
GATEWAY = Kind("internet gateway", "ec2", "delete_internet_gateway", "InternetGatewayId")
TABLE = Kind("route table", "ec2", "delete_route_table", "RouteTableId")
SUBNET = Kind("subnet", "ec2", "delete_subnet", "SubnetId")
VPC = Kind("VPC", "ec2", "delete_vpc", "VpcId")
PARAMETER = Kind("parameter", "ssm", "delete_parameter", "Name")
ROLE = Kind("role", "iam", "delete_role", "RoleName")
SCHEDULES = Kind("schedule group", "scheduler", "delete_schedule_group", "Name")
PROFILE = Kind("instance profile", "iam", "delete_instance_profile", "InstanceProfileName")
# What controllers leave and `destroy` deletes, in the order in which one lets go of the next. Keys are last:
# they open volumes and snapshots.
ORDER = (BALANCER, CLASSIC_BALANCER, TARGET_GROUP, INTERFACE, GROUP, VOLUME, SNAPSHOT, KEY)


class Rule(NamedTuple):
    """A rule of one of the cluster's security groups that names another group."""

    group: str
    id: str
    egress: bool


@dataclass(frozen=True, kw_only=True)
class Found:
    """Something that carries the cluster's tag. `id`: as its deletion takes it.

    `cost`: of a month. `held`: something has it, so that it cannot go yet. `follows`: it goes by itself, with
    what has it or at a time that AWS has been told. `rules`: those that name this security group.
    """

    kind: Kind
    id: str
    detail: str = ""
    cost: Cost = field(default_factory=Cost)
    held: bool = False
    follows: str = ""
    rules: tuple[Rule, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind.words} {self.id}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the person asked for. `purge`: backups and the data key go as well."""

    volumes: VolumePolicy = VolumePolicy.KEEP
    purge: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`delete`: in order. `stay`: with the reason. `other`: what this command does not delete, and nobody
    asked to stay.
    """

    delete: tuple[Found, ...]
    stay: Mapping[Found, str]
    other: tuple[Found, ...]


def marks(cluster: str) -> Mapping[str, str]:
    """The tags that say that something is the cluster's: ours, and those of controllers in it.

    The second one is on what kubernetes/cloud-provider-aws (pkg/providers/v1/tags.go) and
    kubernetes-sigs/aws-ebs-csi-driver (docs/tagging.md) make; its value `shared` says that a thing is not the
    cluster's alone.
    """
    theirs, owned = Naming(cluster).cluster_tag
    return {TAG_CLUSTER: cluster, theirs: owned, TAG_BALANCERS: cluster}


def owns(cluster: str, tags: Mapping[str, str]) -> bool:
    """Whether these are the tags of something that is the cluster's alone. Ours wins over the others."""
    if TAG_CLUSTER in tags:
        return tags[TAG_CLUSTER] == cluster
    return any(tags.get(key) == value for key, value in marks(cluster).items())


def free(tags: Mapping[str, str]) -> bool:
    """Whether no cluster's tag is among these."""
    return not any(key in (TAG_CLUSTER, TAG_BALANCERS) or key.startswith(_OF_A_CLUSTER) for key in tags)


def plan(found: Iterable[Found], in_state: Collection[str], wanted: Wanted, *, before: bool = False) -> Plan:
    """What to do with what was found. `in_state`: the ids that pulumi knows, which are its to delete.

    `before`: pulumi has not destroyed the nodes yet, so that what they hold, and data, waits.
    """
    delete, stay, other = [], {}, []
    for each in found:
        if each.id in in_state or each.follows:
            continue
        if each.kind not in ORDER:
            other.append(each)
        elif why := _why_it_stays(each, wanted):
            stay[each] = why
        elif not before or not (each.held or each.kind in (VOLUME, SNAPSHOT, KEY)):
            delete.append(each)
    return Plan(
        delete=tuple(sorted(delete, key=lambda each: (ORDER.index(each.kind), each.id))),
        stay=MappingProxyType(stay),
        other=tuple(other),
    )


def _why_it_stays(each: Found, wanted: Wanted) -> str:
    if each.kind is VOLUME and wanted.volumes is VolumePolicy.KEEP:
        return "--volumes keep"
    if each.kind is SNAPSHOT and not wanted.purge:
        return "a backup; --purge deletes it"
    if each.kind is KEY and not wanted.purge:
        return "it opens volumes and backups; --purge schedules its deletion"
    return ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is there at the end. `remains`: what no one asked to stay, with the reason why it is there still.

    `follows`: what goes by itself. `unanswered`: what could not be looked at, with the reason.
    """

    region: str
    deleted: tuple[str, ...]
    stay: Mapping[Found, str]
    remains: Mapping[Found, str]
    follows: tuple[Found, ...]
    unanswered: Mapping[str, str]

    @property
    def clean(self) -> bool:
        return not self.remains and not self.unanswered

    def lines(self) -> list[str]:
        """As people read it."""
        said = [f"  stays    {_priced(each)}: {why}" for each, why in self.stay.items()]
        said += [f"  goes     {each}: {each.follows}" for each in self.follows]
        for each, why in self.remains.items():
            command = each.kind.command(each.id, self.region)
            said += [f"  REMAINS  {_priced(each)}: {why}", f"           {command}"]
        said += [f"  unknown  {what}: {why}" for what, why in self.unanswered.items()]
        if not said:
            return ["nothing that carries the cluster's tag is left"]
        both = total(each.cost for each in (*self.stay, *self.remains))
        more = ", and what has no known price" if both.unknown else ""
        return ["left with the cluster's tag:", *said, f"  in all   {both.monthly:,.2f} USD a month{more}"]

    def document(self) -> dict[str, Any]:
        """As scripts read it."""
        return {
            "deleted": list(self.deleted),
            "stays": [_document(each, self.region) | {"why": why} for each, why in self.stay.items()],
            "goes": [{"kind": each.kind.words, "id": each.id, "why": each.follows} for each in self.follows],
            "remains": [_document(each, self.region) | {"why": why} for each, why in self.remains.items()],
            "unanswered": dict(self.unanswered),
            "usdMonthly": rounded(total(each.cost for each in (*self.stay, *self.remains))),
        }


def intentions(planned: Plan, wanted: Wanted) -> list[str]:
    """What will happen to what pulumi does not know of, as people read it before they agree."""
    deletes = {VOLUME: "delete", KEY: "schedule the deletion of"}
    if wanted.volumes is VolumePolicy.SNAPSHOT:
        deletes[VOLUME] = "snapshot and delete"
    said = [f"  {deletes.get(each.kind, 'delete')} {_priced(each)}" for each in planned.delete]
    said += [f"  keep {_priced(each)}: {why}" for each, why in planned.stay.items()]
    said += [f"  leave {_priced(each)}: this command does not delete it" for each in planned.other]
    return said


def _priced(each: Found) -> str:
    known = each.cost.known
    return f"{each}, {'price unknown' if known is None else f'{known:,.2f} USD a month'}"


def _document(each: Found, region: str) -> dict[str, Any]:
    return {
        "kind": each.kind.words,
        "id": each.id,
        "detail": each.detail,
        "usdMonthly": rounded(each.cost),
        "command": each.kind.command(each.id, region),
    }


def _dashed(name: str) -> str:
    """`VolumeId` as the AWS CLI writes it: `volume-id`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
