"""What a created resource answers: ids, ARNs and other computed outputs, derived from its URN.

The same URN always yields the same id, so two runs of one program compare. An output that this table
lacks is answered with a marker; the engine refuses the marker when the program uses it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from typing import Any

import pulumi
import pulumi_aws
import pulumi_kubernetes
from pulumi._types import resource_types
from pulumi.runtime import rpc

ACCOUNT = "123456789012"
REGION = "us-east-1"
MISSING = "\u26a0no-such-output:"

# Packages whose tokens can be checked. Importing them registers their classes with the SDK.
SDKS = {"aws": pulumi_aws, "kubernetes": pulumi_kubernetes}

# Custom resource kinds the program may register: no SDK class exists for them.
CUSTOM_KINDS = frozenset(
    {
        "kubernetes:operator.tigera.io/v1:APIServer",
        "kubernetes:operator.tigera.io/v1:Installation",
        "kubernetes:kubeflow.org/v1:Profile",
        "kubernetes:security.istio.io/v1:AuthorizationPolicy",
    }
)

Inputs = Mapping[str, Any]
Computed = tuple[str, dict[str, Any]]


def _hex(urn: str, length: int) -> str:
    return sha256(urn.encode()).hexdigest()[:length]


def _uuid(urn: str) -> str:
    digits = _hex(urn, 32)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _arn(service: str, resource: str) -> str:
    region = "" if service == "iam" else REGION
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"


def _ec2(prefix: str, kind: str) -> Callable[[str, Inputs], Computed]:
    """An EC2 resource whose id is `<prefix>-<17 hex>` and whose ARN names it."""

    def compute(urn: str, inputs: Inputs) -> Computed:
        id_ = f"{prefix}-{_hex(urn, 17)}"
        return id_, {"arn": _arn("ec2", f"{kind}/{id_}"), "ownerId": ACCOUNT}

    return compute


def _instance(urn: str, inputs: Inputs) -> Computed:
    id_, outputs = _ec2("i", "instance")(urn, inputs)
    return id_, outputs | {"instanceState": "running", "privateIp": inputs.get("privateIp", "10.0.0.4")}


def _interface(urn: str, inputs: Inputs) -> Computed:
    id_, outputs = _ec2("eni", "network-interface")(urn, inputs)
    return id_, outputs | {"privateIp": (inputs.get("privateIps") or ["10.0.0.4"])[0]}


def _eip(urn: str, inputs: Inputs) -> Computed:
    id_, outputs = _ec2("eipalloc", "elastic-ip")(urn, inputs)
    last = int(_hex(urn, 2), 16)  # 198.51.100.0/24 is reserved for documentation (RFC 5737)
    return id_, outputs | {"allocationId": id_, "publicIp": f"198.51.100.{last}"}


def _security_group(urn: str, inputs: Inputs) -> Computed:
    id_, outputs = _ec2("sg", "security-group")(urn, inputs)
    return id_, outputs | {"name": inputs.get("name", id_)}


def _key(urn: str, inputs: Inputs) -> Computed:
    id_ = _uuid(urn)
    return id_, {"arn": _arn("kms", f"key/{id_}"), "keyId": id_}


def _alias(urn: str, inputs: Inputs) -> Computed:
    name = inputs.get("name", f"alias/{_hex(urn, 12)}")
    return name, {"arn": _arn("kms", name), "name": name}


def _named(service: str, kind: str) -> Callable[[str, Inputs], Computed]:
    """A resource whose id is its name; without a name the provider makes one up."""

    def compute(urn: str, inputs: Inputs) -> Computed:
        name = inputs.get("name") or f"{urn.rsplit('::', 1)[1]}-{_hex(urn, 7)}"
        outputs = {"name": name, "arn": _arn(service, f"{kind}/{name.lstrip('/')}")}
        return name, outputs | ({"uniqueId": f"AROA{_hex(urn, 17).upper()}"} if kind == "role" else {})

    return compute


def _role_policy(urn: str, inputs: Inputs) -> Computed:
    name = inputs.get("name") or f"{urn.rsplit('::', 1)[1]}-{_hex(urn, 7)}"
    return f"{inputs['role']}:{name}", {"name": name}


def _whole_group(_urn: str, inputs: Inputs) -> Computed:
    return str(inputs["securityGroupId"]), {}


def _anything(urn: str, inputs: Inputs) -> Computed:
    """A type that nobody reads anything from but its id."""
    return f"id-{_hex(urn, 17)}", {}


COMPUTED: Mapping[str, Callable[[str, Inputs], Computed]] = {
    "aws:ec2/vpc:Vpc": _ec2("vpc", "vpc"),
    "aws:ec2/subnet:Subnet": _ec2("subnet", "subnet"),
    "aws:ec2/internetGateway:InternetGateway": _ec2("igw", "internet-gateway"),
    "aws:ec2/natGateway:NatGateway": _ec2("nat", "natgateway"),
    "aws:ec2/routeTable:RouteTable": _ec2("rtb", "route-table"),
    "aws:ec2/securityGroup:SecurityGroup": _security_group,
    "aws:ec2/networkInterface:NetworkInterface": _interface,
    "aws:ec2/eip:Eip": _eip,
    "aws:ec2/instance:Instance": _instance,
    "aws:ebs/volume:Volume": _ec2("vol", "volume"),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _ec2("sgr", "security-group-rule"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _ec2("sgr", "security-group-rule"),
    "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive": _whole_group,
    "aws:kms/key:Key": _key,
    "aws:kms/alias:Alias": _alias,
    "aws:ssm/parameter:Parameter": _named("ssm", "parameter"),
    "aws:iam/role:Role": _named("iam", "role"),
    "aws:iam/policy:Policy": _named("iam", "policy"),
    "aws:iam/instanceProfile:InstanceProfile": _named("iam", "instance-profile"),
    "aws:iam/rolePolicy:RolePolicy": _role_policy,
}


def compute(token: str, urn: str, inputs: Inputs) -> Computed:
    """Id and computed outputs of a resource that has just been created."""
    if token.startswith("kubernetes:"):
        return _kubernetes(urn, inputs)
    id_, outputs = COMPUTED.get(token, _anything)(urn, inputs)
    answered = outputs.keys() | inputs.keys()
    markers = {name: f"{MISSING}{token}.{name}" for name in _text_outputs(token) - answered}
    return id_, markers | outputs


def _kubernetes(urn: str, inputs: Inputs) -> Computed:
    """Id `namespace/name` (or `name`), and the UID that the API server adds to the metadata."""
    metadata = dict(inputs.get("metadata") or {})
    name = str(metadata.get("name") or f"generated-{_hex(urn, 8)}")
    id_ = f"{metadata['namespace']}/{name}" if "namespace" in metadata else name
    return id_, {"metadata": metadata | {"name": name, "uid": _uuid(urn)}}


def known_type(token: str) -> bool:
    """Whether an installed SDK has a class for the token, or it is a custom kind we register."""
    return token in CUSTOM_KINDS or class_of(token) is not None


@cache
def class_of(token: str) -> type | None:
    """The SDK class behind a type token."""
    package = token.split(":", 1)[0]
    if package not in SDKS:
        return None
    key = token.rsplit(":", 1)[0]
    for module in rpc._RESOURCE_MODULES.get(key, []):
        info = getattr(module, "mod_info", {})
        if token in info.get("classes", {}):
            cls: type = getattr(importlib.import_module(info["fqn"]), info["classes"][token])
            return cls
    return None


@cache
def _text_outputs(token: str) -> frozenset[str]:
    """Outputs of an AWS type that are always a string once it exists."""
    cls = class_of(token)
    if cls is None or not issubclass(cls, pulumi.CustomResource):
        return frozenset()
    return frozenset(name for name, kind in resource_types(cls).items() if kind is str)
