"""The root file system that every machine starts from: a distribution's own packages, put together once.

mmdebstrap makes it from the host's mirror, in the user's cache. Nothing is installed on the host: mmdebstrap
is unpacked from its package, and what runs machines and builds packages (systemd-nspawn, dpkg-deb,
apt-ftparchive, gpg) is the root file system's own, so that no version of the host's has to fit.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
from pathlib import Path

from sandbox.build.debian import unpacked
from sandbox.errors import SandboxError
from sandbox.files import exclusive
from sandbox.processes import output
from sandbox.progress import step

# What Ubuntu's cloud images have and the node's scripts, kubeadm or a person at the console need.
_IMAGE = (
    *(
        "systemd",
        "systemd-sysv",
        "init",
        "dbus",
        "libpam-systemd",
        "udev",
        "kmod",
        "procps",
        "mount",
        "login",
    ),
    *(
        "util-linux",
        "iproute2",
        "netbase",
        "adduser",
        "sudo",
        "ca-certificates",
        "curl",
        "openssl",
        "python3",
    ),
    *("cloud-init", "unattended-upgrades"),
)
# What the host would need otherwise.
_OURS = ("systemd-container", "apt-utils", "gpg", "gpg-agent")
# What a node's first `apt install` asks the archive for: served to machines with all that it depends on.
_ARCHIVE = ("ca-certificates", "conntrack", "curl", "ebtables", "ethtool", "iptables", "openssl", "socat")
# Folders that no machine reads.
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
_SECONDS = 900
# Nobody answers DHCP: with a client there, cloud-init would wait a minute for it.
_HOOK = """\
set -e
export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
apt-get --quiet --yes --download-only -o Dir::Cache::Archives="$1/var/cache/apt/archives" install {packages}
mkdir "$1/../archive"
mv "$1"/var/cache/apt/archives/*.deb "$1/../archive/"
rm -f "$1"/usr/sbin/dhclient
"""


class RootFs:
    """`root`: the lowest layer of every machine's disk, never changed. `archive`: packages, as a mirror has
    them.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.archive = folder / "archive"

    def program(self, path: str) -> list[str]:
        """Command line of one of its programs, with its own libraries, for use on the host."""
        libraries = self.root / "usr/lib/x86_64-linux-gnu"
        search = f"{libraries}:{libraries / 'systemd'}"
        loader = libraries / "ld-linux-x86-64.so.2"
        return [str(loader), "--library-path", search, str(self.root / path.lstrip("/"))]


def ensure(cache: Path) -> RootFs:
    """The root file system, made if it is not there yet. Raises `SandboxError`."""
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    key = hashlib.sha256(repr((suite, _IMAGE, _OURS, _ARCHIVE, _LEFT_OUT, _HOOK)).encode()).hexdigest()
    target = cache / f"rootfs-{key[:12]}"
    with exclusive(cache / "rootfs.lock"):
        if not target.exists():
            _make(suite, cache, target)
    return RootFs(target)


def _make(suite: str, cache: Path, target: Path) -> None:
    program = unpacked(("mmdebstrap",), cache) / "usr/bin"
    for leftover in cache.glob(".rootfs-*"):  # of one that was killed; we hold the lock
        shutil.rmtree(leftover)
    with (
        tempfile.TemporaryDirectory(dir=cache, prefix=".rootfs-") as folder,
        step(f"making the machines' root file system of {suite}", "made the machines' root file system"),
    ):
        staged = Path(folder) / "made"
        staged.mkdir(mode=0o755)
        # Ubuntu has ebtables in universe.
        components = "main,universe" if platform.freedesktop_os_release()["ID"] == "ubuntu" else "main"
        hook = _HOOK.format(packages=" ".join(_ARCHIVE))
        command: list[str | Path] = [
            *(program / "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"),
            f"--components={components}",
            f"--include={','.join((*_IMAGE, *_OURS))}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
            # No machine must survive a crash of the host.
            *("--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Languages "none"'),
            *(f"--customize-hook={hook}", suite, staged / "root"),
        ]
        path = f"{program}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        try:
            output(command, env={**os.environ, "PATH": path}, timeout=_SECONDS)
        except SandboxError as error:
            raise SandboxError(
                f"{error}\nCheck that the machine's package mirror is reachable, then run this again."
            ) from None
        staged.rename(target)
