#!/usr/bin/python3
"""await-join: waits for a join record that this node may use and prints it as NAME=value lines.

The names are those of the placeholders in the kubeadm template. Complaints go to stderr.
"""

from __future__ import annotations

import calendar
import json
import random
import re
import runpy
import socket
import sys
import time
from pathlib import Path
from typing import Any

LIB = Path("/usr/local/lib/kubepark")
NODE_FILE = Path("/etc/kubepark/node.json")
PATIENCE = 1500  # seconds
PAUSE = 10  # seconds, jittered
SPARE = 600  # seconds that a token must have left
CONNECT_SECONDS = 5
HASH = re.compile(r"sha256:[0-9a-f]{64}")


def objection(text: str, generation: int, now: float) -> str:
    """Why the record cannot be used; "" if it can. `now` in seconds since 1970."""
    try:
        record = json.loads(text)
        if not (record["endpoint"] and record["token"]):
            return "is not there yet"
        expires = calendar.timegm(time.strptime(record["expiresAt"], "%Y-%m-%dT%H:%M:%SZ"))
        if record["generation"] < generation:  # of a newer one it may be: the record says which is current
            return f"is of master generation {record['generation']}, older than {generation}"
        if expires <= now + SPARE:
            return f"expires too soon: {record['expiresAt']}"
        if not HASH.fullmatch(record["caCertHashes"][0]):
            return "has no CA hash to pin"
    except (ValueError, KeyError, TypeError, IndexError):
        return "is not there yet"
    return ""


def unreachable(endpoint: str) -> str:
    """Why no connection to the API server can be made; kubeadm would be silent about it for minutes."""
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        return f"no connection to the API server at {endpoint}: {error}"
    return ""


def look(aws: dict[str, Any], node: dict[str, Any]) -> tuple[str, str]:
    """The join record and why it cannot be used yet; "" if it can."""
    try:
        text = aws["get_parameter"](node, node["parameters"]["join"])
    except SystemExit as refused:
        if "AccessDenied" in str(refused):  # waiting does not help
            raise
        return "", str(refused)
    problem = objection(text, node["masterGeneration"], time.time())
    return text, f"join record {problem}" if problem else unreachable(json.loads(text)["endpoint"])


def main() -> None:
    node, aws = json.loads(NODE_FILE.read_text()), runpy.run_path(str(LIB / "kp-aws"))
    deadline = time.monotonic() + PATIENCE
    said = ""
    while True:
        text, problem = look(aws, node)
        if not problem:
            break
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing to join within {PATIENCE} s: {problem}")
        if problem != said:
            print(f"waiting: {problem}", file=sys.stderr, flush=True)
            said = problem
        time.sleep(random.uniform(PAUSE / 2, PAUSE * 1.5))
    record = json.loads(text)
    print(f"JOIN_ENDPOINT={record['endpoint']}")
    print(f"JOIN_TOKEN={record['token']}")
    print(f"JOIN_CA_HASH={record['caCertHashes'][0]}")


if __name__ == "__main__":
    main()
