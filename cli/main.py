"""The `kubepark` command: `pulumi` with what each stack needs around it, and what pulumi has no verb for.

Nothing heavy is imported here: each command imports what it needs when it runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cli import environments
from cli import operation_commands as operation_commands  # the first ones of the help
from cli.app import PASS_ON, Stack, Yes, app, options

ROOT = Path(__file__).resolve().parents[1]
INTERRUPTED = 130  # what shells report for a command that SIGINT ended


@app.command()
def check(
    stack: Stack = "sandbox",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON: stack, ok, problems.")] = False,
) -> None:
    """Say what `up` would refuse in the stack's files: offline, without an engine, nothing decrypted.

    For editors, pre-commit and CI: exit code 0 or 1. What differs from the last update is seen by `preview`.
    """
    from cli import check as checked

    raise typer.Exit(checked.run(stack, as_json=as_json))


@app.command()
def price(
    stack: Stack = "sandbox",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON; an unknown figure is null.")] = False,
    changes: Annotated[
        Path | None,
        typer.Option("--preview", help="Only what a `pulumi preview --json` changes; -: standard input."),
    ] = None,
    refresh_table: Annotated[
        bool, typer.Option("--refresh", help="Get the prices of --region from AWS's Price List.")
    ] = False,
    region: Annotated[str | None, typer.Option("--region", help="With --refresh or --preview.")] = None,
    chart: Annotated[
        Path | None, typer.Option("--chart", help="Draw it: an SVG with a bar for each pool.")
    ] = None,
) -> None:
    """Say what the stack costs an hour and a month: running, with the GPU parked, with all parked.

    Offline, from the stack's file and the prices in config/price_tables; only --refresh asks AWS.
    """
    from cli import price as priced

    raise typer.Exit(priced.run(stack, priced.Request(changes, refresh_table, region, as_json, chart)))


Target = Annotated[str, typer.Argument(metavar="TARGET", help="gpu, workers, all, or a node's name.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, with progress on standard error.")]


@app.command()
def park(
    target: Target = "gpu",
    stack: Stack = "sandbox",
    yes: Yes = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also where a PodDisruptionBudget or a dead API server is in the way."),
    ] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds that pods have to go.")] = 300,
    as_json: AsJson = False,
) -> None:
    """Stop nodes that nobody needs now: name, address and disk stay, and what they cost is printed.

    Pods of the GPU pool or of one node are evicted first, PodDisruptionBudgets honored. With workers or all,
    people's pods are listed, and end with their nodes. An `up` does not undo it.
    """
    from cli import park as parking

    request = parking.Request(
        stack=stack, target=target, seconds=timeout, yes=yes, as_json=as_json, force=force
    )
    raise typer.Exit(parking.park(request))


@app.command()
def unpark(
    target: Target = "gpu",
    stack: Stack = "sandbox",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that nodes have to come back.")] = 1800,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds that each instance type is tried where AWS has none.")
    ] = 300,
    skip_verify: Annotated[
        bool, typer.Option("--skip-verify", help="Do not run the GPU Job at the end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start what is parked, and wait until it is Ready, uncordoned, and its GPU runs a Job."""
    from cli import park as parking
    from cli import unpark as unparking

    request = parking.Request(
        stack=stack,
        target=target,
        seconds=timeout,
        as_json=as_json,
        patience=patience,
        verify=not skip_verify,
    )
    raise typer.Exit(unparking.unpark(request))


@app.command()
def keep_on(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="gpu, or a GPU node's name.")] = "gpu",
    stack: Stack = "sandbox",
    until: Annotated[str, typer.Option("--until", help="23:00, or 2026-11-28T23:00.")] = "",
    length: Annotated[str, typer.Option("--for", help="3h, 90m, 1h30m, 2d.")] = "",
    as_json: AsJson = False,
) -> None:
    """Keep running GPU nodes on: no schedule and no idle guard stops them until then, and no `up` undoes it.

    The time is by the clocks of gpu.schedule.timezone, else of this machine; one that is over today is
    tomorrow's. Then the hours of the schedule count again: outside of them the nodes are stopped.
    """
    from cli import keep_on as keeping
    from cli.park import Request

    raise typer.Exit(keeping.keep_on(Request(stack=stack, target=target, as_json=as_json), until, length))


@app.command()
def status(
    stack: Stack = "sandbox",
    as_json: AsJson = False,
    chart: Annotated[
        Path | None,
        typer.Option("--chart", help="Draw it: an SVG with a bar for each pool, and the hours of GPUs."),
    ] = None,
) -> None:
    """Say what runs, who is parked since when, what that costs now, and how long GPUs ran in 30 days.

    Asks EC2, the power record and the cluster, and changes nothing. Of a sandbox, its processes as well.
    """
    from cli import status as stating

    raise typer.Exit(stating.run(stack, as_json=as_json, chart=chart))


