"""A copy of the project with ports and a state folder of its own, used as a person uses it.

Tests call `bin/kubepark` in a process, edit the copy's stack file, and look at what the AWS API, the
Kubernetes API and the exported state say afterwards. A copy knows whether what is deployed is what its stack
file declared when the first test began; tests put back by themselves what they change past the command.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import yaml

from cli.drift_run import digest_of
from cli.review_preview import STREAMED
from sandbox.ports import free_port
from sandbox.tests.tools import tool

ROOT = Path(__file__).parents[3]
_CODE = (
    "Pulumi.yaml",
    "__main__.py",
    "bin",
    "cli",
    "components",
    "config",
    "manifests.lock.yaml",
    "policies",
    "sandbox",
)
_MORE = ("userdata", "requirements.txt")

# The kind of nodes that stacks of these tests get unless they ask for one: `make test-long` says real.
NODES = os.environ.get("KUBEPARK_TEST_NODES", "simulated")
QUICK = ("--skip-verify", "--skip-preview")  # of an `up` whose result is looked at, and nothing else
# What a resource's last line says: " +  kubernetes:core/v1:Namespace namespace-ana created (0.07s)".
_DONE = re.compile(r"^ \S+ +(\S+) (\S+) (create|update|delete|replace)d \(", re.MULTILINE)
_CHANGES = {"up", "refresh", "destroy", "down", "reset"}
_VERIFIED = {"simulated": "passed: the pod completed on node ", "real": "passed: 'Test PASSED' on node "}


class Project:
    """One copy. `up()` and the like run the real command; `stop()` ends whatever still runs."""

    def __init__(self, folder: Path, stack: str = "sandbox", *, nodes: str = NODES) -> None:
        self.root = folder
        self.nodes = nodes
        self.stack = stack
        self.state = folder / ".sandbox"
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*_CODE, *_MORE):
            source = ROOT / name
            if source.is_dir():
                # With what is compiled already: it costs a second, and is as new as the source says.
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("tools", "tests"))
            else:
                shutil.copy2(source, folder / name)
        # The tools are built already; their modules are what names the build, so they come along.
        shutil.copytree(ROOT / "sandbox" / "build" / "tools", folder / "sandbox" / "build" / "tools")
        (folder / ".venv").symlink_to(ROOT / ".venv")
        self._started: list[subprocess.Popen[str]] = []
        self.differs = True  # what is deployed, from what is declared
        self._declared = ""  # the stack file, once a test has begun
        self._edits = 0  # of files that have another text for a while
        self._faults: dict[str, dict[str, Any]] = {}
        self.aws_port, self.api_port = free_port(), free_port()
        shutil.copy2(ROOT / "Pulumi.sandbox.yaml", self.stack_file)
        self.set("kubepark:aws.endpoint", f"http://127.0.0.1:{self.aws_port}")
        self.set("kubepark:controlPlane.apiEndpoint", f"https://127.0.0.1:{self.api_port}")

    @property
    def stack_file(self) -> Path:
        return self.root / f"Pulumi.{self.stack}.yaml"

    @property
    def environment(self) -> dict[str, str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PULUMI_"))}
        env.pop("KUBEPARK_SANDBOX_DIR", None)
        given = {"KUBEPARK_TOOLS": str(tool("pulumi").parent), "KUBEPARK_NODES": self.nodes}
        return env | given | {"NO_COLOR": "1"}

    @property
    def verified(self) -> str:
        """What `up` says when the GPU Job has run: a simulated container cannot print anything."""
        return _VERIFIED[self.nodes] + "gpu01"

    def set(self, path: str, value: Any) -> None:
        """Change one value of the stack file; None removes it. `path`: `kubepark:network.vpcCidr`."""
        document = yaml.safe_load(self.stack_file.read_text(encoding="utf-8"))
        top, *rest = path.split(".")
        node, keys = document["config"], [top, *rest]
        for key in keys[:-1]:
            node = node.setdefault(key, {})
        if value is None:
            node.pop(keys[-1], None)
        else:
            node[keys[-1]] = value
        self.stack_file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    @contextlib.contextmanager
    def changed(self, path: str = "", value: Any = None) -> Iterator[None]:
        """The change, and whatever is set inside the block, holds inside it only."""
        with self.edited(self.stack_file, self.stack_file.read_text(encoding="utf-8")):
            if path:
                self.set(path, value)
            yield

    @contextlib.contextmanager
    def edited(self, file: Path, text: str) -> Iterator[None]:
        """A file of the copy has another text inside the block."""
        before = file.read_text(encoding="utf-8")
        self._edits += 1
        file.write_text(text, encoding="utf-8")
        try:
            yield
        finally:
            file.write_text(before, encoding="utf-8")
            self._edits -= 1

    def as_declared(self) -> Project:
        """Deploy the stack as declared, unless that is what is there."""
        self._put_back()
        if self.differs and self.run("up", *QUICK, "--refresh", timeout=400).returncode:
            # Refused for what a failed test left: a namespace, say, whose person is no longer in the list.
            self.emptied().ok("up", *QUICK, timeout=400)
        return self

    def emptied(self) -> Project:
        """Nothing is deployed, and nothing runs."""
        self._put_back()
        if self.state.exists():
            self.ok("reset")
        return self

    def _put_back(self) -> None:
        """The stack file as declared, which it is when the first test begins; and no faults."""
        if self._faults:
            self.fault()
        self._declared = self._declared or self.stack_file.read_text(encoding="utf-8")
        self.stack_file.write_text(self._declared, encoding="utf-8")

    def ended(self, words: Sequence[str], code: int) -> None:
        """Note whether what is deployed is what is declared, now that a command has ended."""
        if words[0] in _CHANGES:
            as_it_is = words[0] == "up" and code == 0 and not self._faults and not self._edits
            config = self.stack_file.read_text(encoding="utf-8") if as_it_is else ""
            self.differs = not as_it_is or yaml.safe_load(config) != yaml.safe_load(self._declared)

    def run(
        self, *words: str, timeout: float = 300, given: str = "", **env: str
    ) -> subprocess.CompletedProcess[str]:
        """`bin/kubepark WORDS` with `given` as its input, its output together as a person would see it."""
        done = subprocess.run(
            [str(self.root / "bin" / "kubepark"), *words],
            cwd=self.root,
            env=self.environment | env,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        self.ended(words, done.returncode)
        return done

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        """Like `run`, in the background; `ended` is for who waits for it."""
        self.differs = True
        process = subprocess.Popen(
            [str(self.root / "bin" / "kubepark"), *words],
            cwd=self.root,
            env=self.environment | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def ok(self, *words: str, timeout: float = 300, given: str = "", **env: str) -> str:
        """`run`, and it must succeed."""
        done = self.run(*words, timeout=timeout, given=given, **env)
        assert done.returncode == 0, f"kubepark {' '.join(words)} exited {done.returncode}:\n{done.stdout}"
        return done.stdout

    def json_of(self, *words: str) -> Any:
        """The document that `kubepark WORDS` prints."""
        return json.loads(self._printed([str(self.root / "bin" / "kubepark"), *words]))

    def printed(self, *words: str, **env: str) -> str:
        """What `kubepark WORDS` prints to standard output, however it ends."""
        done = self._captured([str(self.root / "bin" / "kubepark"), *words], **env)
        assert done.stdout, f"kubepark {' '.join(words)} exited {done.returncode}:\n{done.stderr}"
        return done.stdout

    def _printed(self, command: list[str], **env: str) -> str:
        """What a command that succeeds prints, without what it says on standard error."""
        done = self._captured(command, **env)
        assert done.returncode == 0, f"{command} exited {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def _captured(self, command: list[str], **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def drift(self) -> dict[str, list[str]]:
        """What `refresh --preview-only` shows: resource name -> changed properties, or ["gone"]."""
        found: dict[str, list[str]] = {}
        command = [str(self.root / "bin" / "kubepark"), "refresh", "--preview-only", "--json"]
        for step in digest_of(self._printed(command, **STREAMED))["steps"]:
            # A set is named by index, and which index changed says nothing; of outputs the program says nothing.
            paths = {re.sub(r"\[\d+\]$", "", path) for path in step["detailedDiff"]}
            given = (step["oldState"] or {}).get("inputs") or {}
            paths = {path for path in paths if re.split(r"[.\[]", path)[0] in given}
            name = step["urn"].rpartition("::")[2]
            if step["op"] == "delete" or paths:
                found[name] = ["gone"] if step["op"] == "delete" else sorted(paths)
        return found

    def steps(self) -> dict[str, list[str]]:
        """What a preview would do: operation -> names of the resources, unchanged ones left out."""
        document = self.json_of("preview", "--json")
        found: dict[str, list[str]] = {}
        for step in document["steps"]:
            if step["op"] not in ("same", "read"):
                found.setdefault(step["op"], []).append(step["urn"].rpartition("::")[2])
        return {operation: sorted(names) for operation, names in found.items()}

    def applied(self, *flags: str) -> dict[str, list[str]]:
        """Deploys, and gives what was done as `steps` gives what would be."""
        shown = self.ok("up", *(flags or QUICK), timeout=400)
        found: dict[str, list[str]] = {}
        for _, name, operation in sorted({*_DONE.findall(shown)}):
            found.setdefault(operation, []).append(name)
        return {operation: sorted(names) for operation, names in found.items()}

    def pulumi(self, *words: str) -> str:
        """The plain CLI, as after `eval "$(bin/kubepark env)"`."""
        script = f'eval "$(bin/kubepark env --stack {self.stack})" && exec pulumi "$@"'
        return self._printed(["sh", "-c", script, "pulumi", *words])

    def config(self, path: str) -> Any:
        """A value of the stack's configuration, decrypted."""
        found = json.loads(self.pulumi("config", "get", "--json", "--path", path))
        return found.get("objectValue") or found["value"]

    def forget_password(self, person: str) -> None:
        """The sandbox then makes a new password and its hash."""
        self.differs = True
        path = self.state / "ciphers.json"
        stacks = json.loads(path.read_text(encoding="utf-8"))
        del stacks[self.stack]["values"][f'kubepark:passwordHashes["{person}"]']
        path.write_text(json.dumps(stacks), encoding="utf-8")
        (self.state / "work" / self.stack_file.name).unlink()

    @property
    def checkpoint_file(self) -> Path:
        return self.state / "backend" / ".pulumi" / "stacks" / "kubepark" / f"{self.stack}.json"

    def resources(self) -> list[dict[str, Any]]:
        """What the state holds, read where the file backend keeps it; nothing before there is a stack."""
        if not self.checkpoint_file.exists():
            return []
        checkpoint = json.loads(self.checkpoint_file.read_text(encoding="utf-8"))["checkpoint"]
        found: list[dict[str, Any]] = (checkpoint.get("latest") or {}).get("resources") or []
        return found

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secret ones encrypted."""
        (stack,) = [item for item in self.resources() if item["type"] == "pulumi:pulumi:Stack"]
        found: dict[str, Any] = stack["outputs"]
        return found

    def kubectl(self, *words: str) -> str:
        done = subprocess.run(
            [*self._kubectl(), *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _kubectl(self) -> list[str]:
        return [str(ROOT / ".venv" / "bin" / "kubectl"), "--kubeconfig", str(self.state / "kubeconfig")]

    @contextlib.contextmanager
    def forwarded(self, what: str, port: int, *words: str) -> Iterator[int]:
        """`kubectl port-forward` to a port of `what` inside the block, from a port of this machine."""
        command = [*self._kubectl(), "port-forward", what, f":{port}", *words]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                assert process.stdout is not None
                said = process.stdout.readline()
                assert said.startswith("Forwarding from 127.0.0.1:"), said
                yield int(said.split()[2].rpartition(":")[2])
            finally:
                process.terminate()

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def aws(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{self.aws_port}",
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def instance(self, node: str) -> dict[str, Any]:
        """The live instance of a node, from the AWS API."""
        answer = self.aws("ec2").describe_instances(
            Filters=[
                {"Name": "tag:kubepark:node", "Values": [node]},
                {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
            ]
        )
        found: list[dict[str, Any]] = [i for group in answer["Reservations"] for i in group["Instances"]]
        assert len(found) == 1, f"{len(found)} live instances are {node}"
        return found[0]

    def group(self, name: str) -> str:
        """The id of one of the program's two security groups, `nodes` or `control-plane`."""
        (found,) = self.aws("ec2").describe_security_groups(
            Filters=[{"Name": "description", "Values": [f"kubepark {name}"]}]
        )["SecurityGroups"]
        return str(found["GroupId"])

    def fault(self, **faults: dict[str, Any]) -> None:
        """Make the boot of nodes fail (see sandbox/nodes/faults.py); no argument clears all."""
        self._faults = faults
        self.state.mkdir(exist_ok=True)  # faults may wait for the first `up`
        (self.state / "faults.json").write_text(json.dumps(faults), encoding="utf-8")

    def stop(self) -> None:
        """End every process of this sandbox, whatever state it and the test are in."""
        for process in self._started:
            if process.poll() is None:  # a test that failed half-way; it would hold the sandbox
                process.kill()
                process.communicate()
        self.ok("reset", timeout=120)
