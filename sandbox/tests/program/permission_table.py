"""Which permissions the decisions in the gate's log used, and docs/permissions.md, which says so."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sandbox.aws.statements import Statement, listed, names_action

_HEAD = """# What a node may do in AWS

Written by `UPDATE_GOLDEN=1 make test-real` from the calls that five real nodes made while they booted, joined,
were stopped and started, and cleaned up (sandbox/tests/stack/test_real_nodes.py); that test fails when a
permission of a role is used by nothing, or when a row changes. Each node has a role of its own. Of the keys it is
the one with the cluster's alias, for the values of the secrets that the policy names, through Parameter Store.

| node | statement | action | resource | used by |
| --- | --- | --- | --- | --- |
"""
_BY_NODES = "test_real_nodes"
_BY_OPERATORS = "operators, through Session Manager (not emulated in the sandbox)"


class Used(NamedTuple):
    """A permission that calls were allowed by, and how often."""

    role: str
    statement: str
    action: str
    pattern: str
    times: int


class Unused(NamedTuple):
    """A permission that no call was allowed by."""

    role: str
    statement: str
    action: str


def used(lines: Iterable[str]) -> list[Used]:
    """The table of used permissions, sorted. ValueError for a line that is not one of the log."""
    counts = Counter(
        (each["role"], each["statement"], each["action"], each["pattern"]) for each in _allowed(lines)
    )
    return sorted(Used(*key, times) for key, times in counts.items())


def unused(policies: Mapping[str, Iterable[Statement]], lines: Iterable[str]) -> list[Unused]:
    """Pairs of statement and action in the roles' policies (role -> statements) that nothing needed.

    An action is as the policy writes it: `ssm:*` is used by any call that it was the reason for.
    """
    seen = {(each["role"], each["statement"], each["action"]) for each in _allowed(lines)}
    found: list[Unused] = []
    for role, statements in policies.items():
        for statement in statements:
            calls = [action for who, name, action in seen if (who, name) == (role, statement.name)]
            found += [
                Unused(role, statement.name, pattern)
                for pattern in map(str, listed(statement.body.get("Action")))
                if statement.body["Effect"] == "Allow"
                and not any(names_action(pattern, action) for action in calls)
            ]
    return sorted(found)


def _allowed(lines: Iterable[str]) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in lines if line.strip()]
    return [each for each in entries if each["allowed"]]


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
    return text.replace("/kubepark-sandbox/", "/CLUSTER/").replace(f"/{node}", "/NODE")
