"""Where a workflow shows a review: a comment on the pull request, edited in place, and the job's summary."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cli import github

_REFUSED = "the comment could not be written"


def post(body: str) -> None:
    """Put `body` in place of the comment of ours that begins with the same line; without one, as a new one.

    Only a bot's comments are looked at: anybody can write that line. Raises: CommandError.
    """
    github.require("--comment", "PULL_REQUEST")
    repository = github.repository()
    comments = f"{repository}/issues/{os.environ['PULL_REQUEST']}/comments"
    marker = json.dumps(body.partition("\n")[0])
    query = f'.[] | select(.user.type == "Bot" and (.body | startswith({marker}))) | .id'
    ids = github.api(_REFUSED, ["--paginate", comments, "--jq", query]).split()
    where = ["PATCH", f"{repository}/issues/comments/{ids[0]}"] if ids else ["POST", comments]
    github.api(_REFUSED, ["--silent", "--method", *where, "--field", "body=@-"], body)


def summarize(body: str) -> None:
    """Add `body` to the summary of the job, where there is a job."""
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(body)
