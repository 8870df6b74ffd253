"""From one AWS request to the IAM calls that AWS would authorize for it.

A request is often more than one call: a SecureString is encrypted and decrypted in the caller's name,
so the caller needs the key too. Sources: the Systems Manager user guide, "AWS KMS encryption for
Parameter Store SecureString parameters" and "Preventing access to Parameter Store API operations".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from sandbox.aws.awswire import Refusal
from sandbox.aws.cloud import Cloud, Instance
from sandbox.aws.statements import Call, Context
from sandbox.config import ACCOUNT_ID

# The key of AWS in each account. Its policy lets everybody in the account use it through Parameter
# Store, whatever their own policies say; AWS lets nobody edit it.
_AWS_KEY = "alias/aws/ssm"
_SECRET = "SecureString"

Parameters = Mapping[str, Any]


class Unsupported(Exception):
    """What the request needs is not known here. The text names it."""


@dataclass(frozen=True)
class _Parameter:
    """A parameter as DescribeParameters lists it: everything but the value."""

    name: str
    type: str
    key: str


def needed(cloud: Cloud, instance: Instance, operation: str, parameters: Parameters) -> Iterator[Call]:
    """The calls behind `ssm:GetParameter` and the like, in the order in which AWS authorizes them.

    Lazy: what a later call depends on is looked up when the calls before it have been allowed, as the
    service itself does, so that nobody learns of a parameter by how it is refused.
    Raises `Unsupported`, and a `Refusal` where what the request names cannot be looked up.
    """
    if operation not in _NEEDED:
        raise Unsupported(operation)
    yield from _NEEDED[operation](_Store(cloud, instance), parameters)


class _Store:
    """Parameter Store and EC2 as the calls of one instance see them."""

    def __init__(self, cloud: Cloud, instance: Instance) -> None:
        self.cloud = cloud
        self._always: Context = {
            "aws:RequestedRegion": cloud.region,
            "aws:PrincipalAccount": ACCOUNT_ID,
        }
        self._direct: Context = {
            "aws:ViaAWSService": "false",
            "aws:CalledVia": None,  # nobody called on the caller's behalf
            "ec2:SourceInstanceARN": f"arn:aws:ec2:{cloud.region}:{ACCOUNT_ID}:instance/{instance.id}",
            "ec2:RoleDelivery": "2.0",  # the version of the metadata service that gave the credentials
        }

    def call(self, action: str, name: str, **keys: str) -> Call:
        """A call of Parameter Store itself. `keys`: the request's own condition keys, without `ssm:`."""
        own = {f"ssm:{key}": value for key, value in keys.items()}
        return Call(action, self._arn(name), {**self._always, **self._direct, **own})

    def instance_call(self, action: str, instance_id: str) -> Call:
        """A call of EC2 about one instance, by whose tags it may be allowed."""
        found = self.cloud.instance(instance_id)
        tags = {each["Key"]: each["Value"] for each in (found.raw.get("Tags") or [] if found else [])}
        own = {f"{service}:ResourceTag/{key}": tags[key] for key in tags for service in ("aws", "ec2")}
        arn = f"arn:aws:ec2:{self.cloud.region}:{ACCOUNT_ID}:instance/{instance_id}"
        return Call(action, arn, {**self._always, **self._direct, **own})

    def disk_calls(self, instance_id: str) -> Iterator[Call]:
        """For a start: EC2 uses the keys of the disks in the caller's name. (AWS answers well without that
        right, and the instance stops again: here it is refused.)"""
        here = [{"Name": "attachment.instance-id", "Values": [instance_id]}]
        found = _look(self.cloud.ec2.describe_volumes, Filters=here)
        for arn in sorted({each["KmsKeyId"] for each in found["Volumes"] if each.get("KmsKeyId")}):
            yield self._key_call("kms:CreateGrant", arn, "ec2", {"kms:GrantIsForAWSResource": "true"})

    def key_call(self, action: str, key: str, name: str) -> Call:
        """A call of KMS that Parameter Store makes for the caller, about the value of `name`."""
        own: Context = {
            "kms:EncryptionContextKeys": ("PARAMETER_ARN",),
            "kms:EncryptionContext:PARAMETER_ARN": self._arn(name),
        }
        return self._key_call(action, _look(self.cloud.key_arn, key=key), "ssm", own)

    def _key_call(self, action: str, arn: str, service: str, own: Context) -> Call:
        context: Context = {
            "kms:ResourceAliases": self.cloud.key_aliases(arn),
            "kms:ViaService": f"{service}.{self.cloud.region}.amazonaws.com",
            "kms:CallerAccount": ACCOUNT_ID,
        }
        return Call(action, arn, {**self._always, **context, **own})

    def decryption(self, found: _Parameter, parameters: Parameters) -> Iterator[Call]:
        """What reading the value needs beside the read itself."""
        if found.type == _SECRET and not _flag(parameters, "WithDecryption"):
            # AWS would give the ciphertext; the emulator has none, only the value.
            raise Unsupported(f"the ciphertext of {found.name}")
        if found.type == _SECRET and found.key != _AWS_KEY:  # a key that IAM policies decide about
            yield self.key_call("kms:Decrypt", found.key, found.name)

    def parameter(self, name: str) -> _Parameter | None:
        return next(iter(self.parameters("Name", "Equals", name)), None)

    def parameters(self, key: str, option: str, value: str) -> list[_Parameter]:
        here = [{"Key": key, "Option": option, "Values": [value]}]
        pages = self.cloud.ssm.get_paginator("describe_parameters").paginate(ParameterFilters=here)
        found = _look(pages.build_full_result)["Parameters"]
        return [_Parameter(each["Name"], each["Type"], each.get("KeyId", _AWS_KEY)) for each in found]

    def _arn(self, name: str) -> str:
        slash = "" if name.startswith("/") else "/"
        return f"arn:aws:ssm:{self.cloud.region}:{ACCOUNT_ID}:parameter{slash}{name}"


