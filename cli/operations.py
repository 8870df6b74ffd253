"""`up`, `preview`, `refresh`, `destroy`: a plain `pulumi`, with what it cannot do before and after it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from cli import (
    cluster,
    creation,
    environments,
    power,
    preflight,
    price,
    pulumi,
    recovery,
    removals,
    up_parked,
)
from cli.destroy import Destroy, Request
from cli.environments import Environment
from cli.errors import CommandError
from cli.power import Known
from cli.pulumi import Pulumi
from cli.stackfile import cluster_of, identity_of
from config import ROOT
from config import kubeconfig as operator
from config.files import replace_file
from config.model import NodeRole, Power
from config.problems import SettingsError


def checked_by_us(root: Path) -> Sequence[str]:
    """Our own settings check says all that is wrong at once; the CLI's ends at the first wrong type."""
    return ("--policy-pack", str(root / "policies"), "--skip-config-validation")


CHECKED_BY_US = checked_by_us(ROOT)
# Options that say which resources are meant, or that protection is not.
_CHOOSING = ("--target", "-t", "--exclude", "-x", "--ignore-protect")
VERIFY_SECONDS = 120.0  # patience of the GPU Job that ends an `up`


def up(stack: str, options: Sequence[str], *, yes: bool, verify: bool) -> int:
    """Settle what a killed update left, warn of what the account lacks and of who is not as recorded, update,
    keep the kubeconfig, run the GPU Job, report."""
    began = time.monotonic()
    environment = environments.of(stack)
    with environment.operation("up") as variables:
        cli = Pulumi(stack, variables)
        if not _kubeconfig_file(stack).exists():
            _fetch_kubeconfig(cli)
        _settle(cli)
        preflight.warn(stack, variables)
        known = power.look(stack, variables)
        if known.control_plane_off and power.pins(stack)[NodeRole.MASTER] != Power.RUNNING:
            code = _update_without_cluster(cli, environment, yes, options)
        else:
            removals.check(cli, environment.kubeconfig)
            waiting = _waiting_for_workers(cli, known, options)
            code = _update(cli, environment, yes, [*options, *up_parked.excluding(waiting)])
            if waiting:
                print(up_parked.left(stack, known.workers_off, waiting), file=sys.stderr, flush=True)
        if known.keep_on:
            from cli import keep_on

            keep_on.renew(stack, variables, known)
        if environment.kubeconfig is None:
            return code
        if kubeconfig := operator.kept(_kubeconfig_file(stack)):  # also when another node did not come
            replace_file(environment.kubeconfig, kubeconfig)
        if code != 0:
            return code
        outputs = cli.outputs()
        if verify and known.gpus_off:
            print(f"the GPU Job was not run: {', '.join(known.gpus_off)} is parked", flush=True)
            verify = False
        verified = _verify_gpu(environment.kubeconfig, outputs) if verify else None
        environment.finished(outputs, verified, time.monotonic() - began)
        return verified or 0


def preview(stack: str, options: Sequence[str]) -> int:
    with pulumi.on(stack, "preview") as cli:
        return cli.operate("preview", *CHECKED_BY_US, *options)


def refresh(stack: str, options: Sequence[str], *, yes: bool) -> int:
    environment = environments.of(stack)
    with environment.operation("refresh") as variables:
        cli = Pulumi(stack, variables)
        _fetch_kubeconfig(cli)
        _settle(cli)
        consent = () if "--preview-only" in options else _consent(environment, yes)
        return cli.operate("refresh", *consent, *options)


def destroy(stack: str, options: Sequence[str], request: Request) -> int:
    """The whole stack with what controllers left in AWS; with options that choose, what plain pulumi does."""
    environment = environments.of(stack)
    with environment.operation("destroy") as variables:
        cli = Pulumi(stack, variables)
        _settle(cli, sys.stderr if request.as_json else sys.stdout)
        if any(option.startswith(_CHOOSING) for option in options):
            return cli.operate("destroy", *_consent(environment, request.yes), *options)
        _refuse_protected(cli)
        run = Destroy(cli, request, asks=environment.asks, kept=environment.kubeconfig)
        return run.run(options, gone=partial(_kubeconfig_file(stack).unlink, missing_ok=True))


