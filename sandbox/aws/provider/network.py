"""VPC, subnet, reservation, internet gateway."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from sandbox.aws.provider.api import Api, first, if_there
from sandbox.aws.provider.ec2 import Ec2ResourceType, filters
from sandbox.aws.provider.resource_type import Change, capital, paths
from sandbox.aws.provider.values import Properties, ProviderError

_DNS = ("enableDnsSupport", "enableDnsHostnames")


class Vpc(Ec2ResourceType):
    token = "aws:ec2/vpc:Vpc"
    resource_type = "vpc"
    arguments = force_new = paths("cidrBlock")
    handles = paths("cidrBlock enableDnsHostnames enableDnsSupport")
    fields = paths("cidrBlock instanceTenancy dhcpOptionsId ownerId")
    defaults = MappingProxyType(
        {"enableDnsSupport": True, "enableDnsHostnames": False, "instanceTenancy": "default"}
    )
    cidr_blocks = ("cidrBlock",)

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        # One attribute per call, as the API wants it; names on need support on.
        for name in _DNS:
            api.ec2.modify_vpc_attribute(VpcId=id, **{capital(name): {"Value": inputs[name]}})

    def update(self, api: Api, id: str, change: Change) -> None:
        self.finish(api, id, change.new)

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        tables = api.ec2.describe_route_tables(Filters=filters(vpc_id=id, association__main="true"))
        acls = api.ec2.describe_network_acls(Filters=filters(vpc_id=id, default="true"))
        groups = api.ec2.describe_security_groups(Filters=filters(vpc_id=id, group_name="default"))
        main = first(tables, "RouteTables")["RouteTableId"]
        return {
            **{name: self._attribute(api, id, name) for name in _DNS},
            "mainRouteTableId": main,
            "defaultRouteTableId": main,
            "defaultNetworkAclId": first(acls, "NetworkAcls")["NetworkAclId"],
            "defaultSecurityGroupId": first(groups, "SecurityGroups")["GroupId"],
        }

    def _attribute(self, api: Api, id: str, name: str) -> bool:
        answer = api.ec2.describe_vpc_attribute(VpcId=id, Attribute=name)
        return bool(answer[capital(name)]["Value"])


class Subnet(Ec2ResourceType):
    token = "aws:ec2/subnet:Subnet"
    resource_type = "subnet"
    arguments = force_new = paths("vpcId cidrBlock availabilityZone")
    handles = paths("vpcId cidrBlock availabilityZone mapPublicIpOnLaunch")
    fields = handles | paths("availabilityZoneId ownerId")
    defaults = MappingProxyType({"mapPublicIpOnLaunch": False})
    computed = paths("availabilityZone availabilityZoneId")
    cidr_blocks = ("cidrBlock",)

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        value = {"Value": inputs["mapPublicIpOnLaunch"]}
        api.ec2.modify_subnet_attribute(SubnetId=id, MapPublicIpOnLaunch=value)

    def update(self, api: Api, id: str, change: Change) -> None:
        self.finish(api, id, change.new)


class SubnetCidrReservation(Ec2ResourceType):
    token = "aws:ec2/subnetCidrReservation:SubnetCidrReservation"
    resource_type = "subnet-cidr-reservation"
    handles = force_new = paths("subnetId cidrBlock reservationType")
    arguments = paths("subnetId reservationType cidr")
    cidr_blocks = ("cidrBlock",)
    choices = MappingProxyType({"reservationType": ("prefix", "explicit")})

    def create(self, api: Api, inputs: Properties) -> str:
        return super().create(api, {**inputs, "cidr": inputs["cidrBlock"]})

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        subnet, _, reservation = id.rpartition(":")
        subnet = subnet or known.get("subnetId", "")
        if not subnet:
            raise ProviderError("", f"{id}: import a reservation as SUBNET_ID:RESERVATION_ID")
        answer = if_there(api.ec2.get_subnet_cidr_reservations, SubnetId=subnet) or {}
        for item in answer.get("SubnetIpv4CidrReservations", []):
            if item["SubnetCidrReservationId"] == reservation:
                names = ("subnetId", "reservationType", "ownerId")
                return {"cidrBlock": item["Cidr"], **{name: item.get(capital(name)) for name in names}}
        return None

    def canonical_id(self, id: str) -> str:
        return id.rpartition(":")[2]


class InternetGateway(Ec2ResourceType):
    token = "aws:ec2/internetGateway:InternetGateway"
    resource_type = "internet-gateway"
    handles = computed = paths("vpcId")

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        if inputs.get("vpcId"):
            api.ec2.attach_internet_gateway(InternetGatewayId=id, VpcId=inputs["vpcId"])

    def update(self, api: Api, id: str, change: Change) -> None:
        self._detach(api, id)
        self.finish(api, id, change.new)

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        vpc = first(found, "Attachments") or {}
        return {"vpcId": vpc.get("VpcId"), "ownerId": found["OwnerId"]}

    def delete(self, api: Api, id: str, state: Properties) -> None:
        self._detach(api, id)
        super().delete(api, id, state)

    def _detach(self, api: Api, id: str) -> None:
        for attachment in (self.find(api, id) or {}).get("Attachments", []):
            api.ec2.detach_internet_gateway(InternetGatewayId=id, VpcId=attachment["VpcId"])