def _get_parameter(store: _Store, parameters: Parameters) -> Iterator[Call]:
    name = _text(parameters, "Name").partition(":")[0]  # NAME:VERSION and NAME:LABEL
    yield store.call("ssm:GetParameter", name)
    found = store.parameter(name)
    if found:
        yield from store.decryption(found, parameters)


def _get_parameters_by_path(store: _Store, parameters: Parameters) -> Iterator[Call]:
    """A caller who may read a path may read all below it, even what it is denied by name."""
    path, recursive = _text(parameters, "Path"), _flag(parameters, "Recursive")
    yield store.call("ssm:GetParametersByPath", path, **_own(parameters, "Recursive"))
    for found in store.parameters("Path", "Recursive" if recursive else "OneLevel", path):
        yield from store.decryption(found, parameters)


def _put_parameter(store: _Store, parameters: Parameters) -> Iterator[Call]:
    name = _text(parameters, "Name")
    yield store.call("ssm:PutParameter", name, **_own(parameters, "Overwrite"))
    type_ = parameters.get("Type")
    if type_ is None and (before := store.parameter(name)):
        type_ = before.type  # an update keeps it
    key = parameters.get("KeyId", _AWS_KEY)  # also where the value was under another key before
    if type_ == _SECRET and key != _AWS_KEY:
        # An advanced parameter is encrypted with a data key, a standard one with the key itself.
        standard = parameters.get("Tier", "Standard") == "Standard"
        yield store.key_call("kms:Encrypt" if standard else "kms:GenerateDataKey", str(key), name)


def _each_instance(store: _Store, parameters: Parameters) -> Iterator[Call]:
    """Of EC2's query protocol. All instances of a call must be allowed."""
    ids = [str(value) for key, value in parameters.items() if re.fullmatch(r"InstanceId\.[0-9]+", key)]
    if not ids or len(ids) + len(_PROTOCOL & parameters.keys()) < len(parameters):
        raise Unsupported(f"a call with {', '.join(sorted(parameters))}")
    for instance_id in ids:
        yield store.instance_call(f"ec2:{parameters['Action']}", instance_id)
        if parameters["Action"] == "StartInstances":
            yield from store.disk_calls(instance_id)


_PROTOCOL = {"Action", "Version"}
_NEEDED: Mapping[str, Callable[[_Store, Parameters], Iterator[Call]]] = {
    "ec2:StartInstances": _each_instance,
    "ec2:StopInstances": _each_instance,
    "ssm:GetParameter": _get_parameter,
    "ssm:GetParametersByPath": _get_parameters_by_path,
    "ssm:PutParameter": _put_parameter,
}


def _text(parameters: Parameters, field: str) -> str:
    value = parameters.get(field)
    if not isinstance(value, str) or not value or value.startswith("arn:"):
        raise Unsupported(f"a call with {field} {value!r}")
    return value


def _flag(parameters: Parameters, field: str) -> bool:
    value = parameters.get(field, False)
    if not isinstance(value, bool):
        raise Unsupported(f"a call with {field} {value!r}")
    return value


def _own(parameters: Parameters, field: str) -> dict[str, str]:
    """The request's own condition key; whether AWS has one for a field that is left out is not known."""
    return {field: str(_flag(parameters, field)).lower()} if field in parameters else {}


def _look(method: Callable[..., Any], **arguments: Any) -> Any:
    try:
        return method(**arguments)
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        # What Parameter Store makes of an error of KMS.
        raise Refusal("InvalidKeyId" if code == "NotFoundException" else code, message) from None
