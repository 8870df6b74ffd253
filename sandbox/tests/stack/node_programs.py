"""Programs of nodes that look after power, run for simulated nodes at a time of our choice.

Each is as user data brings it. Its rights, addresses and answers are the node's: metadata service and gate in front
of the sandbox's account, and a kubeconfig with the node's own certificate.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import runpy
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import yaml

from sandbox.aws.account import Account
from sandbox.aws.cloud import Cloud
from sandbox.aws.credentials import RoleKeys
from sandbox.aws.gate import Gate
from sandbox.aws.metadata import MetadataService
from sandbox.aws.serve import Application, serve
from sandbox.nodes.api import with_server
from sandbox.nodes.cloudinit import parse
from sandbox.processes import output
from sandbox.tests.stack.project import ROOT, Project
from sandbox.tests.tools import tool
from tests.userdata_sample import GUARDED, SPOT, files

LIB, NODE = "/usr/local/lib/kubepark", "/etc/kubepark/node.json"
ADMIN, KUBELET = "/etc/kubernetes/admin.conf", "/etc/kubernetes/kubelet.conf"
CERTIFICATE = "/var/lib/kubelet/pki/kubelet-client-current.pem"
EVERYTHING = replace(GUARDED, gpu=replace(GUARDED.gpu, nodes=SPOT.gpu.nodes))


@contextmanager
def _programs(project: Project, name: str, role: str, folder: Path) -> Iterator[Path]:
    """The node's programs in a folder, and the environment that they find; NODE is in it, too."""
    folder.mkdir()
    endpoint, instance = f"http://127.0.0.1:{project.aws_port}", project.instance(name)["InstanceId"]
    cloud, keys = Cloud(endpoint), RoleKeys()
    (disk,) = project.state.rglob(f"{instance}/root")
    _install(project, folder, instance, role, disk)
    with ExitStack() as stack:

        def served(application: Application) -> str:
            listener = socket.create_server(("127.0.0.1", 0))
            stack.callback(serve(application, listener).close)
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        environment = {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": served(MetadataService(cloud, keys, instance)),
            "AWS_ENDPOINT_URL": served(Gate(Account(cloud), keys, endpoint, folder / "calls.jsonl")),
            "PATH": os.pathsep.join([str(ROOT / ".venv" / "bin"), os.environ["PATH"]]),
        }
        with mock.patch.dict(os.environ, environment):
            yield folder


def _install(project: Project, folder: Path, instance: str, role: str, disk: Path) -> None:
    """node.json as user data of now has it, and the programs with their paths moved."""
    answer = project.aws("ec2").describe_instance_attribute(InstanceId=instance, Attribute="userData")
    node = parse(base64.b64decode(answer["UserData"]["Value"])).node
    cluster = node["cluster"]
    node["parameters"] |= {"power": f"/{cluster}/power", "gpuPower": f"/{cluster}/gpu-power"}
    (folder / "node.json").write_text(json.dumps(node))
    (folder / "kubelet.conf").write_text(_of_kubelet(project, str(node["node"])))
    moved = {
        NODE: folder / "node.json",
        ADMIN: disk / ADMIN[1:],
        KUBELET: folder / "kubelet.conf",
        LIB: folder,
    }
    for path, text in files(role, EVERYTHING).items():
        if path.startswith(f"{LIB}/") and "python" in text.partition("\n")[0]:
            for old, new in {**moved, CERTIFICATE: folder / "kubelet.pem"}.items():
                text = text.replace(old, str(new))
            (folder / path.rpartition("/")[2]).write_text(text)


def _of_kubelet(project: Project, name: str) -> str:
    """What a kubelet has after its bootstrap, which simulated nodes do without."""
    (config,) = project.state.rglob("kubeadm-local.yaml")
    identity = ["--client-name", f"system:node:{name}", "--org", "system:nodes"]
    issued = output([tool("kubeadm"), "kubeconfig", "user", "--config", config, *identity])
    return with_server(issued, f"https://127.0.0.1:{project.api_port}")


@contextmanager
def guard(project: Project, folder: Path) -> Iterator[Callable[[float], None]]:
    """Runs the master's guard once, so many minutes from now, each time it is called."""
    with _programs(project, "master1", "master", folder) as programs:

        def look(minutes: float) -> None:
            runpy.run_path(str(programs / "guard-gpus"))["Guard"](time.time() + 60 * minutes).look()

        yield look


@contextmanager
def taken_back(project: Project, name: str, folder: Path) -> Iterator[Callable[[], str]]:
    """Deals with what the metadata service of a Spot Instance says now, and gives it; no time passes."""
    with _programs(project, name, "gpu", folder) as programs:
        drain, aws = (runpy.run_path(str(programs / each)) for each in ("drain-spot", "kp-aws"))
        user = yaml.safe_load(drain["KUBECONFIG"].read_text())["users"][0]["user"]
        pair = [base64.b64decode(user[f"client-{each}-data"]) for each in ("certificate", "key")]
        drain["CERTIFICATE"].write_bytes(b"".join(pair))
        now = itertools.count(int(time.time()), drain["PAUSE"])

        def deal() -> str:
            text = str(aws["metadata"]("spot/instance-action", aws["metadata_token"]()))
            if text:
                made = drain["Drain"](drain["Api"](), name, now.__next__, lambda seconds: None)
                made.run(json.loads(text))
            return text

        yield deal
