"""What the gate decided, one JSON object per line.

Lines name actions and resources; no value of a parameter and no secret is ever in one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
