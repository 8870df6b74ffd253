"""Where the projects publish the programs that `sandbox.build.gomodules` can build, for Linux.

Each file has the publisher's own SHA-256 beside it or in a list of the release. Which names the files have
was read in the projects' release scripts, named in their rows, and for the others in kubespray's table of
checksum files (scripts/component_hash_update). KWOK publishes no checksums, so it is always built.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed

from sandbox.build.gomodules import Plan

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Release:
    """The files of one project. In each text {v} is the version without its v, {arch} amd64 or arm64.

    `checksums` is a file beside `file`; {file} is that one's name. `member` is the path of {program} in the
    archive, None for a file that is the program itself. `others` is a folder of the archive that has to stay
    with the programs. `version` is for a release that is not the version that would be built.
    """

    folder: str
    file: str
    checksums: str = "{file}.sha256"
    member: str | None = "{program}"
    others: str | None = None
    version: str | None = None
    architectures: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Asset:
    """One file to download, and which programs of ours are what in it (None: the file itself)."""

    url: str
    checksums: str
    members: Mapping[str, str | None]
    others: str | None

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def host(self) -> str:
        return self.url.split("/")[2]


_GITHUB = "https://github.com/{}/releases/download/v{{v}}/"

RELEASES: Mapping[str, Release] = {
    "pulumi": Release(  # .goreleaser.yml
        _GITHUB.format("pulumi/pulumi"),
        "pulumi-v{v}-linux-{arch}.tar.gz",
        checksums="pulumi-{v}-checksums.txt",
        member="pulumi/{program}",
        others="pulumi/",
        architectures={"amd64": "x64"},
    ),
    "pulumi-kubernetes": Release(  # .goreleaser.yml; checksums as GoReleaser names them by default
        _GITHUB.format("pulumi/pulumi-kubernetes"),
        "pulumi-resource-kubernetes-v{v}-linux-{arch}.tar.gz",
        checksums="pulumi-kubernetes_{v}_checksums.txt",
        version=installed("pulumi-kubernetes"),  # which the SDK asks for, and a real stack downloads
    ),
    "kubernetes": Release("https://dl.k8s.io/release/v{v}/bin/linux/{arch}/", "{program}", member=None),
    "etcd": Release(
        _GITHUB.format("etcd-io/etcd"),
        "etcd-v{v}-linux-{arch}.tar.gz",
        checksums="SHA256SUMS",
        member="etcd-v{v}-linux-{arch}/{program}",
    ),
    "containerd": Release(
        _GITHUB.format("containerd/containerd"),
        "containerd-static-{v}-linux-{arch}.tar.gz",
        checksums="{file}.sha256sum",
        member="bin/{program}",
    ),
    "runc": Release(
        _GITHUB.format("opencontainers/runc"), "runc.{arch}", checksums="runc.sha256sum", member=None
    ),
    "cni": Release(_GITHUB.format("containernetworking/plugins"), "cni-plugins-linux-{arch}-v{v}.tgz"),
    "crictl": Release(_GITHUB.format("kubernetes-sigs/cri-tools"), "crictl-v{v}-linux-{arch}.tar.gz"),
    "coredns": Release(  # Makefile.release
        _GITHUB.format("coredns/coredns"), "coredns_{v}_linux_{arch}.tgz"
    ),
    "actionlint": Release(  # .goreleaser.yaml; checksums as GoReleaser names them by default
        _GITHUB.format("rhysd/actionlint"),
        "actionlint_{v}_linux_{arch}.tar.gz",
        checksums="actionlint_{v}_checksums.txt",
    ),
}


def assets(item: Plan, release: Release, machine: str) -> list[Asset]:
    """What to download for all programs of a module on a Linux machine (`platform.machine()`)."""
    arch = ARCHITECTURES[machine]
    shown = (release.architectures or {}).get(arch, arch)
    values = {"v": release.version or item.version.removeprefix("v"), "arch": shown}
    folder = release.folder.format(**values)
    files: dict[str, dict[str, str | None]] = {}
    for program in item.packages:
        member = release.member and release.member.format(program=program, **values)
        files.setdefault(release.file.format(program=program, **values), {})[program] = member
    return [
        Asset(folder + file, folder + release.checksums.format(file=file, **values), members, release.others)
        for file, members in files.items()
    ]


def available() -> bool:
    """Whether the projects publish programs for this machine."""
    return platform.system() == "Linux" and platform.machine() in ARCHITECTURES


def checksum(text: str, name: str) -> str | None:
    """The SHA-256 of a file in a publisher's list, or in a file that has nothing else."""
    if alone := re.fullmatch(r"\s*([0-9a-f]{64})\s*", text):
        return alone[1]
    line = re.search(rf"^([0-9a-f]{{64}})[ \t]+\*?(?:\./)?{re.escape(name)}$", text, re.MULTILINE)
    return line and line[1]
