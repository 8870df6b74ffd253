"""What `kubepark up` ends with: what is there, what was real and what stood in, what to do next."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sandbox import local_cloud
from sandbox.build.images.catalogue import OWN_TAG
from sandbox.errors import SandboxError
from sandbox.processes import output
from sandbox.workspace import Workspace

GPU = "nvidia.com/gpu"
_CONTROL_PLANE = "etcd, Kubernetes control plane"
REAL = {
    "simulated": f"Pulumi engine, program and providers, kubeadm's phases, {_CONTROL_PLANE}",
    "real": "Pulumi engine, program and providers, user data as each node runs it, kubeadm, "
    f"{_CONTROL_PLANE}, kubelets, containerd, runc, kube-proxy, CoreDNS, Dex",
}
NODES = {
    "simulated": ["nodes (simulated with KWOK: containers do not run)"],
    "real": [
        "machines (containers of this one; NVIDIA's driver is emulated)",
        "Calico's data plane (VXLAN set up from outside)",
    ],
}
# What the sandbox's own manifest of Calico asks for is in no registry.
IMAGES = {
    "standins": "images of Calico's operator, the device plugin and CUDA",
    "upstream": f"the image of Calico's operator with the tag {OWN_TAG}",
}
PACKAGES = {
    "standins": "package mirrors (programs built from source)",
    "upstream": "NVIDIA's and Ubuntu's package mirrors",
}


def print_summary(
    workspace: Workspace, outputs: Mapping[str, Any], *, verified: int | None, seconds: float
) -> None:
    """Print the summary of a sandbox stack. `verified` is the GPU Job's exit code, None: not run."""
    live = _live_nodes(workspace)
    for line in summary(workspace, outputs, live, verified, seconds):
        print(line)


def summary(
    workspace: Workspace,
    outputs: Mapping[str, Any],
    live: Mapping[str, Mapping[str, Any]],
    verified: int | None,
    seconds: float,
) -> list[str]:
    """The lines of the summary. `live` are the Node objects by name, empty when the API does not answer."""
    active = [person["email"] for person in outputs.get("people") or [] if person["state"] == "active"]
    nodes = [_node_row(node, live.get(node["name"])) for node in outputs.get("nodes") or []]
    status = local_cloud.status(workspace.config)
    job = {None: "not run", 0: "completed"}.get(verified, "FAILED, see above")
    lines = ["", *_table(("NODE", "ROLE", "ADDRESS", "STATUS", "GPU", "INSTANCE"), nodes), ""]
    facts = {
        "API": outputs.get("api_endpoint"),
        "GPU Job": job,
        "Dex": outputs.get("dex_issuer"),
        "Dex accounts": ", ".join(active) or "none",
        "Profiles": ", ".join(outputs.get("profiles") or ()) or "none",
        "Outdated nodes": ", ".join(outputs.get("outdated_nodes") or ()) or "none",
        "Kubeconfig": workspace.config.kubeconfig,
        "Passwords": workspace.passwords_file if workspace.passwords_file.exists() else "as configured",
        "Real": REAL[status.nodes],
        "Images": None if status.images == "standins" else f"{status.images}, of their registries",
        "Packages": None if status.packages == "standins" else f"{status.packages}, of Kubernetes and Docker",
        "Stand-ins": ", ".join(stand_ins(status)),
        "Took": f"{seconds:.0f} s",
    }
    lines += [f"{name:<15} {value}" for name, value in facts.items() if value is not None]
    return [*lines, "", *_next_commands(workspace)]


def stand_ins(status: local_cloud.Status) -> list[str]:
    """What is not the real thing in this sandbox."""
    contents = [IMAGES[status.images], PACKAGES[status.packages]] if status.nodes == "real" else []
    return ["AWS (moto emulator)", *NODES[status.nodes], *contents, *_why(status)]


def _why(status: local_cloud.Status) -> list[str]:
    """What stood in the way of real nodes, if they would have been taken."""
    told = status.nodes == "simulated" and status.why_nodes not in ("", "as asked")
    return [f"(real nodes cannot run here: {status.why_nodes})"] if told else []


def _next_commands(workspace: Workspace) -> list[str]:
    option = "" if workspace.stack == "sandbox" else f" --stack {workspace.stack}"
    return [
        "Next:",
        f'  eval "$(bin/kubepark env{option})"    then kubectl get nodes, pulumi stack, ...',
        f"  bin/kubepark preview{option}          what a change of the stack file would do",
        f"  bin/kubepark down{option}             removes all of it",
    ]


def _node_row(node: Mapping[str, Any], live: Mapping[str, Any] | None) -> tuple[str, ...]:
    allocatable = ((live or {}).get("status") or {}).get("allocatable") or {}
    return (
        node["name"],
        node["role"],
        node["private_ip"],
        _ready(live),
        str(allocatable.get(GPU, "-")),
        node["instance_id"],
    )


def _ready(live: Mapping[str, Any] | None) -> str:
    if live is None:
        return "not in the cluster"
    conditions = (live.get("status") or {}).get("conditions") or []
    ready = next((item["status"] for item in conditions if item["type"] == "Ready"), "Unknown")
    return {"True": "Ready", "False": "NotReady"}.get(ready, "Unknown")


def _live_nodes(workspace: Workspace) -> dict[str, Mapping[str, Any]]:
    kubectl = workspace.config.bin_dir / "kubectl"
    if not (workspace.config.kubeconfig.exists() and kubectl.exists()):
        return {}
    command = [str(kubectl), "--kubeconfig", str(workspace.config.kubeconfig), "get", "nodes", "-o", "json"]
    limit = "--request-timeout=5s"  # of a control plane that is parked
    try:
        items = json.loads(output([*command, limit], timeout=30))["items"]
    except SandboxError:
        return {}
    return {item["metadata"]["name"]: item for item in items}


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
