"""What the rules share: how a policy is made, how a waiver counts, and how unknown values are met.

During a preview a property may be unknown. Touching one raises `UnknownValueError`, which ends the
policy and turns into an advisory, whatever else is wrong with the resource. So every fact is its own
check and `every` runs them all: what is known is evaluated, what is not is reported after that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    PolicyConfigSchema,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from policies import waivers

Fail = Callable[[str], None]
Check = Callable[[ResourceValidationArgs, Fail], None]
FailOf = Callable[[PolicyResource, str], None]  # the resource that is blamed, and why
StackCheck = Callable[[StackValidationArgs, FailOf], None]


def mandatory(
    *,
    name: str,
    description: str,
    remedy: str,
    url: str,
    types: frozenset[str],
    check: Check,
    severity: Severity = Severity.HIGH,
    config: PolicyConfigSchema | None = None,
) -> ResourceValidationPolicy:
    """A mandatory policy for resources of `types`; for any other it says "not applicable"."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if args.resource_type not in types:
            args.not_applicable(f"{args.resource_type} is none of the types of this rule")
        check(args, lambda message: _unless_waived(name, args, message, report))

    return ResourceValidationPolicy(
        name=name,
        description=_shown(description, remedy),
        validate=validate,
        enforcement_level=EnforcementLevel.MANDATORY,
        severity=severity,
        remediation_steps=remedy,
        url=url,
        config_schema=config,
    )


def mandatory_for_stack(
    *,
    name: str,
    description: str,
    remedy: str,
    url: str,
    check: StackCheck,
    severity: Severity = Severity.HIGH,
    config: PolicyConfigSchema | None = None,
) -> StackValidationPolicy:
    """A mandatory policy for what single resources do not show. It runs when all were looked at: a preview
    fails by it, an `up` without one fails when everything is made."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        def fail(blamed: PolicyResource, message: str) -> None:
            _unless_waived(name, blamed, message, report)

        check(args, fail)

    return StackValidationPolicy(
        name=name,
        description=_shown(description, remedy),
        validate=validate,
        enforcement_level=EnforcementLevel.MANDATORY,
        severity=severity,
        remediation_steps=remedy,
        url=url,
        config_schema=config,
    )


def _shown(description: str, remedy: str) -> str:
    """The CLI shows a policy's description, and no remediation steps."""
    return f"{description} {remedy}"


def _unless_waived(
    rule: str, blamed: ResourceValidationArgs | PolicyResource, message: str, report: ReportViolation
) -> None:
    waiver = waivers.find(rule, blamed.resource_type, blamed.name)
    if waiver is None:
        report(message, blamed.urn)
    elif waiver.expired:
        report(f"{message} Its waiver ended on {waiver.expires}.", blamed.urn)


def strings(what: str, *, at_least: int = 0) -> dict[str, Any]:
    """The schema of a list of texts in a rule's configuration."""
    return {"type": "array", "items": {"type": "string"}, "minItems": at_least, "description": what}


def every(checks: Iterable[Callable[[], None]]) -> None:
    """Runs all checks; the first unknown value met is raised when all known facts were evaluated."""
    unknown: UnknownValueError | None = None
    for check in checks:
        try:
            check()
        except UnknownValueError as error:
            unknown = unknown or error
    if unknown is not None:
        raise unknown


def of_types(args: StackValidationArgs, *types: str) -> list[PolicyResource]:
    """By name: the engine's order differs from run to run, and messages must not."""
    found = [resource for resource in args.resources if resource.resource_type in types]
    return sorted(found, key=lambda resource: (resource.name, resource.urn))


def each(items: Sequence[Any] | None, check: Callable[[Any], None]) -> None:
    """The check for every item, reading items one by one because any of them may be unknown."""

    def item(known: Sequence[Any], index: int) -> None:
        check(known[index])

    if items is not None:
        every(partial(item, items, index) for index in range(len(items)))


def dig(value: Any, *path: str) -> Any:
    """The value at a path of keys, None where a part is missing."""
    for key in path:
        if value is None:
            return None
        value = value.get(key)
    return value


def is_true(value: Any) -> bool:
    """True as a boolean or as the text that launch templates use."""
    return value is True or value == "true"
