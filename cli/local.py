"""The sandbox's life: `up`, `preview`, `refresh`, `destroy`, `down`, `reset`, `env`, `status`.

One command at a time per sandbox (the lock says who has it). The engine runs in this process, one
operation per command.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox import config as sandbox_config
from sandbox.driver import checkpoint, leftovers, operations
from sandbox.driver.workspace import Workspace
from sandbox.errors import SandboxError
from sandbox.files import atomic_write
from sandbox.processes import SandboxLock

ROOT = Path(__file__).resolve().parents[1]
VERIFY_SECONDS = 120.0  # the GPU Job's patience: images are stand-ins here, so it takes seconds


def is_local(stack: str, root: Path = ROOT) -> bool:
    """Whether the stack file names an emulator. `SandboxError` if there is no such stack file."""
    path = root / f"Pulumi.{stack}.yaml"
    if not path.exists():
        known = sorted(file.name.split(".")[1] for file in root.glob("Pulumi.*.yaml"))
        raise SandboxError(
            f"there is no stack {stack}: {path.name} does not exist; known: {', '.join(known)}"
        )
    return sandbox_config.is_sandbox(path)


def up(stack: str, *, verify: bool, skip_preview: bool = False, show_diff: bool = False) -> int:
    """Local cloud, engine, kubeconfig, GPU Job, summary."""
    from sandbox import local_cloud

    began = time.monotonic()
    with _locked(stack) as workspace:
        _say(f"kubepark up: stack {stack}, state in {workspace.config.state_dir}")
        local_cloud.start(workspace.config)
        _start_afresh_if_cloud_is_gone(workspace)
        code, outputs = operations.up(workspace, show_diff=show_diff, skip_preview=skip_preview)
        if code == operations.INTERRUPTED:
            return code
        if "kubeconfig" in outputs:  # also when another node did not come: the cluster is there
            atomic_write(workspace.config.kubeconfig, outputs["kubeconfig"])
        if code != 0:
            return code
        verified = _verify_gpu(workspace, outputs) if verify else None
        from cli.summary import print_summary

        print_summary(workspace, outputs, verified=verified, seconds=time.monotonic() - began)
        return 0 if verified in (None, 0) else 1


def preview(stack: str, *, show_diff: bool, json_output: bool, expect_no_changes: bool) -> int:
    """Needs the emulator (it answers what the program asks), so it is started if it is not there."""
    from sandbox import local_cloud

    with _locked(stack) as workspace:
        local_cloud.start(workspace.config)
        return operations.preview(
            workspace, show_diff=show_diff, json_output=json_output, expect_no_changes=expect_no_changes
        )


def refresh(stack: str, *, preview_only: bool, expect_no_changes: bool) -> int:
    with _locked(stack) as workspace:
        return operations.refresh(workspace, preview_only=preview_only, expect_no_changes=expect_no_changes)


def destroy(stack: str, *, purge: bool) -> int:
    """Delete the resources; the local cloud goes on running."""
    with _locked(stack) as workspace:
        return _destroy(workspace, purge=purge)


def down(stack: str) -> int:
    """Destroy, stop, forget. What cannot be destroyed because its cloud is gone is only forgotten."""
    from sandbox import local_cloud

    with _locked(stack) as workspace:
        if checkpoint.has_resources(workspace):
            try:
                code = _destroy(workspace, purge=True)
            except checkpoint.CloudGone as gone:
                _say(f"nothing to destroy: {gone.what}")
                code = 0
            if code != 0:
                _say("The local cloud still runs, so that you can look. `kubepark reset` clears it away.")
                return code
        _clear_away(workspace)
        local_cloud.stop(workspace.config)
        _say("down: the stack is gone and every process has ended")
        return 0


def set_hash(stack: str, person: str, hashed: str) -> None:
    """Keep the hash of a password that a person chose."""
    with _locked(stack) as workspace:
        workspace.set_hash(person, hashed)


def hashes(stack: str) -> dict[str, str]:
    """The password hashes by person: what the sandbox made up, and what people chose."""
    with _locked(stack) as workspace:
        return workspace.hashes()


def reset(stack: str) -> int:
    """Stop and forget, whatever state things are in."""
    from sandbox import local_cloud

    with _locked(stack) as workspace:
        _clear_away(workspace)
        local_cloud.stop(workspace.config)
        _say(f"reset: stack {stack} is forgotten and every process has ended; `make up` builds it again")
        return 0


def cancel(stack: str) -> int:
    """Without the lock: its holder is what is to be ended."""
    return operations.cancel(_workspace(stack), _say)


def env(stack: str) -> int:
    """Shell lines for `eval`. The stack file's working copy is named by the CLI's own variable."""
    from sandbox import local_cloud

    workspace = _workspace(stack)
    local_cloud.prepare(workspace.config)
    workspace.prepare()
    variables = {
        **workspace.variables(),
        "PULUMI_STACK": workspace.stack,
        "PULUMI_OPTION_CONFIG_FILE": str(workspace.stack_copy),
    }
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    # It would win over the passphrase file.
    print("unset PULUMI_CONFIG_PASSPHRASE")
    return 0


def status(stack: str) -> int:
    """Processes, the stack's resources, and anything that an interrupted run left."""
    from sandbox import local_cloud

    workspace = _workspace(stack)
    cloud = local_cloud.status(workspace.config)
    for name, pid in cloud.processes.items():
        print(f"{name:<30} {f'pid {pid}' if pid else 'has died'}")
    print(f"emulator {workspace.config.aws.url}: {'answers' if cloud.epoch else 'does not answer'}")
    for name, kind in cloud.providers.items():
        print(f"provider {name}: {kind}")
    state = checkpoint.deployment(workspace)
    resources = [item for item in state.get("resources") or [] if not item["type"].startswith("pulumi:")]
    print(f"stack {stack}: {len(resources)} resources in state")
    pending = state.get("pending_operations") or []
    if pending:
        print(f"{len(pending)} operations were interrupted: `make up` resolves them")
    running = leftovers.running(workspace.config)
    if running:
        print(f"an operation runs (pid {running[0]}): `kubepark cancel` ends it")
    try:
        checkpoint.require_same_cloud(workspace)
    except checkpoint.CloudGone as gone:
        print(gone)
        return 1
    return 0


