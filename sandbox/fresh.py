"""A sandbox for one comparison, in a folder and at ports of its own, with any stack's configuration.

One program is deployed into it, another is previewed against that. Nothing of the person's own sandbox,
kubeconfig or checkout is touched.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sandbox import checkpoint, foreign, local_cloud, stackfile
from sandbox.config import REGION, Endpoint, SandboxConfig, read_stack_config, setting
from sandbox.errors import SandboxError
from sandbox.files import atomic_write
from sandbox.ports import free_port
from sandbox.processes import Supervisor, ignoring, sandbox_lock
from sandbox.workspace import Workspace


@dataclass
class Fresh:
    """The running sandbox. `replaced`: by program, the settings that a sandbox has in its own way."""

    config: SandboxConfig
    replaced: dict[Path, dict[str, Any]] = field(default_factory=dict)

    def environment(self, root: Path) -> Mapping[str, str]:
        """The whole environment in which the CLI works on the stack with the program in `root`."""
        file, secrets, self.replaced[root] = _stack_file(self.config, root)
        workspace = Workspace(replace(self.config, root=root, stack_file=file), secrets)
        workspace.prepare()
        return workspace.environment()

    def has_resources(self) -> bool:
        """Whether anything is deployed."""
        return checkpoint.has_resources(Workspace(self.config))


@contextmanager
def fresh(stack: str, program: Path, state_dir: Path, root: Path) -> Iterator[Fresh]:
    """A sandbox that runs inside the block. `program`: whose stack file says region and images; `root`: the
    project whose sandbox it is."""
    found = read_stack_config(program / f"Pulumi.{stack}.yaml")
    config = SandboxConfig(
        root=root,
        state_dir=state_dir,
        stack=stack,
        stack_file=program,
        aws=Endpoint("http", "127.0.0.1", free_port()),
        api=Endpoint("https", "127.0.0.1", free_port()),
        region=str(setting(found, "kubepark:aws.region") or REGION),
    )
    state_dir.mkdir(mode=0o700)
    config = replace(config, stack_file=_stack_file(config, program)[0])
    with sandbox_lock(config.lock_file):
        try:
            yield Fresh(local_cloud.start(config))
        finally:
            with ignoring(signal.SIGINT, signal.SIGTERM):  # not half-way
                local_cloud.stop(config)


def sweep(state_dirs: Iterable[Path]) -> list[str]:
    """End what sandboxes still run whose command was killed, and remove their folders; a line for each.

    The lock of one that ended by itself, or has only begun, names nobody.
    """
    lines = []
    for state_dir in state_dirs:
        lock = state_dir / "lock"
        with contextlib.suppress(SandboxError):  # in use
            if lock.exists() and lock.read_text(encoding="utf-8"):
                with sandbox_lock(lock):
                    Supervisor(state_dir / "state.json", state_dir / "logs").stop_all(grace=0)
                    shutil.rmtree(state_dir.parent)
                lines.append(f"removed {state_dir.parent}, whose command was killed")
    return lines


def _stack_file(config: SandboxConfig, root: Path) -> tuple[Path, dict[str, str] | None, dict[str, Any]]:
    """What the sandbox takes for a program's stack file, its secrets, and what is not as it was there."""
    name = f"Pulumi.{config.stack}.yaml"
    source, copy = root / name, config.state_dir / name
    adapted = foreign.adapted(source.read_text(encoding="utf-8"), name, root)
    atomic_write(copy, stackfile.dump(adapted.document))
    return copy, adapted.secrets, adapted.replaced
