"""The verbs that pulumi has too, with what each stack needs around them."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.app import PASS_ON, Stack, Yes, app, options
from cli.volume_policy import VolumePolicy


@app.command(context_settings=PASS_ON)
def up(
    context: typer.Context,
    stack: Stack = "sandbox",
    yes: Yes = False,
    skip_verify: Annotated[
        bool, typer.Option("--skip-verify", help="Do not run the GPU Job at the end.")
    ] = False,
) -> None:
    """Create or update the stack. Options of `pulumi up` are passed on: --diff, --skip-preview, --target URN.

    For a sandbox stack this also starts the local cloud, checks the GPU and prints a summary. What an
    update that was killed left unfinished is settled first.
    """
    from cli import operations

    raise typer.Exit(operations.up(stack, options(context), yes=yes, verify=not skip_verify))


@app.command(context_settings=PASS_ON)
def preview(context: typer.Context, stack: Stack = "sandbox") -> None:
    """Show what `up` would do. Options of `pulumi preview` are passed on: --diff, --json.

    Policies are checked; nothing is changed. For scripts: --expect-no-changes.
    """
    from cli import operations

    raise typer.Exit(operations.preview(stack, options(context)))


@app.command(context_settings=PASS_ON)
def refresh(context: typer.Context, stack: Stack = "sandbox", yes: Yes = False) -> None:
    """Read what is really there into the state. Options of `pulumi refresh` are passed on: --preview-only."""
    from cli import operations

    raise typer.Exit(operations.refresh(stack, options(context), yes=yes))


@app.command(context_settings=PASS_ON)
def destroy(
    context: typer.Context,
    stack: Stack = "sandbox",
    yes: Yes = False,
    volumes: Annotated[
        VolumePolicy | None,
        typer.Option("--volumes", help="What becomes of volumes of pods; else asked, and kept in prod."),
    ] = None,
    purge: Annotated[
        bool,
        typer.Option("--purge", help="Also delete volumes and backups, and schedule that of the data key."),
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds for controllers and AWS to let go.")
    ] = 300,
    as_json: Annotated[bool, typer.Option("--json", help="What is left, as JSON; needs --yes.")] = False,
) -> None:
    """Delete the stack and what its cluster left in AWS; list what stays and what it costs.

    Exit code 1 if anything is left that was not asked to stay. Options of `pulumi destroy` are passed on:
    --preview-only shows it all and deletes nothing; with --target, plain pulumi runs and nothing else.
    """
    from cli import operations
    from cli.destroy import Request

    request = Request(yes=yes, purge=purge, volumes=volumes, seconds=timeout, as_json=as_json)
    raise typer.Exit(operations.destroy(stack, options(context), request))
