"""What AWS refuses and moto accepts, and what AWS cleans up and moto does not.

Only rules that a caller of this project can meet. Each names AWS's own error code, so that a
program sees here what it would see there. (moto validates AMI ids and instance types itself when
asked to: see `emulator.MOTO_SETTINGS`.) The caller holds the emulator's lock.
"""

from __future__ import annotations

import base64
import binascii
import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

from moto.ec2.models import ec2_backends

from sandbox.awswire import AwsRequest, Refusal
from sandbox.config import ACCOUNT_ID

# https://docs.aws.amazon.com/general/latest/gr/ssm.html (service quotas, characters)
PARAMETER_LIMITS = {"Standard": 4096, "Advanced": 8192, "Intelligent-Tiering": 8192}
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html (bytes, decoded)
USER_DATA_LIMIT = 16384


def refuse(request: AwsRequest) -> Refusal | None:
    """The error that AWS would give, or None to let moto answer."""
    check = _CHECKS.get(request.operation)
    return check(request) if check and isinstance(request.params, dict) else None


def after(request: AwsRequest, answer: bytes) -> None:
    """Bring moto's state to where AWS's would be after a call that succeeded with `answer`."""
    if request.operation == "ec2:RunInstances":
        _own_interfaces(request, answer.decode())
    elif request.operation == "ec2:TerminateInstances":
        _release_interfaces(request)


def _put_parameter(request: AwsRequest) -> Refusal | None:
    value = str(request.params.get("Value", ""))
    tier = request.params.get("Tier", "Standard")
    limit = PARAMETER_LIMITS.get(tier, PARAMETER_LIMITS["Standard"])
    if len(value) > limit:
        return Refusal(
            "ValidationException",
            f"{tier} tier parameters support a maximum parameter value of {limit} characters.",
        )
    if "{{" in value:
        return Refusal("ValidationException", "Parameter value can't nest another parameter: {{ }}.")
    return None


def _run_instances(request: AwsRequest) -> Refusal | None:
    params = request.params
    try:
        user_data = base64.b64decode(params.get("UserData", ""), validate=False)
    except binascii.Error:
        return Refusal("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.")
    if len(user_data) > USER_DATA_LIMIT:
        return Refusal("InvalidParameterValue", f"User data is limited to {USER_DATA_LIMIT} bytes")
    return _interface_in_use(request) or _address_in_use(request)


def _interface_in_use(request: AwsRequest) -> Refusal | None:
    backend = _backend(request)
    for name in _named_interfaces(request):
        interface = backend.enis.get(name)
        if interface is not None and interface.attachment_id:
            return Refusal("InvalidNetworkInterface.InUse", f"Interface: [{name}] is in use.")
    return None


def _named_interfaces(request: AwsRequest) -> list[str]:
    """Ids of the existing interfaces that RunInstances is to use."""
    return [
        value
        for key, value in request.params.items()
        if key.startswith("NetworkInterface.") and key.endswith(".NetworkInterfaceId")
    ]


def _address_in_use(request: AwsRequest) -> Refusal | None:
    """moto accepts an interface's address twice, and fails with HTTP 500 on an instance's."""
    for prefix in ("", "NetworkInterface.1."):
        subnet = request.params.get(f"{prefix}SubnetId")
        address = request.params.get(f"{prefix}PrivateIpAddress")
        if address and (subnet, address) in _addresses(_backend(request)):
            return Refusal("InvalidIPAddress.InUse", f"Address {address} is in use.")
    return None


def _addresses(backend: Any) -> set[tuple[str, str]]:
    """(subnet id, private address) of every interface."""
    return {
        (interface.subnet.id, address["PrivateIpAddress"])
        for interface in backend.enis.values()
        for address in interface.private_ip_addresses
    }


def _modify_instance(request: AwsRequest) -> Refusal | None:
    instance_id = request.params.get("InstanceId", "")
    instance = _backend(request).get_instance_by_id(instance_id)
    attributes = ("InstanceType.Value", "UserData.Value")
    touched = [name for name in attributes if name in request.params]
    if instance is None or not touched or instance.state == "stopped":
        return None
    return Refusal(
        "IncorrectInstanceState",
        f"The instance '{instance_id}' is not in the 'stopped' state, which "
        f"{touched[0].partition('.')[0]} needs.",
    )


def _own_interfaces(request: AwsRequest, answer: str) -> None:
    """An interface that RunInstances made ends with its instance unless the call says otherwise."""
    backend = _backend(request)
    kept = _named_interfaces(request)
    if request.params.get("NetworkInterface.1.DeleteOnTermination") == "false":
        return
    for instance_id in re.findall(r"<instanceId>(i-[0-9a-f]+)</instanceId>", answer):
        for interface in backend.get_instance_by_id(instance_id).nics.values():
            interface.delete_on_termination = interface.id not in kept


def _release_interfaces(request: AwsRequest) -> None:
    """A terminated instance gives back the interfaces that outlive it; moto keeps them `in-use`.

    moto asks a terminated instance for its first interface, so it keeps a copy to answer from.
    """
    backend = _backend(request)
    named = [value for key, value in request.params.items() if key.startswith("InstanceId.")]
    for instance in filter(None, map(backend.get_instance_by_id, named)):
        for index, interface in list(instance.nics.items()):
            remembered = copy.copy(interface)
            remembered.delete_on_termination = False
            if interface.id in backend.enis and interface.instance is instance:
                instance.detach_eni(interface)
            instance.nics[index] = remembered


def _backend(request: AwsRequest) -> Any:
    return ec2_backends[ACCOUNT_ID][request.region]


_CHECKS: Mapping[str, Callable[[AwsRequest], Refusal | None]] = {
    "ssm:PutParameter": _put_parameter,
    "ec2:RunInstances": _run_instances,
    "ec2:CreateNetworkInterface": _address_in_use,
    "ec2:ModifyInstanceAttribute": _modify_instance,
}
