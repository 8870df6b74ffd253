#!/usr/bin/python3
"""Stands for cloud-init: at an instance's first boot, does what its user data says.

The host hands over user-data.json, the parsed cloud-config with the digest of the bytes that it comes
from: PyYAML is part of cloud-init's package and not of every machine that this runs on. The bytes come
from the metadata service all the same, and must be the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

METADATA = "http://169.254.169.254/latest/"
PARSED = Path("/usr/local/lib/kubepark-sandbox/user-data.json")
SEMAPHORES = Path("/var/lib/cloud/instances")
LOG = Path("/var/log/cloud-init.log")
KEYS = {"hostname", "manage_etc_hosts", "ssh_pwauth", "write_files", "runcmd"}
_TRIES = 60
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def log(text: str) -> None:
    with LOG.open("a") as file:
        print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text, file=file)


def metadata(path: str) -> bytes:
    ask = urllib.request.Request(METADATA + "api/token", method="PUT")
    ask.add_header("X-aws-ec2-metadata-token-ttl-seconds", "60")
    with _opener.open(ask, timeout=5) as answer:
        token = answer.read().decode()
    get = urllib.request.Request(METADATA + path, headers={"X-aws-ec2-metadata-token": token})
    with _opener.open(get, timeout=5) as answer:
        found: bytes = answer.read()
        return found


def patiently(path: str) -> bytes:
    """The metadata service is there shortly after the machine."""
    for tried in range(_TRIES):
        try:
            return metadata(path)
        except OSError as error:
            if tried == _TRIES - 1:
                raise
            log(f"metadata service: {error}")
            time.sleep(1)
    raise AssertionError("unreachable")


def apply(config: dict[str, Any]) -> None:
    """Exactly the keys that are known. Raises `ValueError` for others."""
    unknown = sorted(set(config) - KEYS)
    if unknown or config.get("manage_etc_hosts") or config.get("ssh_pwauth"):
        raise ValueError(f"cloud-config that this stand-in does not know: {', '.join(unknown) or config}")
    socket.sethostname(config["hostname"])
    Path("/etc/hostname").write_text(config["hostname"] + "\n")
    for entry in config["write_files"]:
        if set(entry) != {"path", "permissions", "content"}:
            raise ValueError(f"write_files: {sorted(entry)}")
        path = Path(entry["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(entry["content"])
        path.chmod(int(entry["permissions"], 8))
    for command in config["runcmd"]:
        log(f"runcmd: {' '.join(command)}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            log(f"exit {done.returncode}: {done.stderr.strip()}")


def main() -> int:
    os.umask(0o022)
    instance = patiently("meta-data/instance-id").decode()
    done = SEMAPHORES / instance / "boot-finished"
    if done.exists():
        socket.sethostname(Path("/etc/hostname").read_text().strip())
        return 0
    parsed = json.loads(PARSED.read_text())
    given = hashlib.sha256(metadata("user-data")).hexdigest()
    if given != parsed["sha256"]:
        log("the metadata service has other user data than the host has read")
        return 1
    try:
        apply(parsed["config"])
    except ValueError as error:
        log(str(error))
        return 1
    done.parent.mkdir(parents=True, exist_ok=True)
    done.write_text("")
    return 0


if __name__ == "__main__":
    sys.exit(main())
