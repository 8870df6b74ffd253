"""What is really there: live AWS resources, Kubernetes objects, locks and processes of one project."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from sandbox.tests.stack.project import Project
from sandbox.tests.tools import cmdline

Resource = Mapping[str, Any]
_OURS = [{"Name": "tag-key", "Values": ["kubepark:cluster"]}]
_LIVE = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}


def _tagged(operation: str, items: str, id: str) -> Callable[[Project], list[str]]:
    """Ids of what carries our tag, by an EC2 list call."""
    return lambda project: [item[id] for item in getattr(project.aws("ec2"), operation)(Filters=_OURS)[items]]


def _instances(project: Project) -> list[str]:
    answer = project.aws("ec2").describe_instances(Filters=[*_OURS, _LIVE])
    return [item["InstanceId"] for group in answer["Reservations"] for item in group["Instances"]]


def _interfaces(project: Project) -> list[str]:
    """Without those that belong to instances from their birth."""
    answer = project.aws("ec2").describe_network_interfaces(Filters=_OURS)
    return [item["NetworkInterfaceId"] for item in answer["NetworkInterfaces"]]


def _keys(project: Project) -> list[str]:
    kms = project.aws("kms")
    found = [key["KeyId"] for page in kms.get_paginator("list_keys").paginate() for key in page["Keys"]]
    described = [kms.describe_key(KeyId=key)["KeyMetadata"] for key in found]
    return [
        key["KeyId"] for key in described if key["KeyManager"] == "CUSTOMER" and key["KeyState"] == "Enabled"
    ]


def _aliases(project: Project) -> list[str]:
    pages = project.aws("kms").get_paginator("list_aliases").paginate()
    names = [alias["AliasName"] for page in pages for alias in page["Aliases"]]
    return [name for name in names if name.startswith("alias/kubepark/")]


def _paged(service: str, operation: str, items: str, id: str) -> Callable[[Project], list[str]]:
    """Ids from a list call; the emulator has no others than ours."""
    return lambda project: [
        item[id] for page in project.aws(service).get_paginator(operation).paginate() for item in page[items]
    ]


# By type: the ids of everything live. Compared with the state's, as multisets.
LIVE: Mapping[str, Callable[[Project], list[str]]] = {
    "aws:ec2/vpc:Vpc": _tagged("describe_vpcs", "Vpcs", "VpcId"),
    "aws:ec2/subnet:Subnet": _tagged("describe_subnets", "Subnets", "SubnetId"),
    "aws:ec2/internetGateway:InternetGateway": _tagged(
        "describe_internet_gateways", "InternetGateways", "InternetGatewayId"
    ),
    "aws:ec2/routeTable:RouteTable": _tagged("describe_route_tables", "RouteTables", "RouteTableId"),
    "aws:ec2/eip:Eip": _tagged("describe_addresses", "Addresses", "AllocationId"),
    "aws:ec2/networkInterface:NetworkInterface": _interfaces,
    "aws:ec2/instance:Instance": _instances,
    "aws:kms/key:Key": _keys,
    "aws:kms/alias:Alias": _aliases,
    "aws:iam/role:Role": _paged("iam", "list_roles", "Roles", "RoleName"),
    "aws:iam/instanceProfile:InstanceProfile": _paged(
        "iam", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"
    ),
    "aws:ssm/parameter:Parameter": _paged("ssm", "describe_parameters", "Parameters", "Name"),
}


def security_rules(project: Project, groups: Iterable[str]) -> list[str]:
    """Ids of every rule of the given groups, both directions."""
    filters = [{"Name": "group-id", "Values": sorted(groups)}]
    answer = project.aws("ec2").describe_security_group_rules(Filters=filters)
    return [rule["SecurityGroupRuleId"] for rule in answer["SecurityGroupRules"]]


def live(project: Project) -> dict[str, list[str]]:
    """Everything of ours in the emulator, by type."""
    return {typ: sorted(find(project)) for typ, find in LIVE.items()}


def resources(project: Project) -> list[dict[str, Any]]:
    """The state's resources, those that the engine is about to delete left out."""
    return [item for item in project.resources() if not item.get("delete")]


def creating(project: Project) -> set[str]:
    """Types of real things whose creation the engine has begun and not recorded as done."""
    try:
        text = project.checkpoint_file.read_text(encoding="utf-8")
        # Only the list itself: to parse all of the state takes longer than many a create.
        _, found, rest = text.partition('"pending_operations":')
        operations = json.JSONDecoder().raw_decode(rest.lstrip())[0] if found else []
    except (FileNotFoundError, json.JSONDecodeError):  # not there yet, or being written
        return set()
    begun = [item["resource"] for item in operations if item["type"] == "creating"]
    return {resource["type"] for resource in begun if is_real(resource)}


def is_real(resource: Resource) -> bool:
    """Something in AWS or in Kubernetes: neither a component nor the engine's own bookkeeping."""
    return bool(resource.get("custom")) and not resource["type"].startswith("pulumi:")


def locks(project: Project) -> list[Path]:
    return [path for path in (project.state / "backend").rglob("*.json") if "locks" in path.parts]


def engine_processes(project: Project) -> list[psutil.Process]:
    """The CLI, its plugins and policy packs, of any operation on this project."""
    return [process for process in all_processes(project) if _is_of_engine(process)]


def all_processes(project: Project) -> list[psutil.Process]:
    """The same and the local cloud: everything whose environment names this project."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            named = (environment.get("PULUMI_HOME", ""), environment.get("PYTHONPATH", ""))
            if any(str(project.root) in value for value in named):
                found.append(process)
    return found


def _is_of_engine(process: psutil.Process) -> bool:
    words = " ".join(cmdline(process))
    return any(part in words for part in ("/pulumi", "pulumi ", "pulumi.policy", "language_host"))
