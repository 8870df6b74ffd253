#!/usr/bin/python3
"""systemctl, as the node's scripts and kubeadm call it; talks to init.py."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from sandbox.nodes.standins.record import Failed, Usage, run
from sandbox.nodes.standins.units import FOLDERS, OWN, SOCKET, UnitError, UnitFile, load

_NOTHING: frozenset[str] = frozenset()
_QUIET = frozenset({"-q", "--quiet"})
_START = frozenset({"--no-block"})
# Which options each verb takes.
VERBS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("daemon-reload", "reboot", "cat", "status", "stop"), _NOTHING),
    **dict.fromkeys(("is-active", "is-enabled"), _QUIET),
    **dict.fromkeys(("start", "restart", "try-restart", "try-reload-or-restart"), _START),
    "enable": _START | {"--now"},
    **dict.fromkeys(("disable", "mask"), frozenset({"--now"})),
}
_WITHOUT_UNITS = ("daemon-reload", "reboot")
_SWAP_UNITS = ["list-units", "--type", "swap", "--all", "--plain", "--no-legend"]


def ask(verb: str, unit: str = "", *, block: bool = True) -> str:
    """One order to init. Raises `Failed` with its words."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(SOCKET))
            client.sendall((json.dumps({"verb": verb, "unit": unit, "block": block}) + "\n").encode())
            answer: dict[str, Any] = json.loads(client.makefile().readline() or "{}")
        except OSError as error:
            raise Failed(f"Failed to connect to bus: {error}") from None
    if answer.get("code", 1):
        raise Failed(str(answer.get("err", "no answer")), int(answer.get("code", 1)))
    return str(answer.get("out", ""))


def full(name: str) -> str:
    return name if name.endswith((".service", ".timer", ".target", ".swap")) else f"{name}.service"


def find(name: str) -> UnitFile:
    unit = load(name, FOLDERS)
    if unit is None:
        raise Failed(f"Unit file {name} does not exist.")
    return unit


def enable(name: str) -> None:
    unit = find(name)
    if unit.masked:
        raise Failed(f"Failed to enable unit: Unit file {name} is masked.")
    for target in unit.words("WantedBy"):
        link = OWN / f"{target}.wants" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(unit.paths[0])


def disable(name: str) -> None:
    find(name)
    for link in OWN.glob(f"*.wants/{name}"):
        link.unlink()


def mask(name: str) -> None:
    link = OWN / name
    if link.exists() and not link.is_symlink():
        raise Failed(f"Failed to mask unit: File '{link}' already exists.")
    link.unlink(missing_ok=True)
    link.symlink_to("/dev/null")


def file_state(name: str) -> str:
    """What `is-enabled` says of a unit."""
    unit = find(name)
    if unit.masked:
        return "masked"
    if any(OWN.glob(f"*.wants/{name}")):
        return "enabled"
    return "disabled" if unit.all("WantedBy") else "static"


def act(_: str, arguments: list[str]) -> int:
    if arguments == _SWAP_UNITS:
        return 0  # there are none
    words = [word for word in arguments if not word.startswith("-")]
    options = {word for word in arguments if word.startswith("-")}
    verb, names = words[0] if words else "", words[1:]
    allowed = VERBS.get(verb)
    if allowed is None or options - allowed or bool(names) == (verb in _WITHOUT_UNITS):
        raise Usage(" ".join(arguments) or "no verb")
    try:
        return do(verb, [full(name) for name in names], options)
    except UnitError as error:
        raise Failed(str(error)) from None


def do(verb: str, names: list[str], options: set[str]) -> int:
    """One verb. Exit codes as systemd's."""
    if verb == "reboot":
        ask("reboot")
    elif verb == "cat":
        print("\n".join(find(name).text() for name in names))
    elif verb.startswith("is-") or verb == "status":
        return max(look(verb, name, quiet=bool(options & _QUIET)) for name in names)
    else:  # no names at daemon-reload: unit files are read when they are needed
        for name in names:
            change(verb, name, now="--now" in options, block="--no-block" not in options)
    return 0


def look(verb: str, name: str, *, quiet: bool) -> int:
    """What only asks about a unit."""
    if verb == "status":
        if load(name, FOLDERS) is None:
            raise Failed(f"Unit {name} could not be found.", 4)
        found, state = file_state(name), ask("state", name)
        loaded = found if found == "masked" else f"loaded ({found})"
        print(f"{name}\n     Loaded: {loaded}\n     Active: {state}")
        return 0 if state == "active" else 3
    state = file_state(name) if verb == "is-enabled" else ask("state", name)
    if not quiet:
        print(state)
    if verb == "is-enabled":
        return 0 if state in ("enabled", "static") else 1
    return 0 if state == "active" else 3


def change(verb: str, name: str, *, now: bool, block: bool) -> None:
    """What changes a unit."""
    if verb in ("try-restart", "try-reload-or-restart"):
        find(name)
        verb = "restart" if ask("state", name) == "active" else "nothing"
    elif verb == "enable":
        enable(name)
        verb = "start" if now else "nothing"
    elif verb == "disable":
        disable(name)
    if verb in ("stop", "restart") or (verb in ("disable", "mask") and now):
        ask("stop", name)
    if verb in ("start", "restart"):
        ask("start", name, block=block)
    if verb == "mask":
        mask(name)


if __name__ == "__main__":
    os.umask(0o022)
    run(act)
