"""Network interface and Elastic IP."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from sandbox.aws.provider.api import Api, first, given, if_there
from sandbox.aws.provider.ec2 import Ec2ResourceType
from sandbox.aws.provider.resource_type import Change, as_set, capital, paths
from sandbox.aws.provider.values import CheckFailure, Properties


class NetworkInterface(Ec2ResourceType):
    token = "aws:ec2/networkInterface:NetworkInterface"
    resource_type = "network-interface"
    handles = paths("subnetId privateIps securityGroups description")
    arguments = paths("subnetId description privateIpAddress groups")
    fields = paths("subnetId description sourceDestCheck interfaceType macAddress ownerId")
    force_new = paths("subnetId privateIps")
    defaults = MappingProxyType({"sourceDestCheck": True, "description": "Managed by Pulumi"})
    computed = paths("privateIps securityGroups")
    same = MappingProxyType({"securityGroups": as_set, "privateIps": as_set})

    def check(self, inputs: Properties) -> list[CheckFailure]:
        addresses = inputs.get("privateIps")
        if isinstance(addresses, list) and len(addresses) != 1:
            return [("privateIps", "the stand-in provider implements exactly one address")]
        return []

    def create(self, api: Api, inputs: Properties) -> str:
        (address,) = inputs.get("privateIps") or [None]
        groups = inputs.get("securityGroups")
        return super().create(api, {**inputs, "privateIpAddress": address, "groups": groups})

    def update(self, api: Api, id: str, change: Change) -> None:
        if change.of("securityGroups"):
            groups = change.new["securityGroups"]
            api.ec2.modify_network_interface_attribute(NetworkInterfaceId=id, Groups=groups)
        if change.of("description"):
            text = {"Value": change.new["description"]}
            api.ec2.modify_network_interface_attribute(NetworkInterfaceId=id, Description=text)

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        held = found.get("Attachment") or {}
        same = {name: held.get(capital(name)) for name in ("attachmentId", "deviceIndex", "networkCardIndex")}
        return {
            "privateIp": found["PrivateIpAddress"],
            "privateIps": [item["PrivateIpAddress"] for item in found["PrivateIpAddresses"]],
            "securityGroups": [group["GroupId"] for group in found["Groups"]],
            "attachments": [{"instance": held["InstanceId"], **same}] if held else [],
        }


class Eip(Ec2ResourceType):
    token = "aws:ec2/eip:Eip"
    resource_type = "elastic-ip"
    handles = paths("domain networkInterface associateWithPrivateIp")
    force_new = paths("domain")
    defaults = MappingProxyType({"domain": "vpc"})
    fields = paths("allocationId domain publicIp")
    computed = paths("instance networkInterface")
    local = paths("associateWithPrivateIp")

    def create(self, api: Api, inputs: Properties) -> str:
        answer = api.ec2.allocate_address(Domain=inputs["domain"], **self.specifications(inputs))
        return str(answer["AllocationId"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        if inputs.get("networkInterface"):
            api.ec2.associate_address(
                AllocationId=id,
                NetworkInterfaceId=inputs["networkInterface"],
                AllowReassociation=True,
                **given(PrivateIpAddress=inputs.get("associateWithPrivateIp")),
            )

    def update(self, api: Api, id: str, change: Change) -> None:
        self._disassociate(api, id)
        self.finish(api, id, change.new)

    def find(self, api: Api, id: str) -> Any:
        return first(if_there(api.ec2.describe_addresses, AllocationIds=[id]), "Addresses")

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        return {
            "publicDns": f"ec2-{found['PublicIp'].replace('.', '-')}.compute-1.amazonaws.com",
            "associationId": found.get("AssociationId", ""),
            "networkInterface": found.get("NetworkInterfaceId", ""),
            "instance": found.get("InstanceId", ""),
            "privateIp": found.get("PrivateIpAddress"),
        }

    def delete(self, api: Api, id: str, state: Properties) -> None:
        self._disassociate(api, id)
        api.ec2.release_address(AllocationId=id)

    def _disassociate(self, api: Api, id: str) -> None:
        association = (self.find(api, id) or {}).get("AssociationId")
        if association:
            api.ec2.disassociate_address(AssociationId=association)
