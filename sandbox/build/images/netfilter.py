"""iptables as files of an image: kube-proxy calls it, and no Go module has it.

The programs come from Debian packages of the machine's own release, so the machine's C library fits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from sandbox.build.debian import unpacked
from sandbox.build.images.oci import Files
from sandbox.errors import SandboxError
from sandbox.processes import output

PACKAGES = (
    "iptables", "libip4tc2", "libip6tc2", "libxtables12", "libnftnl11", "libmnl0", "libnfnetlink0",
    "libnetfilter-conntrack3",
)  # fmt: skip
# Each program serves under many names. The plain ones are those that write nftables, as on Debian.
_PROGRAMS = {"": "xtables-nft-multi", "-nft": "xtables-nft-multi", "-legacy": "xtables-legacy-multi"}
_LIBRARY = re.compile(r"^\s*(?:\S+ => )?(/.+) \(0x[0-9a-f]+\)$", re.MULTILINE)


def iptables(cache: Path) -> Files:
    """Programs, extensions and every library they load. Raises `SandboxError`, with apt's message as well."""
    root = unpacked(PACKAGES, cache)
    programs = [root / "usr/sbin" / name for name in sorted(set(_PROGRAMS.values()))]
    extensions = sorted(root.glob("usr/lib/*/xtables/*.so"))
    if not extensions or not all(program.exists() for program in programs):
        raise SandboxError(f"{root} does not hold iptables as Debian and Ubuntu pack it")
    found = _libraries([*programs, *extensions], extensions[0].parent.parent)
    copies = {_place(path, root): path for path in [*programs, *extensions, *found]}
    links = {
        f"/usr/sbin/{family}{kind}{verb}": program
        for family in ("iptables", "ip6tables")
        for kind, program in _PROGRAMS.items()
        for verb in ("", "-save", "-restore")
    }
    return Files(copies, links)


def _libraries(binaries: Iterable[Path], folder: Path) -> list[Path]:
    """What the dynamic loader would load for the binaries, itself included."""
    listed = output(["ldd", *binaries], env={**os.environ, "LD_LIBRARY_PATH": str(folder)})
    if missing := sorted({line.strip() for line in listed.splitlines() if "not found" in line}):
        raise SandboxError(f"the libraries of iptables: {'; '.join(missing)}")
    return [Path(name) for name in sorted(set(_LIBRARY.findall(listed)))]


def _place(path: Path, root: Path) -> str:
    return f"/{path.relative_to(root)}" if path.is_relative_to(root) else str(path)
