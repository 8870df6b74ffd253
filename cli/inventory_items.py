"""What an inventory says of each thing, from how AWS describes it: its price, its name, what holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cli import leftovers as kinds
from cli.leftovers import Kind
from config.costs import Cost, cost_of
from config.prices import GP3, NAT_GATEWAY, PUBLIC_IPV4, SNAPSHOT, PriceTable

Item = Mapping[str, Any]  # as AWS describes it


@dataclass(frozen=True)
class Ec2:
    """How EC2 lists a kind. `details`: what else a Found says of it; None: it does not count."""

    kind: Kind
    operation: str
    items: str
    id: str
    details: Callable[[Item, PriceTable], dict[str, Any] | None] = lambda item, table: {}


def _instance(item: Item, table: PriceTable) -> dict[str, Any] | None:
    """A stopped one costs nothing itself. Source: the EC2 User Guide, "Stop and start EC2 instances"."""
    state = item["State"]["Name"]
    if state in ("terminated", "shutting-down"):
        return None
    cost = cost_of(table, item["InstanceType"]) if state in ("pending", "running") else Cost()
    return {"detail": f"{item['InstanceType']}, {state}", "cost": cost}


def _volume(item: Item, table: PriceTable) -> dict[str, Any] | None:
    if item["State"] in ("deleting", "deleted"):
        return None
    attached = item.get("Attachments") or []
    kind, size = item["VolumeType"], item["Size"]
    return {
        "detail": f"{size} GB {kind}",
        "cost": cost_of(table, GP3, size) if kind == GP3 else unknown(f"{kind} volume"),
        "held": bool(attached),
        "follows": _with_instance(attached),
    }


def _snapshot(item: Item, table: PriceTable) -> dict[str, Any]:
    """Paid for is what is stored, which is no more than the volume's size."""
    size = item["VolumeSize"]
    return {"detail": f"at most {size} GB, of {item['VolumeId']}", "cost": cost_of(table, SNAPSHOT, size)}


def _interface(item: Item, table: PriceTable) -> dict[str, Any]:
    attachment = item.get("Attachment")
    return {
        "detail": item.get("PrivateIpAddress", ""),
        "held": item["Status"] != "available",
        "follows": _with_instance([attachment] if attachment else []),
    }


def _with_instance(attachments: Iterable[Item]) -> str:
    with_it = [each["InstanceId"] for each in attachments if each.get("DeleteOnTermination")]
    return f"with instance {with_it[0]}" if with_it else ""


def _address(item: Item, table: PriceTable) -> dict[str, Any]:
    return {"detail": item.get("PublicIp", ""), "cost": cost_of(table, PUBLIC_IPV4)}


def _nat(item: Item, table: PriceTable) -> dict[str, Any] | None:
    if item["State"] in ("deleting", "deleted"):
        return None
    return {"cost": cost_of(table, NAT_GATEWAY)}


EC2 = (
    Ec2(kinds.INSTANCE, "describe_instances", "Reservations", "InstanceId", _instance),
    Ec2(kinds.VOLUME, "describe_volumes", "Volumes", "VolumeId", _volume),
    Ec2(kinds.SNAPSHOT, "describe_snapshots", "Snapshots", "SnapshotId", _snapshot),
    Ec2(
        kinds.INTERFACE,
        "describe_network_interfaces",
        "NetworkInterfaces",
        "NetworkInterfaceId",
        _interface,
    ),
    Ec2(kinds.ADDRESS, "describe_addresses", "Addresses", "AllocationId", _address),
    Ec2(kinds.NAT, "describe_nat_gateways", "NatGateways", "NatGatewayId", _nat),
    Ec2(kinds.GATEWAY, "describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    Ec2(kinds.TABLE, "describe_route_tables", "RouteTables", "RouteTableId"),
    Ec2(kinds.SUBNET, "describe_subnets", "Subnets", "SubnetId"),
    Ec2(kinds.VPC, "describe_vpcs", "Vpcs", "VpcId"),
)


def named(tags: Mapping[str, str]) -> str:
    """The claim that a volume was made for, else its Name. Sources of the keys: kubernetes-csi/
    external-provisioner (--extra-create-metadata) and kubernetes-sigs/aws-ebs-csi-driver, docs/tagging.md."""
    claim = tags.get("kubernetes.io/created-for/pvc/name")
    if claim:
        return f"claim {tags.get('kubernetes.io/created-for/pvc/namespace', '?')}/{claim}"
    return tags.get("Name", "")


def service(tags: Mapping[str, str]) -> str:
    """Source of the keys: kubernetes/cloud-provider-aws, pkg/providers/v1/aws.go, and
    kubernetes-sigs/aws-load-balancer-controller, pkg/deploy/tracking/provider.go."""
    name = tags.get("kubernetes.io/service-name") or tags.get("service.k8s.aws/stack")
    return f"Service {name}" if name else ""


def unknown(what: str) -> Cost:
    return Cost(unknown=frozenset({what}))


def tags_of(item: Item, prefix: str = "") -> dict[str, str]:
    listed = item.get("Tags") or item.get("TagSet") or ()  # the second one: of network interfaces
    return {tag[f"{prefix}Key"]: tag[f"{prefix}Value"] for tag in listed}
