"""The programs of real nodes: built or fetched once, and put where machines and the host find them."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sandbox.build.debian import unpacked, unpacked_folder
from sandbox.build.gomodules import ENGINE_MODULES, MODULES, REAL_NODE_MODULES, plan
from sandbox.build.images.catalogue import IMAGES, Catalogue, Kind, pack
from sandbox.build.images.netfilter import PACKAGES
from sandbox.build.images.pulled import FOLDER, Cache, limit
from sandbox.build.images.upstream import base_url
from sandbox.build.staged import make_once
from sandbox.build.toolchain import ensure_programs
from sandbox.build.web import Web
from sandbox.errors import SandboxError
from sandbox.files import atomic_write, cache_dir, link_or_copy
from sandbox.nodes import choice
from sandbox.nodes.real import repository, rootfs
from sandbox.nodes.real.packages import PROGRAMS, UPSTREAM_HOSTS, VERSIONS
from sandbox.nodes.real.packages import packages as made
from sandbox.nodes.real.repository import Mirrors
from sandbox.nodes.real.rootfs import RootFs

_NFT = (
    *("nftables", "libnftables1", "libnftnl11", "libmnl0", "libxtables12"),
    *("libjansson4", "libedit2", "libbsd0", "libmd0", "libtinfo6", "libgmp10"),
)


@dataclass(frozen=True)
class RealTools:
    """`binaries`: what packages bring, with their versions; `nft` runs on the host; `pulled` are images that
    the catalogue does not have."""

    rootfs: RootFs
    mirrors: Mirrors
    binaries: Path
    nft: Path
    catalogue: Catalogue
    pulled: Cache


def ensure(images: Kind, packages: Kind) -> RealTools:
    """Obtain what is not there yet; progress goes to standard error. Raises `SandboxError`."""
    cache = cache_dir()
    pulled = Cache(cache / FOLDER, limit())
    programs = ensure_programs((*ENGINE_MODULES, *REAL_NODE_MODULES), [*_beside(cache)])
    programs["kubectl"] = (Path(sys.prefix) / "bin" / "kubectl").resolve()
    binaries, root = _binaries(programs, cache), rootfs.ensure(cache)
    upstream = UPSTREAM_HOSTS if packages == "upstream" else ()
    mirrors = repository.ensure(made(binaries), root, cache, upstream)
    return RealTools(root, mirrors, binaries, nft(cache), pack(programs, cache, images), pulled)


def _beside(cache: Path) -> Iterator[Callable[[], object]]:
    """What is missing beside programs, and waits for none of them."""
    for names in (PACKAGES,) if shutil.which("nft") else (PACKAGES, _NFT):
        if not unpacked_folder(names, cache).exists():
            yield partial(unpacked, names, cache)
    if rootfs.find(cache) is None:
        yield partial(rootfs.ensure, cache)


def require_upstream(images: Kind, packages: Kind) -> None:
    """Whether the hosts of all that is left to them answer; images that were pulled before need none.

    Raises `SandboxError` with every one that does not, and why.
    """
    pulled, web = Cache(cache_dir() / FOLDER, limit()), Web()
    names = [image.repository for image in IMAGES if image.elsewhere]
    registries = {base_url(name.partition("/")[0]) for name in names if not pulled.has_tag(name)}
    mirrors = {f"https://{host}/" for host in UPSTREAM_HOSTS}
    asked = [
        (images, choice.IMAGES, "images cannot be pulled", registries),
        (packages, choice.PACKAGES, "packages cannot be fetched", mirrors),
    ]
    problems = [
        f"{what}: {'; '.join(silent)}; fix: {setting.default}"
        for kind, setting, what, urls in asked
        if kind == "upstream" and (silent := web.silent(urls).values())
    ]
    if problems:
        raise SandboxError("\n".join(problems))


def _binaries(programs: Mapping[str, Path], cache: Path) -> Path:
    """One folder that every machine has as /opt/kubepark, named by what it holds."""
    versions = {name: plan(MODULES[name]).version for name in ("kubernetes", "containerd")}
    sources = {name: programs[name] for name in PROGRAMS}
    key = hashlib.sha256(repr((versions, sorted(map(str, sources.values())))).encode()).hexdigest()
    target = cache / f"machine-{key[:12]}"

    def fill(staged: Path) -> None:
        staged.mkdir(mode=0o755)
        for name, source in sources.items():
            link_or_copy(source, staged / name)  # machines mount this folder alone
        (staged / VERSIONS).write_text(json.dumps(versions), encoding="utf-8")

    make_once(target, "machine", ".machine-", fill)
    return target


def nft(cache: Path) -> Path:
    """nft from PATH, else from Debian's package with the libraries that it loads."""
    if found := shutil.which("nft"):
        return Path(found)
    root = unpacked(_NFT, cache)
    libraries = [path for kind in ("lib", "usr/lib") for path in sorted((root / kind).glob("*-linux-gnu"))]
    folders = ":".join(map(str, libraries))
    script, program = cache / "nft", shlex.quote(str(root / "usr/sbin/nft"))
    text = f'#!/bin/sh\nLD_LIBRARY_PATH={shlex.quote(folders)} exec {program} "$@"\n'
    atomic_write(script, text, mode=0o755)
    return script
