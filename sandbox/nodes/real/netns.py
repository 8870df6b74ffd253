"""The network of real nodes: one namespace that is the VPC's switch, and one for each instance.

Everything lies in namespaces, so that no address of the VPC ever appears on the host. What belongs to
one sandbox carries its prefix, so that it can be found and removed whatever became of the boot.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
import socket
import threading
from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TypeVar

from sandbox.processes import output

T = TypeVar("T")
NAMESPACES = Path("/run/netns")
BRIDGE = "br0"
METADATA_ADDRESS = "169.254.169.254"
RESOLVER_ADDRESS = "169.254.169.253"  # nobody answers there, and says so at once
OUTSIDE_ADDRESS = "192.0.2.1"  # the internet, behind the router; of a block that nobody has (RFC 5737)
_SECONDS = 30  # no command takes longer
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


def ip(*arguments: str) -> str:
    """Run ip(8): its output. Raises `SandboxError`."""
    return output(["ip", *arguments], timeout=_SECONDS)


class Vpc:
    """The switch that all instances of one sandbox are plugged into."""

    def __init__(self, prefix: str) -> None:
        if not re.fullmatch(r"kp-[0-9a-f]{6}", prefix):
            raise ValueError(f"not a sandbox's prefix: {prefix}")
        self.prefix = prefix
        self.name = f"{prefix}-vpc"
        self.path = NAMESPACES / self.name
        self._lock = threading.Lock()  # instances are plugged in by threads of their own

    def namespace(self, instance_id: str) -> Path:
        """Where the network namespace of an instance is (made by `attach`)."""
        return NAMESPACES / f"{self.prefix}-{instance_id}"

    def ensure(self) -> None:
        """The switch, if it is not there yet."""
        if self.path.exists():
            return
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")
        ip("-n", self.name, "addr", "add", f"{OUTSIDE_ADDRESS}/32", "dev", "lo")
        ip("-n", self.name, "link", "add", BRIDGE, "type", "bridge")
        ip("-n", self.name, "link", "set", BRIDGE, "up")

    def attach(self, instance_id: str, address: IPv4Interface) -> Path:
        """Plug an instance in: its own namespace with `eth0`, and the subnet's router on the switch."""
        with self._lock:
            return self._attach(instance_id, address)

    def _attach(self, instance_id: str, address: IPv4Interface) -> Path:
        self.ensure()
        path = self.namespace(instance_id)
        if path.exists():
            if "default" in ip("-n", path.name, "route"):  # the last thing that is made
                return path
            self.detach(instance_id)  # a boot process was killed in the middle of it
        router = IPv4Interface((int(address.network.network_address) + 1, address.network.prefixlen))
        if f" {router} " not in ip("-n", self.name, "addr", "show", "dev", BRIDGE):
            ip("-n", self.name, "addr", "add", str(router), "dev", BRIDGE)
        name, outside = path.name, f"v{instance_id[-14:]}"  # an interface's has 15 characters at most
        ip("netns", "add", name)
        ip("-n", self.name, "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("-n", self.name, "link", "set", outside, "master", BRIDGE, "up")
        for arguments in (
            ("link", "set", "lo", "up"),
            ("addr", "add", f"{METADATA_ADDRESS}/32", "dev", "lo"),
            ("addr", "add", f"{RESOLVER_ADDRESS}/32", "dev", "lo"),
            ("addr", "add", str(address), "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("route", "add", "default", "via", str(router.ip)),
        ):
            ip("-n", name, *arguments)
        return path

    def detach(self, instance_id: str) -> None:
        """Unplug an instance; the other end of its cable goes with its namespace."""
        if self.namespace(instance_id).exists():
            ip("netns", "delete", self.namespace(instance_id).name)

    def remove(self) -> None:
        """Every namespace of this sandbox."""
        for path in NAMESPACES.glob(f"{self.prefix}-*"):
            ip("netns", "delete", path.name)


def listen(namespace: Path, address: str, port: int) -> socket.socket:
    """A listening socket that lives inside a network namespace and is served from here."""
    return inside(namespace, lambda: socket.create_server((address, port), backlog=128))


def connect(namespace: Path, address: str, port: int, timeout: float = 10.0) -> socket.socket:
    """A connection made from inside a network namespace. Raises `OSError`."""
    return inside(namespace, lambda: socket.create_connection((address, port), timeout))


def inside(namespace: Path, act: Callable[[], T]) -> T:
    """Do something inside a network namespace, in a thread of its own: only that thread goes there."""
    results: list[T] = []
    errors: list[OSError] = []

    def run() -> None:
        try:
            enter(namespace)
            results.append(act())
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=run, name=f"in-{namespace.name}", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def enter(namespace: Path) -> None:
    """Move the calling thread into a network namespace. Raises `OSError`."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"setns {namespace}: {os.strerror(number)}")
    finally:
        os.close(descriptor)


def run(namespace: Path, command: Sequence[str | Path], text: str = "") -> str:
    """Output of a command with this input inside a network namespace. Raises `SandboxError`."""
    return output(["nsenter", f"--net={namespace}", *command], input=text, timeout=_SECONDS)