def cancel(stack: str) -> int:
    with pulumi.on(stack, "cancel") as cli:
        return cli.operate("cancel", "--yes")


def _consent(environment: Environment, yes: bool) -> Sequence[str]:
    return ["--yes"] if yes or not environment.asks else []


def _settle(cli: Pulumi, out: TextIO | None = None) -> None:
    for line in recovery.resolve_pending(cli):
        print(line, file=out, flush=True)


def _update_without_cluster(cli: Pulumi, environment: Environment, yes: bool, options: Sequence[str]) -> int:
    """An update while the control plane is off: of AWS alone, if anything changes there."""
    steps = up_parked.steps(cli, CHECKED_BY_US, options)
    if steps is not None and not steps:
        print("nothing changes, and the control plane is parked: no update is run", flush=True)
        return 0
    up_parked.refuse_without_cluster(cli.stack, steps or ())
    return _update(cli, environment, yes, options)


def _waiting_for_workers(cli: Pulumi, known: Known, options: Sequence[str]) -> Sequence[up_parked.Step]:
    """What the update is to leave. Whoever names what is to change has thought of it."""
    if not known.workers_off or any(option.startswith(_CHOOSING) for option in options):
        return ()
    if power.pins(cli.stack)[NodeRole.WORKER] == Power.RUNNING:
        return ()
    return up_parked.waiting_for_workers(up_parked.steps(cli, CHECKED_BY_US, options) or ())


def _update(cli: Pulumi, environment: Environment, yes: bool, options: Sequence[str]) -> int:
    words = [*CHECKED_BY_US, *_consent(environment, yes), *options]
    return creation.update(cli, words, partial(_types, cli.stack))


def _types(stack: str) -> Mapping[str, Sequence[str]]:
    """The types of GPU nodes that may be of several. A file that is wrong is the program's to refuse."""
    try:
        nodes = price.nodes_of(stack).gpu.nodes
    except (CommandError, SettingsError):
        return {}
    return {node.name: (node.instance_type, *node.further_types) for node in nodes if node.further_types}


def _refuse_protected(cli: Pulumi) -> None:
    """Raises: CommandError if part of the stack is protected: the engine notices that after the rest is gone.
    Whoever names what is to go has thought of it."""
    if protected := recovery.protected(cli):
        lift = f"pulumi config set --stack {cli.stack} --path kubepark:controlPlane.protected false"
        raise CommandError(
            f"stack {cli.stack} has protected resources ({', '.join(protected)}), and nothing was destroyed. "
            f"To lift it: {lift}, then bin/kubepark up --stack {cli.stack}, then destroy again"
        )


def _kubeconfig_file(stack: str) -> Path:
    return ROOT / operator.file_of(cluster_of(stack), identity_of(stack))


def _fetch_kubeconfig(cli: Pulumi) -> None:
    """Put the kubeconfig where the Kubernetes provider looks for it. The program does that as well, but not
    every operation runs it, and the engine may want the provider before."""
    try:
        operator.keep(_kubeconfig_file(cli.stack), cluster.published(cli))
    except CommandError as error:
        print(f"warning: {error}", file=sys.stderr, flush=True)


def _verify_gpu(kubeconfig: Path, outputs: Mapping[str, Any]) -> int | None:
    """The acceptance Job's exit code; None when the stack has no GPU node."""
    if not any(node["role"] == "gpu" for node in outputs.get("nodes") or []):
        return None
    from cli.verify_gpu import verify_gpu  # the Kubernetes client takes a second to import

    return verify_gpu(kubeconfig, timeout=VERIFY_SECONDS, out=lambda line: print(line, flush=True))
