"""What providers know: their types, and what a created resource of one answers.

Ids and outputs follow from the URN, so two runs of one program compare. A text output that is not in
`COMPUTED` is answered with a marker, which the recording engine refuses when the program uses it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import Any

import pulumi_aws
import pulumi_kubernetes
from pulumi._types import resource_types
from pulumi.runtime import rpc

UNANSWERED = "unanswered-output:"

# Packages whose tokens can be checked. Importing them registers their classes with the SDK.
SDKS = {"aws": pulumi_aws, "kubernetes": pulumi_kubernetes}

# Types without an SDK class: the providers, and the custom resource kinds that the program may register.
CLASSLESS = {
    *(f"pulumi:providers:{package}" for package in SDKS),
    "kubernetes:operator.tigera.io/v1:APIServer",
    "kubernetes:operator.tigera.io/v1:Installation",
    "kubernetes:kubeflow.org/v1:Profile",
    "kubernetes:security.istio.io/v1:AuthorizationPolicy",
}

# Outputs that the program uses and that are neither inputs nor, as every id and name, a rule of `compute`.
COMPUTED = {
    "aws:iam/role:Role": {"arn": "arn:aws:iam::123456789012:role/{id}"},
    "aws:kms/key:Key": {"arn": "arn:aws:kms:us-east-1:123456789012:key/{id}", "keyId": "{id}"},
    "aws:ec2/eip:Eip": {"publicIp": "198.51.100.7"},  # of RFC 5737's range for documentation
}


def compute(token: str, urn: str, inputs: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Id and computed outputs of a resource that has just been created."""
    digest = sha256(urn.encode()).hexdigest()
    id_ = f"{token.rpartition(':')[2].lower()}-{digest[:17]}"
    answered = {name: text.format(id=id_) for name, text in COMPUTED.get(token, {}).items()}
    answered["name"] = f"{urn.rpartition('::')[2]}-{digest[:7]}"  # as a provider names what has no name
    outputs = {name: answered.get(name, f"{UNANSWERED}{token}.{name}") for name in _text_outputs(token)}
    return id_, {name: value for name, value in outputs.items() if name not in inputs}


def known_type(token: str) -> bool:
    """Whether the program may register a custom resource of this type."""
    return token in CLASSLESS or class_of(token) is not None


@cache
def class_of(token: str) -> type | None:
    """The SDK class behind a type token."""
    for module in rpc._RESOURCE_MODULES.get(token.rpartition(":")[0], []):
        info = getattr(module, "mod_info", {})
        if token in info.get("classes", {}):
            cls: type = getattr(importlib.import_module(info["fqn"]), info["classes"][token])
            return cls
    return None


@cache
def _text_outputs(token: str) -> frozenset[str]:
    """Outputs of a type that are always a string once it exists."""
    cls = class_of(token)
    kinds = resource_types(cls) if cls else {}
    return frozenset(name for name, kind in kinds.items() if kind is str)
