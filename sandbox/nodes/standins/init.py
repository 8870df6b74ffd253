#!/usr/bin/python3
"""Process 1 of a node: stands for systemd. Starts, watches and stops the units that the node has.

    init.py --boot PROGRAM [--env NAME=VALUE]...

Runs PROGRAM (cloud-init), then what is enabled, and whatever `systemctl` asks for on its socket.
SIGTERM is the power button. Ends when everything has; a reboot is the same, and who switched the
machine on does so again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from sandbox.nodes.standins import kernel
from sandbox.nodes.standins.service import JOURNAL, Service
from sandbox.nodes.standins.timers import Timers
from sandbox.nodes.standins.units import FOLDERS, OWN, SOCKET, TARGETS, UnitError, load

# Reached before any unit starts.
PASSED = ("network-online.target", "network.target", "local-fs.target")
EARLY = ("systemd-logind.service",)  # runs before cloud-init, with what the image has
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LEFT_SECONDS = 2.0  # for what is left when every service has ended


class Init:
    """The machine's units and the loop that drives them."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.variables = {"PATH": PATH, "LANG": "C.UTF-8", **variables}
        self.booted = time.monotonic()
        self.services: dict[str, Service] = {}
        self.timers = Timers(self.try_start, self.booted)
        self.ending = False
        # Who waits for the end of which unit's start or stop.
        self._clients: dict[socket.socket, tuple[str, str]] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._wakes = socket.socketpair()
        for end in (self._wake, self._wakes):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self.power_off())
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._listen()

    def _listen(self) -> None:
        JOURNAL.mkdir(parents=True, exist_ok=True)
        SOCKET.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(SOCKET))
        SOCKET.chmod(0o600)
        self._server.listen(64)
        self._selector.register(self._server, selectors.EVENT_READ)

    # -- the loop ----------------------------------------------------------------------------------

    def run(self, boot: list[str]) -> None:
        """Until the power button: what is early, then the boot program, then what is enabled."""
        for name in EARLY:
            if load(name, FOLDERS):
                self.try_start(name)
        first = os.posix_spawn(boot[0], boot, self.variables)
        booting = True
        while not self.ending:
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._wake:
                    with contextlib.suppress(BlockingIOError):
                        self._wake.recv(4096)
                else:
                    self._serve()
            for pid, status in reaped():
                if pid == first and booting:
                    booting = False
                    self.start_enabled()
                for service in self.services.values():
                    service.ended(pid, status)
            for service in list(self.services.values()):
                service.tick()
            self.timers.tick()
            self._answer_waiting()

    def _patience(self) -> float:
        due = [each.due for each in self.services.values() if each.due is not None]
        return max(0.0, min([*due, self.timers.next(), time.monotonic() + 5.0]) - time.monotonic())

    def start_enabled(self) -> None:
        for target in TARGETS:
            for link in sorted((OWN / f"{target}.wants").glob("*")):
                self.try_start(link.name)

    def power_off(self) -> None:
        """Every service gets its SIGTERM, and ten seconds."""
        self.ending = True

    def shut_down(self) -> None:
        """Services first, the last ones at the head; then what is left, containers above all."""
        stopping = list(reversed(self.services.values()))
        for service in stopping:
            service.stop()
        while any(each.stopping for each in stopping):
            for pid, status in reaped():
                for service in stopping:
                    service.ended(pid, status)
            for service in stopping:
                service.tick()
            time.sleep(0.05)
        if os.getpid() == 1:  # else "everything" would be more than this machine
            with contextlib.suppress(ProcessLookupError):  # nothing is left
                os.kill(-1, signal.SIGTERM)
        deadline = time.monotonic() + LEFT_SECONDS
        while time.monotonic() < deadline and has_children():
            reaped()
            time.sleep(0.05)

    # -- units -------------------------------------------------------------------------------------

    def service(self, name: str) -> Service:
        """The service of this name as its files are now. Raises `UnitError`."""
        unit = load(name, FOLDERS)
        if unit is None:
            raise UnitError(f"Unit {name} not found.")
        if unit.masked:
            raise UnitError(f"Unit {name} is masked.")
        later = [each for each in unit.words("After") if each not in PASSED]
        if later:
            raise UnitError(f"{name}: an order with {', '.join(later)} is not implemented")
        known = self.services.get(name)
        if known is None:
            known = self.services[name] = Service(unit, self.variables)
        elif not known.active:
            known.unit = unit
        return known

    def start(self, name: str) -> None:
        if name in PASSED:
            return
        if name.endswith(".timer"):
            unit = load(name, FOLDERS)
            if unit is None:
                raise UnitError(f"Unit {name} not found.")
            if unit.masked:
                raise UnitError(f"Unit {name} is masked.")
            self.timers.start(unit)
            return
        service = self.service(name)
        for wanted in service.unit.words("Wants"):
            self.try_start(wanted)
        service.start()

    def try_start(self, name: str) -> None:
        """Nobody waits for it: what is wrong is said on the machine's console."""
        try:
            self.start(name)
        except UnitError as error:
            print(f"systemd: {name}: {error}", file=sys.stderr, flush=True)

    # -- systemctl ---------------------------------------------------------------------------------

    def _serve(self) -> None:
        client, _ = self._server.accept()
        client.settimeout(5.0)
        with contextlib.suppress(OSError):
            try:
                answer = self._do(client, *order(client.makefile(errors="replace").readline()))
            except UnitError as error:
                answer = {"code": 5 if "not found" in str(error) else 1, "err": str(error)}
            if answer is not None:
                reply(client, answer)

    def _do(self, client: socket.socket, verb: str, name: str, block: bool) -> dict[str, Any] | None:
        """Carry out one order: the answer, or None when it comes later."""
        if verb == "start":
            self.start(name)
            if block and name in self.services:
                self._clients[client] = (verb, name)
                return None
        elif verb == "stop":
            if name.endswith(".timer"):
                self.timers.stop(name)
            elif name in self.services:
                self.services[name].stop()
                self._clients[client] = (verb, name)
                return None
            elif load(name, FOLDERS) is None:
                raise UnitError(f"Unit {name} not found.")
        elif verb == "state":
            return {"code": 0, "out": self._state(name)}
        elif verb == "reboot":
            self.ending = True
        else:
            return {"code": 1, "err": f"Unknown order {verb}."}
        return {"code": 0}

    def _state(self, name: str) -> str:
        if name.endswith(".timer"):
            return "active" if self.timers.active(name) else "inactive"
        return self.services[name].state if name in self.services else "inactive"

    def _answer_waiting(self) -> None:
        for client, (verb, name) in list(self._clients.items()):
            service = self.services[name]
            if not service.starting and not service.stopping:
                bad = ("failed", "activating") if verb == "start" else ("failed",)
                failed = service.state in bad
                reply(client, {"code": int(failed), "err": f"Job for {name} failed." if failed else ""})
                del self._clients[client]


