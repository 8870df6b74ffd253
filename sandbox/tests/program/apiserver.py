"""A private control plane for tests: real etcd, kube-apiserver and kube-controller-manager, no nodes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sandbox.nodes.api import Api, ApiError, Unavailable
from sandbox.ports import free_port
from sandbox.tests.tools import tool

# kubeadm refuses a loopback address here; nothing listens on this one.
_ADVERTISED = "10.99.0.10"
# Becomes a program that is killed when the test process ends (PR_SET_PDEATHSIG is 1 in linux/prctl.h): of
# SIGTERM a kube-apiserver whose etcd went first takes no notice.
_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass
class ApiServer:
    """A running API server."""

    port: int
    kubeconfig: Path
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def kubectl(
        self, *arguments: str, manifests: Sequence[Mapping[str, Any]] = ()
    ) -> subprocess.CompletedProcess[str]:
        """As a person with the admin kubeconfig; `manifests` go to its standard input."""
        return subprocess.run(
            [str(tool("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments],
            input=yaml.safe_dump_all(manifests) if manifests else None,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def api(self) -> Api:
        return Api.from_kubeconfig(self.kubeconfig)

    def start(self, argv: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a part of it. It dies with us, however we end (Linux)."""
        if sys.platform == "linux":
            argv = [sys.executable, "-c", _WITH_PARENT, *argv]
        with log.open("wb") as output:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._processes.append(process)
        return process

    def stop(self) -> None:
        """End everything. Their graceful end takes ten seconds, and nothing here is worth keeping."""
        while self._processes:
            process = self._processes.pop()
            process.kill()
            process.wait(timeout=10)


@contextmanager
def start_apiserver(folder: Path) -> Iterator[ApiServer]:
    """Start one in `folder`; everything it started is ended with the block."""
    ports = {name: free_port() for name in ("client", "peer", "api", "manager")}
    _certificates(folder, ports["api"])
    # Not admin.conf: the binding that gives it its rights is made by a whole `kubeadm init`.
    server = ApiServer(ports["api"], folder / "super-admin.conf")
    try:
        server.start(_etcd(folder, ports), folder / "etcd.log")
        log = folder / "kube-apiserver.log"
        process = server.start(_apiserver(folder, ports), log)
        deadline = time.monotonic() + 60
        while not _ready(server):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"kube-apiserver is not ready:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        server.start(_manager(folder, ports), folder / "kube-controller-manager.log")
        yield server
    finally:
        server.stop()


def _certificates(folder: Path, port: int) -> None:
    """Keys, certificates and kubeconfigs, by kubeadm's own phases."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = {"apiVersion": "kubeadm.k8s.io/v1beta4"}
    documents = [
        {
            **kind,
            "kind": "InitConfiguration",
            "localAPIEndpoint": {"advertiseAddress": _ADVERTISED, "bindPort": port},
            "nodeRegistration": {"name": "test", "criSocket": "unix:///run/containerd/containerd.sock"},
        },
        {
            **kind,
            "kind": "ClusterConfiguration",
            "kubernetesVersion": "v1.36.0",
            "controlPlaneEndpoint": f"127.0.0.1:{port}",
            "apiServer": {"certSANs": ["127.0.0.1"]},
            "certificatesDir": str(folder / "pki"),
            "encryptionAlgorithm": "ECDSA-P256",
        },
    ]
    config = folder / "kubeadm.yaml"
    config.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    phases = [["certs", name] for name in ("ca", "apiserver", "sa")]
    phases += [
        ["kubeconfig", name, f"--kubeconfig-dir={folder}"]
        for name in ("super-admin", "controller-manager", "kubelet")
    ]
    for phase in phases:
        command = [str(tool("kubeadm")), "init", "phase", *phase, f"--config={config}"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


def _etcd(folder: Path, ports: Mapping[str, int]) -> list[str]:
    client, peer = (f"http://127.0.0.1:{ports[name]}" for name in ("client", "peer"))
    return [
        str(tool("etcd")),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _apiserver(folder: Path, ports: Mapping[str, int]) -> list[str]:
    pki = folder / "pki"
    return [
        str(tool("kube-apiserver")),
        f"--etcd-servers=http://127.0.0.1:{ports['client']}",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports['api']}",
        f"--advertise-address={_ADVERTISED}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",  # as kubeadm's
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
    ]


def _manager(folder: Path, ports: Mapping[str, int]) -> list[str]:
    pki = folder / "pki"
    return [
        str(tool("kube-controller-manager")),
        f"--kubeconfig={folder / 'controller-manager.conf'}",
        f"--master=https://127.0.0.1:{ports['api']}",  # kubeadm wrote the advertised address there
        "--bind-address=127.0.0.1",
        f"--secure-port={ports['manager']}",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--service-account-private-key-file={pki / 'sa.key'}",
    ]


def _ready(server: ApiServer) -> bool:
    try:
        return "ok" in str(server.api.get("/readyz"))
    except (ApiError, Unavailable):
        return False
