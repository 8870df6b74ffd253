#!/usr/bin/python3
"""reap-nodes: the master deletes Node objects whose machine is gone.

Nothing else would: there is no cloud controller. A Node goes when its status record, which that
node's own role alone can write, names another instance than the Node's provider id; or when the plan
has no such node any more (no record at all) and the Node is not Ready. The master's own stays.

A node that was cordoned to be parked is uncordoned once it is back, whoever started it.
"""

from __future__ import annotations

import json
import re
import runpy
import subprocess
from pathlib import Path
from typing import Any

LIB = Path("/usr/local/lib/kubepark")
NODE_FILE = Path("/etc/kubepark/node.json")
NODES = "/api/v1/nodes"
KUBECTL = ["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"]
CORDONED = "kubepark/cordoned-at-boot"  # annotation of a parked Node: the boot that was to end
# In JSON the quotes of a message are escaped, so it cannot be taken for the field itself.
INSTANCE = re.compile('"instanceId": "(i-[0-9a-f]+)"')


def stale(name: str, node: Any, records: dict[str, str]) -> bool:
    """Whether the Node's machine is gone, as far as the records (node name -> text) say."""
    if name in records:
        current, provider = INSTANCE.search(records[name]), node["spec"].get("providerID")
        return bool(current and provider and not provider.endswith(current[1]))
    return not ready(node)


def ready(node: Any) -> bool:
    conditions = node["status"].get("conditions", [])
    return ("Ready", "True") in [(each["type"], each["status"]) for each in conditions]


def back(node: Any) -> bool:
    """Whether the Node was cordoned in a boot that is over, and its machine is up again."""
    boot = node["metadata"].get("annotations", {}).get(CORDONED)
    return bool(boot) and ready(node) and node["status"]["nodeInfo"]["bootID"] != boot


def main() -> None:
    node = json.loads(NODE_FILE.read_text())
    own, status = node["node"], Path(node["parameters"]["status"])
    # Nodes first: a machine has written its record long before its Node can be in the list.
    nodes = json.loads(subprocess.check_output([*KUBECTL, "get", "--raw", NODES]))["items"]
    found = runpy.run_path(str(LIB / "kp-aws"))["by_path"](node, str(status.parent))
    records = {Path(each["Name"]).name: each["Value"] for each in found}
    if own not in records:
        raise SystemExit(f"reap-nodes: no record of {own} below {status.parent}")
    for each in nodes:
        name, uid = each["metadata"]["name"], each["metadata"]["uid"]
        if name != own and stale(name, each, records):
            # By uid: a new machine may have registered under the name meanwhile.
            body = json.dumps({"preconditions": {"uid": uid}}).encode()
            subprocess.check_output([*KUBECTL, "delete", "--raw", f"{NODES}/{name}", "-f", "-"], input=body)
            print(f"deleted the Node {name}")
        elif back(each):
            patch = {"metadata": {"annotations": {CORDONED: None}}, "spec": {"unschedulable": None}}
            subprocess.check_output([*KUBECTL, "patch", "node", name, "-p", json.dumps(patch)])
            print(f"uncordoned the Node {name}")


if __name__ == "__main__":
    main()
