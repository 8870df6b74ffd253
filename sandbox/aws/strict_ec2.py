"""What EC2 refuses and moto accepts, and what EC2 cleans up and moto does not.

Each check takes moto's stores and the arguments of a call, and raises a Refusal with EC2's own code
(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html). What moto's stores
raise for things that do not exist is moto's to answer: see `strict.refuse`.
"""

from __future__ import annotations

import base64
import binascii
import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from moto.core.utils import utcnow
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS

from sandbox.aws import spot
from sandbox.aws.awswire import Refusal
from sandbox.aws.stores import Stores

# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html (bytes, decoded)
USER_DATA_LIMIT = 16384
# https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html: the first four and the last
_RESERVED_ADDRESSES = 4
# Launch options that moto takes and forgets: what it answers later would be wrong.
_FORGOTTEN = (
    "CapacityReservationSpecification", "CpuOptions", "CreditSpecification", "EnclaveOptions",
    "HibernationOptions", "MaintenanceOptions", "PrivateDnsNameOptions",
)  # fmt: skip

Arguments = dict[str, Any]
Check = Callable[[Stores, Arguments], None]
Effect = Callable[[Stores, Arguments, Arguments], None]  # with the answer of the call


# --- instances -------------------------------------------------------------------------------


def _run_instances(aws: Stores, call: Arguments) -> None:
    if forgotten := [name for name in _FORGOTTEN if _asks(call.get(name))]:
        raise Refusal("UnsupportedOperation", f"not emulated: {', '.join(forgotten)}")
    spot.require_options(call)
    _require_images(aws, call)
    interface = (call.get("NetworkInterfaces") or [{}])[0]
    subnet = interface.get("SubnetId") or call.get("SubnetId")
    if name := interface.get("NetworkInterfaceId"):
        existing = aws.ec2.get_network_interface(name)
        if existing.attachment_id:
            raise Refusal("InvalidNetworkInterface.InUse", f"Interface: [{name}] is in use.")
        subnet = existing.subnet.id
    _require_type(
        aws, call.get("InstanceType"), aws.ec2.get_subnet(subnet).availability_zone if subnet else None
    )
    _require_user_data(_decoded(call.get("UserData", "")))
    _require_profile(aws, (call.get("IamInstanceProfile") or {}).get("Name"))
    for placed in (call, interface):
        _require_address(aws, placed.get("SubnetId"), placed.get("PrivateIpAddress"))
    _require_groups(aws, subnet, interface.get("Groups") or call.get("SecurityGroupIds"))
    for mapping in call.get("BlockDeviceMappings") or []:
        _require_size(aws, call["ImageId"], mapping)


def _asks(options: Arguments | None) -> bool:
    """Whether launch options are other than what every instance has; see `answers` for what that is."""
    return any(value not in (False, "unlimited") for value in (options or {}).values())


def _require_type(aws: Stores, name: str | None, zone: str | None) -> None:
    """An instance type that exists and is offered in the zone."""
    places = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(aws.region, ())
    offers = {offer["Location"] for offer in places if offer["InstanceType"] == name}
    if name is not None and not offers:
        raise Refusal("InvalidParameterValue", f"Invalid value '{name}' for InstanceType.")
    if name is not None and zone is not None and zone not in offers:
        message = f"Your requested instance type ({name}) is not supported in your requested zone ({zone})."
        raise Refusal("Unsupported", message)


def _require_images(aws: Stores, call: Arguments) -> None:
    for name in filter(None, (call.get("ImageId"), *(call.get("ImageIds") or ()))):
        if not re.fullmatch(r"ami-([0-9a-f]{8}|[0-9a-f]{17})", name):
            raise Refusal("InvalidAMIID.Malformed", f'Invalid id: "{name}"')


