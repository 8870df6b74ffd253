"""The steps of a simulated boot, by the names that the user data's own plan gives them.

A step that only prepares the machine has nothing to do here beyond the downloads that it would make;
what a node and its cluster say to each other is done for real.
"""

from __future__ import annotations

import base64
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml

from sandbox.aws.cloud import RUNNING
from sandbox.files import atomic_write
from sandbox.nodes.api import Api
from sandbox.nodes.backend import API_PORT
from sandbox.nodes.simulated.controlplane import configuration, registration
from sandbox.nodes.simulated.discovery import (
    CLUSTER_INFO,
    UNPROVEN,
    JoinRefused,
    NameTaken,
    NotSigned,
    bootstrap,
    discover,
)
from sandbox.record import rfc3339

if TYPE_CHECKING:
    from sandbox.nodes.simulated.node import SimulatedNode

TOKEN_HOURS = 24
_SPARE = timedelta(minutes=10)  # a token must live at least that long
_PENDING_SECONDS = 1500.0  # how long a node waits for the first join record
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")
_PREFLIGHT = "error execution phase preflight: "


class Wait(Exception):
    """Not yet: look again soon. The text says what for."""


class StepFailed(Exception):
    """The step ended with an error. The text is the node's own message."""


def packages(node: SimulatedNode) -> None:
    """The distribution's mirror speaks HTTP, the vendors' repositories HTTPS."""
    node.machine.fetch("archive.ubuntu.com", 80)
    node.machine.fetch("pkgs.k8s.io", 443)


def images(node: SimulatedNode) -> None:
    node.machine.fetch("registry.k8s.io", 443)


def hosts(node: SimulatedNode) -> None:
    node.disk.memory.hosts = node.machine.hosts()


def encryption(node: SimulatedNode) -> None:
    """The key for Secrets in etcd: made once on this disk, a copy in Parameter Store."""
    cluster = configuration(document(node), "ClusterConfiguration")
    given = cluster.get("apiServer", {}).get("extraArgs", [])
    path = next((each["value"] for each in given if each["name"] == "encryption-provider-config"), None)
    if path is None:
        return
    target = node.disk.root / str(path).lstrip("/")
    if target.exists():
        kept = yaml.safe_load(target.read_text(encoding="utf-8"))
        key = kept["resources"][0]["providers"][0]["secretbox"]["keys"][0]["secret"]
    else:
        key = base64.b64encode(os.urandom(32)).decode()
    node.machine.put_parameter(node.user_data.parameter("encryptionKey"), key, secure=True)
    providers = [{"secretbox": {"keys": [{"name": "key1", "secret": key}]}}, {"identity": {}}]
    config = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": providers}],
    }
    atomic_write(target, yaml.safe_dump(config))


def init(node: SimulatedNode) -> None:
    """`kubeadm init`: a control plane on this disk, and the master's own Node."""
    plane = node.control_plane()
    text = document(node)
    endpoint = str(configuration(text, "ClusterConfiguration")["controlPlaneEndpoint"])
    resolve(node, endpoint.rpartition(":")[0])
    plane.initialise(text)
    node.register(Api.from_kubeconfig(node.kubeconfig), registration(text))
    plane.mark(node.name, text)
    node.backend.up(text)


def dns(node: SimulatedNode) -> None:
    """The patch of CoreDNS that the user data brings."""
    plane = node.control_plane()
    if not plane.ready():
        raise Wait("the API is not ready")
    patch = yaml.safe_load(node.user_data.files["/etc/kubepark/coredns.yaml"].content)
    plane.api().patch("/apis/apps/v1/namespaces/kube-system/deployments/coredns", patch)


def publish(node: SimulatedNode) -> None:
    """The operator's kubeconfig first, then the join record with a fresh token."""
    plane = node.control_plane()
    if not plane.ready():
        raise Wait("the API is not ready")
    identity = node.machine.identity()
    data = node.user_data
    server = data.node.get("apiEndpoint") or f"https://{identity['PUBLIC_IP']}:{API_PORT}"
    node.machine.put_parameter(data.parameter("kubeconfig"), plane.operator_kubeconfig(server), secure=True)
    expires = datetime.now(UTC) + timedelta(hours=TOKEN_HOURS)
    record = {
        "schema": 1,
        "instanceId": identity["INSTANCE_ID"],
        "generation": data.generation,
        "endpoint": configuration(document(node), "ClusterConfiguration")["controlPlaneEndpoint"],
        "token": plane.mint_token(TOKEN_HOURS),
        "caCertHashes": [plane.ca_hash()],
        "expiresAt": rfc3339(expires),
    }
    node.machine.put_parameter(data.parameter("join"), json.dumps(record), secure=True)
    node.disk.memory.published = time.time()


