"""A static pod as a process: the command of the manifest, with its paths and addresses moved.

The kubelet would mount host paths into a container; here the container's paths are mapped back
through the same mounts into the folder that stands for the node's disk, and the types that the
kubelet checks (File must exist, DirectoryOrCreate is made) are checked the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError

LOOPBACK = "127.0.0.1"
ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
# In the order in which they are started.
COMPONENTS = (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER)
# Ports that a control plane needs beside the API's own.
PORTS = ("etcd", "etcd-peer", "etcd-metrics", CONTROLLER_MANAGER, SCHEDULER)

# Flags for speed, where kubeadm sets none: a clean restart loses nothing without fsync, and the
# default client rates spread the controller manager's start over five seconds.
_PACE: Mapping[str, Mapping[str, str]] = {
    ETCD: {"unsafe-no-fsync": "true"},
    CONTROLLER_MANAGER: {"kube-api-qps": "200", "kube-api-burst": "400"},
}


def arguments(manifest: Mapping[str, Any], root: Path, ports: Mapping[str, int]) -> list[str]:
    """The argument vector of a manifest's container for a disk at `root`.

    `ports` maps the names in `PORTS` and `kube-apiserver` to loopback ports. Raises `SandboxError`
    when a mounted path is missing.
    """
    container = manifest["spec"]["containers"][0]
    mounts = _mounts(manifest["spec"], container, root)
    program, *given = container["command"]
    pairs = (argument.removeprefix("--").partition("=") for argument in given)
    flags = {name: _moved_path(value, mounts) for name, _, value in pairs}
    flags = {**_PACE.get(program, {}), **flags, **_addresses(program, flags, ports)}
    return [program, *(f"--{name}={value}" for name, value in flags.items())]


def _mounts(spec: Mapping[str, Any], container: Mapping[str, Any], root: Path) -> dict[str, Path]:
    """Mount path in the container -> path on this machine, longest mount path first."""
    sources = {volume["name"]: volume["hostPath"] for volume in spec["volumes"]}
    mounts: dict[str, Path] = {}
    for mount in container["volumeMounts"]:
        source = sources[mount["name"]]
        path = root / str(source["path"]).lstrip("/")
        _check_type(path, str(source["path"]), str(source.get("type", "")))
        mounts[str(mount["mountPath"])] = path
    return dict(sorted(mounts.items(), key=lambda item: -len(item[0])))


def _check_type(path: Path, shown: str, kind: str) -> None:
    """What the kubelet does with `hostPath.type` before it starts a container."""
    match kind:
        case "DirectoryOrCreate":
            path.mkdir(parents=True, exist_ok=True)
        case "FileOrCreate":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=True)
        case "File" if not path.is_file():
            raise SandboxError(f"hostPath type check failed: {shown} is not a file")
        case "Directory" if not path.is_dir():
            raise SandboxError(f"hostPath type check failed: {shown} is not a directory")


def _moved_path(value: str, mounts: Mapping[str, Path]) -> str:
    """An absolute path below a mount, on this machine; anything else as it is."""
    for mount, path in mounts.items():
        if value == mount or value.startswith(mount.rstrip("/") + "/"):
            return str(path) + value[len(mount.rstrip("/")) :]
    return value


def _addresses(program: str, flags: Mapping[str, str], ports: Mapping[str, int]) -> dict[str, str]:
    """The flags that say where a component listens and whom it calls."""

    def url(name: str, scheme: str = "https") -> str:
        return f"{scheme}://{LOOPBACK}:{ports[name]}"

    match program:
        case "etcd":
            return {
                "listen-client-urls": url("etcd"),
                "advertise-client-urls": url("etcd"),
                "listen-peer-urls": url("etcd-peer"),
                "initial-advertise-peer-urls": url("etcd-peer"),
                "initial-cluster": f"{flags['name']}={url('etcd-peer')}",
                "listen-metrics-urls": url("etcd-metrics", "http"),
            }
        case "kube-apiserver":  # the address that it advertises in the cluster stays the node's own
            return {
                "bind-address": LOOPBACK,
                "secure-port": str(ports[API_SERVER]),
                "etcd-servers": url("etcd"),
            }
        case _:
            return {"bind-address": LOOPBACK, "secure-port": str(ports[program])}
