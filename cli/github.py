"""GitHub's API as workflows reach it: by its command `gh`, with the token of the job."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from cli.errors import CommandError

TOKEN, REPOSITORY = "GH_TOKEN", "GITHUB_REPOSITORY"


def require(option: str, *names: str) -> None:
    """Raises: CommandError unless these variables, and those that every call needs, are set."""
    if missing := [name for name in (REPOSITORY, *names, TOKEN) if not os.environ.get(name)]:
        raise CommandError(f"{option} needs {', '.join(missing)} in the environment, as workflows have them")


def repository() -> str:
    """The path of the job's repository in the API."""
    return f"repos/{os.environ[REPOSITORY]}"


def api(what: str, arguments: Sequence[str], given: str = "") -> str:
    """What `gh api` prints. `what`: could not be done if it fails, for the message. Raises: CommandError."""
    try:
        done = subprocess.run(
            ["gh", "api", *arguments], input=given, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise CommandError("GitHub's command gh is needed and not on PATH") from None
    if done.returncode != 0:
        raise CommandError(f"{what}: {done.stderr.strip()}")
    return done.stdout