def join(node: SimulatedNode) -> None:
    """`kubeadm join` with the CA pinned; a node that has joined before only starts its kubelet.

    Like the program's own step, it is not content with a Node that a former machine left behind.
    """
    if node.kubeconfig.exists():
        return
    record = await_record(node)
    host, _, port = str(record["endpoint"]).rpartition(":")
    server = connect(node, resolve(node, host), int(port), record["endpoint"])
    try:
        authority = discover(server, record["endpoint"], record["token"], record["caCertHashes"])
        kubeconfig = bootstrap(server, authority, record["token"], node.name)
    except NotSigned as error:  # a new token is signed within seconds; kubeadm waits for it too
        raise not_yet(node, "signature", f"{_PREFLIGHT}{error}") from None
    except NameTaken as error:
        raise not_yet(node, "name", f"error execution phase kubelet-start: {error}") from None
    except JoinRefused as error:
        raise StepFailed(f"{_PREFLIGHT}{error}") from None
    atomic_write(node.kubeconfig, kubeconfig)
    registered = node.register(Api.from_kubeconfig(node.kubeconfig), registration(document(node, record)))
    provider = str(registered["spec"].get("providerID", ""))
    if provider != node.machine.instance.provider_id:
        node.reset(provider)
        raise not_yet(node, "name", f"Node {node.name} has the provider id '{provider}'")


def not_yet(node: SimulatedNode, reason: str, message: str) -> Exception:
    """`Wait` until the node has waited too long for this reason, then `StepFailed`."""
    return Wait(message) if node.waited(reason) <= node.backend.join_timeout else StepFailed(message)


ACTIONS: Mapping[str, Callable[[SimulatedNode], None]] = {
    action.__name__: action for action in (packages, images, hosts, encryption, init, dns, publish, join)
}


def document(node: SimulatedNode, record: Mapping[str, Any] | None = None) -> str:
    """The node's kubeadm document with this machine's values in place."""
    values = node.machine.identity()
    if values["PRIVATE_IP"] != node.user_data.node["privateIp"]:
        planned = node.user_data.node["privateIp"]
        raise StepFailed(f"fill: this machine has {values['PRIVATE_IP']}, the plan says {planned}")
    if record:
        values |= {
            "JOIN_ENDPOINT": record["endpoint"],
            "JOIN_TOKEN": record["token"],
            "JOIN_CA_HASH": record["caCertHashes"][0],
        }
    template = node.user_data.template
    missing = sorted(set(_PLACEHOLDER.findall(template)) - set(values))
    if missing:
        raise StepFailed(f"fill: no value for {', '.join(missing)}")
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], template)


def resolve(node: SimulatedNode, host: str) -> str:
    """The address that /etc/hosts gives; names that are not there have no DNS record either."""
    if not node.disk.memory.hosts:
        hosts(node)
    address = node.disk.memory.hosts.get(host)
    if address is None:
        raise StepFailed(f"dial tcp: lookup {host} on 127.0.0.53:53: no such host")
    return address


def connect(node: SimulatedNode, address: str, port: int, shown: str) -> str:
    """The URL on this machine that stands for `address:port` as seen from the node."""
    node.machine.check_power()
    url = f"https://{shown}{CLUSTER_INFO}?timeout=10s"
    where = f'{_PREFLIGHT}{UNPROVEN}Get "{url}": dial tcp {address}:{port}'
    running = [each for each in node.account.cloud.instances().values() if each.state == RUNNING]
    target = next((each for each in running if each.private_ip == address), None)
    if target is None or not node.account.network.reaches(node.machine.instance, target, port):
        raise StepFailed(f"{where}: i/o timeout")
    plane, master = node.backend.control_plane, node.backend.master
    if plane is None or master is None or master.disk.instance_id != target.id:
        raise StepFailed(f"{where}: connect: connection refused")
    return plane.server


def await_record(node: SimulatedNode) -> dict[str, Any]:
    """The join record once this node may use it. Waits; fails after the timeout."""
    text = node.machine.get_parameter(node.user_data.parameter("join"))
    problem, final = objection(text, int(node.user_data.node["masterGeneration"]), datetime.now(UTC))
    if not problem:
        record: dict[str, Any] = json.loads(text)
        return record
    timeout = node.backend.join_timeout if final else _PENDING_SECONDS
    if node.waited(problem) > timeout:
        raise StepFailed(f"nothing to join within {timeout:.0f} s: join record {problem}")
    raise Wait(f"join record {problem}")


def objection(text: str, generation: int, now: datetime) -> tuple[str, bool]:
    """Why a join record cannot be used ("" if it can), and whether one was there at all."""
    try:
        record: Any = json.loads(text)
        if record["generation"] < generation:
            return f"is of master generation {record['generation']}, older than {generation}", True
        if datetime.fromisoformat(record["expiresAt"]) <= now + _SPARE:
            return f"expires too soon: {record['expiresAt']}", True
        if not record["caCertHashes"] or not all(_HASH.fullmatch(each) for each in record["caCertHashes"]):
            return "has no CA hash to pin", True
    except (ValueError, KeyError, TypeError):
        return "is not there yet", False
    return "", False
