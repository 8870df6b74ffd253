"""docs/permissions.md: what each kind of node may do in AWS, and by what it was used."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sandbox.boot.decisions import Unused, Used

_HEAD = """# What a node may do in AWS

Written by `UPDATE_GOLDEN=1 make test-real` from the calls that five real nodes made while they booted, joined,
were stopped and started, and cleaned up (tests/sandbox/test_real_nodes.py); that test fails when a
permission of a role is used by nothing, or when a row changes. Each node has a role of its own.

| node | statement | action | resource | used by |
| --- | --- | --- | --- | --- |
"""
_BY_NODES = "test_real_nodes"
_BY_OPERATORS = "operators, through Session Manager (not played in the sandbox)"


def page(used: Iterable[Used], unused: Iterable[Unused]) -> str:
    """The whole page; the same for the same permissions, whatever the machines' names and ids are."""
    rows = {
        (_kind(each.role), each.statement, each.action, _general(each.pattern, each.role), _BY_NODES)
        for each in used
    }
    rows |= {(_kind(each.role), each.statement, each.action, "*", _BY_OPERATORS) for each in unused}
    lines = [
        f"| {node} | {name} | `{action}` | `{resource}` | {by} |"
        for node, name, action, resource, by in sorted(rows)
    ]
    return _HEAD + "\n".join(lines) + "\n"


def _kind(role: str) -> str:
    return re.sub(r"\d+$", "", role.rpartition("-")[2])


def _general(pattern: str, role: str) -> str:
    """The resource without what differs from stack to stack."""
    node = role.rpartition("-")[2]
    text = re.sub(r"arn:aws:(\w+):[a-z0-9-]+:\d{12}:", r"arn:aws:\1:REGION:ACCOUNT:", pattern)
    text = re.sub(r"key/[0-9a-f-]{36}", "key/KEY", text)
    return text.replace("/kubepark-sandbox/", "/CLUSTER/").replace(f"/{node}", "/NODE")
