"""A second checkout of a project whose account, cluster and Pulumi state are those of the first."""

from __future__ import annotations

from pathlib import Path

from sandbox.config import STATE_DIR_VARIABLE
from sandbox.tests.stack.project import Project


class Colleague(Project):
    """Somebody else's copy of the code and the stack file, with a kubeconfig of its own."""

    def __init__(self, folder: Path, first: Project) -> None:
        super().__init__(folder, first.stack, nodes=first.nodes)
        self.state, self.aws_port, self.api_port = first.state, first.aws_port, first.api_port
        self.stack_file.write_text(first.stack_file.read_text(encoding="utf-8"), encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {STATE_DIR_VARIABLE: str(self.state)}
