"""Which files a node gets, and what is in them.

Files that are the same everywhere lie under `node/files/<role or all>/` at the path they have on
the node; scripts lie under `node/`. The rest is generated here and beside. Everything is plain and
known before a node exists, so that two renders can be compared.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from config.model import Market, NodePlan, NodeRole, Settings
from config.naming import Naming
from config.versions import NVIDIA_DRIVER_BRANCH, NVIDIA_TOOLKIT
from userdata import containerd, kubeadm
from userdata.slim import slim

LIB = "/usr/local/lib/kubepark"
CONFIG = "/etc/kubepark"
_SOURCE = Path(__file__).parent / "node"

# Release names of the platforms, as apt repositories spell them.
_CODENAMES = {"ubuntu-24.04": "noble"}


@dataclass(frozen=True)
class NodeFile:
    """One file on the node. `mode` is octal text, as cloud-init takes it."""

    path: str
    content: str
    mode: str = "0644"


@dataclass(frozen=True)
class Step:
    """One step of the bootstrap.

    `deadline` in seconds. `when`: "once" (again only if the step or one of `inputs` changed) or
    "boot" (at every start of the machine).
    """

    name: str
    deadline: int
    when: str = "once"
    inputs: tuple[str, ...] = ()


_INIT_TEMPLATE = f"{CONFIG}/kubeadm-init.yaml.tmpl"
_JOIN_TEMPLATE = f"{CONFIG}/kubeadm-join.yaml.tmpl"

_KERNEL_FILES = (
    "/etc/sysctl.d/99-kubepark.conf",
    "/etc/modules-load.d/kubepark.conf",
    "/etc/systemd/logind.conf.d/unattended-upgrades-logind-maxdelay.conf",
)

_FIRST = (
    Step("clock", 180, "boot"),
    Step("hostname", 60),
    Step("hosts", 600, "boot"),
    Step("kernel", 120, inputs=_KERNEL_FILES),
    Step("packages", 1800),
)
_GPU = (Step("gpu-driver", 1800, "boot"), Step("gpu-toolkit", 900))
_GPU_CHECK = (Step("gpu-check", 120, "boot"),)
_MASTER = (
    Step("encryption", 300),
    Step("images", 1800, inputs=(_INIT_TEMPLATE,)),
    Step("init", 900, inputs=(_INIT_TEMPLATE, kubeadm.AUDIT_POLICY)),
    Step("admin", 60),
    Step("dns", 600, "boot", inputs=("/etc/kubepark/coredns.yaml",)),
    Step("publish", 900, "boot"),
)
_JOIN = (Step("join", 3600, "boot"),)
_LAST = (Step("verify", 300, "boot"),)


def steps(role: NodeRole) -> tuple[Step, ...]:
    """The bootstrap of a role, in order."""
    inputs = (
        (containerd.ROOT_FILE, containerd.NVIDIA_FILE) if role is NodeRole.GPU else (containerd.ROOT_FILE,)
    )
    runtime = (Step("containerd", 300, inputs=inputs),)
    if role is NodeRole.MASTER:
        return _FIRST + runtime + _MASTER + _LAST
    if role is NodeRole.GPU:
        return _FIRST + _GPU + runtime + _GPU_CHECK + _JOIN + _LAST
    return _FIRST + runtime + _JOIN + _LAST


def node_files(node: NodePlan, settings: Settings) -> list[NodeFile]:
    """Every file of the node, interface files first."""
    release = settings.release
    found = [NodeFile(f"{CONFIG}/node.json", _node_json(node, settings))]
    if node.role is NodeRole.MASTER:
        found.append(NodeFile(_INIT_TEMPLATE, kubeadm.init_template(node, settings)))
    else:
        found.append(NodeFile(_JOIN_TEMPLATE, kubeadm.join_template(node, settings)))
    found += [
        NodeFile(f"{CONFIG}/node.env", _node_env(node, settings)),
        NodeFile(f"{CONFIG}/steps", _plan_text(node.role)),
        NodeFile(containerd.ROOT_FILE, containerd.root_config(release)),
    ]
    if node.role is NodeRole.GPU:
        found.append(NodeFile(containerd.NVIDIA_FILE, containerd.nvidia_dropin(release)))
    extras = {name: file for name, file in _EXTRAS.items() if name in extra_programs(node, settings)}
    folders = ["all", node.role.value, *(Path(file).stem for file in extras.values())]
    return found + _copies(*folders) + _scripts(node.role, extras)


# Programs that not every stack has. Their units are in a folder of the file's name.
_GUARD, _SPOT = "guard-gpus", "drain-spot"
_EXTRAS = {_GUARD: "guard_gpus.py", _SPOT: "drain_spot.py"}


def extra_programs(node: NodePlan, settings: Settings) -> dict[str, str]:
    """Programs of this node that not every stack has, each with the unit that runs it."""
    found = {_GUARD: "kubepark-gpus.timer"} if guarding(node, settings) else {}
    return found | ({_SPOT: "kubepark-spot.service"} if node.market is Market.SPOT else {})


def guarding(node: NodePlan, settings: Settings) -> bool:
    """Whether this node, the master, stops and starts GPU nodes."""
    return node.role is NodeRole.MASTER and settings.gpu.guarded


def _node_json(node: NodePlan, settings: Settings) -> str:
    """What the node's programs and the sandbox's simulated boot read (schema 1)."""
    naming = Naming(settings.cluster)
    described = {
        "schema": 1,
        "cluster": settings.cluster,
        "node": node.name,
        "role": node.role.value,
        "generation": node.generation,
        "masterGeneration": settings.control_plane.node.generation,
        "region": settings.aws.region,
        "awsEndpoint": settings.aws.endpoint,
        "apiName": naming.api_name,
        "apiEndpoint": settings.control_plane.api_endpoint,
        "privateIp": node.private_ip,
        "kubernetesVersion": settings.release.kubernetes,
        "labels": dict(sorted(node.labels.items())),
        "taints": [{"key": t.key, "value": t.value, "effect": t.effect} for t in node.taints],
        "parameters": {
            "join": naming.join_parameter,
            "kubeconfig": naming.kubeconfig_parameter,
            "encryptionKey": naming.encryption_key_parameter,
            "hostsPath": naming.hosts_path,
            "status": naming.status_parameter(node.name),
            **(_guard_parameters(naming) if guarding(node, settings) else {}),
        },
        "clusterKeyAlias": naming.key_alias,
    }
    return json.dumps(described, indent=1) + "\n"


def _guard_parameters(naming: Naming) -> dict[str, str]:
    return {"power": naming.power_parameter, "gpuPower": naming.gpu_power_parameter}


def _node_env(node: NodePlan, settings: Settings) -> str:
    """The few values that shell steps need."""
    release = settings.release
    naming = Naming(settings.cluster)
    values = {
        "NODE_NAME": node.name,
        "ROLE": node.role.value,
        "API_NAME": naming.api_name,
        "UBUNTU_CODENAME": _CODENAMES[settings.platform],
        "KUBERNETES_MINOR": release.minor,
        "KUBERNETES_VERSION": release.kubernetes,
        "KUBERNETES_PACKAGE": f"{release.kubernetes}-{release.package_revision}",
        "CONTAINERD_PACKAGE": release.containerd_package,
        "CONTAINER_RUNTIME": "nvidia" if node.role is NodeRole.GPU else "runc",
    }
    if node.role is NodeRole.GPU:
        values |= {"NVIDIA_BRANCH": NVIDIA_DRIVER_BRANCH, "NVIDIA_TOOLKIT": NVIDIA_TOOLKIT}
    if node.role is NodeRole.MASTER:
        values |= {
            "GENERATION": str(node.generation),
            "API_ENDPOINT": settings.control_plane.api_endpoint or "",
            "ENCRYPTION_PARAMETER": naming.encryption_key_parameter,
            "JOIN_PARAMETER": naming.join_parameter,
            "KUBECONFIG_PARAMETER": naming.kubeconfig_parameter,
        }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _plan_text(role: NodeRole) -> str:
    rows = [" ".join([s.name, str(s.deadline), s.when, *s.inputs]) for s in steps(role)]
    return "# step, deadline in seconds, when, files it depends on\n" + "\n".join(rows) + "\n"


def _copies(*parts: str) -> list[NodeFile]:
    """The files that are kept in the tree at their path on the node."""
    found = []
    for part in parts:
        root = _SOURCE / "files" / part
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            found.append(NodeFile(f"/{path.relative_to(root).as_posix()}", slim(path.read_text())))
    return found


def _scripts(role: NodeRole, extras: Mapping[str, str]) -> list[NodeFile]:
    """Programs, by the names they have on the node. gzip looks back 32 KB: what is alike stands together."""
    names = {
        "kp-aws": "kp_aws.py",
        **extras,
        "bootstrap": "bootstrap.py",
        "refresh-hosts": "refresh_hosts.py",
        "lib.sh": "lib.sh",
    }
    if role is NodeRole.MASTER:
        names |= {
            "refresh-join": "refresh-join.sh",
            "renew-certs": "renew-certs.sh",
            "reap-nodes": "reap_nodes.py",
        }
    else:
        names |= {"await-join": "await_join.py"}
    names |= {f"steps/{step.name}": f"steps/{step.name}.sh" for step in steps(role)}
    return [NodeFile(f"{LIB}/{name}", _script(file), "0755") for name, file in names.items()]


@cache
def _script(file: str) -> str:
    """What a node gets of a script; most scripts go to every node."""
    return slim((_SOURCE / file).read_text())
