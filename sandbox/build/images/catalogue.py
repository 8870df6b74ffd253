"""The images that the sandbox makes itself, and what each really is.

Kubernetes' own images and Dex are packed from programs that were built from their projects' sources. The
others cannot be had without their registries; a program of ours stands in for each, under the name
that the image's pod calls, unless `sandbox:images` leaves them to their registries. No image is known by
two tags: a version that changes in the program has to change here as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sandbox.build.gomodules import MODULES, plan
from sandbox.build.images.netfilter import iptables
from sandbox.build.images.oci import Files, Packed, Start, Store
from sandbox.errors import SandboxError
from sandbox.processes import output

KUBERNETES_REGISTRY = "registry.k8s.io"
COREDNS = f"{KUBERNETES_REGISTRY}/coredns/coredns"
OWN_REGISTRY = "kubepark.local"  # there is no such host
OWN_TAG = "sandbox"  # no registry has an image with it

Kind = Literal["standins", "upstream"]


@dataclass(frozen=True)
class Image:
    """One row: `programs` maps a path in the image to the name of the program that is put there."""

    repository: str
    programs: Mapping[str, str]
    start: Start
    stands_in: str | None = None  # what it stands in for; None: it is the real thing
    tag: str | None = None  # None: as `kubeadm config images list` says
    iptables: bool = False

    @property
    def elsewhere(self) -> bool:
        """Whether its registry has the real one under this name."""
        return self.stands_in is not None and self.tag != OWN_TAG


def _kubernetes(name: str, program: str, path: str) -> Image:
    return Image(f"{KUBERNETES_REGISTRY}/{name}", {path: program}, Start((path,)))


def _stand_in(
    reference: str, program: str, path: str, real: str, environment: Mapping[str, str] | None = None
) -> Image:
    repository, tag = reference.rsplit(":", 1)
    start = Start((path,), environment or {})
    return Image(repository, {path: program}, start, stands_in=real, tag=tag)


# As NVIDIA's images have it: without an allocation a container of theirs sees every GPU.
_ALL_GPUS = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}

IMAGES: tuple[Image, ...] = (
    *(
        _kubernetes(name, name, f"/usr/local/bin/{name}")
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    ),
    Image(
        f"{KUBERNETES_REGISTRY}/kube-proxy",
        # The real one, started with a configuration that leaves the host's kernel alone.
        {"/usr/local/bin/kube-proxy.real": "kube-proxy", "/usr/local/bin/kube-proxy": "proxy-start"},
        Start(("/usr/local/bin/kube-proxy",)),
        iptables=True,
    ),
    _kubernetes("etcd", "etcd", "/usr/local/bin/etcd"),
    _kubernetes("coredns/coredns", "coredns", "/coredns"),
    Image(
        "ghcr.io/dexidp/dex",
        {"/usr/local/bin/dex": "dex"},
        Start(("/usr/local/bin/dex",)),
        tag="v2.45.1",
    ),
    Image(
        f"{KUBERNETES_REGISTRY}/pause",
        {"/pause": "pause"},
        Start(("/pause",), user="65535:65535"),
        stands_in="Kubernetes' pause (a C program)",
    ),
    _stand_in(
        "nvcr.io/nvidia/k8s-device-plugin:v0.20.0",
        "nvidia-device-plugin",
        "/usr/bin/nvidia-device-plugin",
        "NVIDIA's device plugin",
        _ALL_GPUS,
    ),
    _stand_in(
        "nvcr.io/nvidia/k8s/cuda-sample:vectoradd-cuda12.5.0",
        "vectoradd",
        "/cuda-samples/vectorAdd",
        "NVIDIA's CUDA sample",
        _ALL_GPUS,
    ),
    _stand_in(
        f"quay.io/tigera/operator:{OWN_TAG}", "operator", "/usr/local/bin/operator", "Calico's operator"
    ),
    # Stands in for nothing: what tests run in their pods.
    Image(f"{OWN_REGISTRY}/probe", {"/bin/probe": "probe"}, Start(("/bin/probe",)), tag="1"),
)


@dataclass(frozen=True)
class Catalogue:
    """The images as they can be served: reference (`repository:tag`) -> what was packed."""

    store: Store
    packed: Mapping[str, Packed]

    def find(self, repository: str, reference: str) -> Packed | None:
        """By tag, or by a digest (`sha256:...`) that a tag of this repository has."""
        by_tag = self.packed.get(f"{repository}:{reference}")
        if by_tag is not None or ":" not in reference:
            return by_tag
        return next((each for each in self._of(repository) if each.digest == reference), None)

    def media_type(self, repository: str, digest: str) -> str | None:
        """Of a blob that an image of this repository has; None if there is none."""
        return next((each.blobs[digest] for each in self._of(repository) if digest in each.blobs), None)

    def near(self, repository: str) -> list[str]:
        """What could have been meant by a name: images of its registry, else those that pods may want."""
        host = f"{repository.partition('/')[0]}/"
        names = sorted(self.packed)
        return [each for each in names if each.startswith(host)] or [
            each for each in names if not each.startswith(f"{KUBERNETES_REGISTRY}/")
        ]

    def _of(self, repository: str) -> Iterable[Packed]:
        return [each for name, each in self.packed.items() if name.rsplit(":", 1)[0] == repository]


def pack(programs: Mapping[str, Path], cache: Path, kind: Kind = "standins") -> Catalogue:
    """Make every image from `programs` (name -> executable) below `cache`; what is there is kept.

    Of kind `upstream`, without those that their registries have.

    Raises `SandboxError` for a program that is missing, for versions that do not fit each other, and
    where iptables cannot be had.
    """
    images = [image for image in IMAGES if kind == "standins" or not image.elsewhere]
    needed = {name for image in images for name in image.programs.values()} | {"kubeadm"}
    if missing := sorted(needed - set(programs)):
        raise SandboxError(f"images need programs that were not built: {', '.join(missing)}")
    tags = wanted_tags(programs["kubeadm"], {image.repository for image in IMAGES if image.tag is None})
    store = Store(cache / "images")
    packed = {}
    for image in images:
        files = Files({path: programs[name] for path, name in image.programs.items()})
        if image.iptables:
            files |= iptables(cache)
        packed[f"{image.repository}:{image.tag or tags[image.repository]}"] = store.pack(files, image.start)
    return Catalogue(store, packed)


def wanted_tags(kubeadm: Path, repositories: Collection[str]) -> dict[str, str]:
    """The tag that this kubeadm wants of each repository.

    Raises `SandboxError` unless these are all that it wants, and if CoreDNS was built in another
    version. (The tag of etcd trails its patch releases.)
    """
    kubernetes, coredns = plan(MODULES["kubernetes"]).version, plan(MODULES["coredns"]).version
    listed = output([kubeadm, "config", "images", "list", "--kubernetes-version", kubernetes], timeout=60)
    tags = dict(line.rsplit(":", 1) for line in listed.split())
    if differing := sorted(set(tags) ^ set(repositories)):
        raise SandboxError(
            f"kubeadm {kubernetes} and the sandbox's catalogue of images differ: {', '.join(differing)}"
        )
    if tags.get(COREDNS, coredns) != coredns:
        raise SandboxError(
            f"kubeadm {kubernetes} wants CoreDNS {tags[COREDNS]}, "
            f"and sandbox/build/tools/coredns is {coredns}"
        )
    return tags
