"""Signed apt repositories of the packages that nodes install, as the real hosts have them.

Made once for what they hold, in the user's cache, by the root file system's own dpkg-deb, apt-ftparchive and
gpg. Keys are thrown away once everything is signed; the certificate's is kept, for the server.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sandbox.build.staged import make_once
from sandbox.files import link_or_copy
from sandbox.nodes.real.packages import ARCHIVE, BINARIES, Package, Repository, repositories
from sandbox.nodes.real.rootfs import RootFs
from sandbox.processes import output
from sandbox.progress import step

_SECONDS = 300
_HEAD = """\
set -eu
export GNUPGHOME=/mnt/keys TMPDIR=/mnt
gpg --batch --quiet --passphrase '' --quick-generate-key 'kubepark sandbox' ed25519 sign never
gpg --batch --quiet --export 'kubepark sandbox' >archive.gpg
gpg --batch --quiet --armor --export 'kubepark sandbox' >archive.asc
sign() { gpg --batch --quiet --yes --clearsign -o "$1/InRelease" "$1/Release"; }
"""
_CERTIFICATE = """\
new='openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
$new -x509 -days 3650 -subj '/CN=kubepark sandbox' -keyout keys/ca.key -out ca.crt 2>/dev/null
$new -subj /CN=outside -keyout server.key -out server.csr 2>/dev/null
echo subjectAltName={names} >names
openssl x509 -req -in server.csr -CA ca.crt -CAkey keys/ca.key -days 3650 -out server.crt \\
  -extfile names 2>/dev/null
rm -rf keys names server.csr trees
"""


@dataclass(frozen=True)
class Mirrors:
    """`folder`/<host>: what each host serves. A machine trusts `authority` (TLS) and `key` (packages).

    For hosts of `upstream` the real ones are asked.
    """

    folder: Path
    hosts: tuple[str, ...]
    upstream: tuple[str, ...] = ()

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def key(self) -> Path:
        return self.folder / "archive.gpg"


def ensure(every: list[Package], rootfs: RootFs, cache: Path, upstream: tuple[str, ...] = ()) -> Mirrors:
    """The repositories of these packages, but of none of `upstream`'s, and the root file system's archive.

    Raises `SandboxError`.
    """
    hosts = tuple(sorted({each.host for each in repositories(every)}))
    made = [package for package in every if package.repository.host not in upstream]
    recipe = repr((_HEAD, _CERTIFICATE, rootfs.root.parent.name, made, hosts))
    target = cache / f"mirrors-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"

    def fill(staged: Path) -> None:
        with step("making package repositories", "made package repositories"):
            staged.mkdir(mode=0o755)
            _make(made, rootfs, staged, hosts)

    make_once(target, "mirrors", ".mirrors-", fill)
    return Mirrors(target, hosts, upstream)


def _make(made: list[Package], rootfs: RootFs, staged: Path, hosts: Iterable[str]) -> None:
    (staged / "keys").mkdir(mode=0o700)
    pool = staged / ARCHIVE.host / ARCHIVE.path.lstrip("/") / "pool"
    pool.mkdir(parents=True)
    for file in rootfs.archive.glob("*.deb"):
        link_or_copy(file, pool / file.name)
    for package in made:
        write_tree(package, staged / "trees" / package.name)
    names = ",".join(f"DNS:{host}" for host in hosts)
    lines = [_HEAD, *map(_build, made), *map(_index, repositories(made)), _CERTIFICATE.format(names=names)]
    (staged / "make").write_text("\n".join(lines), encoding="utf-8")
    # Everything that it starts ends with it (gpg's agent); the root file system stays as it is.
    inside = (
        'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'
        ' && mount --bind "$2" "$1/mnt" && mount --bind /dev "$1/dev"'
        ' && exec chroot "$1" sh -c "cd /mnt && exec sh make"'
    )
    namespaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    output([*namespaces, "sh", "-c", inside, "sh", rootfs.root, staged], env=environment, timeout=_SECONDS)
    (staged / "make").unlink()


def write_tree(package: Package, tree: Path) -> None:
    """What dpkg-deb makes a package of."""
    fields = {
        "Package": package.name,
        "Version": package.version,
        "Architecture": "amd64",
        "Maintainer": "kubepark sandbox <none@localhost>",
        "Description": f"{package.name}, as far as the sandbox has it",
        **package.relations,
    }
    files = {
        "/DEBIAN/control": "".join(f"{name}: {value}\n" for name, value in fields.items()),
        **package.files,
    }
    if package.conffiles:
        files["/DEBIAN/conffiles"] = "".join(f"{path}\n" for path in package.conffiles)
    if package.configure:
        files["/DEBIAN/postinst"] = (
            f'#!/bin/sh\nset -e\nif [ "$1" = configure ]; then\n{package.configure}fi\n'
        )
    for path, text in files.items():
        file = _parent(tree, path)
        file.write_text(text, encoding="utf-8")
        file.chmod(0o755 if text.startswith("#!") else 0o644)
    for path, program in package.links.items():
        _parent(tree, path).symlink_to(f"{BINARIES}/{program}")


def _parent(tree: Path, path: str) -> Path:
    file = tree / path.lstrip("/")
    for folder in reversed([each for each in file.parents if tree in (each, *each.parents)]):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return file


def _folder(repository: Repository) -> str:
    return f"{repository.host}{repository.path}"


def _build(package: Package) -> str:
    folder = _folder(package.repository) + ("/pool" if package.repository.suite else "")
    tree = f"trees/{package.name}"
    return (
        f"mkdir -p {shlex.quote(folder)}\n"
        f"dpkg-deb -Znone --root-owner-group --build {shlex.quote(tree)} {shlex.quote(folder)} >/dev/null"
    )


def _index(repository: Repository) -> str:
    """In sh: the index of a repository, signed."""
    pool = dist = index = "."  # of a flat one
    options = {}
    if repository.suite:
        pool, dist = "pool", f"dists/{repository.suite}"
        index = f"{dist}/{repository.component}/binary-amd64"
        options = dict.fromkeys(("Suite", "Codename"), repository.suite)
        options |= {"Components": repository.component, "Architectures": "amd64"}
    words = "".join(f"-o APT::FTPArchive::Release::{name}={value} " for name, value in options.items())
    lines = [
        f"cd {shlex.quote(_folder(repository))}",
        f"mkdir -p {index}",
        f"apt-ftparchive packages {pool} >{index}/Packages",
        f"apt-ftparchive {words}release {dist} >Release.new && mv Release.new {dist}/Release",
        f"sign {dist}",
        "cd /mnt",
    ]
    if repository.key:
        lines.append(f"cp archive.asc {shlex.quote(repository.host + repository.key)}")
    return "\n".join(lines)
