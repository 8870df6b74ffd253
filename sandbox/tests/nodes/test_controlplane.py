"""The control plane from kubeadm's own files: what is moved, and that it runs and keeps its data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sandbox.errors import SandboxError
from sandbox.nodes.simulated.controlplane import ADMINS, OPERATOR, ControlPlane, pin
from sandbox.nodes.simulated.staticpods import COMPONENTS, arguments
from sandbox.ports import free_port
from sandbox.processes import Supervisor
from sandbox.tests.tools import cmdline, tool

PORTS = {"kube-scheduler": 30000}
AUDIT = "/etc/kubernetes/audit-policy.yaml"


def manifest(program: str, *flags: str, **volumes: tuple[str, str, str]) -> dict[str, Any]:
    """A static pod; `volumes`: name -> host path, mount path, type."""
    mounts = [{"name": name, "mountPath": path} for name, (_, path, _) in volumes.items()]
    paths = {name: {"path": path, "type": kind} for name, (path, _, kind) in volumes.items()}
    hosts = [{"name": name, "hostPath": path} for name, path in paths.items()]
    container = {"command": [program, *flags], "volumeMounts": mounts}
    return {"spec": {"containers": [container], "volumes": hosts}}


def test_paths_follow_the_mounts(tmp_path: Path) -> None:
    pod = manifest(
        "kube-scheduler",
        "--kubeconfig=/etc/kubernetes/scheduler.conf",
        "--certs=/pki/sub/ca.crt",
        "--other=/pkix/ca.crt",
        "--leader-elect=true",
        conf=("/etc/kubernetes/scheduler.conf", "/etc/kubernetes/scheduler.conf", "FileOrCreate"),
        pki=("/var/pki", "/pki", "DirectoryOrCreate"),
    )
    assert arguments(pod, tmp_path, PORTS) == [
        "kube-scheduler",
        f"--kubeconfig={tmp_path}/etc/kubernetes/scheduler.conf",
        f"--certs={tmp_path}/var/pki/sub/ca.crt",
        "--other=/pkix/ca.crt",
        "--leader-elect=true",
        "--bind-address=127.0.0.1",
        f"--secure-port={PORTS['kube-scheduler']}",
    ]
    assert (tmp_path / "var/pki").is_dir()


@pytest.mark.parametrize(("kind", "words"), [("File", "is not a file"), ("Directory", "is not a directory")])
def test_missing_host_path_stops_the_pod_as_the_kubelet_would(tmp_path: Path, kind: str, words: str) -> None:
    pod = manifest("kube-apiserver", audit=(AUDIT, AUDIT, kind))
    with pytest.raises(SandboxError, match=f"hostPath type check failed: {AUDIT} {words}"):
        arguments(pod, tmp_path, PORTS)


DOCUMENT = f"""\
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: 10.20.0.10, bindPort: 6443}}
nodeRegistration: {{name: m, criSocket: unix:///run/containerd/containerd.sock}}
skipPhases: [addon]
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.36.0
controlPlaneEndpoint: api.demo.internal:6443
encryptionAlgorithm: ECDSA-P256
networking: {{podSubnet: 192.168.0.0/16}}
apiServer:
  certSANs: [127.0.0.1]
  extraArgs: [{{name: audit-policy-file, value: {AUDIT}}}]
  extraVolumes: [{{name: audit, hostPath: {AUDIT}, mountPath: {AUDIT}, pathType: File, readOnly: true}}]
"""


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)
    supervisor = Supervisor(tmp_path / "state.json", tmp_path / "logs")
    yield ControlPlane(disk, tool("kubeadm").parent, supervisor, free_port())
    supervisor.stop_all(grace=3)


@pytest.mark.sandbox
def test_a_start_that_fails_says_why_and_one_that_does_not_is_clean_and_keeps_its_data(
    plane: ControlPlane,
) -> None:
    with pytest.raises(SandboxError, match="encryptionAlgorithm"):  # in kubeadm's own words
        plane.initialise(DOCUMENT.replace("ECDSA-P256", "ROT13"))
    with pytest.raises(SandboxError, match=f"{AUDIT} is not a file"):
        plane.initialise(DOCUMENT)
    assert not plane.initialised
    first = plane.ca_hash()
    policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None}]\n"
    (plane.root / AUDIT.lstrip("/")).write_text(policy)
    plane.initialise(DOCUMENT)
    assert plane.initialised
    assert plane.ready()
    flags = [each for name in COMPONENTS for each in cmdline(psutil.Process(plane.supervisor.pid(name)))]
    elsewhere = re.compile(r"10\.20\.0\.10|:(2379|2380|2381)\b")
    assert [each for each in flags if elsewhere.search(each)] == ["--advertise-address=10.20.0.10"]
    assert plane.ca_hash() == pin((plane.etc / "pki/ca.crt").read_bytes()) != first
    api = plane.api("admin")  # has its rights from the binding, not from system:masters
    assert api.get("/apis/apps/v1/namespaces/kube-system/deployments")["items"] == []

    kubeconfig = plane.operator_kubeconfig("https://203.0.113.9:6443")
    assert len(kubeconfig) < 4096
    assert plane.operator_kubeconfig("https://203.0.113.9:6443") == kubeconfig
    assert plane.operator_kubeconfig(plane.server) != kubeconfig
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = plane.api(OPERATOR).post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    user = answer["status"]["userInfo"]
    assert (user["username"], set(user["groups"])) == (OPERATOR, {ADMINS, "system:authenticated"})

    token = plane.mint_token(24)
    secret = f"/api/v1/namespaces/kube-system/secrets/bootstrap-token-{token.partition('.')[0]}"
    plane.stop()
    assert not plane.ready()
    assert not [name for name in COMPONENTS if plane.supervisor.alive(name)]
    plane.start()
    assert plane.api().get(secret)["type"] == "bootstrap.kubernetes.io/token"
