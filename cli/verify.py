"""`kubepark verify`: ask the running cluster whether it does what it is for."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import cluster

app = typer.Typer(help="Check the running cluster.", no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def verify() -> None:
    """Check the running cluster."""


@app.command()
def gpu(
    kubeconfig: cluster.Option = None,
    stack: Annotated[str, typer.Option("--stack", "-s", envvar="STACK", help="The stack.")] = "sandbox",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for each GPU model.")] = 300,
    accelerator: Annotated[
        str | None, typer.Option(help="GPU model: value of the node label. Default: each that there is.")
    ] = None,
    toleration: Annotated[
        bool, typer.Option(help="Tolerate the GPU nodes' taint; without, the pod must stay Pending.")
    ] = True,
) -> None:
    """Run the Job cuda-vector-add, explain it if it waits, and delete it."""
    from cli.verify_gpu import verify_gpu  # here, because the Kubernetes client takes a second to import

    raise typer.Exit(
        verify_gpu(
            cluster.kubeconfig_of(stack, kubeconfig),
            timeout=timeout,
            out=typer.echo,
            accelerator=accelerator,
            tolerate=toleration,
        )
    )
