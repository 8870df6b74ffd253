"""The one issue for the drift of a stack: opened, kept up to date, and closed when there is none any more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cli import drift_text, github

if TYPE_CHECKING:
    from cli.drift import Drift

_REFUSED = "the issue could not be written"


def require() -> None:
    """Raises: CommandError outside a workflow."""
    github.require("--issue")


def settle(found: Drift) -> str:
    """Make GitHub say what was found; gives a line about it. Raises: CommandError.

    Only a bot's issues are looked at: anybody can write the line that ours begin with.
    """
    issues, body = f"{github.repository()}/issues", drift_text.markdown(found)
    marker = json.dumps(drift_text.marker(found.stack))
    ours = f'.user.type == "Bot" and (.pull_request | not) and ((.body // "") | startswith({marker}))'
    asked = ["--paginate", f"{issues}?state=open&per_page=100", "--jq", f".[] | select({ours}) | .number"]
    numbers = sorted(map(int, github.api(_REFUSED, asked).split()))
    field = ["--field", "body=@-"]
    if not found.differences:
        closed = ["--raw-field", "state=closed", "--raw-field", "state_reason=completed"]
        for number in numbers:
            github.api(
                _REFUSED, ["--silent", "--method", "PATCH", f"{issues}/{number}", *closed, *field], body
            )
        return f"issues closed: {', '.join(f'#{number}' for number in numbers) or 'none was open'}"
    if numbers:
        github.api(_REFUSED, ["--silent", "--method", "PATCH", f"{issues}/{numbers[0]}", *field], body)
        return f"issue #{numbers[0]} is up to date"
    title = ["--raw-field", f"title=Drift of {found.stack}"]
    github.api(_REFUSED, ["--silent", "--method", "POST", issues, *title, *field], body)
    return "an issue was opened"
