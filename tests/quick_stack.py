"""An Automation API stack that does the operation and leaves out what nobody reads afterwards.

After each operation the API starts the CLI twice for the outputs and once for the history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from pulumi import automation as auto
from pulumi.automation._stack import StackInitMode  # no public name


class QuickStack(auto.Stack):
    """Operations on it give an empty summary and no outputs."""

    def outputs(self) -> auto.OutputMap:
        return {}

    def info(self, show_secrets: bool = True) -> auto.UpdateSummary:
        return auto.UpdateSummary(
            kind="", start_time=datetime.min, message="", environment={}, config={}, result=""
        )


def quick_stack(
    name: str,
    project: str,
    program: Callable[[], None],
    *,
    env_vars: Mapping[str, str] | None = None,
    pulumi_command: auto.PulumiCommand | None = None,
) -> QuickStack:
    """The stack, made if it is not there. Its state is where the environment says."""
    workspace = auto.LocalWorkspace(
        program=program,
        project_settings=auto.ProjectSettings(name=project, runtime="python"),
        env_vars=env_vars,
        pulumi_command=pulumi_command,
    )
    return QuickStack(name, workspace, StackInitMode.CREATE_OR_SELECT)
