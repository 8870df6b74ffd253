"""What EC2 checks when an instance is launched or changed, and the emulator does not."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from sandbox.providers.aws.api import Api, AwsError, first, if_there
from sandbox.providers.aws.ec2 import filters, require_free_address, require_groups, user_of
from sandbox.providers.aws.interfaces import interface
from sandbox.providers.backend import UNKNOWN, CheckFailure, Properties

# EC2's limit on user data before base64, in bytes.
_USER_DATA = 16384
_WITH_OWN_INTERFACE = ("subnetId", "vpcSecurityGroupIds", "privateIp", "associatePublicIpAddress")


def conflicts(inputs: Properties) -> list[CheckFailure]:
    """What the provider finds before any call."""
    found: list[CheckFailure] = []
    for name in ("ami", "instanceType"):
        if name not in inputs:
            found.append((name, "missing required property (no launch template is given)"))
    if "userData" in inputs and "userDataBase64" in inputs:
        found.append(("userData", "conflicts with userDataBase64"))
    if inputs.get("primaryNetworkInterface"):
        found += [
            (name, "conflicts with primaryNetworkInterface") for name in _WITH_OWN_INTERFACE if name in inputs
        ]
    if inputs.get("volumeTags") and (inputs.get("rootBlockDevice") or {}).get("tags"):
        found.append(("volumeTags", "conflicts with rootBlockDevice.tags"))
    text = inputs.get("userDataBase64")
    if isinstance(text, str):
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            found.append(("userDataBase64", "expected base64, got text that does not decode"))
    tokens = (inputs.get("metadataOptions") or {}).get("httpTokens")
    if tokens not in (None, UNKNOWN, "required", "optional"):
        found.append(("metadataOptions.httpTokens", "expected httpTokens to be one of: optional, required"))
    return found


def user_data(inputs: Properties) -> bytes | None:
    """The bytes of whichever property carries them."""
    if inputs.get("userDataBase64") is not None:
        return base64.b64decode(inputs["userDataBase64"])
    return None if inputs.get("userData") is None else str(inputs["userData"]).encode()


def require_launchable(api: Api, inputs: Properties) -> dict[str, Any]:
    """Everything that RunInstances would refuse. Returns the image."""
    image = require_image(api, inputs["ami"])
    require_type(api, inputs["instanceType"], _zone(api, inputs))
    require_small(user_data(inputs))
    if inputs.get("iamInstanceProfile"):
        require_profile(api, inputs["iamInstanceProfile"])
    if inputs.get("primaryNetworkInterface"):
        require_free_interface(api, inputs["primaryNetworkInterface"]["networkInterfaceId"])
    elif inputs.get("subnetId"):
        require_groups(api, inputs["subnetId"], inputs.get("vpcSecurityGroupIds") or [])
        if inputs.get("privateIp"):
            require_free_address(api, inputs["subnetId"], inputs["privateIp"])
    require_big_enough(image, (inputs.get("rootBlockDevice") or {}).get("volumeSize"))
    return image


def _zone(api: Api, inputs: Properties) -> str | None:
    subnet = inputs.get("subnetId")
    primary = inputs.get("primaryNetworkInterface")
    if primary:
        subnet = (interface(api, primary["networkInterfaceId"]) or {}).get("SubnetId")
    if subnet is None:
        return inputs.get("availabilityZone")
    answer = api.ec2.describe_subnets(SubnetIds=[subnet])
    return str(answer["Subnets"][0]["AvailabilityZone"])


def require_image(api: Api, ami: str) -> dict[str, Any]:
    if not re.fullmatch(r"ami-([0-9a-f]{8}|[0-9a-f]{17})", ami):
        raise AwsError("InvalidAMIID.Malformed", f'Invalid id: "{ami}"')
    image: dict[str, Any] | None = first(if_there(api.ec2.describe_images, ImageIds=[ami]), "Images")
    if image is None:
        raise AwsError("InvalidAMIID.NotFound", f"The image id '[{ami}]' does not exist")
    return image


def require_type(api: Api, name: str, zone: str | None) -> None:
    """An instance type that exists and is offered in the zone."""
    kind = "availability-zone" if zone else "region"
    here = filters(instance_type=name, location=zone or api.region)
    if api.ec2.describe_instance_type_offerings(LocationType=kind, Filters=here)["InstanceTypeOfferings"]:
        return
    anywhere = filters(instance_type=name)
    if not api.ec2.describe_instance_type_offerings(Filters=anywhere)["InstanceTypeOfferings"]:
        raise AwsError("InvalidParameterValue", f"Invalid value '{name}' for InstanceType.")
    message = f"Your requested instance type ({name}) is not supported in your requested zone ({zone})."
    raise AwsError("Unsupported", message)


def require_small(data: bytes | None) -> None:
    if data is not None and len(data) > _USER_DATA:
        raise AwsError("InvalidParameterValue", f"User data is limited to {_USER_DATA} bytes")


def require_profile(api: Api, name: str) -> None:
    if if_there(api.iam.get_instance_profile, InstanceProfileName=name) is None:
        value = f"Value ({name}) for parameter iamInstanceProfile.name is invalid."
        raise AwsError("InvalidParameterValue", f"{value} Invalid IAM Instance Profile name")


def require_free_interface(api: Api, id: str) -> None:
    found = interface(api, id)
    if found is None:
        raise AwsError("InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{id}' does not exist")
    if user_of(api, found) is not None:
        raise AwsError("InvalidNetworkInterface.InUse", f"Interface: {id} in use.")


def require_big_enough(image: dict[str, Any], size: int | None) -> None:
    for mapping in image.get("BlockDeviceMappings", []):
        snapshot = mapping.get("Ebs", {})
        least = snapshot.get("VolumeSize", 0)
        if mapping.get("DeviceName") == image["RootDeviceName"] and size is not None and size < least:
            problem = f"Volume of size {size}GB is smaller than snapshot '{snapshot.get('SnapshotId')}'"
            raise AwsError("InvalidBlockDeviceMapping", f"{problem}, expect size>= {least}GB")


def require_growth(now: int, wanted: int | None) -> None:
    if wanted is not None and wanted < now:
        message = f"New size cannot be smaller than existing size ({wanted} < {now} GiB)"
        raise AwsError("InvalidParameterValue", message)