# -- pieces ----------------------------------------------------------------------------------------


@contextmanager
def _locked(stack: str) -> Iterator[Workspace]:
    workspace = _workspace(stack)
    with SandboxLock(workspace.config.lock_file):
        yield workspace


def _workspace(stack: str) -> Workspace:
    # Relative paths in the program (manifests, ...) are relative to the root, wherever we are.
    os.chdir(ROOT)
    return Workspace(sandbox_config.load(ROOT, stack))


def _start_afresh_if_cloud_is_gone(workspace: Workspace) -> None:
    """An emulator keeps everything in memory: after a reboot or a kill there is nothing to lose."""
    try:
        checkpoint.require_same_cloud(workspace)
    except checkpoint.CloudGone as gone:
        _say(f"{gone.what}. Building it again from nothing.")
        _clear_away(workspace)


def _clear_away(workspace: Workspace) -> None:
    """End what a killed run left and drop the state. Generated secrets and logs stay."""
    leftovers.clear(workspace)
    checkpoint.forget(workspace)


def _destroy(workspace: Workspace, *, purge: bool) -> int:
    workspace.prepare()
    key = checkpoint.outputs(workspace).get("data_key_id")
    code = operations.destroy(workspace)
    if code != 0 or not key:
        return code
    if purge:
        from cli.cloud import schedule_key_deletion
        from sandbox.driver.lookup import Cloud

        _say(schedule_key_deletion(Cloud(workspace.config).client("kms"), key))
    else:
        _say(f"the data key {key} stays: `kubepark destroy --purge` schedules its deletion")
    return code


def _verify_gpu(workspace: Workspace, outputs: dict[str, object]) -> int | None:
    """The acceptance Job's exit code; None when the stack has no GPU node."""
    nodes = outputs.get("nodes")
    if not (isinstance(nodes, list) and any(node["role"] == "gpu" for node in nodes)):
        return None
    from cli.verify_gpu import verify_gpu

    return verify_gpu(workspace.config.kubeconfig, timeout=VERIFY_SECONDS, out=_say)


def _say(line: str) -> None:
    print(line, flush=True)
