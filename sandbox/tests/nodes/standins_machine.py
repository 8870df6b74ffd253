"""A machine of namespaces in which the stand-ins run under their real paths.

The folders that a node has of its own (/etc, /run, /var/log, ...) are folders of a test, bound over the
host's in a mount namespace; process ids, network and host name are the machine's own as well. Everything
goes when its process 1 ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandbox.nodes.real import image
from sandbox.nodes.standins.table import HOME

SCRIPTS = f"{HOME}/sandbox/nodes/standins"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT = ("/usr/bin/python3", f"{SCRIPTS}/init.py", "--boot", "/usr/local/bin/boot")
IDLE = ("/bin/sleep", "infinity")
UNITS = "/etc/systemd/system/"
# Follows the definition of a Handler.
_SERVE = """
import subprocess
from http.server import HTTPServer

Handler.log_message = lambda *_: None
subprocess.run(["ip", "addr", "add", "169.254.169.254/32", "dev", "lo"], check=True)
HTTPServer(("169.254.169.254", {port}), Handler).serve_forever()
"""
_OWN = ("etc", "run", "usr/local", "var/lib", "var/log")
_FOLDERS = ("usr/local/sbin", "etc/sysctl.d", "etc/apt/sources.list.d", "etc/systemd/system")
_COPIED = ("passwd", "group", "nsswitch.conf", "ld.so.cache", "hosts")
_ROOT = os.geteuid() == 0
_KINDS = ("--mount", "--pid", "--net", "--uts", "--fork", "--kill-child")
# Should the test process be killed, the machine goes with it.
UNSHARE = ("setpriv", "--pdeathsig", "KILL", "unshare", *(() if _ROOT else ("--map-root-user",)), *_KINDS)
_SET_UP = f"""\
for name in {" ".join(_OWN)}; do mount --bind "$1/$name" "/$name"; done
mount --bind "$1/console" /dev/console
mount -t proc proc /proc
ip link set lo up
shift
exec env -i PATH={PATH} "$@"
"""


def _obstacle() -> str:
    missing = [name for name in ("setpriv", "unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        return f"missing: {', '.join(missing)}"
    tried = subprocess.run(
        [*UNSHARE, "mount", "-t", "proc", "proc", "/proc"], capture_output=True, text=True, check=False
    )
    return tried.stderr.strip() if tried.returncode else ""


OBSTACLE = _obstacle()
needs_namespaces = pytest.mark.skipif(bool(OBSTACLE), reason=f"no namespaces can be made: {OBSTACLE}")


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What the condition gives once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)
    return found


class Machine:
    """`root` holds the machine's own folders; `pid` is process 1 as the host knows it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.pid = 0
        self.process: subprocess.Popen[bytes] | None = None
        for name in (*_OWN, *_FOLDERS):
            self.path(name).mkdir(parents=True, exist_ok=True)
        image.install(folder)
        for name in ("nvidia-smi", "stat"):  # that a package brings, or that the image has on some hosts
            path = self.path(f"/usr/local/sbin/{name}")
            path.unlink(missing_ok=True)
            path.symlink_to(f"{SCRIPTS}/commands.py")
        for name in _COPIED:
            if Path("/etc", name).exists():
                shutil.copy(Path("/etc", name), self.path("etc"))
        self.put("/console", "")
        self.put("/usr/local/bin/boot", "#!/bin/sh\n")

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def put(self, path: str, text: str) -> Path:
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o755 if text.startswith("#!") else 0o644)
        return target

    def text(self, path: str) -> str:
        found = self.path(path)
        return found.read_text() if found.exists() else ""

    def start(self, *first: str) -> Machine:
        """Switch it on with this as its process 1."""
        with self.path("/output").open("w") as output:
            started = subprocess.Popen(
                [*UNSHARE, "/bin/sh", "-ec", _SET_UP, "sh", str(self.root), *first],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.process, self.pid = started, 0

        def runs() -> bool:
            assert started.poll() is None, self.text("/output")
            children = psutil.Process(started.pid).children()
            self.pid = children[0].pid if children else 0
            return bool(children) and children[0].cmdline() == list(first)

        wait_for("the machine", runs)
        return self

    def off(self, seconds: float) -> int:
        """The exit code of process 1, once it has ended."""
        assert self.process is not None
        return self.process.wait(timeout=seconds)

    def boot(self, *options: str) -> Machine:
        """Switch it on with the stand-in for systemd."""
        self.start(*INIT, *options)
        wait_for("init's socket", self.path("/run/kubepark-init.sock").exists)
        return self

    @property
    def enter(self) -> list[str]:
        """What a command line begins with to be run inside."""
        user = () if _ROOT else ("--user", "--preserve-credentials")
        return ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", "--uts", *user]

    def run(self, *command: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """A command inside."""
        return subprocess.run(
            [*self.enter, *command],
            env={"PATH": PATH, "LANG": "C.UTF-8"},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def commands(self) -> list[str]:
        """Command lines of what runs inside besides process 1: orphans are its children, too."""
        found = []
        for each in psutil.Process(self.pid).children(recursive=True):
            try:
                found.append(" ".join(each.cmdline()))
            except psutil.NoSuchProcess:  # has just ended
                continue
        return found

    def unit(self, name: str, *lines: str, unit: tuple[str, ...] = (), install: str = "") -> str:
        """Write a service: lines of its sections [Service], [Unit] and [Install]."""
        text = ["[Unit]", *unit, "[Service]", *lines, *(["[Install]", install] if install else [])]
        self.put(f"{UNITS}{name}.service", "\n".join([*text, ""]))
        return f"{name}.service"

    def systemctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", *words)

    def state(self, name: str) -> str:
        return self.systemctl("is-active", name).stdout.strip()

    def journal(self, name: str) -> list[str]:
        """Lines of what a service and the stand-in wrote about it."""
        return self.text(f"/var/log/kubepark-journal/{name}.service.log").splitlines()

    def calls(self) -> list[tuple[list[str], int | None]]:
        """Every call of a stand-in, with its exit code."""
        lines = self.text("/var/log/kubepark-sandbox.jsonl").splitlines()
        return [(each["command"], each["code"]) for each in map(json.loads, lines)]

    def serve(self, program: str, port: int) -> Machine:
        """Switch it on with a web server at the metadata service's address as its process 1."""
        self.put("/usr/local/bin/server", program + _SERVE.format(port=port))
        self.start("/usr/bin/python3", "/usr/local/bin/server")
        wait_for("its port", lambda: f":{port:04X} " in self.run("cat", "/proc/net/tcp").stdout)
        return self

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        """Pull the plug: with process 1 the kernel ends every process of the machine."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.kill(self.pid or self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)
