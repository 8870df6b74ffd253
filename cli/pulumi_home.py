"""A home for the Pulumi CLI that is the person's own, but for the CLI's automatic log.

The log has every property of every call, is half the work of a preview with large objects, and cannot be
switched off; where its folder cannot be made the CLI goes on without (docs/decisions/automatic-log.md).
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "PULUMI_HOME"
LOGS = "logs"
_TEXT = "In the way of the CLI's automatic log: docs/decisions/automatic-log.md of kubepark.\n"
_NEEDED = ("plugins", "policies", "workspaces")  # what the CLI makes there goes to the person's own home


def without_log(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables with a home of links to the person's own. Who names a home keeps it, log included."""
    home = _home()
    if variables.get(VARIABLE) or variables.get("HOME", str(home)) != str(home):
        return dict(variables)
    own = home / ".pulumi"
    state = Path(variables.get("XDG_STATE_HOME") or own.parent / ".local" / "state")
    ours = state / "kubepark" / "pulumi-home"
    try:
        for folder in (ours, *(own / name for name in _NEEDED)):
            folder.mkdir(parents=True, exist_ok=True)
        _link(own, ours)
    except OSError:  # a home that cannot be written: the CLI says what that means to it
        return dict(variables)
    return {**variables, VARIABLE: str(ours), "PULUMI_CREDENTIALS_PATH": _credentials(variables, own)}


def _home() -> Path:
    """That of the account, where the CLI looks whatever HOME says (sdk/go/common/util/pulumihome)."""
    return Path(pwd.getpwuid(os.getuid()).pw_dir)


def _credentials(variables: Mapping[str, str], own: Path) -> str:
    """The folder of credentials.json, which the CLI replaces when it writes it."""
    return variables.get("PULUMI_CREDENTIALS_PATH") or str(own)


def _link(own: Path, ours: Path) -> None:
    """A link for each entry, and none for those that are gone. Others may do the same at this moment."""
    wanted = {entry.name: entry for entry in own.iterdir() if entry.name != LOGS}
    for link in ours.iterdir():
        if link.is_symlink() and link.name not in wanted:
            link.unlink(missing_ok=True)
    for name, entry in wanted.items():
        with contextlib.suppress(FileExistsError):
            (ours / name).symlink_to(entry)
    with contextlib.suppress(FileExistsError), (ours / LOGS).open("x", encoding="utf-8") as file:
        file.write(_TEXT)
