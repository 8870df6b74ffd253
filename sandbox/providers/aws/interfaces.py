"""Network interface, Elastic IP and its association, NAT gateway."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from sandbox.providers.aws.api import Api, AwsError, first, given, if_there
from sandbox.providers.aws.ec2 import Ec2Row, require_free_address, require_groups, tags_of, user_of
from sandbox.providers.aws.table import Change, Row, as_set, paths
from sandbox.providers.backend import CheckFailure, Properties


class NetworkInterface(Ec2Row):
    token = "aws:ec2/networkInterface:NetworkInterface"
    resource_type = "network-interface"
    handles = paths("subnetId privateIps securityGroups description sourceDestCheck")
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
        require_groups(api, inputs["subnetId"], inputs.get("securityGroups") or [])
        addresses = inputs.get("privateIps") or [None]
        if addresses[0] is not None:
            require_free_address(api, inputs["subnetId"], addresses[0])
        answer = api.ec2.create_network_interface(
            SubnetId=inputs["subnetId"],
            Description=inputs["description"],
            **given(PrivateIpAddress=addresses[0], Groups=inputs.get("securityGroups")),
            **self.specifications(inputs),
        )
        return str(answer["NetworkInterface"]["NetworkInterfaceId"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        if not inputs["sourceDestCheck"]:
            self._modify(api, id, SourceDestCheck={"Value": False})

    def _modify(self, api: Api, id: str, **attribute: Any) -> None:
        api.ec2.modify_network_interface_attribute(NetworkInterfaceId=id, **attribute)

    def update(self, api: Api, id: str, change: Change) -> None:
        if change.of("securityGroups"):
            self._modify(api, id, Groups=change.new["securityGroups"])
        if change.of("description"):
            self._modify(api, id, Description={"Value": change.new["description"]})
        if change.of("sourceDestCheck"):
            self._modify(api, id, SourceDestCheck={"Value": change.new["sourceDestCheck"]})

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        found = interface(api, id)
        if found is None:
            return None
        return {
            "arn": api.arn("ec2", f"network-interface/{id}"),
            "subnetId": found["SubnetId"],
            "privateIp": found["PrivateIpAddress"],
            "privateIps": [item["PrivateIpAddress"] for item in found["PrivateIpAddresses"]],
            "securityGroups": [group["GroupId"] for group in found["Groups"]],
            "description": found["Description"],
            "sourceDestCheck": found["SourceDestCheck"],
            "interfaceType": found["InterfaceType"],
            "macAddress": found["MacAddress"],
            "ownerId": found["OwnerId"],
            "attachments": _attachments(api, found),
            "tagsAll": tags_of(found, "TagSet"),
        }

    def delete(self, api: Api, id: str, state: Properties) -> None:
        found = interface(api, id)
        if found is not None and user_of(api, found) is not None:
            message = f"Network interface '{id}' is currently in use."
            raise AwsError("InvalidParameterValue", message)
        api.ec2.delete_network_interface(NetworkInterfaceId=id)


def interface(api: Api, id: str) -> dict[str, Any] | None:
    answer = if_there(api.ec2.describe_network_interfaces, NetworkInterfaceIds=[id])
    found: dict[str, Any] | None = first(answer, "NetworkInterfaces")
    return found


def _attachments(api: Api, found: dict[str, Any]) -> list[Properties]:
    owner = user_of(api, found)
    if owner is None:
        return []
    attachment = found["Attachment"]
    return [
        {
            "attachmentId": attachment["AttachmentId"],
            "deviceIndex": attachment["DeviceIndex"],
            "networkCardIndex": attachment.get("NetworkCardIndex", 0),
            "instance": owner,
        }
    ]


class Eip(Ec2Row):
    token = "aws:ec2/eip:Eip"
    resource_type = "elastic-ip"
    handles = paths("domain instance networkInterface associateWithPrivateIp")
    force_new = paths("domain")
    defaults = MappingProxyType({"domain": "vpc"})
    computed = paths("instance networkInterface")
    local = paths("associateWithPrivateIp")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        if inputs.get("instance") and inputs.get("networkInterface"):
            return [("instance", "conflicts with networkInterface: give one of them")]
        return []

    def create(self, api: Api, inputs: Properties) -> str:
        answer = api.ec2.allocate_address(Domain=inputs["domain"], **self.specifications(inputs))
        return str(answer["AllocationId"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        if inputs.get("instance") or inputs.get("networkInterface"):
            associate(
                api,
                id,
                inputs.get("instance"),
                inputs.get("networkInterface"),
                inputs.get("associateWithPrivateIp"),
                steal=True,
            )

    def update(self, api: Api, id: str, change: Change) -> None:
        live = address(api, id) or {}
        if live.get("AssociationId"):
            api.ec2.disassociate_address(AssociationId=live["AssociationId"])
        self.finish(api, id, change.new)

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        found = address(api, id)
        if found is None:
            return None
        return {
            "allocationId": id,
            "arn": api.arn("ec2", f"elastic-ip/{id}"),
            "domain": found["Domain"],
            "publicIp": found["PublicIp"],
            "publicDns": f"ec2-{found['PublicIp'].replace('.', '-')}.compute-1.amazonaws.com",
            "associationId": found.get("AssociationId") or "",
            "networkInterface": found.get("NetworkInterfaceId") or "",
            "instance": found.get("InstanceId") or "",
            "privateIp": found.get("PrivateIpAddress") or None,
            "tagsAll": tags_of(found),
        }

    def delete(self, api: Api, id: str, state: Properties) -> None:
        live = address(api, id) or {}
        if live.get("AssociationId"):
            api.ec2.disassociate_address(AssociationId=live["AssociationId"])
        api.ec2.release_address(AllocationId=id)


class EipAssociation(Row):
    token = "aws:ec2/eipAssociation:EipAssociation"
    handles = paths("allocationId instanceId networkInterfaceId privateIpAddress allowReassociation")
    force_new = handles
    defaults = MappingProxyType({"allowReassociation": False})
    computed = paths("instanceId networkInterfaceId privateIpAddress")
    local = paths("allowReassociation")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        return [] if "allocationId" in inputs else [("allocationId", "missing required property")]

    def create(self, api: Api, inputs: Properties) -> str:
        return associate(
            api,
            inputs["allocationId"],
            inputs.get("instanceId"),
            inputs.get("networkInterfaceId"),
            inputs.get("privateIpAddress"),
            steal=inputs["allowReassociation"],
        )

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        for found in api.ec2.describe_addresses()["Addresses"]:
            if found.get("AssociationId") == id:
                return {
                    "allocationId": found["AllocationId"],
                    "instanceId": found.get("InstanceId") or None,
                    "networkInterfaceId": found.get("NetworkInterfaceId") or None,
                    "privateIpAddress": found.get("PrivateIpAddress") or None,
                    "publicIp": found["PublicIp"],
                }
        return None

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.ec2.disassociate_address(AssociationId=id)


def address(api: Api, id: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = first(
        if_there(api.ec2.describe_addresses, AllocationIds=[id]), "Addresses"
    )
    return found


def associate(
    api: Api, id: str, instance: str | None, interface_id: str | None, private: str | None, *, steal: bool
) -> str:
    """Point an address at something; `steal` takes it away from where it points now."""
    live = address(api, id) or {}
    if live.get("AssociationId") and not steal:
        message = f"resource {id} is already associated with associate-id {live['AssociationId']}"
        raise AwsError("Resource.AlreadyAssociated", message)
    answer = api.ec2.associate_address(
        AllocationId=id,
        AllowReassociation=steal,
        **given(InstanceId=instance, NetworkInterfaceId=interface_id, PrivateIpAddress=private),
    )
    return str(answer["AssociationId"])


class NatGateway(Ec2Row):
    token = "aws:ec2/natGateway:NatGateway"
    resource_type = "natgateway"
    handles = paths("subnetId allocationId connectivityType")
    force_new = handles
    defaults = MappingProxyType({"connectivityType": "public"})

    def check(self, inputs: Properties) -> list[CheckFailure]:
        if inputs.get("connectivityType", "public") == "public" and "allocationId" not in inputs:
            return [("allocationId", "required when connectivityType is public")]
        return [] if "subnetId" in inputs else [("subnetId", "missing required property")]

    def create(self, api: Api, inputs: Properties) -> str:
        if inputs.get("allocationId") and (address(api, inputs["allocationId"]) or {}).get("AssociationId"):
            message = f"resource {inputs['allocationId']} is already associated"
            raise AwsError("Resource.AlreadyAssociated", message)
        answer = api.ec2.create_nat_gateway(
            SubnetId=inputs["subnetId"],
            ConnectivityType=inputs["connectivityType"],
            **given(AllocationId=inputs.get("allocationId")),
            **self.specifications(inputs),
        )
        return str(answer["NatGateway"]["NatGatewayId"])

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        found = first(if_there(api.ec2.describe_nat_gateways, NatGatewayIds=[id]), "NatGateways")
        if found is None or found["State"] in ("deleted", "deleting", "failed"):
            return None
        address = found["NatGatewayAddresses"][0]
        return {
            "subnetId": found["SubnetId"],
            "allocationId": address.get("AllocationId"),
            "connectivityType": found["ConnectivityType"],
            "associationId": address.get("AssociationId"),
            "networkInterfaceId": address.get("NetworkInterfaceId"),
            "privateIp": address.get("PrivateIp"),
            "publicIp": address.get("PublicIp"),
            "tagsAll": tags_of(found),
        }

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.ec2.delete_nat_gateway(NatGatewayId=id)
        # AWS deletes the gateway's own interface with it, the emulator does not.
        if interface(api, state["networkInterfaceId"]) is not None:
            api.ec2.delete_network_interface(NetworkInterfaceId=state["networkInterfaceId"])
