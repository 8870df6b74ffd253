"""One real node: an instance, its disk, its namespaces and what the cloud is to it.

Nothing here takes part in the bootstrap: the machine boots by itself, from its own user data.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import psutil

from sandbox.aws.cloud import Instance
from sandbox.aws.gate import Gate
from sandbox.aws.metadata import MetadataService
from sandbox.aws.serve import Application, NoAnswer, Serving, serve
from sandbox.files import atomic_write
from sandbox.nodes import kubelet
from sandbox.nodes.api import ApiError, Unavailable
from sandbox.nodes.backend import SOON, Node, Power
from sandbox.nodes.cloudinit import API_PORT, UserData
from sandbox.nodes.real import cgroups, image, launch, netns
from sandbox.nodes.real.disk import RealDisk
from sandbox.nodes.real.forward import Forwarder
from sandbox.nodes.real.launch import Plan
from sandbox.nodes.real.netns import METADATA_ADDRESS
from sandbox.nodes.real.packages import BINARIES
from sandbox.processes import runs

if TYPE_CHECKING:
    from sandbox.nodes.real.backend import RealBackend

_LOOK = 1.0  # seconds between looks at a machine that runs
_OFF = 3600.0
# Seconds that a machine has to shut down before its plug is pulled. EC2 waits "a few minutes" (user guide,
# "Stop and start Amazon EC2 instances"); more than logind and the units of a node ever take.
PATIENCE = 120.0
LOOPBACK = "127.0.0.1"


class RealNode(Node):
    """One instance that boots by running its own user data."""

    disk: RealDisk

    def __init__(self, backend: RealBackend, disk: RealDisk) -> None:
        super().__init__(backend.account, disk)
        self.backend = backend
        self.process = f"node-{disk.instance_id}"
        self.namespace = backend.vpc.namespace(disk.instance_id)
        self.api_port = 0  # of a master that runs: the port of this host where its API answers
        self._leader: int | None = None
        self._init: psutil.Process | None = None
        self._services: list[Serving] = []
        self._forwarder: Forwarder | None = None
        self._ending: float | None = None  # since when it is asked to switch itself off (monotonic)
        self._asked = False  # whether it took that order

    @property
    def root(self) -> Path | None:
        """The machine's file system as seen from here; None while it does not run."""
        leader, found = self.backend.supervisor.pid(self.process), self._init
        # Asked several times a second, and looking for it reads what every process of the host is.
        if leader != self._leader or found is None or not runs(found):
            found = launch.init(leader)
            self._leader, self._init = leader, found
        return Path(f"/proc/{found.pid}/root") if found else None

    # -- power -------------------------------------------------------------------------------------

    def keep_on(self) -> float:
        if self._ending is not None:  # as on AWS, a machine that is stopping ends first
            if not self._ended():
                return SOON
            self._rest()
        instance, data = self.running_instance(), self.user_data
        if self.disk.fresh:
            self._make_disk(instance, data)
        if not self._services:
            if self.backend.is_taken(instance.private_ip, self):
                return SOON
            self.backend.vpc.attach(instance.id, self._address(instance))
            self._services = self._serve_cloud(urlsplit(str(data.node["awsEndpoint"])))
            self.backend.serve_outside()
        if not self.backend.supervisor.alive(self.process):
            self._boot(instance)
        if data.is_master:
            self._expose(instance, data)
        image.put_faults(self.root, self.backend.faults, self.name, data)
        return _LOOK

    def _serve_cloud(self, aws: SplitResult) -> list[Serving]:
        """What the cloud is to the machine, on sockets inside its network namespace.

        Metadata service, AWS API, and a mirror of all registries.
        """
        instance_id, account, keys = self.disk.instance_id, self.account, self.backend.keys
        gate = Gate(account, keys, account.cloud.endpoint, self.backend.calls_log)

        def aws_api(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            if self.backend.faults.silent(self.name):
                raise NoAnswer("cut off by faults.json")
            return gate(environ, start_response)

        applications: dict[tuple[str, int], Application] = {
            (METADATA_ADDRESS, 80): MetadataService(account.cloud, keys, instance_id),
            (METADATA_ADDRESS, image.REGISTRY_PORT): self.backend.registry,
            (str(aws.hostname), int(aws.port or 80)): aws_api,
        }
        return [serve(each, netns.listen(self.namespace, *address)) for address, each in applications.items()]

    def _address(self, instance: Instance) -> IPv4Interface:
        subnets = self.account.cloud.ec2.describe_subnets(SubnetIds=[instance.subnet_id])["Subnets"]
        length = IPv4Network(subnets[0]["CidrBlock"]).prefixlen
        return IPv4Interface(f"{instance.private_ip}/{length}")

    def _make_disk(self, instance: Instance, data: UserData) -> None:
        tools, gpus = self.backend.tools, self.account.cloud.hardware(instance.type).gpus
        self.disk.format(image.hardware(instance.id, gpus))
        image.install(self.disk.upper, image.files(tools.rootfs, tools.mirrors, instance.id))
        memory = self.disk.memory
        memory.master, memory.gpus, memory.address = data.is_master, gpus, instance.private_ip
        self.disk.save()

    def _boot(self, instance: Instance) -> None:
        """Switch the machine on, or on again after it ended by itself (a reboot)."""
        cgroups.remove(self.backend.group(instance.id))  # what its last life left there
        tools, disk = self.backend.tools, self.disk
        gpus = {image.GPUS: str(disk.gpus)} if disk.memory.gpus else {}
        plan = Plan(
            name=instance.id,
            group=self.backend.group(instance.id),
            namespace=str(self.namespace),
            lower=str(tools.rootfs.root),
            upper=str(disk.upper),
            work=str(disk.folder / "work"),
            root=str(disk.folder / "root"),
            folders=disk.plain(),
            readonly={BINARIES: str(tools.binaries), "/sys/hypervisor": str(disk.hypervisor), **gpus},
            console=str(disk.console),
            nspawn=tools.rootfs.program("/usr/bin/systemd-nspawn"),
        )
        path = self.disk.folder / "plan.json"
        atomic_write(path, json.dumps(asdict(plan), indent=1))
        self.log("ended by itself: switched on again" if self.disk.memory.powered else "switched on")
        command = [sys.executable, "-P", "-m", "sandbox.nodes.real.launch", str(path)]
        self.backend.supervisor.start(self.process, command, env=dict(os.environ), cwd=self.disk.folder)
        self.disk.memory.powered = True
        self.disk.save()

    def _expose(self, instance: Instance, data: UserData) -> None:
        """The master's API at the address on this host that its user data names for operators."""
        if self._forwarder is None:
            listener = socket.create_server((LOOPBACK, data.api_port))
            address, vpc = instance.private_ip, self.backend.vpc.path
            self._forwarder = Forwarder(listener, lambda: netns.connect(vpc, address, API_PORT))
            self.api_port = data.api_port

    def go_off(self) -> float:
        if not self._ended():
            return SOON
        self._rest()
        if self.wanted is Power.TERMINATED:
            self.stop_serving()
            self.backend.vpc.detach(self.disk.instance_id)
            self.disk.wipe()
            self.gone = True
        elif not self.disk.fresh:
            self.disk.save()
        self._mark_lost()
        self.forget_user_data()
        return _OFF

    def _ended(self) -> bool:
        """Whether the machine is off. Presses its power button; when patience ends, pulls the plug."""
        leader = self.backend.supervisor.pid(self.process)
        if leader is None:
            return True
        if self._ending is None:
            self._ending, self._asked = time.monotonic(), False
        self._asked = self._asked or launch.power_button(leader)
        if time.monotonic() - self._ending < PATIENCE:
            return False
        self.log(f"did not switch itself off within {PATIENCE:.0f} s: the plug is pulled")
        return True

    def _rest(self) -> None:
        """What a machine that is off still has, but for its disk and its cable, goes."""
        if self.backend.supervisor.stop(self.process, grace=0) or self._ending is not None:
            self.log("switched off")
        self._ending = None
        if self._forwarder:
            self._forwarder.close()
            self._forwarder, self.api_port = None, 0
        cgroups.remove(self.backend.group(self.disk.instance_id))
        self.disk.memory.powered = False

    def _mark_lost(self) -> None:
        """Whoever is left notices that this kubelet is silent, here without the 50 s that it takes."""
        if self.disk.memory.master:
            return
        with contextlib.suppress(Unavailable, ApiError):
            kubelet.set_lost(self.backend.api(), self.name, self.disk.instance_id)

    def stop_serving(self) -> None:
        """The cloud's services for this machine end; it runs on without them."""
        for each in self._services:
            each.close()
        self._services = []
