#!/usr/bin/python3
"""refresh-hosts: keeps this cluster's block in /etc/hosts equal to what Parameter Store says."""

from __future__ import annotations

import ipaddress
import json
import re
import runpy
from pathlib import Path
from typing import Any

LIB = Path("/usr/local/lib/kubepark")
NODE_FILE = Path("/etc/kubepark/node.json")
HOSTS = Path("/etc/hosts")
BEGIN, END = "# BEGIN kubepark", "# END kubepark"
NAMES = re.compile(r"[a-z0-9][a-z0-9. -]*")


def rows(node: dict[str, Any]) -> list[str]:
    """Checked lines of the block. Anything odd ends the program and leaves the file alone."""
    path, lines = node["parameters"]["hostsPath"], []
    for parameter in runpy.run_path(str(LIB / "kp-aws"))["by_path"](node, path):
        for address, names in json.loads(parameter["Value"])["rows"]:
            if not NAMES.fullmatch(" ".join(names)):
                raise SystemExit(f"refresh-hosts: bad names for {address}: {names}")
            lines.append(f"{ipaddress.ip_address(address)} {' '.join(names)}")
    if not lines:
        raise SystemExit(f"refresh-hosts: no rows below {path}")
    return lines


def rewrite(text: str, block: list[str]) -> str:
    """`text` with our block at its end and the IPv6 line of localhost commented out."""
    rest = re.sub(f"^{BEGIN}\n.*^{END}\n", "", text, flags=re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^(::1\s)", r"#\1", rest, flags=re.MULTILINE)
    return "\n".join([rest.rstrip("\n"), BEGIN, *block, END, ""])


def main() -> None:
    before = HOSTS.read_text()
    after = rewrite(before, rows(json.loads(NODE_FILE.read_text())))
    if after != before:
        fresh = HOSTS.with_suffix(".kubepark")
        fresh.write_text(after)
        fresh.chmod(0o644)
        fresh.replace(HOSTS)


if __name__ == "__main__":
    main()
