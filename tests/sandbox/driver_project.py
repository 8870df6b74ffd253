"""A small project of its own for the driver: real CLI, real engine, a provider whose cloud is a folder."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sandbox.shims import policy_shim
from tests.tools import tool

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import json
from pathlib import Path
import pulumi

class Thing(pulumi.CustomResource):
    def __init__(self, typ, name, props, opts):
        super().__init__(typ, name, props, opts)

class Group(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("kubepark:tiny:Group", name)

group = Group("group")
# Relative to the root, as the real program's files are.
for name, props in json.loads(Path("things.json").read_text()).items():
    typ = props.pop("type", "tiny:index:Thing")
    Thing(typ, name, props, pulumi.ResourceOptions(parent=group))
config = pulumi.Config("kubepark")
pulumi.export("hashes", config.get_secret_object("passwordHashes"))
pulumi.export("clientSecret", config.get_secret("oidcClientSecret"))
pulumi.export("plain", 1)
"""

POLICY = """
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

def check(args, report):
    if args.props.get("value") == "forbidden":
        report("this value is forbidden")

PolicyPack("tiny", policies=[ResourceValidationPolicy(
    name="no-forbidden", description="d", enforcement_level=EnforcementLevel.MANDATORY, validate=check)])
"""


class Project:
    """A project folder, its sandbox state in it, and the driver as a command."""

    def __init__(self, folder: Path, epoch_port: int) -> None:
        self.root = folder
        self.state = folder / ".sandbox"
        self.cloud = folder / "cloud"
        self.calls = folder / "calls.log"
        bin_dir = self.state / "bin"
        for path in (self.cloud, bin_dir):
            path.mkdir(parents=True)
        (folder / "Pulumi.yaml").write_text("name: tiny\nruntime: python\n")
        (folder / "__main__.py").write_text(PROGRAM)
        self.configure(epoch_port)
        self.things()
        # Every call of the CLI is noted: how many there are, and what other users see of them.
        _script(
            bin_dir / "pulumi",
            f'printf "%s\\n" "$*" >> {shlex.quote(str(self.calls))}\n'
            f'exec {shlex.quote(str(tool("pulumi")))} "$@"',
        )
        provider = f"exec {shlex.quote(sys.executable)} -m tests.sandbox.driver_provider"
        for name in ("tiny", "kubernetes"):
            _script(bin_dir / f"pulumi-resource-{name}", provider)
        (bin_dir / "pulumi-analyzer-policy-python").write_text(policy_shim())
        (bin_dir / "pulumi-analyzer-policy-python").chmod(0o755)

    def configure(self, epoch_port: int, people: tuple[str, ...] = ("ana", "bo"), extra: str = "") -> None:
        lines = [f"    - {{name: {name}, email: {name}@example.org}}" for name in people]
        (self.root / "Pulumi.sandbox.yaml").write_text(
            "config:\n"
            f'  kubepark:aws: {{endpoint: "http://127.0.0.1:{epoch_port}"}}  # a comment\n'
            '  kubepark:controlPlane: {apiEndpoint: "https://127.0.0.1:1"}\n'
            "  kubepark:people:\n" + "\n".join(lines) + "\n" + extra
        )

    def things(self, **things: dict[str, object]) -> None:
        """What the program declares: name to properties (`type` is the resource type)."""
        (self.root / "things.json").write_text(json.dumps(things))

    def policy(self) -> None:
        pack = self.root / "policies"
        pack.mkdir()
        (pack / "PulumiPolicy.yaml").write_text("runtime: python\n")
        (pack / "__main__.py").write_text(POLICY)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the driver in a process group of its own."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TINY_CLOUD": str(self.cloud),
            "KUBEPARK_SANDBOX_DIR": str(self.state),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "sandbox.driver", *arguments],
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run the driver to its end; both streams as text. Fails the test for another exit code."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, f"{arguments}: exit code {process.returncode}\n{out}\n{err}"
        return out + err

    def exists(self) -> list[str]:
        """What is in the cloud, by file name."""
        return sorted(path.stem for path in self.cloud.iterdir())

    def wait_for(self, *names: str, until: Callable[[str], bool] = bool) -> None:
        """Until the cloud holds `names`, and the text of each is as it should be: at least not empty."""
        deadline = time.monotonic() + 30
        while not all(until(self._text(name)) for name in names):
            assert time.monotonic() < deadline, f"{names} never appeared: {self.exists()}"
            time.sleep(0.05)

    def _text(self, name: str) -> str:
        try:
            return (self.cloud / f"{name}.json").read_text()
        except FileNotFoundError:  # not there yet, or just deleted to be replaced
            return ""

    def deployment(self) -> dict[str, object]:
        path = self.state / "backend" / ".pulumi" / "stacks" / "tiny" / "sandbox.json"
        latest: dict[str, object] = json.loads(path.read_text())["checkpoint"]["latest"]
        return latest

    def names(self) -> list[str]:
        """Resources in state, but for the stack and the providers."""
        resources = self.deployment().get("resources") or []
        return sorted(r["urn"].rpartition("::")[2] for r in resources if not r["type"].startswith("pulumi:"))

    def locks(self) -> list[Path]:
        return list((self.state / "backend" / ".pulumi" / "locks").rglob("*.json"))

    def cli_calls(self) -> list[str]:
        """Argument lines of the CLI calls since the last time."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.write_text("")
        return lines


def map_of(name: str, /, **properties: object) -> dict[str, object]:
    """A thing that is named by its metadata: exactly one can exist."""
    return {
        "type": "kubernetes:core/v1:ConfigMap",
        "metadata": {"namespace": "ns", "name": name},
        **properties,
    }


def kill(process: subprocess.Popen[str], *victims: int) -> None:
    """SIGKILL to the driver and to `victims`; collects the driver."""
    for pid in (process.pid, *victims):
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=30)


@contextmanager
def epoch_server():
    """An emulator that knows its epoch and nothing else. Yields it; `epoch` may be changed."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.server.epoch.encode())

        def log_message(self, *_):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.epoch = "first"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
