"""One real node: an instance, its disk, its namespaces and what the cloud is to it.

Nothing here takes part in the bootstrap: the machine boots by itself, from its own user data.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import uuid
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from sandbox.boot.cloud import RUNNING, CloudError, Instance
from sandbox.boot.cloudinit import UserData, UserDataError, parse
from sandbox.boot.log import say
from sandbox.errors import SandboxError
from sandbox.files import atomic_write
from sandbox.nodes import kubelet
from sandbox.nodes.api import ApiError, Unavailable
from sandbox.nodes.pool import Power, Wanted
from sandbox.nodes.real import cgroups, image, netns
from sandbox.nodes.real.disk import RealDisk
from sandbox.nodes.real.enter import Plan
from sandbox.nodes.real.forward import Forwarder
from sandbox.nodes.real.services import Services
from sandbox.nodes.real.site import RealSite

_LOOK = 1.0  # seconds between looks at a machine that runs
_AGAIN = 3.0  # seconds after something went wrong
_OFF = 3600.0
_API_PORT = 6443
_GRACE = 15.0  # seconds that a machine has to shut down before its plug is pulled
LOOPBACK = "127.0.0.1"


class RealNode:
    """One instance that boots by running its own user data."""

    def __init__(self, site: RealSite, disk: RealDisk) -> None:
        self.site = site
        self.disk = disk
        self.power = Power(Wanted.ON if disk.memory.powered else Wanted.OFF)
        self.gone = False
        self._user_data: UserData | None = None
        self._services: Services | None = None
        self._forwarder: Forwarder | None = None

    @property
    def name(self) -> str:
        """The node's name once its user data was read, until then the instance's id."""
        return self.disk.memory.name or self.disk.instance_id

    @property
    def process(self) -> str:
        return f"node-{self.disk.instance_id}"

    @property
    def namespace(self) -> Path:
        return self.site.vpc.namespace(self.disk.instance_id)

    @property
    def root(self) -> Path | None:
        """The machine's file system as seen from here; None while it does not run."""
        leader = self.site.supervisor.pid(self.process)
        try:
            children = psutil.Process(leader).children() if leader else []
        except psutil.NoSuchProcess:
            children = []
        return Path(f"/proc/{children[0].pid}/root") if children else None

    # -- power -------------------------------------------------------------------------------------

    def advance(self) -> float:
        """Bring the machine closer to what is wanted: seconds to the next look."""
        try:
            return self._keep_on() if self.power.on else self._go_off()
        except CloudError as error:  # the emulator is away: machines run on meanwhile
            self._say(f"emulator: {error}")
        except UserDataError as error:
            self._say(f"cannot boot: {error}")
            return _OFF
        except (SandboxError, OSError) as error:
            self._say(str(error))
        return _AGAIN

    def _keep_on(self) -> float:
        instance = self.site.around.cloud.instance(self.disk.instance_id)
        if instance is None or instance.state != RUNNING:
            return _LOOK
        data = self._read_user_data()
        if self.disk.fresh:
            self._make_disk(instance, data)
        if self._services is None:
            self.site.vpc.attach(instance.id, self._address(instance))
            endpoint = str(data.node["awsEndpoint"])
            self._services = Services(self.site, instance.id, self.namespace, endpoint, self._is_cut_off)
        if not self.site.supervisor.alive(self.process):
            self._boot(instance)
        if data.is_master:
            self._expose(instance, data)
        image.put_faults(self.root, self.site.faults, self.name, data)
        return _LOOK

    def _is_cut_off(self) -> bool:
        return self.site.faults.silent(self.name)

    def _read_user_data(self) -> UserData:
        if self._user_data is None:
            self._user_data = parse(self.site.around.cloud.user_data(self.disk.instance_id))
        return self._user_data

    def _address(self, instance: Instance) -> IPv4Interface:
        subnets = self.site.around.cloud.ec2.describe_subnets(SubnetIds=[instance.subnet_id])["Subnets"]
        length = IPv4Network(subnets[0]["CidrBlock"]).prefixlen
        return IPv4Interface(f"{instance.private_ip}/{length}")

    def _make_disk(self, instance: Instance, data: UserData) -> None:
        self.disk.format(image.files(self.site.binaries, self.site.around.cloud.user_data(instance.id)))
        image.install(self.disk.upper)
        memory = self.disk.memory
        memory.name, memory.master = data.name, data.is_master
        memory.gpus = self.site.around.cloud.hardware(instance.type).gpus
        self.disk.save()

    def _boot(self, instance: Instance) -> None:
        """Switch the machine on, or on again after it ended by itself (a reboot)."""
        cgroups.remove(self.site.group(instance.id))  # what its last life left there
        plan = Plan(
            group=self.site.group(instance.id),
            namespace=str(self.namespace),
            hostname=f"ip-{instance.private_ip.replace('.', '-')}",
            upper=str(self.disk.upper),
            work=str(self.disk.folder / "work"),
            root=str(self.disk.folder / "root"),
            folders=self.disk.plain(),
            readonly={image.BINARIES: str(self.site.binaries)},
            runtime=image.hardware(instance.id, self.disk.memory.gpus),
            console=str(self.disk.console),
            boot_id=str(uuid.uuid4()),
            init=list(image.INIT),
        )
        path = self.disk.folder / "plan.json"
        atomic_write(path, plan.to_json())
        self._say("ended by itself: switched on again" if self.disk.memory.powered else "switched on")
        command = [sys.executable, "-P", "-m", "sandbox.nodes.real.enter", str(path)]
        self.site.supervisor.start(self.process, command, env=dict(os.environ), cwd=self.disk.folder)
        self.disk.memory.powered = True
        self.disk.save()

    def _expose(self, instance: Instance, data: UserData) -> None:
        """The master's API at the address on this host that its user data names for operators."""
        port = urlsplit(str(data.node.get("apiEndpoint") or "")).port or _API_PORT
        root = self.root
        if root is not None:
            self.site.serves(root, port)
        if self._forwarder is None:
            listener = socket.create_server((LOOPBACK, port))
            address, vpc = instance.private_ip, self.site.vpc.path
            self._forwarder = Forwarder(listener, lambda: netns.connect(vpc, address, _API_PORT))

    def _go_off(self) -> float:
        if self._forwarder:
            self._forwarder.close()
            self._forwarder = None
        if self.site.supervisor.stop(self.process, grace=_GRACE):
            self._say("switched off")
        cgroups.remove(self.site.group(self.disk.instance_id))
        self.disk.memory.powered = False
        if self.power.wanted is Wanted.GONE:
            self._wipe()
        elif not self.disk.fresh:
            self.disk.save()
        self._mark_lost()
        return _OFF

    def _wipe(self) -> None:
        self.stop_serving()
        self.site.vpc.detach(self.disk.instance_id)
        self.disk.wipe()
        self.gone = True

    def _mark_lost(self) -> None:
        """Whoever is left notices that this kubelet is silent, here without the 50 s that it takes."""
        if self.disk.memory.master:
            return
        with contextlib.suppress(Unavailable, ApiError):
            api = self.site.api()
            found = api.find(f"/api/v1/nodes/{self.name}")
            if found and kubelet.instance_id(found) == self.disk.instance_id:
                kubelet.set_lost(api, self.name, found["spec"]["providerID"])

    def stop_serving(self) -> None:
        """The cloud's services for this machine end; it runs on without them."""
        if self._services:
            self._services.close()
            self._services = None

    def _say(self, text: str) -> None:
        say(self.name, text)
