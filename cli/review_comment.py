"""Where a workflow shows a review: a comment on the pull request, edited in place, and the job's summary."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cli.errors import CommandError

_NEEDED = ("GITHUB_REPOSITORY", "PULL_REQUEST", "GH_TOKEN")


def post(body: str) -> None:
    """Put `body` in place of the comment of ours that begins with the same line; without one, as a new one.

    Only a bot's comments are looked at: anybody can write that line. Raises: CommandError.
    """
    if missing := [name for name in _NEEDED if not os.environ.get(name)]:
        raise CommandError(f"--comment needs {', '.join(missing)} in the environment, as workflows have them")
    repository = f"repos/{os.environ['GITHUB_REPOSITORY']}"
    comments = f"{repository}/issues/{os.environ['PULL_REQUEST']}/comments"
    marker = json.dumps(body.partition("\n")[0])
    query = f'.[] | select(.user.type == "Bot" and (.body | startswith({marker}))) | .id'
    ids = _gh(["--paginate", comments, "--jq", query]).split()
    where = ["PATCH", f"{repository}/issues/comments/{ids[0]}"] if ids else ["POST", comments]
    _gh(["--silent", "--method", *where, "--field", "body=@-"], body)


def summarize(body: str) -> None:
    """Add `body` to the summary of the job, where there is a job."""
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(body)


def _gh(arguments: Sequence[str], given: str = "") -> str:
    """What `gh api` prints. Raises: CommandError."""
    try:
        done = subprocess.run(
            ["gh", "api", *arguments], input=given, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise CommandError("--comment needs GitHub's command gh on PATH") from None
    if done.returncode != 0:
        raise CommandError(f"the comment could not be written: {done.stderr.strip()}")
    return done.stdout
