"""Runs one rule the way the pack does, and says what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pulumi_policy import (
    PolicyCustomTimeouts,
    PolicyProviderResource,
    PolicyResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError, unknown_checking_proxy

from tests.engine import UNKNOWN as NOT_KNOWN_YET

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
    stack: str = "lab",
    protect: bool = False,
) -> Result:
    """`provider`: the settings of the resource's provider; `config`: the rule's configuration."""
    args = _Args(
        type_,
        unknown_checking_proxy(dict(props)),
        f"urn:pulumi:{stack}::kubepark::{type_}::{name}",
        name,
        _options(protect),
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


def resource(
    type_: str, props: Mapping[str, Any], name: str = "resource", dependencies: Iterable[PolicyResource] = ()
) -> PolicyResource:
    """One of a stack, as the rules for stacks see it. It depends on others by its property `bucket`, too."""
    needed = list(dependencies)
    urn = f"urn:pulumi:lab::kubepark::{type_}::{name}"
    proxy = unknown_checking_proxy(dict(props))
    return PolicyResource(
        type_, proxy, urn, name, _options(False), None, None, needed, {"bucket": needed} if needed else {}
    )


def evaluate_stack(
    policy: StackValidationPolicy,
    resources: Iterable[PolicyResource],
    *,
    config: Mapping[str, Any] | None = None,
) -> Result:
    """Violations are the blamed resource's name and the message."""
    violations: list[str] = []
    unknown = None
    found = list(resources)
    names = {each.urn: each.name for each in found}

    def report(message: str, urn: str | None = None) -> None:
        assert urn is not None, "it says which resource it is about"
        violations.append(f"{names[urn]}: {message}")

    try:
        policy.validate(StackValidationArgs(found, config), report)
    except UnknownValueError as error:
        unknown = ".".join(error.props)
    return Result(tuple(violations), unknown)


def _options(protect: bool) -> PolicyResourceOptions:
    return PolicyResourceOptions(protect, [], None, [], PolicyCustomTimeouts(0, 0, 0), [])


def _provider(settings: Mapping[str, Any]) -> PolicyProviderResource:
    kind = "pulumi:providers:aws"
    return PolicyProviderResource(kind, unknown_checking_proxy(dict(settings)), f"urn::{kind}::aws", "aws")


def for_policies(value: Any) -> Any:
    """Recorded inputs with the unknown values that policies know."""
    if isinstance(value, dict):
        return {key: for_policies(item) for key, item in value.items()}
    if isinstance(value, list):
        return [for_policies(item) for item in value]
    return UNKNOWN if value is NOT_KNOWN_YET else value
