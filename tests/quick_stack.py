"""An Automation API stack that does the operation and leaves out what nobody reads.

Before each operation the API starts the CLI for its version and to select the stack (which `--stack`
names anyway), after it twice for the outputs and once for the history: five starts, 0.2 s each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from pulumi import automation as auto
from pulumi.automation._stack import StackInitMode  # no public name
from semver import VersionInfo


class QuickStack(auto.Stack):
    """Operations on it give an empty summary and no outputs."""

    def __init__(self, name: str, workspace: auto.LocalWorkspace) -> None:
        self.name, self.workspace, self._mode = name, workspace, StackInitMode.CREATE_OR_SELECT
        url = {**os.environ, **workspace.env_vars}["PULUMI_BACKEND_URL"]
        stacks = Path(url.removeprefix("file://").partition("?")[0]) / ".pulumi" / "stacks"
        if not list(stacks.glob(f"*/{name}.json")):
            workspace.create_stack(name)

    def outputs(self) -> auto.OutputMap:
        return {}

    def info(self, show_secrets: bool = True) -> auto.UpdateSummary:
        return auto.UpdateSummary(
            kind="", start_time=datetime.min, message="", environment={}, config={}, result=""
        )


class QuickCommand(auto.PulumiCommand):
    """A CLI that is taken to be as new as the SDK, which asks only for features that are years old."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.version = VersionInfo.parse(version("pulumi"))


def quick_stack(
    name: str,
    project: str,
    program: Callable[[], None],
    *,
    env_vars: Mapping[str, str] | None = None,
    command: str = "pulumi",
) -> QuickStack:
    """The stack, made if it is not there. Its state is in the folder that the environment says."""
    workspace = auto.LocalWorkspace(
        program=program,
        project_settings=auto.ProjectSettings(name=project, runtime="python"),
        env_vars=env_vars,
        pulumi_command=QuickCommand(command),
    )
    return QuickStack(name, workspace)
