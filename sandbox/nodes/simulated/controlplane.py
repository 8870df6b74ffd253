"""A control plane made by real kubeadm phases, run without containers.

The input is the kubeadm configuration that the master found in its user data. Certificates,
kubeconfigs, static pod manifests, ConfigMaps, RBAC, addons and tokens all come from kubeadm; etcd,
API server, controller manager and scheduler run from the manifests that it wrote. What differs from
a node: paths lead into the folder that stands for its disk, and the processes listen on loopback.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Container
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sandbox.errors import SandboxError
from sandbox.files import atomic_write, read_json
from sandbox.nodes.api import Api, ApiError, Unavailable, with_server
from sandbox.nodes.simulated.staticpods import API_SERVER, COMPONENTS, ETCD, LOOPBACK, PORTS, arguments
from sandbox.ports import free_port
from sandbox.processes import Supervisor, output

ADMINS = "kubeadm:cluster-admins"
OPERATOR = "kubepark-operator"
_RBAC = "rbac.authorization.k8s.io"
_INITIALISED = "initialised"
_KUBECONFIGS = ("admin", "super-admin", "controller-manager", "scheduler", "kubelet")
_READY_SECONDS = 60.0
_KUBEADM_SECONDS = 60.0
_BACK_OFF = (1.0, 10.0)  # seconds, first and longest pause before a component is started again


class ControlPlane:
    """The control plane on the disk of one master. `disk` is private (0700): it holds the CA key."""

    def __init__(self, disk: Path, tools: Path, supervisor: Supervisor, port: int) -> None:
        self.disk = disk
        self.root = disk / "root"
        self.etc = self.root / "etc/kubernetes"
        self.tools = tools
        self.supervisor = supervisor
        self.port = port
        self.server = f"https://{LOOPBACK}:{port}"
        self._restart: dict[str, tuple[float, float]] = {}  # component -> (not before, last pause)

    @property
    def initialised(self) -> bool:
        """Whether `initialise` ended once on this disk."""
        return (self.disk / _INITIALISED).exists()

    def api(self, who: str = "super-admin") -> Api:
        """A client with one of kubeadm's own credentials: admin, super-admin, kubelet."""
        path = self.etc / f"{who}.conf"
        if not path.exists():
            raise Unavailable(f"there is no {path.name} yet")
        return Api.from_kubeconfig(path)

    # -- kubeadm init ------------------------------------------------------------------------------

    def initialise(self, document: str) -> None:
        """What `kubeadm init` does, phase by phase. Raises `SandboxError` with kubeadm's message."""
        self.reset()
        config = self._write("kubeadm-init.yaml", document)
        local = self._write("kubeadm-local.yaml", self._with_local_certificates(document))
        self.kubeadm("init", "phase", "certs", "all", "--config", local)
        self.kubeadm("init", "phase", "kubeconfig", "all", "--config", local, "--kubeconfig-dir", self.etc)
        self._write_manifests(config)
        self._point_kubeconfigs()
        self.start()
        self._grant_admins()
        admin = ("--config", config, "--kubeconfig", self.etc / "admin.conf")
        skipped = configuration(document, "InitConfiguration").get("skipPhases", [])
        for addon in ("coredns", "kube-proxy"):
            if not {"addon", f"addon/{addon}"}.intersection(skipped):
                self.kubeadm("init", "phase", "addon", addon, *admin)
        atomic_write(self.disk / _INITIALISED, "")

    def kubeadm(self, *arguments: str | Path, dry_run_dir: Path | None = None) -> str:
        """Run kubeadm: its standard output. On failure `SandboxError` with the end of its stderr."""
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.disk)}
        if dry_run_dir:
            environment["KUBEADM_INIT_DRYRUN_DIR"] = str(dry_run_dir)
        command = [self.tools / "kubeadm", *arguments]
        return output(command, env=environment, timeout=_KUBEADM_SECONDS)

    def _write(self, name: str, text: str) -> Path:
        atomic_write(self.disk / name, text)
        return self.disk / name

    def _with_local_certificates(self, document: str) -> str:
        """The same documents with `certificatesDir` on the node's disk."""
        documents = [each for each in yaml.safe_load_all(document) if each]
        for each in documents:
            if each.get("kind") == "ClusterConfiguration":
                directory = str(each.get("certificatesDir", "/etc/kubernetes/pki"))
                each["certificatesDir"] = str(self.root / directory.lstrip("/"))
        return yaml.safe_dump_all(documents)

    def _write_manifests(self, config: Path) -> None:
        """kubeadm writes them with the node's own paths: the dry run touches nothing else."""
        dry = self.disk / "dry-run"
        dry.mkdir(exist_ok=True)
        for phase in (("control-plane", "all"), ("etcd", "local")):
            self.kubeadm("init", "phase", *phase, "--config", config, "--dry-run", dry_run_dir=dry)
        manifests = self.etc / "manifests"
        manifests.mkdir(parents=True, exist_ok=True)
        for component in COMPONENTS:
            shutil.copyfile(dry / f"{component}.yaml", manifests / f"{component}.yaml")
        shutil.rmtree(dry)

    def _point_kubeconfigs(self) -> None:
        for name in _KUBECONFIGS:
            path = self.etc / f"{name}.conf"
            atomic_write(path, with_server(path.read_text(encoding="utf-8"), self.server))

    def _grant_admins(self) -> None:
        """As `kubeadm init` does with super-admin.conf: admin.conf's group may do everything."""
        group = {"apiGroup": _RBAC}
        binding = {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": ADMINS},
            "roleRef": {**group, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{**group, "kind": "Group", "name": ADMINS}],
        }
        self.api().post(f"/apis/{_RBAC}/v1/clusterrolebindings", binding)

    # -- run ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start what does not run and wait until the API is ready (a few seconds)."""
        self.start_component(ETCD)
        self.start_component(API_SERVER)
        self._wait_ready()
        for component in COMPONENTS[2:]:
            self.start_component(component)

    def start_component(self, component: str) -> None:
        """Start one static pod's process unless it runs."""
        manifest = yaml.safe_load((self.etc / "manifests" / f"{component}.yaml").read_text(encoding="utf-8"))
        program, *flags = arguments(manifest, self.root, self.ports())
        self.supervisor.start(component, [self.tools / program, *flags], cwd=self.disk)

    def stop(self) -> None:
        """Stop the four processes; the disk stays."""
        for component in reversed(COMPONENTS):
            self.supervisor.stop(component, grace=5.0)

    def reset(self) -> None:
        """As `kubeadm reset`: nothing of an attempt that did not end is left."""
        self.stop()
        (self.disk / _INITIALISED).unlink(missing_ok=True)
        for folder in (self.etc / "pki", self.etc / "manifests", self.root / "var/lib/etcd"):
            shutil.rmtree(folder, ignore_errors=True)
        for name in _KUBECONFIGS:
            (self.etc / f"{name}.conf").unlink(missing_ok=True)

    def keep_running(self, held: Container[str]) -> None:
        """Restart components that ended, with growing pauses, as the kubelet would.

        `held` names components that stay down: a fault that somebody injected.
        """
        now = time.monotonic()
        for component in COMPONENTS:
            if component in held or self.supervisor.alive(component):
                continue
            not_before, pause = self._restart.get(component, (0.0, _BACK_OFF[0]))
            if now >= not_before:
                self._restart[component] = (now + pause, min(2 * pause, _BACK_OFF[1]))
                self.start_component(component)

    def ready(self) -> bool:
        """Whether the API server says that it is ready."""
        try:
            self.api().get("/readyz")
        except (Unavailable, ApiError):
            return False
        return True

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not self.ready():
            for component in (ETCD, API_SERVER):
                if not self.supervisor.alive(component):
                    raise SandboxError(f"{component} ended at once\n{self.supervisor.tail(component)}")
            if time.monotonic() > deadline:
                raise SandboxError(f"the API is not ready\n{self.supervisor.tail(API_SERVER)}")
            time.sleep(0.1)

    def ports(self) -> dict[str, int]:
        """Loopback ports, chosen once per disk."""
        path = self.disk / "ports.json"
        if not path.exists():
            atomic_write(path, json.dumps({name: free_port() for name in PORTS}))
        return {**read_json(path), API_SERVER: self.port}

    # -- what the master publishes -----------------------------------------------------------------

    def mint_token(self, hours: int) -> str:
        """A new bootstrap token (secret)."""
        return self.kubeadm(
            *("token", "create", "--kubeconfig", self.etc / "admin.conf"),
            *("--ttl", f"{hours}h", "--description", "kubepark"),
        ).strip()

    def operator_kubeconfig(self, server: str) -> str:
        """The operator's kubeconfig (secret), issued once per address and kept on the disk."""
        kept = self.etc / f"{OPERATOR}.conf"
        with contextlib.suppress(FileNotFoundError):
            text = kept.read_text(encoding="utf-8")
            if yaml.safe_load(text)["clusters"][0]["cluster"]["server"] == server:
                return text
        issued = self.kubeadm(
            *("kubeconfig", "user", "--config", self.disk / "kubeadm-local.yaml"),
            *("--client-name", OPERATOR, "--org", ADMINS),
        )
        atomic_write(kept, with_server(issued, server))
        return kept.read_text(encoding="utf-8")

    def ca_hash(self) -> str:
        """The pin that joining nodes compare: SHA-256 of the CA's public key (RFC 7469)."""
        kubeconfig = yaml.safe_load((self.etc / "admin.conf").read_text(encoding="utf-8"))
        return pin(base64.b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]))


def pin(ca_pem: bytes) -> str:
    """`sha256:<hex>` of a certificate's SubjectPublicKeyInfo, as kubeadm writes it."""
    public = x509.load_pem_x509_certificate(ca_pem).public_key()
    info = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "sha256:" + hashlib.sha256(info).hexdigest()


def configuration(document: str, *kinds: str) -> dict[str, Any]:
    """The first document of these kinds in a kubeadm file. Raises `SandboxError` if there is none."""
    for each in yaml.safe_load_all(document):
        if each and each.get("kind") in kinds:
            return dict(each)
    raise SandboxError(f"the kubeadm configuration has no {' or '.join(kinds)}")


def registration(document: str) -> dict[str, Any]:
    """`nodeRegistration` of a kubeadm Init- or JoinConfiguration."""
    found = configuration(document, "InitConfiguration", "JoinConfiguration")["nodeRegistration"]
    return dict(found)