def order(line: str) -> tuple[str, str, bool]:
    """What systemctl asks for: verb, unit, and whether it waits. Raises `UnitError`."""
    try:
        asked = json.loads(line)
        return str(asked["verb"]), str(asked["unit"]), bool(asked["block"])
    except (ValueError, KeyError, TypeError):
        raise UnitError(f"Not an order: {line.strip()}") from None


def reply(client: socket.socket, answer: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # it did not wait
        client.sendall((json.dumps(answer) + "\n").encode())
    client.close()


def reaped() -> list[tuple[int, int]]:
    """Every process that has ended: orphans come to process 1."""
    found = []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            found.append((pid, os.waitstatus_to_exitcode(status)))
    return found


def has_children() -> bool:
    """Whether anything is left, since every orphan comes here."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--boot", required=True)
    parser.add_argument("--env", action="append", default=[])
    given = parser.parse_args()
    kernel.boot()
    # systemd-sysctl: settings are the kernel's, which forgets them, so every boot makes them anew.
    subprocess.run(["/usr/local/sbin/sysctl", "--system"], stdout=subprocess.DEVNULL, check=False)
    init = Init(dict(pair.split("=", 1) for pair in given.env))  # answers from here on
    init.run([given.boot])
    init.shut_down()


if __name__ == "__main__":
    main()
