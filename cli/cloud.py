"""Stacks in a real AWS account: the plain `pulumi` on PATH, with the policy pack."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError

ROOT = Path(__file__).resolve().parents[1]
# The shortest wait that KMS accepts, in days: a mistake can be undone until then.
KEY_DELETION_DAYS = 7


def up(stack: str, *, yes: bool, skip_preview: bool, show_diff: bool) -> int:
    """`pulumi up`, which previews and asks by itself."""
    return _pulumi(
        *("up", "--stack", stack, *_policies()),
        *_flag(yes, "--yes"),
        *_flag(skip_preview, "--skip-preview"),
        *_flag(show_diff, "--diff"),
    )


def preview(stack: str, *, show_diff: bool, json_output: bool, expect_no_changes: bool) -> int:
    return _pulumi(
        *("preview", "--stack", stack, *_policies()),
        *_flag(show_diff, "--diff"),
        *_flag(json_output, "--json"),
        *_flag(expect_no_changes, "--expect-no-changes"),
    )


def refresh(stack: str, *, yes: bool, preview_only: bool, expect_no_changes: bool) -> int:
    return _pulumi(
        *("refresh", "--stack", stack),
        *_flag(yes, "--yes"),
        *_flag(preview_only, "--preview-only"),
        *_flag(expect_no_changes, "--expect-no-changes"),
    )


def set_hash(stack: str, person: str, hashed: str) -> None:
    """Keep a password's hash, encrypted. It goes to pulumi on standard input, where nobody can read it."""
    path = f'kubepark:passwordHashes["{person}"]'
    done = subprocess.run(
        [_executable(), "config", "set", "--secret", "--path", path, "--stack", stack],
        cwd=ROOT,
        input=hashed,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SandboxError(f"`pulumi config set` failed: {done.stderr.strip()}")


def hashes(stack: str) -> dict[str, str]:
    """The password hashes by person, decrypted."""
    path = ("--path", "kubepark:passwordHashes")
    found = _read("config", "get", "--json", *path, "--stack", stack)
    return stored_hashes(found)


def stored_hashes(found: dict[str, Any]) -> dict[str, str]:
    """What `pulumi config get --json` says about an object: as one, or as its JSON text."""
    value = found.get("objectValue") or json.loads(found.get("value") or "{}")
    return {str(name): str(text) for name, text in value.items()}


def destroy(stack: str, *, purge: bool) -> int:
    """`pulumi destroy`; confirmation was asked for. The data key is scheduled for deletion by `purge`."""
    outputs = _read("stack", "output", "--json", "--stack", stack)
    key = outputs.get("data_key_id")
    code = _pulumi("destroy", "--yes", "--stack", stack)
    if code != 0 or not key:
        return code
    if purge:
        import boto3

        region = _read("config", "get", "--json", "--path", "kubepark:aws.region", "--stack", stack)["value"]
        print(schedule_key_deletion(boto3.client("kms", region_name=region), key))
    else:
        print(
            f"the data key {key} stays, for volumes and backups. Without use for it: "
            f"aws kms schedule-key-deletion --key-id {key} --pending-window-in-days {KEY_DELETION_DAYS}"
        )
    return code


def schedule_key_deletion(kms: Any, key: str) -> str:
    """Let a key end; gives a line that says when. One on its way out already is left as it is."""
    state = kms.describe_key(KeyId=key)["KeyMetadata"]
    if state["KeyState"] == "PendingDeletion":
        return f"the data key {key} is on its way out already: {state['DeletionDate']:%Y-%m-%d}"
    answer = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=KEY_DELETION_DAYS)
    return (
        f"the data key {key} will be deleted on {answer['DeletionDate']:%Y-%m-%d}; "
        f"until then: aws kms cancel-key-deletion --key-id {key}"
    )


def _policies() -> list[str]:
    return ["--policy-pack", str(ROOT / "policies")]


def _flag(wanted: bool, flag: str) -> list[str]:
    return [flag] if wanted else []


def _executable() -> str:
    found = shutil.which("pulumi")
    if found is None:
        raise SandboxError(
            "a stack in a real account needs the official Pulumi CLI on PATH: "
            "https://www.pulumi.com/docs/install/ (the sandbox does not)"
        )
    return found


def _pulumi(*arguments: str) -> int:
    """Run pulumi in the root with our terminal. Ctrl-C is its business: it cancels cleanly."""
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run([_executable(), *arguments], cwd=ROOT).returncode
    finally:
        signal.signal(signal.SIGINT, previous)


def _read(*arguments: str) -> dict[str, Any]:
    done = subprocess.run([_executable(), *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise SandboxError(f"`pulumi {' '.join(arguments[:2])}` failed: {done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
