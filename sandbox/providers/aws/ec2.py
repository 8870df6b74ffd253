"""What the EC2 rows share: tags at creation, and who is using what."""

from __future__ import annotations

import ipaddress
from typing import Any, ClassVar

from sandbox.providers.aws.api import Api, AwsError, Tags, first, if_there, tag_list, tag_map
from sandbox.providers.aws.table import Row
from sandbox.providers.backend import Properties

# The emulator leaves the interfaces of a terminated instance attached; AWS frees them.
_GONE = ("terminated", "shutting-down")


class Ec2Row(Row):
    """An EC2 object: tags by TagSpecifications, errors `<noun>.NotFound`."""

    resource_type: ClassVar[str]

    def specifications(self, inputs: Properties) -> dict[str, Any]:
        """The argument that puts tags on with the create call itself."""
        tags = inputs.get("tagsAll")
        if not tags:
            return {}
        return {"TagSpecifications": [{"ResourceType": self.resource_type, "Tags": tag_list(tags)}]}

    def retag(self, api: Api, id: str, removed: list[str], tags: Tags) -> None:
        if removed:
            api.ec2.delete_tags(Resources=[id], Tags=[{"Key": key} for key in removed])
        if tags:
            api.ec2.create_tags(Resources=[id], Tags=tag_list(tags))


def tags_of(thing: Any, key: str = "Tags") -> Tags:
    return tag_map(thing.get(key))


def filters(**values: str | list[str]) -> list[dict[str, Any]]:
    """`vpc_id="x"` as the API's list of filters; `__` stands for a dot."""
    return [
        {
            "Name": name.replace("__", ".").replace("_", "-"),
            "Values": [value] if isinstance(value, str) else value,
        }
        for name, value in values.items()
    ]


def instance(api: Api, id: str) -> dict[str, Any] | None:
    """An instance that still exists: a terminated one is gone, though AWS lists it for an hour."""
    reservation = first(if_there(api.ec2.describe_instances, InstanceIds=[id]), "Reservations")
    found: dict[str, Any] | None = first(reservation, "Instances")
    return None if found is None or found["State"]["Name"] in _GONE else found


def interfaces(api: Api, **values: str | list[str]) -> list[dict[str, Any]]:
    """Interfaces by filter, without those that only a terminated instance of the emulator still has
    and that AWS would have deleted with it (made by RunInstances itself)."""
    found = api.ec2.describe_network_interfaces(Filters=filters(**values))["NetworkInterfaces"]
    return [item for item in found if not (_automatic(item) and user_of(api, item) is None and _held(item))]


def user_of(api: Api, interface: dict[str, Any]) -> str | None:
    """The live instance that an interface is attached to."""
    owner = (interface.get("Attachment") or {}).get("InstanceId")
    return owner if owner and instance(api, owner) is not None else None


def _held(interface: dict[str, Any]) -> bool:
    return bool((interface.get("Attachment") or {}).get("InstanceId"))


def _automatic(interface: dict[str, Any]) -> bool:
    return bool(interface.get("Description") == "Primary network interface")


def require_free_address(api: Api, subnet_id: str, address: str) -> None:
    """Refuse an address that is taken, reserved by AWS or outside the subnet."""
    subnet = first(api.ec2.describe_subnets(SubnetIds=[subnet_id]), "Subnets")
    network = ipaddress.ip_network(subnet["CidrBlock"])
    try:
        wanted = ipaddress.ip_address(address)
    except ValueError:
        raise AwsError("InvalidParameterValue", f"invalid value for parameter address: {address}") from None
    if wanted not in network:
        raise AwsError("InvalidParameterValue", "Address does not fall within the subnet's address range")
    if int(wanted) - int(network.network_address) < 4 or wanted == network.broadcast_address:
        raise AwsError("InvalidParameterValue", "Address is in subnet's reserved address range")
    if interfaces(api, subnet_id=subnet_id, addresses__private_ip_address=address):
        raise AwsError("InvalidIPAddress.InUse", f"Address {address} is in use.")


def require_groups(api: Api, subnet_id: str, groups: list[str]) -> None:
    """Security groups that exist, in the network of the subnet."""
    if not groups:
        return
    subnet = first(api.ec2.describe_subnets(SubnetIds=[subnet_id]), "Subnets")
    for group in api.ec2.describe_security_groups(GroupIds=groups)["SecurityGroups"]:
        if group["VpcId"] != subnet["VpcId"]:
            message = (
                f"Security group {group['GroupId']} and subnet {subnet_id} belong to different networks."
            )
            raise AwsError("InvalidParameter", message)


def require_no_interfaces(api: Api, noun: str, id: str, **values: str | list[str]) -> None:
    """AWS does not delete what an interface is in; the emulator does."""
    if interfaces(api, **values):
        raise AwsError("DependencyViolation", f"The {noun} '{id}' has dependencies and cannot be deleted.")
