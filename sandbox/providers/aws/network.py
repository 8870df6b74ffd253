"""VPC, subnet, reservation, internet gateway."""

from __future__ import annotations

import ipaddress
from types import MappingProxyType
from typing import Any

from sandbox.providers.aws.api import Api, AwsError, first, given, if_there
from sandbox.providers.aws.ec2 import Ec2Row, filters, interfaces, require_no_interfaces, tags_of
from sandbox.providers.aws.table import Change, Row, paths
from sandbox.providers.backend import UNKNOWN, CheckFailure, Properties, ProviderError


def cidr_failures(inputs: Properties, *names: str) -> list[CheckFailure]:
    """Properties that are no CIDR block, or one with host bits set."""
    found = []
    for name in names:
        text = inputs.get(name)
        if text is None or text is UNKNOWN:
            continue
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            found.append((name, f"{text!r} is not a valid CIDR block: {error}"))
    return found


class Vpc(Ec2Row):
    token = "aws:ec2/vpc:Vpc"
    resource_type = "vpc"
    handles = paths("cidrBlock enableDnsHostnames enableDnsSupport instanceTenancy")
    force_new = paths("cidrBlock")
    defaults = MappingProxyType(
        {"enableDnsSupport": True, "enableDnsHostnames": False, "instanceTenancy": "default"}
    )

    def check(self, inputs: Properties) -> list[CheckFailure]:
        return cidr_failures(inputs, "cidrBlock")

    def create(self, api: Api, inputs: Properties) -> str:
        size = ipaddress.ip_network(inputs.get("cidrBlock", "0.0.0.0/0")).prefixlen
        if not 16 <= size <= 28:
            raise AwsError("InvalidVpc.Range", f"The CIDR '{inputs.get('cidrBlock')}' is invalid.")
        answer = api.ec2.create_vpc(
            CidrBlock=inputs["cidrBlock"],
            InstanceTenancy=inputs["instanceTenancy"],
            **self.specifications(inputs),
        )
        return str(answer["Vpc"]["VpcId"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        self._set_attributes(api, id, inputs)

    def update(self, api: Api, id: str, change: Change) -> None:
        if change.of("instanceTenancy"):
            api.ec2.modify_vpc_tenancy(VpcId=id, InstanceTenancy=change.new["instanceTenancy"])
        self._set_attributes(api, id, change.new)

    def _set_attributes(self, api: Api, id: str, inputs: Properties) -> None:
        # One attribute per call, as the API wants it; names on need support on.
        api.ec2.modify_vpc_attribute(VpcId=id, EnableDnsSupport={"Value": inputs["enableDnsSupport"]})
        api.ec2.modify_vpc_attribute(VpcId=id, EnableDnsHostnames={"Value": inputs["enableDnsHostnames"]})

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        vpc = first(if_there(api.ec2.describe_vpcs, VpcIds=[id]), "Vpcs")
        if vpc is None:
            return None
        tables = api.ec2.describe_route_tables(Filters=filters(vpc_id=id, association__main="true"))
        acls = api.ec2.describe_network_acls(Filters=filters(vpc_id=id, default="true"))
        groups = api.ec2.describe_security_groups(Filters=filters(vpc_id=id, group_name="default"))
        main = (first(tables, "RouteTables") or {}).get("RouteTableId")
        return {
            "arn": api.arn("ec2", f"vpc/{id}"),
            "cidrBlock": vpc["CidrBlock"],
            "instanceTenancy": vpc["InstanceTenancy"],
            "enableDnsSupport": self._attribute(api, id, "enableDnsSupport"),
            "enableDnsHostnames": self._attribute(api, id, "enableDnsHostnames"),
            "dhcpOptionsId": vpc["DhcpOptionsId"],
            "mainRouteTableId": main,
            "defaultRouteTableId": main,
            "defaultNetworkAclId": (first(acls, "NetworkAcls") or {}).get("NetworkAclId"),
            "defaultSecurityGroupId": (first(groups, "SecurityGroups") or {}).get("GroupId"),
            "ownerId": vpc["OwnerId"],
            "tagsAll": tags_of(vpc),
        }

    def _attribute(self, api: Api, id: str, name: str) -> bool:
        answer = api.ec2.describe_vpc_attribute(VpcId=id, Attribute=name)
        return bool(answer[name[0].upper() + name[1:]]["Value"])

    def delete(self, api: Api, id: str, state: Properties) -> None:
        here = filters(vpc_id=id)
        tables = api.ec2.describe_route_tables(Filters=here)["RouteTables"]
        groups = api.ec2.describe_security_groups(Filters=here)["SecurityGroups"]
        blockers = [
            api.ec2.describe_subnets(Filters=here)["Subnets"],
            [table for table in tables if not any(row["Main"] for row in table["Associations"])],
            [group for group in groups if group["GroupName"] != "default"],
            api.ec2.describe_internet_gateways(Filters=filters(attachment__vpc_id=id))["InternetGateways"],
        ]
        if any(blockers):
            raise AwsError("DependencyViolation", f"The vpc '{id}' has dependencies and cannot be deleted.")
        api.ec2.delete_vpc(VpcId=id)


class Subnet(Ec2Row):
    token = "aws:ec2/subnet:Subnet"
    resource_type = "subnet"
    handles = paths("vpcId cidrBlock availabilityZone availabilityZoneId mapPublicIpOnLaunch")
    force_new = paths("vpcId cidrBlock availabilityZone availabilityZoneId")
    defaults = MappingProxyType({"mapPublicIpOnLaunch": False})
    computed = paths("availabilityZone availabilityZoneId")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        return cidr_failures(inputs, "cidrBlock")

    def create(self, api: Api, inputs: Properties) -> str:
        answer = api.ec2.create_subnet(
            VpcId=inputs["vpcId"],
            **given(
                CidrBlock=inputs.get("cidrBlock"),
                AvailabilityZone=inputs.get("availabilityZone"),
                AvailabilityZoneId=inputs.get("availabilityZoneId"),
            ),
            **self.specifications(inputs),
        )
        return str(answer["Subnet"]["SubnetId"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        value = {"Value": inputs["mapPublicIpOnLaunch"]}
        api.ec2.modify_subnet_attribute(SubnetId=id, MapPublicIpOnLaunch=value)

    def update(self, api: Api, id: str, change: Change) -> None:
        self.finish(api, id, change.new)

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        subnet = first(if_there(api.ec2.describe_subnets, SubnetIds=[id]), "Subnets")
        if subnet is None:
            return None
        return {
            "arn": api.arn("ec2", f"subnet/{id}"),
            "vpcId": subnet["VpcId"],
            "cidrBlock": subnet["CidrBlock"],
            "availabilityZone": subnet["AvailabilityZone"],
            "availabilityZoneId": subnet["AvailabilityZoneId"],
            "mapPublicIpOnLaunch": subnet["MapPublicIpOnLaunch"],
            "ownerId": subnet["OwnerId"],
            "tagsAll": tags_of(subnet),
        }

    def delete(self, api: Api, id: str, state: Properties) -> None:
        require_no_interfaces(api, "subnet", id, subnet_id=id)
        api.ec2.delete_subnet(SubnetId=id)


class SubnetCidrReservation(Row):
    token = "aws:ec2/subnetCidrReservation:SubnetCidrReservation"
    handles = paths("subnetId cidrBlock reservationType description")
    force_new = handles

    def check(self, inputs: Properties) -> list[CheckFailure]:
        found = cidr_failures(inputs, "cidrBlock")
        if inputs.get("reservationType") not in ("explicit", "prefix", UNKNOWN):
            found.append(("reservationType", "expected reservationType to be one of: prefix, explicit"))
        return found

    def create(self, api: Api, inputs: Properties) -> str:
        subnet = first(api.ec2.describe_subnets(SubnetIds=[inputs["subnetId"]]), "Subnets")
        inside = ipaddress.ip_network(subnet["CidrBlock"])
        if not ipaddress.ip_network(inputs["cidrBlock"]).subnet_of(inside):  # type: ignore[arg-type]
            message = f"Reservation CIDR {inputs['cidrBlock']} is not within the subnet {inside}"
            raise AwsError("InvalidParameterValue", message)
        answer = api.ec2.create_subnet_cidr_reservation(
            SubnetId=inputs["subnetId"],
            Cidr=inputs["cidrBlock"],
            ReservationType=inputs["reservationType"],
            **given(Description=inputs.get("description")),
        )
        return str(answer["SubnetCidrReservation"]["SubnetCidrReservationId"])

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        subnet, _, reservation = id.rpartition(":")
        subnet = subnet or known.get("subnetId", "")
        if not subnet:
            raise ProviderError("", f"{id}: import a reservation as SUBNET_ID:RESERVATION_ID")
        answer = if_there(api.ec2.get_subnet_cidr_reservations, SubnetId=subnet)
        for item in (answer or {}).get("SubnetIpv4CidrReservations", []):
            if item["SubnetCidrReservationId"] == reservation:
                return _reservation(item)
        return None

    def canonical_id(self, id: str) -> str:
        return id.rpartition(":")[2]

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.ec2.delete_subnet_cidr_reservation(SubnetCidrReservationId=id)


def _reservation(item: Any) -> Properties:
    return {
        "subnetId": item["SubnetId"],
        "cidrBlock": item["Cidr"],
        "reservationType": item["ReservationType"],
        "description": item.get("Description"),
        "ownerId": item["OwnerId"],
    }


class InternetGateway(Ec2Row):
    token = "aws:ec2/internetGateway:InternetGateway"
    resource_type = "internet-gateway"
    handles = paths("vpcId")
    computed = paths("vpcId")

    def create(self, api: Api, inputs: Properties) -> str:
        answer = api.ec2.create_internet_gateway(**self.specifications(inputs))
        return str(answer["InternetGateway"]["InternetGatewayId"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        if inputs.get("vpcId"):
            self._attach(api, id, inputs["vpcId"])

    def _attach(self, api: Api, id: str, vpc: str) -> None:
        others = api.ec2.describe_internet_gateways(Filters=filters(attachment__vpc_id=vpc))
        if others["InternetGateways"]:
            message = f"Resource {vpc} already has an internet gateway attached"
            raise AwsError("Resource.AlreadyAssociated", message)
        api.ec2.attach_internet_gateway(InternetGatewayId=id, VpcId=vpc)

    def update(self, api: Api, id: str, change: Change) -> None:
        if change.old.get("vpcId"):
            self._detach(api, id, change.old["vpcId"])
        if change.new.get("vpcId"):
            self._attach(api, id, change.new["vpcId"])

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        gateway = first(
            if_there(api.ec2.describe_internet_gateways, InternetGatewayIds=[id]), "InternetGateways"
        )
        if gateway is None:
            return None
        attachments = gateway["Attachments"]
        return {
            "arn": api.arn("ec2", f"internet-gateway/{id}"),
            "vpcId": attachments[0]["VpcId"] if attachments else None,
            "ownerId": gateway.get("OwnerId", api.account),
            "tagsAll": tags_of(gateway),
        }

    def delete(self, api: Api, id: str, state: Properties) -> None:
        live = self.read(api, id, state) or {}
        if live.get("vpcId"):
            self._detach(api, id, live["vpcId"])
        api.ec2.delete_internet_gateway(InternetGatewayId=id)

    def _detach(self, api: Api, id: str, vpc: str) -> None:
        if any((item.get("Association") or {}).get("PublicIp") for item in interfaces(api, vpc_id=vpc)):
            message = f"Network {vpc} has some mapped public address(es)."
            raise AwsError("DependencyViolation", message)
        api.ec2.detach_internet_gateway(InternetGatewayId=id, VpcId=vpc)
