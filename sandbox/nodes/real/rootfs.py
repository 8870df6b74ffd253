"""The root file system that every machine starts from: a distribution's own packages, put together once.

mmdebstrap makes it in the user's cache: of Ubuntu, as nodes on AWS are, where its mirror answers, else of the
host's distribution. Nothing is installed on the host: mmdebstrap is unpacked from its package, and what runs
machines and builds packages (systemd-nspawn, dpkg-deb, apt-ftparchive, gpg) is the root file system's own, so
that no version of the host's has to fit.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import platform
import shutil
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from sandbox.build.debian import unpacked
from sandbox.errors import SandboxError
from sandbox.files import exclusive
from sandbox.processes import output
from sandbox.progress import note, step

# What Ubuntu's cloud images have and the node's scripts, kubeadm or a person at the console need.
_IMAGE = (
    *("systemd", "systemd-sysv", "init", "dbus", "libpam-systemd", "udev", "kmod", "procps", "mount"),
    *("login", "util-linux", "iproute2", "netbase", "adduser", "sudo", "ca-certificates", "curl", "openssl"),
    *("python3", "cloud-init", "unattended-upgrades"),
)
# What the host would need otherwise.
_OURS = ("systemd-container", "apt-utils", "gpg", "gpg-agent")
# What a node's first `apt install` asks the archive for: served to machines with all that it depends on.
_ARCHIVE = ("ca-certificates", "conntrack", "curl", "ebtables", "ethtool", "iptables", "openssl", "socat")
# Folders that no machine reads.
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
_SECONDS = 600
_PROBE_SECONDS = 3.0
_MIRROR = "http://archive.ubuntu.com/ubuntu"
# What signs it. Path and SHA-256: Packages.xz of noble's main component, read there in November 2026.
_KEYRING = (
    "pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb",
    "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8",
)
# Nobody answers DHCP: with a client there, cloud-init would wait a minute for it.
_HOOK = """\
set -e
export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
apt-get --quiet --yes --download-only -o Dir::Cache::Archives="$1/var/cache/apt/archives" install {packages}
mkdir "$1/../archive"
mv "$1"/var/cache/apt/archives/*.deb "$1/../archive/"
rm -f "$1"/usr/sbin/dhclient "$1"/usr/sbin/dhcpcd
"""


class RootFs:
    """`root`: the lowest layer of every machine's disk, never changed. `archive`: packages, as a mirror has
    them.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.archive = folder / "archive"

    @property
    def is_ubuntu(self) -> bool:
        return "\nID=ubuntu\n" in (self.root / "usr/lib/os-release").read_text(encoding="utf-8")

    def program(self, path: str) -> list[str]:
        """Command line of one of its programs, with its own libraries, for use on the host."""
        libraries = self.root / "usr/lib/x86_64-linux-gnu"
        search = f"{libraries}:{libraries / 'systemd'}"
        loader = libraries / "ld-linux-x86-64.so.2"
        return [str(loader), "--library-path", search, str(self.root / path.lstrip("/"))]


@dataclass(frozen=True)
class Distribution:
    """What the root file system is made of. `sources` are lines of sources.list; none: the host's own."""

    name: str
    suite: str
    components: str = "main,universe"  # Ubuntu has ebtables in universe
    sources: tuple[str, ...] = ()


def ensure(cache: Path) -> RootFs:
    """The root file system: what is there, else Ubuntu's, else the host's. Raises `SandboxError`."""
    host = _of_host()
    with exclusive(cache / "rootfs.lock"):
        for leftover in cache.glob(".rootfs-*"):  # of one that was killed; we hold the lock
            shutil.rmtree(leftover)
        if made := find(cache):
            return made
        if host.name != _UBUNTU.name and _answers():
            try:
                return _make(_UBUNTU, cache)
            except SandboxError as error:  # it answers, and does not serve what is needed
                note(f"the machines' root file system will be {host.name}'s, not Ubuntu's: {error}")
        return _make(host, cache)


def find(cache: Path) -> RootFs | None:
    """The root file system if there is one: Ubuntu's before the host's."""
    targets = [_target(cache, made_of) for made_of in (_UBUNTU, _of_host())]
    return next((RootFs(target) for target in targets if target.exists()), None)


def _of_host() -> Distribution:
    release = platform.freedesktop_os_release()
    components = "main,universe" if release["ID"] == "ubuntu" else "main"
    return Distribution(release["ID"], release.get("VERSION_CODENAME", ""), components)


def _target(cache: Path, made_of: Distribution) -> Path:
    key = repr((made_of, _KEYRING, _IMAGE, _OURS, _ARCHIVE, _LEFT_OUT, _HOOK))
    return cache / f"rootfs-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def _answers() -> bool:
    request = urllib.request.Request(f"{_MIRROR}/dists/{_UBUNTU.suite}/InRelease", method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_PROBE_SECONDS).close()
    except (OSError, http.client.HTTPException):
        return False
    return True


def _keyring(folder: Path) -> Path:
    """Ubuntu's, which a Debian host does not have. Raises `SandboxError`."""
    path, sha256 = _KEYRING
    package = folder / "keyring.deb"
    try:
        with urllib.request.urlopen(f"{_MIRROR}/{path}", timeout=_SECONDS) as answer:
            package.write_bytes(answer.read())
    except (OSError, http.client.HTTPException) as error:
        raise SandboxError(f"{_MIRROR}/{path}: {error}") from None
    if (found := hashlib.sha256(package.read_bytes()).hexdigest()) != sha256:
        raise SandboxError(f"{_MIRROR}/{path} has the SHA-256 {found}, not {sha256}")
    output(["dpkg", "-x", package, folder / "keyring"])
    return folder / "keyring/usr/share/keyrings/ubuntu-archive-keyring.gpg"


def _make(made_of: Distribution, cache: Path) -> RootFs:
    program, what = unpacked(("mmdebstrap",), cache) / "usr/bin", "the machines' root file system"
    with (
        tempfile.TemporaryDirectory(dir=cache, prefix=".rootfs-") as name,
        step(f"making {what} of {made_of.suite}", f"made {what}"),
    ):
        folder = Path(name)
        staged = folder / "made"
        staged.mkdir(mode=0o755)
        hook = _HOOK.format(packages=" ".join(_ARCHIVE))
        command: list[str | Path] = [
            *(program / "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"),
            f"--components={made_of.components}",
            f"--include={','.join((*_IMAGE, *_OURS))}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
            # No machine must survive a crash of the host.
            *("--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Languages "none"'),
            *(f"--customize-hook={hook}", made_of.suite, staged / "root"),
        ]
        path = f"{program}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        try:
            if made_of.sources:
                keyring = _keyring(folder)
                command += [line.format(keyring=keyring) for line in made_of.sources]
            output(command, env={**os.environ, "PATH": path}, timeout=_SECONDS)
        except SandboxError as error:
            raise SandboxError(
                f"{error}\nCheck that the machine's package mirror is reachable, then run this again."
            ) from None
        staged.rename(_target(cache, made_of))
    return RootFs(_target(cache, made_of))


# Of the nodes' images (config/versions.py), whatever the host's is.
_UBUNTU = Distribution(
    "ubuntu",
    "noble",
    sources=tuple(
        f"deb [signed-by={{keyring}}] {_MIRROR} {suite} main universe" for suite in ("noble", "noble-updates")
    ),
)
