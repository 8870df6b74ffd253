"""The real containerd pulls every image from our registry, and runc runs some of them.

containerd lives in mount and process namespaces of its own, with an empty /run: nothing of this
machine's containers is touched, and ending its process 1 ends all that it started. It needs root, as a
real node does. What it is told of images of other registries is in sandbox/tests/stack/test_real_nodes.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from config.versions import RELEASES, VECTOR_ADD_IMAGE
from sandbox.build.gomodules import REAL_NODE_MODULES
from sandbox.build.images.catalogue import pack
from sandbox.build.images.pulled import Cache
from sandbox.build.images.pullthrough import PullThrough
from sandbox.build.images.registry import Registry, hosts_toml
from sandbox.build.images.upstream import Upstream
from sandbox.build.toolchain import ensure_programs
from sandbox.files import cache_dir
from sandbox.nodes.choice import obstacle
from sandbox.tests.build.upstream_registry import lines, served
from sandbox.tests.nodes.commands import once, until
from sandbox.tests.nodes.test_images_gpu import GPUS

pytestmark = pytest.mark.sandbox
CONFIG = """
version = 3
root = "{folder}/root"
state = "{folder}/state"
[grpc]
address = "{folder}/containerd.sock"
[ttrpc]
address = "{folder}/ttrpc.sock"
[plugins.'io.containerd.cri.v1.images'.registry]
config_path = "{folder}/certs.d"
[plugins.'io.containerd.nri.v1.nri']
disable = true
[plugins.'io.containerd.internal.v1.opt']
path = "{folder}/opt"
"""
GROUP = "kubepark-images-"  # what the containers' cgroups are called by


class Node:
    """A containerd and what it takes to talk to it."""

    def __init__(self, folder: Path, programs: dict[str, Path]) -> None:
        self.folder = folder
        self.programs = programs
        self.address = folder / "containerd.sock"
        self.gpus = folder / "run" / "nvidia" / "gpus"

    @contextmanager
    def running(self) -> Iterator[None]:
        binaries = self.folder / "bin"
        binaries.mkdir()
        for name, path in self.programs.items():
            (binaries / name).symlink_to(path)
        self.gpus.parent.mkdir(parents=True)
        config, log = self.folder / "config.toml", self.folder / "containerd.log"
        config.write_text(CONFIG.format(folder=self.folder))
        inside = f'mount --bind "{self.folder}/run" /run && exec "$@"'
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command += ["sh", "-c", inside, "sh", str(self.programs["containerd"]), "--config", str(config)]
        variables = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}
        with log.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, env=variables)

        def answers() -> bool:
            assert process.poll() is None, log.read_text()[-2000:]
            return self.crictl("version").returncode == 0

        try:
            until("containerd answers", answers)
            yield
        finally:
            process.kill()
            process.wait(timeout=30)
            left = [path for depth in ("", "*/") for path in Path("/sys/fs/cgroup").glob(f"{depth}{GROUP}*")]
            for path in left:  # of a container that was cut off
                path.rmdir()

    def crictl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        endpoint = f"unix://{self.address}"
        options = ["--config=/dev/null", "--runtime-endpoint", endpoint, "--image-endpoint", endpoint]
        return once(self.programs["crictl"], *options, *arguments)

    def run(self, reference: str, *command: str, gpus: str | None = None, given: Path | None = None):
        """A container to its end. `gpus` is NVIDIA_VISIBLE_DEVICES and asks for NVIDIA's runtime; with
        `given`, a file that becomes /given, it is privileged."""
        options: list[str] = []
        if given is not None:
            options += ["--privileged", "--mount", f"type=bind,src={given},dst=/given,options=bind:ro"]
        if gpus is not None:
            options += ["--runc-binary", "nvidia-container-runtime"]
            options += ["--env", f"NVIDIA_VISIBLE_DEVICES={gpus}"]
        ctr = [self.programs["ctr"], "--address", self.address, "--namespace", "k8s.io", "run", "--rm"]
        name = f"{GROUP}{uuid.uuid4().hex[:8]}"
        options += ["--fifo-dir", str(self.folder / "fifos"), "--cgroup", f"/{name}"]
        return once(*ctr, *options, reference, name, *command)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    if reason := obstacle(tmp_path_factory.mktemp("probe")):
        pytest.skip(f"real nodes cannot run here: {reason}")
    return ensure_programs(["kubernetes", "etcd", *REAL_NODE_MODULES])


@pytest.fixture(scope="module")
def catalogue(programs):
    return pack(programs, cache_dir())


@pytest.fixture(scope="module")
def registry(catalogue, tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    elsewhere = PullThrough(Cache(folder / "pulled", 1 << 30), Upstream())
    return Registry(catalogue, elsewhere, folder / "registry.jsonl")


@pytest.fixture(scope="module")
def node(registry, programs, tmp_path_factory):
    """With every image on it."""
    folder = tmp_path_factory.mktemp("node")
    serving, address = served(registry)
    hosts = folder / "certs.d" / "_default" / "hosts.toml"
    hosts.parent.mkdir(parents=True)
    hosts.write_text(hosts_toml(f"http://{address}"))
    made = Node(folder, programs)
    with closing(serving), made.running():
        for reference in registry.catalogue.packed:
            answer = made.crictl("pull", reference)
            assert answer.returncode == 0, answer.stderr
        yield made


def test_every_image_of_the_catalogue_is_pulled(node, catalogue, registry):
    listed = json.loads(node.crictl("images", "--output", "json").stdout)["images"]
    assert {tag for image in listed for tag in image["repoTags"]} == set(catalogue.packed)
    assert {line["status"] for line in lines(registry)} == {200}


def test_kubeadm_and_the_nodes_configuration_name_the_same_pause(catalogue):
    assert {f"registry.k8s.io/pause:{row.pause}" for row in RELEASES.values()} <= set(catalogue.packed)


@pytest.mark.parametrize(
    ("image", "command", "said"),
    [
        ("kube-apiserver", ("kube-apiserver", "--version"), "Kubernetes v{}\n"),
        ("kube-controller-manager", ("kube-controller-manager", "--version"), "Kubernetes v{}\n"),
        ("kube-scheduler", ("kube-scheduler", "--version"), "Kubernetes v{}\n"),
        ("kube-proxy", ("kube-proxy.real", "--version"), "Kubernetes v{}\n"),
        ("etcd", ("etcd", "--version"), "etcd Version: 3.6."),  # its tag trails its patch releases
        ("coredns/coredns", ("/coredns", "-version"), "CoreDNS-{}\n"),
    ],
)
def test_kubernetes_own_images_are_the_version_of_their_tag(node, catalogue, image, command, said):
    (reference,) = [name for name in catalogue.packed if name.startswith(f"registry.k8s.io/{image}:")]
    assert node.run(reference, *command).stdout.startswith(said.format(reference.rsplit(":v", 1)[-1]))


RULES = """\
*nat
:KUBE-TEST - [0:0]
-A KUBE-TEST -m comment --comment "one of two" -m statistic --mode random --probability 0.5 -j MARK --set-xmark 0x4000/0x4000
-A KUBE-TEST -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1:8080
-A KUBE-TEST -m addrtype --dst-type LOCAL -m conntrack --ctstate NEW -j MASQUERADE
COMMIT
"""


@pytest.mark.parametrize("kind", ["iptables", "iptables-nft", "iptables-legacy"])
def test_kube_proxys_image_writes_the_rules_that_kube_proxy_needs(node, catalogue, kind, tmp_path):
    """Into the network namespace that the container got, with the extensions of the image."""
    (reference,) = [name for name in catalogue.packed if name.startswith("registry.k8s.io/kube-proxy:")]
    rules = tmp_path / "rules"
    rules.write_text(RULES)
    restored = node.run(reference, f"/usr/sbin/{kind}-restore", "/given", given=rules)
    assert restored.returncode == 0, restored.stderr
    rules.write_text(RULES.replace("--dport", "--port"))
    assert node.run(reference, f"/usr/sbin/{kind}-restore", "/given", given=rules).returncode == 2


@pytest.fixture
def gpus(node):
    node.gpus.write_text("".join(f"{each}\n" for each in GPUS))
    yield GPUS
    node.gpus.unlink()


@pytest.mark.parametrize(
    ("asked", "seen"), [("all", GPUS), (GPUS[1], GPUS[1:]), (",".join(GPUS), GPUS), ("0", GPUS[:1])]
)
@pytest.mark.usefixtures("gpus")
def test_a_container_sees_the_gpus_that_it_asked_for(node, asked, seen):
    answer = node.run(VECTOR_ADD_IMAGE, gpus=asked)
    assert answer.returncode == 0, answer.stderr
    uuids = [line.split("UUID: ")[1].rstrip(")") for line in answer.stdout.splitlines() if "UUID" in line]
    assert uuids == seen
    assert answer.stdout.startswith("[Vector addition of 50000 elements]\nStand-in without CUDA")
    assert answer.stdout.endswith("Test PASSED\nDone\n")


NO_DRIVER = "CUDA driver version is insufficient for CUDA runtime version"  # says the program
UNKNOWN = "GPU-99999999-1111-2222-3333-444444444444"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("", NO_DRIVER),
        ("void", NO_DRIVER),
        (UNKNOWN, f"nvidia-container-cli: device error: {UNKNOWN}: unknown device"),
    ],
)
@pytest.mark.usefixtures("gpus")
def test_a_container_that_asked_for_none_has_none_and_for_one_that_is_not_there_does_not_start(
    node, asked, words
):
    answer = node.run(VECTOR_ADD_IMAGE, gpus=asked)
    assert answer.returncode == 1
    assert words in answer.stderr
    assert "PASSED" not in answer.stdout


def test_a_container_does_not_start_with_gpus_on_a_machine_without_a_driver(node):
    answer = node.run(VECTOR_ADD_IMAGE, gpus="all")
    assert answer.returncode != 0
    assert "nvidia-container-cli: initialization error: nvml error: driver not loaded" in answer.stderr
    plain = node.run("kubepark.local/probe:1", "/bin/probe", "print", "well", gpus="void")
    assert plain.stdout == "well\n"
