"""Runs one rule the way the pack does, and says what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pulumi_policy import (
    PolicyCustomTimeouts,
    PolicyProviderResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    ResourceValidationPolicy,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError, unknown_checking_proxy

UNKNOWN = UNKNOWN_STRING_VALUE


class _NotApplicable(Exception):
    pass


class _Args(ResourceValidationArgs):
    def not_applicable(self, reason: str | None = None) -> NoReturn:
        raise _NotApplicable(reason)


@dataclass(frozen=True)
class Result:
    """`violations`: messages. `unknown`: the property that could not be evaluated yet."""

    violations: tuple[str, ...]
    unknown: str | None = None
    applicable: bool = True


def evaluate(
    policy: ResourceValidationPolicy,
    type_: str,
    props: Mapping[str, Any],
    *,
    name: str = "resource",
    provider: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Result:
    """`provider`: the settings of the resource's provider; `config`: the rule's configuration."""
    args = _Args(
        type_,
        unknown_checking_proxy(dict(props)),
        f"urn:pulumi:lab::kubepark::{type_}::{name}",
        name,
        PolicyResourceOptions(False, [], None, [], PolicyCustomTimeouts(0, 0, 0), []),
        _provider(provider) if provider is not None else None,
        config,
    )
    violations: list[str] = []
    unknown = None

    def report(message: str, urn: str | None = None) -> None:
        violations.append(message)

    try:
        policy.validate(args, report)
    except UnknownValueError as error:
        unknown = ".".join(error.props)
    except _NotApplicable:
        return Result(tuple(violations), applicable=False)
    return Result(tuple(violations), unknown)


def _provider(settings: Mapping[str, Any]) -> PolicyProviderResource:
    kind = "pulumi:providers:aws"
    return PolicyProviderResource(kind, unknown_checking_proxy(dict(settings)), f"urn::{kind}::aws", "aws")
