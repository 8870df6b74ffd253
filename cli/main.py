"""The `kubepark` command: what pulumi itself has no verb for, and the sandbox's whole life.

A stack whose file names an emulator (`kubepark:aws.endpoint`) lives in the sandbox on this machine;
any other stack is deployed by the plain `pulumi` on PATH. Nothing heavy is imported here: each
command imports what it needs when it runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from sandbox.errors import SandboxError

ROOT = Path(__file__).resolve().parents[1]
INTERRUPTED = 130  # what shells report for a command that SIGINT ended

# Sub-commands in modules of their own, imported when they are named: module, one line of help.
_GROUPS = {
    "verify": ("cli.verify", "Check the running cluster."),
    "people": ("cli.people", "People who may log in."),
    "manifests": ("cli.manifests", "Upstream manifests."),
}


class _Groups(TyperGroup):
    """A command group that loads `verify`, `people` and `manifests` on first use."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *_GROUPS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _GROUPS:
            return super().get_command(ctx, cmd_name)
        from importlib import import_module

        module, help_text = _GROUPS[cmd_name]
        command = typer.main.get_command(import_module(module).app)
        command.help = help_text
        return command


app = typer.Typer(
    cls=_Groups,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "A kubeadm Kubernetes cluster with a GPU node on EC2, and a sandbox that runs all of it "
        "on this machine.\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."
    ),
)

Stack = Annotated[
    str, typer.Option("--stack", "-s", envvar="STACK", help="The stack: sandbox, dev, prod, ...")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Diff = Annotated[bool, typer.Option("--diff", help="Show values, not only property names.")]


@app.command()
def up(
    stack: Stack = "sandbox",
    yes: Yes = False,
    skip_verify: Annotated[
        bool, typer.Option("--skip-verify", help="Do not run the GPU Job at the end.")
    ] = False,
    skip_preview: Annotated[
        bool,
        typer.Option(
            "--skip-preview", help="Update at once. Policies then stop it on the way, not before it begins."
        ),
    ] = False,
    diff: Diff = False,
) -> None:
    """Create or update the stack, check the GPU, and print a summary.

    In the sandbox this also starts the local cloud. A stack that outlived its emulator is built anew.
    """
    from cli import cloud, local

    if local.is_local(stack):
        raise typer.Exit(local.up(stack, verify=not skip_verify, skip_preview=skip_preview, show_diff=diff))
    raise typer.Exit(cloud.up(stack, yes=yes, skip_preview=skip_preview, show_diff=diff))


@app.command()
def preview(
    stack: Stack = "sandbox",
    diff: Diff = False,
    json: Annotated[bool, typer.Option("--json", help="Print Pulumi's JSON document only.")] = False,
    expect_no_changes: Annotated[
        bool, typer.Option("--expect-no-changes", help="Fail if there is any change.")
    ] = False,
) -> None:
    """Show what `up` would do. Policies are checked; nothing is changed."""
    from cli import cloud, local

    target = local if local.is_local(stack) else cloud
    raise typer.Exit(
        target.preview(stack, show_diff=diff, json_output=json, expect_no_changes=expect_no_changes)
    )


@app.command()
def refresh(
    stack: Stack = "sandbox",
    yes: Yes = False,
    preview_only: Annotated[
        bool, typer.Option("--preview-only", help="Show the difference, change nothing.")
    ] = False,
    expect_no_changes: Annotated[
        bool, typer.Option("--expect-no-changes", help="Fail if there is any change.")
    ] = False,
) -> None:
    """Read what is really there into the state, or show how it differs."""
    from cli import cloud, local

    if local.is_local(stack):
        code = local.refresh(stack, preview_only=preview_only, expect_no_changes=expect_no_changes)
    else:
        code = cloud.refresh(stack, yes=yes, preview_only=preview_only, expect_no_changes=expect_no_changes)
    raise typer.Exit(code)


@app.command()
def destroy(
    stack: Stack = "sandbox",
    yes: Yes = False,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge",
            help="Also schedule the deletion of the data key. Volumes and backups become unreadable.",
        ),
    ] = False,
) -> None:
    """Delete every resource of the stack. The data key stays unless --purge is given."""
    from cli import cloud, local
    from cli.questions import confirm

    if not yes and sys.stdin.isatty():
        confirm(f"Delete every resource of stack {stack}?")
    target = local if local.is_local(stack) else cloud
    raise typer.Exit(target.destroy(stack, purge=purge))


@app.command()
def down(stack: Stack = "sandbox") -> None:
    """Destroy the sandbox stack, stop every process of the local cloud, and forget its state."""
    from cli import local

    raise typer.Exit(local.down(stack))


@app.command()
def reset(stack: Stack = "sandbox") -> None:
    """Stop the local cloud and forget the sandbox stack without destroying it first.

    The way out when the emulator or the control plane was killed. Generated passwords are kept.
    """
    from cli import local

    raise typer.Exit(local.reset(stack))


@app.command()
def cancel(stack: Stack = "sandbox") -> None:
    """End a sandbox operation that still runs or was killed, and remove its lock."""
    from cli import local

    raise typer.Exit(local.cancel(stack))


@app.command()
def env(stack: Stack = "sandbox") -> None:
    """Print shell lines that make plain `pulumi` and `kubectl` work on the sandbox stack.

    Use: eval "$(bin/kubepark env)"
    """
    from cli import local

    raise typer.Exit(local.env(stack))


@app.command()
def status(stack: Stack = "sandbox") -> None:
    """Show the local cloud's processes and what the sandbox stack holds."""
    from cli import local

    raise typer.Exit(local.status(stack))


@app.command()
def init(
    stack: Annotated[str, typer.Option("--stack", "-s", envvar="STACK", help="The stack: dev, prod, ...")],
    write: Annotated[bool, typer.Option("--write", help="Put the pins into the stack file.")] = False,
) -> None:
    """Look up the current AMI of the stack's platform in AWS and print, or write, the pin.

    Needs AWS credentials that may read the public SSM parameters of Canonical.
    """
    from cli.images import init as look_up

    raise typer.Exit(look_up(ROOT, stack, write=write))


def main(arguments: list[str] | None = None) -> int:
    """Run one command and give its exit code. Errors that people can act on are one message."""
    try:
        app(args=arguments, prog_name="kubepark")
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def run() -> NoReturn:
    """Entry point. Ends the process at once: an interrupted program may still wait in its thread."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
