"""What a resource's URN says: `urn:pulumi:STACK::PROJECT::TYPES::NAME`, its parents' types before its own.

Source: https://www.pulumi.com/docs/iac/concepts/resources/names/#urns
"""

from __future__ import annotations


def name_of(urn: str) -> str:
    """The resource's name; "" for no URN."""
    return urn.rpartition("::")[2]


def type_of(urn: str) -> str:
    """The resource's own type, without those of its parents."""
    return urn.split("::", 3)[2].rpartition("$")[2]
