"""A sandbox stack for the `kubepark` command: the environment of its Pulumi CLI, and verbs of its own.

One command at a time per sandbox: the lock says who has it. Everything else that happens to a sandbox stack
is a plain `pulumi` in the environment that is made here.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from sandbox import checkpoint, local_cloud
from sandbox import config as sandbox_config
from sandbox.errors import SandboxError
from sandbox.fresh import fresh, sweep
from sandbox.processes import ignoring, sandbox_lock
from sandbox.workspace import Workspace

__all__ = ["Sandbox", "SandboxError", "app", "fresh", "sweep"]

ROOT = Path(__file__).resolve().parents[1]
# What needs the emulator to answer; the other verbs read or change what is kept on disk.
_NEEDS_CLOUD = ("up", "preview")
_LOOKS = ("status",)  # also while another command has the sandbox
_CHANGES_CLOUD = ("up", "refresh", "destroy", "park", "unpark")


class Sandbox:
    """One sandbox stack, as `kubepark` meets it."""

    asks = False  # nobody loses anything in a sandbox

    def __init__(self, stack: str) -> None:
        self.workspace = Workspace(sandbox_config.load(ROOT, stack))
        self.kubeconfig: Path | None = self.workspace.config.kubeconfig

    @contextmanager
    def operation(self, verb: str) -> Iterator[Mapping[str, str]]:
        """The environment in which `pulumi VERB` works on the stack, which is ours inside the block.

        `up` and `preview` start the local cloud; `up` begins anew if the state is that of another one.
        """
        config = self.workspace.config
        if verb in _LOOKS:
            checkpoint.require_same_cloud(self.workspace)
            if local_cloud.epoch(config) is None:
                raise SandboxError("the local cloud does not run, and nothing is deployed; fix: make up")
            yield self.workspace.environment()
            return
        with sandbox_lock(config.lock_file):
            if verb in _NEEDS_CLOUD:
                self.workspace = Workspace(local_cloud.start(config))
            elif not config.bin_dir.exists():
                local_cloud.prepare(config)
            if verb == "up":
                self._begin_anew_if_cloud_is_gone()
            self.workspace.prepare()
            for line in checkpoint.remove_dead_locks(self.workspace):
                typer.echo(line, err=True)
            if verb in _NEEDS_CLOUD + _CHANGES_CLOUD:
                checkpoint.require_same_cloud(self.workspace)
            if verb == "up":
                checkpoint.note_cloud(self.workspace)
            yield self.workspace.environment()

    def finished(self, outputs: Mapping[str, Any], verified: int | None, seconds: float) -> None:
        """Print what is there after an `up`. `verified`: exit code of the GPU Job, None if it did not run."""
        from sandbox.summary import print_summary

        print_summary(self.workspace, outputs, verified=verified, seconds=seconds)

    def described(self) -> Sequence[str]:
        """The local cloud's processes, and what the state holds."""
        cloud = local_cloud.status(self.workspace.config)
        resources, pending = checkpoint.counts(self.workspace)
        lines = [
            *(f"{name:<30} {f'pid {pid}' if pid else 'has died'}" for name, pid in cloud.processes.items()),
            f"emulator {self.workspace.config.aws.url}: {'answers' if cloud.epoch else 'does not answer'}",
            *([] if cloud.images == "standins" else [f"images: {cloud.images}"]),
            f"stack {self.workspace.stack}: {resources} resources in state",
            *([f"{pending} operations were interrupted: `make up` resolves them"] if pending else []),
        ]
        return [*lines, ""]

    def _begin_anew_if_cloud_is_gone(self) -> None:
        try:
            checkpoint.require_same_cloud(self.workspace)
        except checkpoint.CloudGone as gone:
            typer.echo(f"{gone.what}: everything is built anew", err=True)
            checkpoint.forget(self.workspace)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
Stack = Annotated[str, typer.Option("--stack", "-s", envvar="STACK", help="A sandbox stack.")]


@app.command()
def down(stack: Stack = "sandbox") -> None:
    """Destroy the sandbox stack, stop every process of the local cloud, and forget its state."""
    sandbox = Sandbox(stack)
    if checkpoint.has_resources(sandbox.workspace):
        try:
            with sandbox.operation("destroy") as environment:
                code = _pulumi("destroy", "--yes", "--skip-preview", environment=environment)
        except checkpoint.CloudGone as gone:
            typer.echo(f"nothing to destroy: {gone.what}")
            code = 0
        if code != 0:
            typer.echo("The local cloud still runs, so that you can look. `kubepark reset` clears it away.")
            raise typer.Exit(code)
    _clear(sandbox.workspace)
    typer.echo("down: the stack is gone and every process has ended")


@app.command()
def reset(stack: Stack = "sandbox") -> None:
    """Stop the local cloud and forget the sandbox stack without destroying it first.

    The way out when the emulator or the control plane was killed. Generated passwords are kept.
    """
    _clear(Sandbox(stack).workspace)
    typer.echo(f"reset: stack {stack} is forgotten and every process has ended; `make up` builds it again")


@app.command()
def env(stack: Stack = "sandbox") -> None:
    """Print shell lines that make plain `pulumi` and `kubectl` work on the sandbox stack.

    Use: eval "$(bin/kubepark env)"
    """
    workspace = Sandbox(stack).workspace
    local_cloud.prepare(workspace.config)
    workspace.prepare()
    for name, value in workspace.variables().items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    typer.echo(f"unset {' '.join(workspace.foreign())}")


def _clear(workspace: Workspace) -> None:
    with sandbox_lock(workspace.config.lock_file):
        for line in checkpoint.end_engines(workspace):
            typer.echo(line, err=True)
        checkpoint.forget(workspace)
        local_cloud.stop(workspace.config)
        workspace.config.ports_file.unlink(missing_ok=True)


def _pulumi(*arguments: str, environment: Mapping[str, str]) -> int:
    """Run the CLI with our terminal. Ctrl-C reaches it by itself, and it ends what is in flight."""
    with ignoring(signal.SIGINT):
        return subprocess.run(["pulumi", *arguments], cwd=ROOT, env=environment).returncode
