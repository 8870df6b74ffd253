"""Files out of Debian packages, without installing anything on this machine.

A few things that the sandbox needs are no Go modules: a static libseccomp for runc, iptables for
kube-proxy's image. The machine's own apt fetches and verifies the packages; `dpkg -x` unpacks them
into a folder of the user's cache.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from sandbox.build.staged import make_once
from sandbox.errors import SandboxError
from sandbox.processes import output
from sandbox.progress import step


def unpacked(packages: Sequence[str], cache: Path) -> Path:
    """A folder that looks like `/` with just these packages in it, no dependencies.

    Fetched once: the folder is named by the packages. Raises `SandboxError` where there is no apt, or
    with apt's own message when it cannot fetch one.
    """
    target = unpacked_folder(packages, cache)
    make_once(target, "debian", ".debian-", lambda staged: _fetch(packages, staged))
    return target


def unpacked_folder(packages: Sequence[str], cache: Path) -> Path:
    """Where `unpacked` puts them, whether they are there or not."""
    key = hashlib.sha256(repr(sorted(packages)).encode()).hexdigest()[:12]
    return cache / f"debian-{key}"


def _fetch(packages: Sequence[str], staged: Path) -> None:
    names = ", ".join(packages)
    missing = [tool for tool in ("apt-get", "dpkg") if shutil.which(tool) is None]
    if missing:
        raise SandboxError(
            f"{names}: taken from Debian or Ubuntu packages, and {' and '.join(missing)} is not on PATH: "
            "real nodes need such a machine"
        )
    with step(f"fetching Debian packages {names}", "fetched Debian packages"):
        staged.mkdir()
        try:
            _download(packages, staged.parent)
        except SandboxError as error:
            raise SandboxError(
                f"{error}\nCheck that the machine's package mirror is reachable, then run this again."
            ) from None
        for package in sorted(staged.parent.glob("*.deb")):
            output(["dpkg", "-x", package, staged])


def _download(packages: Sequence[str], folder: Path) -> None:
    """With the machine's package lists; where it has none that serve, with fresh ones of our own."""
    # As root apt would fetch as the user _apt, which cannot write here.
    apt = ["apt-get", "--quiet", "-o", "APT::Sandbox::User=root"]
    try:
        output([*apt, "download", *packages], cwd=folder)
    except SandboxError:
        lists, archives = folder / "lists", folder / "archives"
        apt += ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={archives}"]
        for needed in (lists, archives):
            (needed / "partial").mkdir(parents=True)
        output([*apt, "update"])
        output([*apt, "download", *packages], cwd=folder)
