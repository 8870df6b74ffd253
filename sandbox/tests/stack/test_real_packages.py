"""`sandbox:packages: upstream`: machines with packages of other hosts, which here are on loopback.

The real pkgs.k8s.io and download.docker.com do not answer where this is tested. What stands for them has
packages of the same names and versions, behind TLS of its own and a proxy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from sandbox.nodes.real import tools
from sandbox.nodes.real.packages import UPSTREAM_HOSTS
from sandbox.tests.build.publishers import Publishers, publishers
from sandbox.tests.stack.machines import OBSTACLE, Machines
from sandbox.tests.stack.project import QUICK, Project

PACKAGES = {"containerd.io", "cri-tools", "kubeadm", "kubectl", "kubelet", "kubernetes-cni"}

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.real,
    pytest.mark.skipif(bool(OBSTACLE), reason=f"real nodes cannot run here: {OBSTACLE}"),
]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Publishers]:
    """Both hosts, with the repositories that the sandbox has of them otherwise."""
    ours = tools.ensure("standins", "standins").mirrors.folder
    with publishers(tmp_path, UPSTREAM_HOSTS) as found:
        found.others = True
        for file in (each for host in UPSTREAM_HOSTS for each in (ours / host).rglob("*") if each.is_file()):
            found.files[f"https://{quote(str(file.relative_to(ours)), safe='/:+~')}"] = file
        yield found


def test_machines_get_packages_of_the_hosts_that_answer(empty: Project, hosts: Publishers) -> None:
    empty.set("kubepark:workers.nodes", {"worker01": {}})
    said = empty.ok("up", *QUICK, KUBEPARK_PACKAGES="upstream", **hosts.variables())
    assert "Packages        upstream, of Kubernetes and Docker" in said
    packages = [line.rpartition("/")[2] for line in hosts.asked if line.endswith(".deb")]
    assert len(packages) == len(set(packages)), "each was fetched once for all machines"
    assert {name.partition("_")[0] for name in packages} == PACKAGES
    sources = (
        Machines(empty).run("worker01", "apt-cache", "policy", *PACKAGES, "nvidia-container-toolkit").stdout
    )
    for host in UPSTREAM_HOSTS:
        assert f"https://{host}/" in sources
