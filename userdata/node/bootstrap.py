#!/usr/bin/python3
"""The bootstrap runner: takes the node's steps in order and says how it goes.

Run by kubepark-bootstrap.service at every boot. A step that is done is not done again unless its
inputs changed; a failed one ends the run, and the unit starts the next attempt. Every step start,
every failure and the end are reported to the node's status parameter.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import runpy
import subprocess
import sys
import threading
import time
from collections import deque
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

LIB = Path("/usr/local/lib/kubepark")
CONFIG = Path("/etc/kubepark")
STATE = Path("/var/lib/kubepark")
LOG = Path("/var/log/kubepark-bootstrap.log")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
KERNEL = Path("/proc/sys/kernel/osrelease")

REBOOT = 75  # exit status of a step that needs one reboot to go on (EX_TEMPFAIL)
TIMED_OUT = 124  # as timeout(1)
NO_PERMISSION = 77  # of a step that ended at AWS's refusal (EX_NOPERM): trying again does not help
GRACE = 10  # seconds between SIGTERM and SIGKILL
RECORD_BYTES = 4000  # a standard parameter holds 4,096 characters
TAIL_LINES = 40

DENIED = re.compile(r"\bAccessDenied")  # the error code of SSM and KMS
# Bootstrap tokens, access key ids, and long base64 (hex digests and paths have no capitals).
SECRET = re.compile(
    r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|(?=[a-z0-9+/]*[A-Z])(?=[A-Z0-9+/]*[a-z])[A-Za-z0-9+/]{40,}=*"
)


def mask(line: str) -> str:
    """`line` without anything that looks like a credential."""
    return SECRET.sub("[masked]", line)


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def say(line: str) -> None:
    """A line for the log file and for stdout, which the unit sends to journal and console."""
    print(line, flush=True)
    with LOG.open("a") as log:
        print(now(), line, file=log)


def write(path: Path, text: str) -> None:
    """Replaces a small state file in one go, so that a power cut leaves the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def stop(session: int) -> None:
    """Ends every process of a session: a step's children may have process groups of their own."""
    mine = ["-s", str(session)]
    for name in ("TERM", "KILL"):
        subprocess.run(["pkill", f"-{name}", *mine], check=False)
        end = time.monotonic() + GRACE
        while time.monotonic() < end:
            if subprocess.run(["pgrep", *mine], stdout=subprocess.DEVNULL, check=False).returncode:
                return
            time.sleep(0.2)


class Step(NamedTuple):
    """One line of the plan: name, deadline in seconds, `once` or `boot`, files it depends on."""

    name: str
    deadline: str
    when: str
    inputs: list[str]

    @property
    def script(self) -> Path:
        return LIB / "steps" / self.name

    def fingerprint(self) -> str:
        """Hash of everything that decides what the step does."""
        total = hashlib.sha256()
        for path in [self.script, LIB / "lib.sh", CONFIG / "node.env", *map(Path, self.inputs)]:
            total.update(hashlib.sha256(path.read_bytes()).digest())
        return total.hexdigest()

    def run(self, reporter: Reporter) -> tuple[int, str]:
        """Runs the step within its deadline: exit status and last lines, masked.

        A line that begins with "waiting: " goes into the record at once. One that begins with "cause: "
        takes the place of everything before it: what a person must read to know what to fix.
        """
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        end = time.monotonic() + int(self.deadline)
        with subprocess.Popen(
            [str(self.script)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            timer = threading.Timer(int(self.deadline), stop, [process.pid])
            timer.start()
            for line in process.stdout or ():
                if line.startswith("cause: "):
                    tail.clear()
                tail.append(mask(line.rstrip()).removeprefix("cause: "))
                say(f"[{self.name}] {tail[-1]}")
                if line.startswith("waiting: "):
                    reporter.report("running", self.name, 0, tail[-1])
            code = process.wait()
            timer.cancel()
        if code and time.monotonic() >= end:
            code = TIMED_OUT
            tail.append(f"stopped after its deadline of {self.deadline} s")
        elif code and any(DENIED.search(line) for line in tail):
            code = NO_PERMISSION
        return code, "\n".join(tail)


def read_plan() -> list[Step]:
    rows = [line.split() for line in (CONFIG / "steps").read_text().splitlines() if line[0] != "#"]
    return [Step(name, deadline, when, inputs) for name, deadline, when, *inputs in rows]


class Reporter:
    """Writes the status record. One that cannot be delivered is logged and does no harm."""

    def __init__(self) -> None:
        self.node = json.loads((CONFIG / "node.json").read_text())
        self.instance = ""
        self.aws = runpy.run_path(str(LIB / "kp-aws"))
        counter = STATE / "attempt"
        self.attempt = int(counter.read_text()) + 1 if counter.exists() else 1
        self.since = now()
        write(counter, str(self.attempt))

    def record(self, phase: str, step: str, rc: int, message: str) -> str:
        """The record as JSON of at most RECORD_BYTES; of a long message its end stays."""
        message = mask(message).replace("{{", "{ {")  # Parameter Store refuses "{{"
        while True:
            text = json.dumps(
                {
                    "schema": 1,
                    "instanceId": self.instance,
                    "node": self.node["node"],
                    "generation": self.node["generation"],
                    "bootId": BOOT_ID.read_text().strip(),
                    "attempt": self.attempt,
                    "since": self.since,
                    "phase": phase,
                    "step": step,
                    "rc": rc,
                    "message": message,
                    "at": now(),
                }
            )
            if len(text) <= RECORD_BYTES:
                return text
            message = message[100:]

    def report(self, phase: str, step: str, rc: int = 0, message: str = "") -> bool:
        """Whether the record was delivered."""
        say(f"{phase}: {step}" + (f": exit {rc}" if rc else ""))
        try:
            self.instance = self.instance or self.aws["identity"]()["INSTANCE_ID"]
            record = self.record(phase, step, rc, message)
            self.aws["put_parameter"](self.node, self.node["parameters"]["status"], record)
        except (SystemExit, OSError, HTTPException, ValueError, LookupError) as error:
            say(mask(str(error)))
            return False
        return True


def reboot_once(step: Step, reporter: Reporter) -> bool:
    """Reboots on behalf of a step, at most once for each kernel that this machine gets."""
    marker = STATE / f"rebooted-for-{step.name}-{KERNEL.read_text().strip()}"
    if marker.exists():
        return False
    write(marker, now())
    reporter.report("running", step.name, 0, "rebooting once")
    subprocess.run(["systemctl", "reboot"], check=True)
    return True


def main() -> int:
    """0 when the node is done or reboots; 1 asks the unit for the next attempt."""
    os.umask(0o077)
    STATE.mkdir(parents=True, exist_ok=True)
    lock = (STATE / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # kept until this process ends
    reporter = Reporter()
    reporter.report("running", "start")
    message = ""
    for step in read_plan():
        marker = STATE / "steps" / step.name
        inputs = step.fingerprint()
        if step.when == "once" and marker.exists() and marker.read_text() == inputs:
            continue
        reporter.report("running", step.name)
        code, message = step.run(reporter)
        if code == REBOOT and reboot_once(step, reporter):
            return 0
        if code:
            reporter.report("failed", step.name, code, message)
            return 1
        write(marker, inputs)
    phase = "api-ready" if reporter.node["role"] == "master" else "joined"
    return 0 if reporter.report(phase, "done", 0, message) else 1


if __name__ == "__main__":
    sys.exit(main())