@app.command(context_settings=PASS_ON)
def review(
    context: typer.Context,
    stack: Stack = "sandbox",
    file: Annotated[
        Path | None, typer.Option("--preview", help="Of this `pulumi preview --json`; -: standard input.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", help="A commit: what the working tree changes of it, shown in a sandbox."),
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="For a comment on a pull request.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    acknowledge: Annotated[
        list[str] | None,
        typer.Option("--acknowledge", help="A class that is meant: node, access, control-plane, data."),
    ] = None,
    labels: Annotated[
        str, typer.Option("--labels", help="A pull request's, with commas: acknowledge/CLASS counts.")
    ] = "",
    comment: Annotated[
        bool, typer.Option("--comment", envvar="KUBEPARK_COMMENT", help="Also on the pull request, by gh.")
    ] = False,
) -> None:
    """Say in short what a change would do to the running cluster. Options of `pulumi preview` are passed on.

    Exit codes: 0 nothing to acknowledge, 1 the preview failed or a policy is violated, 12 rebuilds a node,
    13 changes who may do what, 14 touches the control plane, 15 loses data.
    """
    from cli import review as reviewing

    if as_markdown and as_json:
        context.fail("--markdown and --json are asked for one at a time")
    form = "markdown" if as_markdown else "json" if as_json else "terminal"
    request = reviewing.Request(
        file=file,
        base=base,
        form=form,
        acknowledged=acknowledge or (),
        labels=labels,
        comment=comment,
        options=options(context),
    )
    raise typer.Exit(reviewing.run(stack, request))


@app.command()
def drift(
    context: typer.Context,
    stack: Stack = "sandbox",
    in_cluster: Annotated[
        bool,
        typer.Option("--in-cluster", help="Objects in the cluster, too: needs the operator's kubeconfig."),
    ] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As in an issue.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    issue: Annotated[
        bool, typer.Option("--issue", help="Open, update or close the stack's issue on GitHub, by gh.")
    ] = False,
) -> None:
    """Say what is not as the last update left it: changed or deleted by hand. Nothing is changed.

    Works without the key of the stack's secrets. Exit codes: 0 no drift, 1 not compared, 10 drift.
    """
    from cli import drift as compared

    if as_markdown and as_json:
        context.fail("--markdown and --json are asked for one at a time")
    form = "markdown" if as_markdown else "json" if as_json else "terminal"
    raise typer.Exit(compared.run(stack, form=form, issue=issue, in_cluster=in_cluster))


@app.command()
def cancel(stack: Stack = "sandbox") -> None:
    """Remove the lock of an operation that was killed (`pulumi cancel`)."""
    from cli import operations

    raise typer.Exit(operations.cancel(stack))


@app.command()
def permissions(stack: Stack = "sandbox") -> None:
    """Print the IAM policy that who deploys the stack needs, as JSON."""
    from cli.permissions import show

    show(stack)


@app.command(context_settings={"allow_interspersed_args": False})
def tunnel(
    stack: Stack = "sandbox",
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Of this machine; 0: any. Default: the stack's, else 6443."),
    ] = None,
    command: Annotated[list[str] | None, typer.Argument(help="What to run while it is open.")] = None,
) -> None:
    """Open the API server at a port of this machine, through Session Manager, until Ctrl-C.

    With `-- COMMAND ...`: while the command runs, and with its exit code. Needs the AWS CLI's
    session-manager-plugin.
    """
    from cli import tunnel as through

    raise typer.Exit(through.run(stack, port, command or ()))


@app.command()
def kubeconfig(
    stack: Stack = "sandbox",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file, for you alone to read.")
    ] = None,
) -> None:
    """Print the operator's kubeconfig: whoever has it is an administrator of the cluster.

    It is read with your AWS credentials. What people get for themselves: `kubepark people kubeconfig NAME`.
    """
    from cli import cluster

    cluster.hand_out(cluster.operators(stack), output)


@app.command()
def init(
    stack: Annotated[str, typer.Option("--stack", "-s", envvar="STACK", help="The stack: dev, prod, ...")],
    write: Annotated[bool, typer.Option("--write", help="Put the pins into the stack file.")] = False,
) -> None:
    """Look up the current AMI of the stack's platform in AWS and print, or write, the pin.

    Needs AWS credentials that may read the public SSM parameters of Canonical.
    """
    from cli.images import init as look_up

    raise typer.Exit(look_up(stack, write=write))


def main(arguments: list[str] | None = None) -> int:
    """Run one command and give its exit code. Errors that people can act on are one message."""
    try:
        app(args=arguments, prog_name="kubepark")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except environments.known_errors() as error:  # asked for only when something went wrong
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run() -> NoReturn:
    """Entry point. Ends the process at once: an interrupted program may still wait in its thread."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
