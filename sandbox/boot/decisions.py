"""What the gate decided, one JSON object per line, and which permissions were used by that.

Lines name actions and resources; no value of a parameter and no secret is ever in one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.boot.statements import Statement, names_action
from sandbox.files import append_json


@dataclass(frozen=True, kw_only=True)
class Line:
    """One decision. `statement` is the Sid of what decided, `pattern` the resource that it names.

    Both are empty where nothing spoke; `error` is AWS's code of a request that was never evaluated.
    """

    instance: str
    role: str
    action: str
    resource: str = ""
    allowed: bool = False
    statement: str = ""
    pattern: str = ""
    error: str = ""


def record(log: Path, line: Line) -> None:
    """Add a line to the log of one sandbox. Gates of all machines write to it at once."""
    append_json(log, {name: value for name, value in vars(line).items() if value != ""})


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
                for pattern in statement.actions()
                if statement.body["Effect"] == "Allow"
                and not any(names_action(pattern, action) for action in calls)
            ]
    return sorted(found)


def _allowed(lines: Iterable[str]) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in lines if line.strip()]
    return [each for each in entries if each["allowed"]]