def _require_user_data(data: bytes) -> None:
    if len(data) > USER_DATA_LIMIT:
        raise Refusal("InvalidParameterValue", f"User data is limited to {USER_DATA_LIMIT} bytes")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=False)
    except binascii.Error:
        raise Refusal("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from None


def _require_profile(aws: Stores, name: str | None) -> None:
    if name is not None and all(profile.name != name for profile in aws.iam.get_instance_profiles()):
        value = f"Value ({name}) for parameter iamInstanceProfile.name is invalid."
        raise Refusal("InvalidParameterValue", f"{value} Invalid IAM Instance Profile name")


def _require_size(aws: Stores, image_id: str, mapping: Arguments) -> None:
    size = mapping.get("Ebs", {}).get("VolumeSize")
    (image,) = aws.ec2.describe_images(ami_ids=[image_id])
    snapshot = aws.ec2.snapshots.get(image.ebs_snapshot.id)
    if (
        size is not None
        and mapping.get("DeviceName") == image.root_device_name
        and size < snapshot.volume.size
    ):
        problem = f"Volume of size {size}GB is smaller than snapshot '{snapshot.id}'"
        raise Refusal("InvalidBlockDeviceMapping", f"{problem}, expect size>= {snapshot.volume.size}GB")


def _modify_instance(aws: Stores, call: Arguments) -> None:
    instance = aws.ec2.get_instance(call["InstanceId"])
    spot.keep_type(aws, call)
    for name in ("InstanceType", "UserData"):
        if name in call and instance.state != "stopped":
            message = f"The instance '{instance.id}' is not in the 'stopped' state, which {name} needs."
            raise Refusal("IncorrectInstanceState", message)
    _require_type(aws, (call.get("InstanceType") or {}).get("Value"), instance.placement.availability_zone)
    _require_user_data((call.get("UserData") or {}).get("Value", b""))


def _change_profile(aws: Stores, call: Arguments) -> None:
    _require_profile(aws, call["IamInstanceProfile"].get("Name"))


def _modify_volume(aws: Stores, call: Arguments) -> None:
    now, wanted = aws.ec2.get_volume(call["VolumeId"]).size, call.get("Size")
    if wanted is not None and wanted < now:
        message = f"New size cannot be smaller than existing size ({wanted} < {now} GiB)"
        raise Refusal("InvalidParameterValue", message)


def _terminate_instances(aws: Stores, call: Arguments) -> None:
    """One protected instance keeps all of the call (moto ends those before it; in AWS, of the same zone)."""
    for instance in aws.ec2.get_multi_instances_by_id(call["InstanceIds"]):
        if instance.disable_api_termination:
            message = (
                f"The instance '{instance.id}' may not be terminated. Modify its 'disableApiTermination'"
            )
            raise Refusal("OperationNotPermitted", f"{message} instance attribute and try again.")


def _launched(aws: Stores, call: Arguments, answer: Arguments) -> None:
    """What moto forgets of a launch: that an interface which it made ends with its instance unless the call
    says otherwise, termination protection (it knows that from ModifyInstanceAttribute only), and the request
    of a Spot Instance."""
    interface = (call.get("NetworkInterfaces") or [{}])[0]
    for launched in answer["Instances"]:
        instance = aws.ec2.get_instance(launched["InstanceId"])
        instance.disable_api_termination = bool(call.get("DisableApiTermination"))
        if interface.get("DeleteOnTermination") is not False:
            for made in instance.nics.values():
                made.delete_on_termination = made.id != interface.get("NetworkInterfaceId")
        if call.get("InstanceMarketOptions"):
            spot.note_request(aws, instance)


def _started(aws: Stores, call: Arguments, answer: Arguments) -> None:
    """LaunchTime is that of the last start. Source: the EC2 API reference, Instance, launchTime."""
    for started in answer["StartingInstances"]:
        if started["PreviousState"]["Name"] == "stopped":
            aws.ec2.get_instance(started["InstanceId"]).launch_time = utcnow()


def _terminated(aws: Stores, call: Arguments, answer: Arguments) -> None:
    """A terminated instance gives back the interfaces that outlive it; moto keeps them `in-use`.

    moto asks a terminated instance for its first interface, so it keeps a copy to answer from.
    """
    for instance in map(aws.ec2.get_instance, call["InstanceIds"]):
        for index, interface in list(instance.nics.items()):
            cached = copy.copy(interface)
            cached.delete_on_termination = False
            if interface.id in aws.ec2.enis and interface.instance is instance:
                instance.detach_eni(interface)
            instance.nics[index] = cached
        spot.reopen_request(aws, instance.id)


# --- network ---------------------------------------------------------------------------------


def _create_interface(aws: Stores, call: Arguments) -> None:
    listed = [each.get("PrivateIpAddress") for each in call.get("PrivateIpAddresses") or ()]
    for address in (call.get("PrivateIpAddress"), *listed):
        _require_address(aws, call["SubnetId"], address)
    _require_groups(aws, call["SubnetId"], call.get("Groups"))


def _require_address(aws: Stores, subnet_id: str | None, address: str | None) -> None:
    """An address of the subnet that is free. (moto fails with HTTP 500 on an instance's second.)"""
    if subnet_id is None or address is None:
        return
    network, wanted = ip_network(aws.ec2.get_subnet(subnet_id).cidr_block), ip_address(address)
    if wanted not in network:
        raise Refusal("InvalidParameterValue", "Address does not fall within the subnet's address range")
    if int(wanted) - int(network[0]) < _RESERVED_ADDRESSES or wanted == network[-1]:
        raise Refusal("InvalidParameterValue", "Address is in subnet's reserved address range")
    for interface in aws.ec2.enis.values():
        held = {item["PrivateIpAddress"] for item in interface.private_ip_addresses}
        if interface.subnet.id == subnet_id and address in held:
            raise Refusal("InvalidIPAddress.InUse", f"Address {address} is in use.")


def _require_groups(aws: Stores, subnet_id: str | None, groups: Iterable[str] | None) -> None:
    """Security groups that exist, in the network of the subnet."""
    for name in groups or ():
        group = aws.ec2.get_security_group_from_id(name)
        if group is None:
            raise Refusal("InvalidGroup.NotFound", f"The security group '{name}' does not exist")
        if subnet_id is not None and group.vpc_id != aws.ec2.get_subnet(subnet_id).vpc_id:
            message = f"Security group {name} and subnet {subnet_id} belong to different networks."
            raise Refusal("InvalidParameter", message)


def _delete_interface(aws: Stores, call: Arguments) -> None:
    interface = aws.ec2.get_network_interface(call["NetworkInterfaceId"])
    if interface.attachment_id:
        raise Refusal("InvalidParameterValue", f"Network interface '{interface.id}' is currently in use.")


def _delete_subnet(aws: Stores, call: Arguments) -> None:
    """In use by an interface; a load balancer has some of its own, which moto does not make."""
    name = call["SubnetId"]
    interfaces = [each for each in aws.ec2.enis.values() if each.subnet.id == name]
    balancers = [each for each in aws.balancers if name in (getattr(s, "id", s) for s in each.subnets)]
    _require_unused("subnet", name, [*interfaces, *balancers])


def _delete_group(aws: Stores, call: Arguments) -> None:
    """In use by an interface or a load balancer, or named by a rule of another group."""
    name = call.get("GroupId")
    _require_unused("resource", name, _users_of_group(aws, name))


def _users_of_group(aws: Stores, name: str | None) -> Iterator[Any]:
    for interface in aws.ec2.enis.values():
        yield from (group for group in interface.group_set if group.id == name)
    yield from (each for each in aws.balancers if name in (each.security_groups or ()))
    for group in aws.ec2.describe_security_groups():
        if group.id != name:
            for rule in (*group.ingress_rules, *group.egress_rules):
                if rule.source_group.get("GroupId") == name:
                    yield rule


def _modify_rules(aws: Stores, call: Arguments) -> None:
    """A rule must not become like another: everything but the description tells rules apart."""
    group = aws.ec2.get_security_group_by_name_or_id(call["GroupId"])
    for change in call["SecurityGroupRules"]:
        id, new = change["SecurityGroupRuleId"], change["SecurityGroupRule"]
        wanted = tuple(map(new.get, ("IpProtocol", "FromPort", "ToPort", "CidrIpv4", "ReferencedGroupId")))
        for rules in (group.ingress_rules, group.egress_rules):
            others = [_identity(rule) for rule in rules if rule.id != id]
            if len(others) < len(rules) and wanted in others:
                raise Refusal("InvalidPermission.Duplicate", f"the specified rule {wanted} already exists")


def _revoke_rules(aws: Stores, call: Arguments) -> None:
    for group in filter(None, [aws.ec2.get_security_group_by_name_or_id(call.get("GroupId"))]):
        known = {rule.id for rule in (*group.ingress_rules, *group.egress_rules)}
        for name in sorted(set(call.get("SecurityGroupRuleIds") or ()) - known):
            message = f"The security group rule ID '{name}' does not exist"
            raise Refusal("InvalidSecurityGroupRuleId.NotFound", message)


def _identity(rule: Any) -> tuple[Any, ...]:
    ports = (-1, -1) if rule.ip_protocol == "-1" else (rule.from_port, rule.to_port)
    return (rule.ip_protocol, *ports, rule.cidr_ipv4, rule.source_group.get("GroupId"))


def _delete_vpc(aws: Stores, call: Arguments) -> None:
    """Subnets and route tables: moto refuses itself."""
    name = call["VpcId"]
    groups = [g for g in aws.ec2.groups[name].values() if g.name != "default"]
    gateways = [g for g in aws.ec2.internet_gateways.values() if g.vpc and g.vpc.id == name]
    _require_unused("vpc", name, [*groups, *gateways])


def _require_unused(noun: str, name: str | None, users: Iterable[Any]) -> None:
    if any(True for _ in users):
        raise Refusal("DependencyViolation", f"The {noun} '{name}' has dependencies and cannot be deleted.")


def _attach_gateway(aws: Stores, call: Arguments) -> None:
    if any(g.vpc and g.vpc.id == call["VpcId"] for g in aws.ec2.internet_gateways.values()):
        message = f"Resource {call['VpcId']} already has an internet gateway attached"
        raise Refusal("Resource.AlreadyAssociated", message)


def _detach_gateway(aws: Stores, call: Arguments) -> None:
    if any(i.public_ip and i.vpc_id == call["VpcId"] for i in aws.ec2.enis.values()):
        raise Refusal("DependencyViolation", f"Network {call['VpcId']} has some mapped public address(es).")


def _associate_table(aws: Stores, call: Arguments) -> None:
    for table in aws.ec2.route_tables.values():
        if call.get("SubnetId") in table._associations.values():
            message = f"the specified association for route table {table.id} conflicts"
            raise Refusal("Resource.AlreadyAssociated", f"{message} with an existing association")


CHECKS: Mapping[str, Check] = {
    "ec2:AssociateIamInstanceProfile": _change_profile,
    "ec2:AssociateRouteTable": _associate_table,
    "ec2:AttachInternetGateway": _attach_gateway,
    "ec2:CreateNetworkInterface": _create_interface,
    "ec2:DeleteNetworkInterface": _delete_interface,
    "ec2:DeleteSecurityGroup": _delete_group,
    "ec2:DeleteSubnet": _delete_subnet,
    "ec2:DeleteVpc": _delete_vpc,
    "ec2:DescribeImages": _require_images,
    "ec2:DetachInternetGateway": _detach_gateway,
    "ec2:ModifyInstanceAttribute": _modify_instance,
    "ec2:ModifySecurityGroupRules": _modify_rules,
    "ec2:ModifyVolume": _modify_volume,
    "ec2:ReplaceIamInstanceProfileAssociation": _change_profile,
    "ec2:RevokeSecurityGroupEgress": _revoke_rules,
    "ec2:RevokeSecurityGroupIngress": _revoke_rules,
    "ec2:RunInstances": _run_instances,
    "ec2:TerminateInstances": _terminate_instances,
}
EFFECTS: Mapping[str, Effect] = {
    "ec2:RunInstances": _launched,
    "ec2:StartInstances": _started,
    "ec2:TerminateInstances": _terminated,
}
