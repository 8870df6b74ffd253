"""What the gate decided, one JSON object per line.

Lines name actions and resources; no value of a parameter and no secret is ever in one.
"""

from __future__ import annotations

from pathlib import Path

from sandbox.files import append_json


def record(log: Path, *, instance: str, role: str, action: str, allowed: bool = False, **found: str) -> None:
    """Add one decision to the log of one sandbox. Gates of all machines write to it at once.

    `found`: the `resource`; `statement`, the Sid of what decided, and `pattern`, the resource that it
    names; or `error`, AWS's code of a request that was never evaluated. What is empty, as where nothing
    spoke, is left out.
    """
    known = {name: value for name, value in found.items() if value}
    append_json(log, {"instance": instance, "role": role, "action": action, "allowed": allowed, **known})
