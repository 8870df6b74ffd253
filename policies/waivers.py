"""Exceptions that somebody agreed to: one resource, one rule, a reason and the last day on which it counts.

An entry is reviewed like any other line. The day after the last one the violation is back, and the rule
`waivers-in-force` fails every preview until the entry is gone or renewed, with or without its resource.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """`rule`: its name. `resource`: type and name as a violation shows them in brackets, such as
    `aws:ebs:Volume: scratch`. `expires`: the last day, in UTC."""

    rule: str
    resource: str
    reason: str
    expires: date

    @property
    def expired(self) -> bool:
        return today() > self.expires


WAIVERS: tuple[Waiver, ...] = ()


def today() -> date:
    return datetime.now(UTC).date()


def find(rule: str, type_: str, name: str) -> Waiver | None:
    """The waiver of a resource from a rule: of two, the one that counts longer."""
    resource = f"{shown(type_)}: {name}"
    found = [each for each in WAIVERS if (each.rule, each.resource) == (rule, resource)]
    return max(found, key=lambda each: each.expires, default=None)


def shown(type_: str) -> str:
    """A type as the CLI shows it: `aws:ebs:Volume` for `aws:ebs/volume:Volume`.

    Source: pulumi/pulumi, sdk/go/common/tokens/tokens.go, Type.DisplayName.
    """
    package, module, name = type_.split(":")
    folder, _, file = module.rpartition("/")
    return f"{package}:{folder}:{name}" if file == name[0].lower() + name[1:] else type_
